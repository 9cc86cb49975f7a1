import { ServerConnection } from '@jupyterlab/services';
import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { QueuePanel } from '../widget';

const JOB = {
  id: 12,
  name: '<b>sweep</b>',
  state: 'PENDING',
  reason: 'It waits for free nodes.',
  cluster: 'summit',
  partition: 'shas',
  nodes: '',
  submitted_at: 1,
  start_at: null,
  end_at: null,
  limit_minutes: 60
};

async function shown(status: number, body: unknown): Promise<string> {
  const answer = { ok: status < 400, status, text: () => Promise.resolve(JSON.stringify(body)) } as Response;
  const settings = ServerConnection.makeSettings({ baseUrl: 'http://localhost/', fetch: () => Promise.resolve(answer) });
  const panel = new QueuePanel(settings, nullTranslator.load('flatirons'));
  const news = new Promise<void>(resolve => new MutationObserver(() => resolve()).observe(panel.node, { childList: true }));
  Widget.attach(panel, document.body);
  panel.hide();
  panel.show();
  await news;
  const html = panel.node.innerHTML;
  panel.dispose();
  return html;
}

describe('the queue', () => {
  it('shows jobs with the reason in words, and escapes names', async () => {
    const html = await shown(200, { has_slurm: true, jobs: [JOB] });
    expect(html).toContain('It waits for free nodes.');
    expect(html).toContain('&lt;b&gt;sweep&lt;/b&gt;');
  });

  it.each([
    [200, { has_slurm: true, jobs: [] }, 'You have no jobs in the queue.'],
    [200, { has_slurm: false, jobs: [] }, 'There is no Slurm on this machine.'],
    [502, { message: 'Slurm does not answer.' }, 'Slurm does not answer.']
  ])('says what it has instead of jobs (%s %j)', async (status, body, sentence) => {
    expect(await shown(status, body)).toContain(sentence);
  });
});
