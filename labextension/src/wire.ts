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

export type Limit = number | null;
export type Names = string[] | null;

/**
 * GET flatirons/offer: what this user may ask for. A list or limit that is null isn't known, or doesn't exist.
 */
export interface Offer {
  /**
   * Are Slurm's commands on this machine?
   */
  has_slurm: boolean;
  /**
   * a sentence if Slurm didn't answer, else empty
   */
  trouble: string;
  /**
   * in Slurm's order
   */
  partitions: PartitionOffer[] | null;
  accounts: Names;
  qos: Names;
  reservations: Names;
}
/**
 * A partition, and the most that a job of this user may ask for in it, with the account and the QOS that allow most.
 */
export interface PartitionOffer {
  name: string;
  is_default: boolean;
  max_minutes: Limit;
  max_nodes: Limit;
  /**
   * on one node
   */
  max_cpus: number | null;
  /**
   * on one node
   */
  max_memory_mib: number | null;
  /**
   * the most on one node, by type; the empty name stands for any type
   */
  gpus: {
    [k: string]: number;
  };
  accounts: Names;
  qos: Names;
}

/**
 * POST flatirons/test {"script": text}: what Slurm says of a job script. Nothing is submitted.
 */
export interface TestAnswer {
  is_accepted: boolean;
  /**
   * when the job would start, or why Slurm refuses it
   */
  sentence: string;
  /**
   * the options of sbatch that a refusal may be about, as long names or letters, the likeliest first
   */
  options: string[];
  /**
   * the line that a refusal is about, from 1, if it is about no option
   */
  line: number | null;
  /**
   * in seconds since 1970
   */
  start_at: number | null;
}
