import { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';

import { launcherPlugin } from '../launcher';

// Its module needs a browser with drag and drop, and only the token is needed.
jest.mock('@jupyterlab/application', () => ({ ILabShell: 'ILabShell' }));

/** How many launchers the plugin opens on a page with this address, whose restored layout has that many tabs. */
async function launchers(search: string, treePath: string, tabs: number): Promise<number> {
  window.history.replaceState(null, '', `/user/alice/lab${search}`);
  PageConfig.setOption('treePath', treePath);
  const execute = jest.fn(() => Promise.resolve());
  const restored = Promise.resolve();
  const app = { restored, commands: { hasCommand: () => true, execute } } as unknown as JupyterFrontEnd;
  void launcherPlugin.activate(app, { isEmpty: () => tabs === 0 } as unknown as ILabShell);
  await restored;
  await restored;
  return execute.mock.calls.length;
}

describe('launcher', () => {
  it('opens when the layout has no tab', async () => {
    expect(await launchers('', '', 0)).toBe(1);
  });

  it('stays closed when the layout has a tab', async () => {
    expect(await launchers('', '', 1)).toBe(0);
  });

  it('leaves the page of a file to the file', async () => {
    expect(await launchers('', 'notes.ipynb', 0)).toBe(0);
  });

  it('waits for the tabs of a cloned workspace', async () => {
    expect(await launchers('?clone=auto', '', 0)).toBe(0);
  });
});
