// The panel with the queue. It asks for jobs only while it is visible.

import { ServerConnection } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';
import { Poll } from '@lumino/polling';
import { Widget } from '@lumino/widgets';

import { request } from '../request';
import type { Job, Jobs } from '../wire';

const SECONDS_BETWEEN_REQUESTS = 5;

export class QueuePanel extends Widget {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.id = 'flatirons-queue';
    this.addClass('jp-flatirons-queue');
    this.title.caption = trans.__('Slurm Queue');
    this.title.label = trans.__('Slurm');
    this.poll = new Poll({
      auto: false,
      factory: () => request<Jobs>('jobs', this.settings),
      frequency: { interval: SECONDS_BETWEEN_REQUESTS * 1000, backoff: true, max: 60_000 },
      standby: () => !this.isVisible || document.hidden,
      name: 'flatirons:jobs'
    });
    this.poll.ticked.connect((_, tick) => {
      if (tick.phase === 'resolved') {
        this.show_(tick.payload as Jobs);
      } else if (tick.phase === 'rejected') {
        this.say(String((tick.payload as Error).message));
      }
    });
  }

  dispose(): void {
    this.poll.dispose();
    super.dispose();
  }

  protected onAfterShow(): void {
    void this.poll.start();
  }

  private show_(answer: Jobs): void {
    if (!answer.has_slurm) {
      this.say(this.trans.__('There is no Slurm on this machine.'));
    } else if (answer.jobs.length === 0) {
      this.say(this.trans.__('You have no jobs in the queue.'));
    } else {
      this.node.replaceChildren(this.table(answer.jobs));
    }
  }

  private say(sentence: string): void {
    const said = document.createElement('p');
    said.textContent = sentence;
    said.setAttribute('role', 'status');
    this.node.replaceChildren(said);
  }

  private table(jobs: readonly Job[]): HTMLTableElement {
    const table = document.createElement('table');
    const titles = [this.trans.__('Job'), this.trans.__('Name'), this.trans.__('State')];
    table.createTHead().append(row('th', titles));
    const body = table.createTBody();
    for (const job of jobs) {
      body.append(row('td', [String(job.id), job.name, job.nodes ? `${job.state}, ${job.nodes}` : job.state]));
      if (job.reason) {
        const why = row('td', [job.reason]);
        why.cells[0]?.setAttribute('colspan', '3');
        why.className = 'jp-flatirons-reason';
        body.append(why);
      }
    }
    return table;
  }

  private readonly poll: Poll<Jobs>;
}

function row(kind: 'td' | 'th', texts: readonly string[]): HTMLTableRowElement {
  const made = document.createElement('tr');
  for (const text of texts) {
    const cell = document.createElement(kind);
    cell.textContent = text;
    made.append(cell);
  }
  return made;
}
