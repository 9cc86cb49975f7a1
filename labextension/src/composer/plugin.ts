// The plugin that makes job scripts a language of JupyterLab's editors.

import { LanguageSupport } from '@codemirror/language';
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { ICompletionProviderManager } from '@jupyterlab/completer';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { request } from '../request';
import { NAMESPACE } from '../tokens';
import type { Offer } from '../wire';
import { ScriptCompletionProvider } from './completionProvider';
import { sbatchLanguage } from './language';
import type { Known } from './lint';
import { marks } from './marks';
import { addTestCommand } from './testCommand';

export const MIME = 'text/x-sbatch';

export const scriptPlugin: JupyterFrontEndPlugin<void> = {
  id: `${NAMESPACE}:job-script`,
  description: 'Job scripts of Slurm in the editor: colours, marks for what is wrong, completion, Slurm’s own check.',
  autoStart: true,
  requires: [IEditorLanguageRegistry],
  optional: [ICompletionProviderManager, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    languages: IEditorLanguageRegistry,
    completions: ICompletionProviderManager | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    addTestCommand(app, MIME, (translator ?? nullTranslator).load(NAMESPACE), palette);
    let known: Known = {};
    languages.addLanguage({
      name: 'sbatch',
      displayName: 'Slurm job script',
      mime: MIME,
      extensions: ['sbatch', 'slurm'],
      load: async () => {
        // Nothing waits for Slurm: open scripts are checked again with what it offers.
        const answered = request<Offer>('offer', app.serviceManager.serverSettings).then(
          offer => (known = offer),
          () => undefined
        );
        return new LanguageSupport(sbatchLanguage, marks(() => known, answered));
      }
    });
    completions?.registerProvider(new ScriptCompletionProvider(MIME, () => known));
    app.docRegistry.addFileType({
      name: 'sbatch',
      displayName: 'Slurm job script',
      mimeTypes: [MIME],
      extensions: ['.sbatch', '.slurm'],
      fileFormat: 'text'
    });
  }
};
