// Checks against what this user may ask for.

import type { Offer, PartitionOffer } from '../../wire';
import type { Script, ScriptOption } from '../script';
import { mebibytes, minutes } from '../values';
import { errorAtValue, type Mark } from './mark';

/** What is known of what this user may ask for. What is missing or null isn't checked. */
export type Known = Partial<Pick<Offer, 'partitions' | 'accounts' | 'qos' | 'reservations'>>;

type ByName = ReadonlyMap<string, ScriptOption>;

export function bounds(script: Script, known: Known): Mark[] {
  const last: ByName = new Map(script.options.map(each => [each.name, each]));
  return [
    ...among(last.get('partition'), known.partitions?.map(each => each.name), 'partition'),
    ...among(last.get('account'), known.accounts, 'account'),
    ...among(last.get('qos'), known.qos, 'QOS'),
    ...among(last.get('reservation'), known.reservations, 'reservation'),
    ...ofPartitions(last, known)
  ];
}

function among(option: ScriptOption | undefined, known: readonly string[] | null | undefined, what: string): Mark[] {
  const wrong = known ? option?.value?.split(',').find(each => !known.includes(each)) : undefined;
  if (!option || !known || wrong === undefined) {
    return [];
  }
  const offered = known.length ? ` You can use ${known.slice(0, 6).join(', ')}.` : '';
  return [errorAtValue(option, `There is no ${what} ${wrong} for you.${offered}`)];
}

/** A limit of partitions: the option that it is about, how its value is read, and how it is said. */
interface Limit {
  option: string;
  key: 'max_minutes' | 'max_nodes' | 'max_cpus' | 'max_memory_mib';
  read: (value: string) => number | undefined;
  words: (most: number) => string;
}

const LIMITS: readonly Limit[] = [
  { option: 'time', key: 'max_minutes', read: minutes, words: most => `lets a job run at most ${inWords(most)}` },
  { option: 'nodes', key: 'max_nodes', read: value => Number(value.split('-')[0]), words: most => `has at most ${most} nodes for a job` },
  { option: 'cpus-per-task', key: 'max_cpus', read: Number, words: most => `has no node with more than ${most} cores` },
  { option: 'mem', key: 'max_memory_mib', read: mebibytes, words: most => `has no node with more than ${most} MB of memory` }
];

function ofPartitions(last: ByName, known: Known): Mark[] {
  const names = last.get('partition')?.value?.split(',');
  const chosen = (known.partitions ?? []).filter(each => (names ? names.includes(each.name) : each.is_default));
  if (chosen.length === 0) {
    return [];
  }
  const where = `The partition ${chosen.map(each => each.name).join(' or ')}`;
  return [...LIMITS.flatMap(limit => beyond(last, chosen, limit, where)), ...notAdmitted(last, known, chosen, where)];
}

function beyond(last: ByName, chosen: readonly PartitionOffer[], { option: name, key, read, words }: Limit, where: string): Mark[] {
  const option = last.get(name);
  const asked = option?.value ? read(option.value) : undefined;
  const most = Math.max(...chosen.map(each => each[key] ?? Infinity));
  return option && asked !== undefined && asked > most ? [errorAtValue(option, `${where} ${words(most)}.`)] : [];
}

/** An account or QOS that the user has, but not in these partitions. */
function notAdmitted(last: ByName, known: Known, chosen: readonly PartitionOffer[], where: string): Mark[] {
  const lists = [['account', 'accounts', 'account'], ['qos', 'qos', 'QOS']] as const;
  return lists.flatMap(([name, key, word]) => {
    const option = last.get(name);
    const value = option?.value ?? '';
    const isAdmitted = chosen.some(each => each[key]?.includes(value) ?? true);
    return option && known[key]?.includes(value) && !isAdmitted ? [errorAtValue(option, `${where} does not take your ${word} ${value}.`)] : [];
  });
}

function inWords(amount: number): string {
  const [count, unit] = amount % 1440 === 0 ? [amount / 1440, 'day'] : amount % 60 === 0 ? [amount / 60, 'hour'] : [amount, 'minute'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
