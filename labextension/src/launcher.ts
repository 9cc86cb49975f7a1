// Opens the launcher as soon as the layout is there.
//
// JupyterLab (4.6) opens it after the first route, and that waits until the workspace is saved, which happens only when nothing has
// changed for half a second. On a new page that is a second in which the user sees an empty window. JupyterLab opens no second launcher.

import { ILabShell, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';

import { NAMESPACE } from './tokens';

const CREATE = 'launcher:create';

/** Whether the page's address says that something is opened: a file, a directory, another workspace's tabs. */
export function opensSomething(location: { search: string }): boolean {
  const query = new URLSearchParams(location.search);
  return PageConfig.getOption('treePath') !== '' || query.has('clone');
}

export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: `${NAMESPACE}:launcher`,
  description: 'Opens the launcher as soon as the layout is there.',
  autoStart: true,
  requires: [ILabShell],
  activate: (app: JupyterFrontEnd, shell: ILabShell) => {
    void app.restored.then(() => {
      if (shell.isEmpty('main') && !opensSomething(window.location) && app.commands.hasCommand(CREATE)) {
        return app.commands.execute(CREATE);
      }
    });
  }
};
