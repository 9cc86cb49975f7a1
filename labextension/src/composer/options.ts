// The options of sbatch: how each is written, what its value is, and what it means. Source: sbatch(1) of Slurm 24.11 and 25.11.

/** What an option's value is, for checks, completion and the form. */
export type Kind =
  | 'flag'
  | 'text'
  | 'count'
  | 'range'
  | 'time'
  | 'memory'
  | 'gpus'
  | 'partition'
  | 'account'
  | 'qos'
  | 'reservation'
  | 'path'
  | 'array'
  | 'dependency'
  | 'mail'
  | 'moment'
  | 'word'
  | 'number'
  | 'integer'
  | 'gres'
  | 'hosts'
  | 'signal'
  | 'switches'
  | 'distribution';

/** One option. `short` is its letter, if it has one; `isOptional`: the value may be left out; `words`: all that it may be. */
export interface OptionInfo {
  name: string;
  short?: string;
  kind: Kind;
  isOptional?: boolean;
  words?: readonly string[];
  about: string;
}

function option(name: string, kind: Kind, about: string, more: Partial<OptionInfo> = {}): OptionInfo {
  return { name, kind, about, ...more };
}

export const OPTIONS: readonly OptionInfo[] = [
  option('account', 'account', 'The account that is charged.', { short: 'A' }),
  option('acctg-freq', 'text', 'How often Slurm samples what the job uses.'),
  option('array', 'array', 'Many jobs from one script, such as 1-100%10: at most ten at a time.', { short: 'a' }),
  option('batch', 'text', 'Features that the node of the script needs.'),
  option('bb', 'text', 'What the job needs of a burst buffer.'),
  option('bbf', 'path', 'A file with what the job needs of a burst buffer.'),
  option('begin', 'moment', 'Not before this moment, such as 20:00, tomorrow or now+2hours.', { short: 'b' }),
  option('chdir', 'path', 'The directory in which the script runs.', { short: 'D' }),
  option('cluster-constraint', 'text', 'Features that a cluster of the federation needs.'),
  option('clusters', 'text', 'The clusters that may run the job.', { short: 'M' }),
  option('comment', 'text', 'A remark that is kept with the job.'),
  option('constraint', 'text', 'Features that the nodes need.', { short: 'C' }),
  option('container', 'path', 'An OCI bundle that the script runs in.'),
  option('container-id', 'text', 'A name for the container.'),
  option('contiguous', 'flag', 'Nodes that are next to each other.'),
  option('core-spec', 'number', 'Cores of each node that are left to the system.', { short: 'S' }),
  option('cores-per-socket', 'count', 'Nodes with at least so many cores in each socket.'),
  option('cpu-freq', 'text', 'The frequency of the cores.'),
  option('cpus-per-gpu', 'count', 'Cores for each GPU.'),
  option('cpus-per-task', 'count', 'Cores for each task.', { short: 'c' }),
  option('deadline', 'moment', 'The job is removed if it can not end before this moment.'),
  option('delay-boot', 'text', 'How long to wait for nodes that need no boot.'),
  option('dependency', 'dependency', 'What must have happened first, such as afterok:1234.', { short: 'd' }),
  option('distribution', 'distribution', 'How tasks are spread over nodes and cores.', { short: 'm' }),
  option('error', 'path', 'Where the error output goes; %j stands for the id of the job.', { short: 'e' }),
  option('exclude', 'hosts', 'Nodes that must not be used.', { short: 'x' }),
  option('exclusive', 'word', 'Whole nodes, with nobody else on them.', { isOptional: true, words: ['user', 'mcs', 'topo'] }),
  option('export', 'text', 'Which variables the job gets.'),
  option('export-file', 'path', 'A file with the variables that the job gets.'),
  option('extra', 'text', 'More features that the nodes need.'),
  option('extra-node-info', 'text', 'Nodes with so many sockets, cores and threads.', { short: 'B' }),
  option('get-user-env', 'text', 'The variables of a log-in. Slurm 25.05 and later refuse it.', { isOptional: true }),
  option('gid', 'text', 'The group that the job runs as.'),
  option('gpu-bind', 'text', 'Which GPUs each task sees.'),
  option('gpu-freq', 'text', 'The frequency of the GPUs.'),
  option('gpus', 'gpus', 'GPUs in all, such as 2 or a100:2.', { short: 'G' }),
  option('gpus-per-node', 'gpus', 'GPUs on each node, such as 1 or v100:2.'),
  option('gpus-per-socket', 'gpus', 'GPUs for each socket.'),
  option('gpus-per-task', 'gpus', 'GPUs for each task.'),
  option('gres', 'gres', 'Other things of the nodes, such as gpu:2.'),
  option('gres-flags', 'word', 'How GPUs and cores are bound to each other.', { words: ['disable-binding', 'enforce-binding', 'multiple-tasks-per-sharing', 'one-task-per-sharing', 'allow-task-sharing'] }),
  option('help', 'flag', 'Prints how sbatch is used; nothing is submitted.', { short: 'h' }),
  option('hint', 'word', 'What limits the program: compute_bound, memory_bound or nomultithread.', { words: ['compute_bound', 'memory_bound', 'multithread', 'nomultithread'] }),
  option('hold', 'flag', 'The job waits until it is released.', { short: 'H' }),
  option('ignore-pbs', 'flag', 'Directives of PBS in the script are not read.'),
  option('input', 'path', 'A file for the standard input.', { short: 'i' }),
  option('job-name', 'text', 'The name of the job.', { short: 'J' }),
  option('kill-on-invalid-dep', 'word', 'Whether the job is removed when what it waits for can not happen.', { words: ['yes', 'no'] }),
  option('licenses', 'text', 'Licences that the job needs.', { short: 'L' }),
  option('mail-type', 'mail', 'When Slurm writes a mail: BEGIN, END, FAIL, TIME_LIMIT_90 ...'),
  option('mail-user', 'text', 'To whom Slurm writes.'),
  option('mcs-label', 'text', 'A label that keeps the jobs of others from the nodes.'),
  option('mem', 'memory', 'Memory on each node, such as 4G; 0 is all of it.'),
  option('mem-bind', 'text', 'How tasks are bound to memory.'),
  option('mem-per-cpu', 'memory', 'Memory for each core, such as 2G.'),
  option('mem-per-gpu', 'memory', 'Memory for each GPU.'),
  option('mincpus', 'count', 'Nodes with at least so many cores.'),
  option('network', 'text', 'What the job needs of the network.'),
  option('nice', 'integer', 'A lower priority; only operators may raise it.', { isOptional: true }),
  option('no-kill', 'word', 'The job goes on when one of its nodes fails.', { short: 'k', isOptional: true, words: ['off'] }),
  option('no-requeue', 'flag', 'The job is not started again after its node failed.'),
  option('nodefile', 'path', 'A file with the names of the nodes to use.', { short: 'F' }),
  option('nodelist', 'hosts', 'Nodes that must be used.', { short: 'w' }),
  option('nodes', 'range', 'How many nodes, such as 2 or 2-4.', { short: 'N' }),
  option('ntasks', 'count', 'How many tasks the program has in all.', { short: 'n' }),
  option('ntasks-per-core', 'count', 'Tasks on each core, at most.'),
  option('ntasks-per-gpu', 'count', 'Tasks for each GPU.'),
  option('ntasks-per-node', 'count', 'Tasks on each node.'),
  option('ntasks-per-socket', 'count', 'Tasks on each socket, at most.'),
  option('oom-kill-step', 'word', 'Whether the step ends when one of its tasks is killed for memory.', { isOptional: true, words: ['0', '1'] }),
  option('open-mode', 'word', 'Whether output is added to its file (append) or replaces it (truncate).', { words: ['append', 'truncate'] }),
  option('output', 'path', 'Where the output goes; %j stands for the id of the job.', { short: 'o' }),
  option('overcommit', 'flag', 'More tasks than cores.', { short: 'O' }),
  option('oversubscribe', 'flag', 'Others may use the same cores.', { short: 's' }),
  option('parsable', 'flag', 'Prints only the id of the job.'),
  option('partition', 'partition', 'The partition, or several with commas.', { short: 'p' }),
  option('power', 'text', 'Settings of the power plugin.'),
  option('prefer', 'text', 'Features that the nodes should have.'),
  option('priority', 'text', 'The priority; only operators may set it.'),
  option('profile', 'word', 'What Slurm samples in detail.', { words: ['All', 'None', 'Energy', 'Task', 'Filesystem', 'Lustre', 'Network'] }),
  option('propagate', 'word', 'Which limits of this shell the job gets.', { isOptional: true, words: ['ALL', 'NONE', 'AS', 'CORE', 'CPU', 'DATA', 'FSIZE', 'MEMLOCK', 'NOFILE', 'NPROC', 'RSS', 'STACK'] }),
  option('qos', 'qos', 'The quality of service.', { short: 'q' }),
  option('quiet', 'flag', 'Only errors are printed.', { short: 'Q' }),
  option('reboot', 'flag', 'The nodes are booted before the job begins.'),
  option('requeue', 'flag', 'The job is started again after its node failed.'),
  option('reservation', 'reservation', 'The reservation to use.'),
  option('resv-ports', 'count', 'So many ports of each node are kept for the job.', { isOptional: true }),
  option('segment', 'count', 'Nodes in blocks of this size.'),
  option('signal', 'signal', 'A signal before the time is up, such as B:TERM@120.'),
  option('sockets-per-node', 'count', 'Nodes with at least so many sockets.'),
  option('spread-job', 'flag', 'Tasks on as many nodes as possible.'),
  option('stepmgr', 'flag', 'The steps are managed on the first node.'),
  option('switches', 'switches', 'At most so many switches between the nodes, such as 1@10:00.'),
  option('test-only', 'flag', 'Checks the script and prints when it would start; nothing is submitted.'),
  option('thread-spec', 'number', 'Threads of each node that are left to the system.'),
  option('threads-per-core', 'count', 'Nodes with at least so many threads in each core.'),
  option('time', 'time', 'How long the job may run, such as 2:00:00, 90 (minutes) or 1-12:00:00.', { short: 't' }),
  option('time-min', 'time', 'A shorter run time is fine, down to this.'),
  option('tmp', 'memory', 'Disk space on each node, such as 20G.'),
  option('tres-bind', 'text', 'How tasks are bound to other resources.'),
  option('tres-per-task', 'text', 'Resources for each task, such as cpu:4,gres/gpu:1.'),
  option('uid', 'text', 'The user that the job runs as.'),
  option('usage', 'flag', 'Prints a short help; nothing is submitted.'),
  option('use-min-nodes', 'flag', 'As few nodes as possible.'),
  option('verbose', 'flag', 'More messages.', { short: 'v' }),
  option('version', 'flag', 'Prints the version of Slurm; nothing is submitted.', { short: 'V' }),
  option('wait', 'flag', 'sbatch returns only when the job has ended.', { short: 'W' }),
  option('wait-all-nodes', 'word', 'Whether the script begins when all nodes are ready.', { words: ['0', '1'] }),
  option('wckey', 'text', 'The workload characterization key.'),
  option('wrap', 'text', 'A command in place of a script; it has no meaning in one.')
];

const BY_NAME = new Map(OPTIONS.map(each => [each.name, each]));
const BY_LETTER = new Map(OPTIONS.filter(each => each.short).map(each => [each.short, each]));

/** The option with this letter, undefined if there is none. */
export function byLetter(letter: string): OptionInfo | undefined {
  return BY_LETTER.get(letter);
}

/** The option with this long name or with a beginning of it that no other option has, as getopt_long reads it. */
export function byName(name: string): OptionInfo | undefined {
  const exact = BY_NAME.get(name);
  if (exact || !name) {
    return exact;
  }
  const found = OPTIONS.filter(each => each.name.startsWith(name));
  return found.length === 1 ? found[0] : undefined;
}
