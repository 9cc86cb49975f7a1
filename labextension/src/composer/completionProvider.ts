// Hands the candidates to JupyterLab's completer, which shows them at Tab in an editor.

import type { CompletionHandler, ICompletionContext, ICompletionProvider } from '@jupyterlab/completer';

import { complete } from './completion';
import type { Known } from './lint';

/** Completes in editors with this MIME type; `known` is asked each time for what the user may ask for. */
export class ScriptCompletionProvider implements ICompletionProvider<CompletionHandler.ICompletionItem> {
  constructor(
    private readonly mime: string,
    private readonly known: () => Known
  ) {}

  readonly identifier = 'CompletionProvider:flatirons-job-script';
  readonly renderer = null;
  readonly rank = 700;

  async isApplicable(context: ICompletionContext): Promise<boolean> {
    return context.editor?.model.mimeType === this.mime;
  }

  async fetch({ text, offset }: CompletionHandler.IRequest): Promise<CompletionHandler.ICompletionItemsReply> {
    const found = complete(text, offset, this.known());
    const items = (found?.candidates ?? []).map(each => ({ label: each.label, insertText: each.insert, documentation: each.about }));
    return { start: found?.from ?? offset, end: found?.to ?? offset, items };
  }
}
