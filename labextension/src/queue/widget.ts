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
        this.node.textContent = String((tick.payload as Error).message);
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
    const table = document.createElement('table');
    for (const job of answer.jobs) {
      table.append(this.row(job));
    }
    this.node.replaceChildren(answer.has_slurm ? table : this.trans.__('There is no Slurm on this machine.'));
  }

  private row(job: Job): HTMLTableRowElement {
    const row = document.createElement('tr');
    for (const text of [String(job.id), job.name, job.state, job.reason || job.nodes]) {
      const cell = document.createElement('td');
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }

  private readonly poll: Poll<Jobs>;
}
