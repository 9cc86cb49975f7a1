// Made from schema/ by `npm run types`. Do not edit.

/**
 * GET flatirons/jobs: the user's queue. Times are in seconds since 1970; null means unknown.
 */
export interface Jobs {
  /**
   * Are Slurm's commands on this machine?
   */
  has_slurm: boolean;
  jobs: Job[];
}
export interface Job {
  id: number;
  name: string;
  /**
   * Slurm's state, such as PENDING
   */
  state: string;
  /**
   * why it waits, in words
   */
  reason: string;
  cluster: string;
  partition: string;
  /**
   * Slurm's list, such as c[1-3]
   */
  nodes: string;
  submitted_at: number | null;
  /**
   * an estimate while the job waits
   */
  start_at: number | null;
  /**
   * at the latest, while the job runs
   */
  end_at: number | null;
  limit_minutes: number | null;
}
