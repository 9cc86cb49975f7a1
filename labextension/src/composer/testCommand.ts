// The command that asks Slurm about the job script in the current editor. Nothing is submitted.

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { type ICommandPalette, Notification } from '@jupyterlab/apputils';
import { CodeMirrorEditor } from '@jupyterlab/codemirror';
import type { TranslationBundle } from '@jupyterlab/translation';

import { request } from '../request';
import { CommandIDs } from '../tokens';
import type { TestAnswer } from '../wire';
import { showRefusal } from './marks';
import { refusalMark } from './refusal';
import { parse } from './script';

const SHELL_MIME = /^(text|application)\/x-(sbatch|sh|shellscript)$/;

/** Adds the command; a shell script with directives becomes a job script when it is tested. */
export function addTestCommand(app: JupyterFrontEnd, mime: string, trans: TranslationBundle, palette: ICommandPalette | null): void {
  app.commands.addCommand(CommandIDs.testScript, {
    label: trans.__('Check the Job Script with Slurm'),
    caption: trans.__('Slurm says when the job would start, or why it refuses it. Nothing is submitted.'),
    isEnabled: () => currentScript(app) !== null,
    execute: async () => {
      const editor = currentScript(app);
      if (editor) {
        editor.model.mimeType = mime;
        await test(app, editor);
      }
    }
  });
  palette?.addItem({ command: CommandIDs.testScript, category: trans.__('Slurm') });
  app.contextMenu.addItem({ command: CommandIDs.testScript, selector: '.jp-FileEditor', rank: 90 });
}

/** The current editor, if it has a shell script. */
function currentScript(app: JupyterFrontEnd): CodeMirrorEditor | null {
  const widget = app.shell.currentWidget as { content?: { editor?: unknown } } | null;
  const editor = widget?.content?.editor;
  return editor instanceof CodeMirrorEditor && SHELL_MIME.test(editor.model.mimeType) ? editor : null;
}

async function test(app: JupyterFrontEnd, { editor: view }: CodeMirrorEditor): Promise<void> {
  const text = view.state.doc.toString();
  try {
    const answer = await request<TestAnswer>('test', app.serviceManager.serverSettings, { script: text });
    if (answer.is_accepted) {
      Notification.success(answer.sentence, { autoClose: 8000 });
      return;
    }
    Notification.error(answer.sentence);
    if (view.state.doc.toString() === text) {
      showRefusal(view, refusalMark(parse(text), answer));
    }
  } catch (error) {
    Notification.error((error as Error).message);
  }
}
