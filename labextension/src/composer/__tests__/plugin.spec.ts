import { EditorState } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { EditorLanguageRegistry } from '@jupyterlab/codemirror';
import { DocumentRegistry } from '@jupyterlab/docregistry';
import { ServerConnection } from '@jupyterlab/services';
import { CommandRegistry } from '@lumino/commands';

import { CommandIDs } from '../../tokens';
import { MIME, scriptPlugin } from '../plugin';

/** What the server answers, and the paths that it was asked for. */
function server(offer: unknown): { settings: ServerConnection.ISettings; asked: string[] } {
  const asked: string[] = [];
  const answer = async (request: RequestInfo | URL): Promise<Response> => {
    asked.push(new URL((request as Request).url).pathname);
    return new Response(JSON.stringify(offer));
  };
  return { settings: ServerConnection.makeSettings({ baseUrl: 'http://localhost/', fetch: answer }), asked };
}

/** JupyterLab's registries, with the plugin activated. */
function activated(offer: unknown) {
  const languages = new EditorLanguageRegistry();
  const commands = new CommandRegistry();
  const docRegistry = new DocumentRegistry();
  const { settings, asked } = server(offer);
  const shell = { currentWidget: null };
  const app = { commands, docRegistry, shell, contextMenu: { addItem: () => undefined }, serviceManager: { serverSettings: settings } };
  void scriptPlugin.activate(app as unknown as JupyterFrontEnd, languages, null, null, null);
  return { languages, commands, docRegistry, asked };
}

describe('the plugin of job scripts', () => {
  it('makes job scripts a language of their own, and asks nothing before one is opened', () => {
    const { languages, docRegistry, asked } = activated({});
    expect(languages.findByFileName('job.slurm')?.mime).toBe(MIME);
    expect(languages.findByMIME(MIME)?.name).toBe('sbatch');
    expect(docRegistry.getFileTypesForPath('job.sbatch').map(each => each.name)).toContain('sbatch');
    expect(asked).toEqual([]);
  });

  it('marks in an ordinary editor what this user may not ask for', async () => {
    const { languages, asked } = activated({ has_slurm: true, partitions: null, accounts: ['ucb'], qos: null, reservations: null });
    const support = (await languages.getLanguage('sbatch'))?.support;
    expect(asked).toEqual(['/flatirons/offer']);
    await new Promise(resolve => setTimeout(resolve, 0)); // a turn of the event loop, in which the answer arrives
    const state = EditorState.create({ doc: '#!/bin/bash\n#SBATCH -A other\n', extensions: [support ?? []] });
    expect(new EditorView({ state }).dom.querySelector('.jp-flatirons-error')?.textContent).toBe('other');
  });

  it('checks nothing with Slurm while no script is in front', () => {
    expect(activated({}).commands.isEnabled(CommandIDs.testScript)).toBe(false);
  });
});
