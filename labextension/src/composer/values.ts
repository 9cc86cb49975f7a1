// Whether sbatch takes a value for an option of some kind, as far as that can be told without asking Slurm.
// Source: sbatch(1), and parse_time.c, slurm_opt.c and proc_args.c of Slurm 24.11.

import type { Kind, OptionInfo } from './options';

/** What is wrong with a value, in a sentence; undefined for a value that looks right. */
export function problem({ kind, words }: Pick<OptionInfo, 'kind' | 'words'>, value: string): string | undefined {
  return words ? among(words, value) : CHECKS[kind]?.(value);
}

const CHECKS: Partial<Record<Kind, (value: string) => string | undefined>> = {
  time: value =>
    minutes(value) === undefined
      ? 'This is not a time. Write minutes (90), hours (2:00:00) or days (1-12:00:00).'
      : undefined,
  memory: value =>
    mebibytes(value) === undefined ? 'This is not an amount of memory. Write it like 4G, 500M or 1T.' : undefined,
  count: value =>
    /^[0-9]{1,9}$/.test(value) && Number(value) > 0 ? undefined : 'This must be a whole number from 1 on.',
  range: nodes,
  array,
  dependency,
  gpus,
  gres,
  hosts,
  mail,
  moment,
  number: value => (/^[0-9]{1,9}$/.test(value) ? undefined : 'This must be a whole number.'),
  integer: value => (/^[+-]?[0-9]{1,10}$/.test(value) ? undefined : 'This must be a whole number.'),
  signal: value => (SIGNAL.test(value) ? undefined : 'Write a signal and seconds before the end, such as USR1@120.'),
  switches,
  distribution
};

const SIGNAL = /^(?:[RB]+:)?[A-Z0-9+]+(?:@[0-9]{1,5})?$/i;

/** Minutes of a run time as Slurm reads it, rounded up; undefined for what it refuses. */
export function minutes(value: string): number | undefined {
  if (/^(infinite|unlimited)$/i.test(value)) {
    return Infinity;
  }
  const found = /^(?:([0-9]{1,5})-)?([0-9]{1,8})(?::([0-9]{1,4}))?(?::([0-9]{1,4}))?$/.exec(value);
  if (!found) {
    return undefined;
  }
  const [, days, first, second, third] = found.map(each => (each === undefined ? undefined : Number(each)));
  if (days !== undefined) {
    return days * 1440 + (first ?? 0) * 60 + (second ?? 0) + Math.ceil((third ?? 0) / 60);
  }
  if (third !== undefined) {
    return (first ?? 0) * 60 + (second ?? 0) + Math.ceil(third / 60);
  }
  return (first ?? 0) + Math.ceil((second ?? 0) / 60);
}

/** MiB of an amount of memory as Slurm reads it, rounded up; undefined for what it refuses. */
export function mebibytes(value: string): number | undefined {
  const found = /^([0-9]{1,15})(?:([KMGT])B?)?$/i.exec(value);
  if (!found) {
    return undefined;
  }
  const size = { K: 1 / 1024, M: 1, G: 1024, T: 1024 * 1024 }[(found[2] ?? 'M').toUpperCase()] as number;
  return Math.ceil(Number(found[1]) * size);
}

function nodes(value: string): string | undefined {
  const found = /^([0-9]{1,9})[kKmM]?(?:-([0-9]{1,9})[kKmM]?)?$/.exec(value);
  if (!found && !/^[0-9]+(-[0-9]+(:[0-9]+)?)?(,[0-9]+(-[0-9]+(:[0-9]+)?)?)*$/.test(value)) {
    return 'This must be a number of nodes, such as 2, or a range, such as 2-4.';
  }
  if (found && Number(found[1]) === 0) {
    return 'A job needs at least one node.';
  }
  return found?.[2] && Number(found[2]) < Number(found[1]) ? 'The range ends before it begins.' : undefined;
}

function array(value: string): string | undefined {
  const part = '[0-9]{1,9}(?:-[0-9]{1,9}(?::[0-9]{1,9})?)?';
  const body = value.replace(/^\[(.*)\](%[0-9]+)?$/, '$1$2');
  if (!new RegExp(`^${part}(?:,${part})*(?:%[0-9]{1,9})?$`).test(body)) {
    return 'This is not a list of indices. Write it like 1-100, 1,3,5 or 0-99%10 (ten at a time).';
  }
  const isBackwards = [...body.matchAll(/([0-9]+)-([0-9]+)/g)].some(([, from, to]) => Number(to) < Number(from));
  if (isBackwards) {
    return 'A range of indices ends before it begins.';
  }
  return /:0+(,|%|$)/.test(body) || /%0+$/.test(body) ? 'A step or a limit must be at least 1.' : undefined;
}

function dependency(value: string): string | undefined {
  const job = '[0-9]+(?:_(?:[0-9]+|\\*))?';
  const one = new RegExp(
    `^(?:singleton|after(?::${job}(?:\\+[0-9]+)?)+|(?:afterany|afterburstbuffer|aftercorr|afternotok|afterok|expand)(?::${job})+)$`
  );
  if (value.includes(',') && value.includes('?')) {
    return 'Use either commas (all of them) or question marks (any of them).';
  }
  return value.split(/[,?]/).every(each => one.test(each))
    ? undefined
    : 'This is not a dependency. Write it like afterok:1234, or afterany:12:13 for several jobs.';
}

function gpus(value: string): string | undefined {
  const one = /^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*:)?[0-9]{1,6}$|^[A-Za-z][A-Za-z0-9_.-]*$/;
  return value.split(',').every(each => one.test(each))
    ? undefined
    : 'Write a number of GPUs, or a type and a number, such as v100:2.';
}

/** What Slurm writes mails about. */
export const MAIL_TYPES: readonly string[] = (
  'NONE BEGIN END FAIL REQUEUE ALL INVALID_DEPEND STAGE_OUT TIME_LIMIT TIME_LIMIT_90 TIME_LIMIT_80 ' +
  'TIME_LIMIT_50 ARRAY_TASKS'
).split(' ');

function mail(value: string): string | undefined {
  const wrong = value.split(',').find(each => !MAIL_TYPES.includes(each.trim().toUpperCase()));
  return wrong === undefined ? undefined : `Slurm writes no mail for "${wrong}". It knows BEGIN, END, FAIL, TIME_LIMIT_90 and ALL.`;
}

function moment(value: string): string | undefined {
  const clock = '[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[AaPp][Mm])?';
  const day = '(?:today|tomorrow|[0-9]{4}(?:[0-9]{2})?|[0-9]{1,2}[/.][0-9]{1,2}(?:[/.][0-9]{2,4})?|[0-9]{4}-[0-9]{2}-[0-9]{2})';
  const named = '(?:midnight|noon|fika|teatime|elevenses)';
  const later = 'now(?:[+-][0-9]+(?:seconds?|minutes?|hours?|days?|weeks?)?)?';
  const whole = new RegExp(`^(?:${later}|uts[0-9]+|${day}|${named}|${clock}|${day}[T ](?:${clock}|${named}))$`, 'i');
  return whole.test(value) && isInCalendar(value)
    ? undefined
    : 'This is not a moment. Write it like 20:00, tomorrow, now+2hours or 2026-12-01T08:00.';
}

/** Whether the numbers of a date and a clock time are possible. */
function isInCalendar(value: string): boolean {
  const [, hours = 0, minute = 0] = (/([0-9]+):([0-9]+)/.exec(value) ?? []).map(Number);
  const date = /^[0-9]{4}-([0-9]{2})-([0-9]{2})/.exec(value) ?? /^([0-9]{1,2})[/.]([0-9]{1,2})/.exec(value);
  const [, month = 1, day = 1] = (date ?? /^([0-9]{2})([0-9]{2})(?:[0-9]{2})?(?:T|$)/.exec(value) ?? []).map(Number);
  return hours <= 24 && minute < 60 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

function among(words: readonly string[], value: string): string | undefined {
  const known = words.map(each => each.toLowerCase());
  const wrong = value.split(',').find(each => !known.includes(each.toLowerCase()));
  return wrong === undefined ? undefined : `This may be ${words.join(', ')}.`;
}

/** Generic resources: a name, a type if there are several, and last a count. */
function gres(value: string): string | undefined {
  const count = '[0-9]+[kKmMgGtTpP]?';
  const one = new RegExp(`^[A-Za-z][\\w./-]*(?::(?!${count}:)[A-Za-z0-9_][\\w.-]*)?(?::${count})?(?:\\(\\w+:.*\\))?$`);
  const isRight = (each: string): boolean => one.test(each) && !/:[0-9]+\.[0-9]/.test(each);
  return value.split(',').every(isRight) ? undefined : 'Write a name and a number, such as gpu:2, or gpu:v100:2 for one type.';
}

function hosts(value: string): string | undefined {
  const rest = value.replace(/\[[0-9a-zA-Z,-]+\]/g, '');
  return /[[\]]/.test(rest) ? 'A bracket of this list of nodes is missing. Write it like node[01-04].' : undefined;
}

function switches(value: string): string | undefined {
  const [count = '', wait] = value.split('@');
  const isRight = /^[0-9]{1,9}$/.test(count) && (wait === undefined || minutes(wait) !== undefined);
  return isRight ? undefined : 'Write how many switches, and how long to wait for them, such as 1@10:00.';
}

function distribution(value: string): string | undefined {
  const way = '(?:\\*|block|cyclic|fcyclic)';
  const whole = new RegExp(`^(?:(?:\\*|block|cyclic|arbitrary|plane(?:=[0-9]+)?)(?::${way}){0,2})(?:,(?:No)?Pack)?$`, 'i');
  return whole.test(value) ? undefined : 'Write block, cyclic, plane=4 or arbitrary, for cores and sockets with colons, such as block:cyclic.';
}
