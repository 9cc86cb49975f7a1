// The plugin of the queue: a panel at the left side that lists the user's jobs.

import { ILabShell, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs, NAMESPACE } from '../tokens';
import { QueuePanel } from './widget';

export const queuePlugin: JupyterFrontEndPlugin<void> = {
  id: `${NAMESPACE}:queue`,
  description: 'The queue of Slurm, with your jobs.',
  autoStart: true,
  optional: [ILabShell, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    shell: ILabShell | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(NAMESPACE);
    const panel = new QueuePanel(app.serviceManager.serverSettings, trans);
    app.shell.add(panel, 'left', { rank: 600 });
    app.commands.addCommand(CommandIDs.openQueue, {
      label: trans.__('Slurm Queue'),
      execute: () => shell?.activateById(panel.id)
    });
    palette?.addItem({ command: CommandIDs.openQueue, category: trans.__('Slurm') });
  }
};
