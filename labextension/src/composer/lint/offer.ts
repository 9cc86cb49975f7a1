// Checks against what this user may ask for.

import type { Script, ScriptOption } from '../script';
import { mebibytes, minutes } from '../values';
import { errorAtValue, type Mark } from './mark';

/** What this user may ask for; a list that is missing isn't checked. */
export interface Offer {
  partitions?: readonly PartitionOffer[];
  accounts?: readonly string[];
  qos?: readonly string[];
  reservations?: readonly string[];
}

/** A partition and the most that a job may ask for in it. */
export interface PartitionOffer {
  name: string;
  isDefault?: boolean;
  maxMinutes?: number | null;
  maxNodes?: number | null;
  maxCpus?: number | null;
  maxMemoryMib?: number | null;
}

export function bounds(script: Script, offer: Offer): Mark[] {
  const last = new Map(script.options.map(each => [each.name, each]));
  const marks: Mark[] = [];
  const among = (name: string, known: readonly string[] | undefined, what: string): void => {
    const option = last.get(name);
    const wrong = known && option?.value?.split(',').find(each => !known.includes(each));
    if (option && wrong) {
      const offered = known.length ? ` You can use ${known.slice(0, 6).join(', ')}.` : '';
      marks.push(errorAtValue(option, `There is no ${what} ${wrong} for you.${offered}`));
    }
  };
  among('partition', offer.partitions?.map(each => each.name), 'partition');
  among('account', offer.accounts, 'account');
  among('qos', offer.qos, 'QOS');
  among('reservation', offer.reservations, 'reservation');
  return [...marks, ...ofPartition(last, offer)];
}

function ofPartition(last: ReadonlyMap<string, ScriptOption>, offer: Offer): Mark[] {
  const names = last.get('partition')?.value?.split(',');
  const all = offer.partitions ?? [];
  const chosen = names ? all.filter(each => names.includes(each.name)) : all.filter(each => each.isDefault);
  if (chosen.length === 0) {
    return [];
  }
  const limits: [string, keyof PartitionOffer, (text: string) => number | undefined, (most: number) => string][] = [
    ['time', 'maxMinutes', minutes, most => `at most ${inWords(most)}`],
    ['nodes', 'maxNodes', text => Number(text.split('-')[0]), most => `at most ${most} nodes`],
    ['cpus-per-task', 'maxCpus', Number, most => `no node with more than ${most} cores`],
    ['mem', 'maxMemoryMib', mebibytes, most => `no node with more than ${Math.floor(most / 1024)}G of memory`]
  ];
  return limits.flatMap(([name, key, read, words]) => {
    const option = last.get(name);
    const asked = option?.value ? read(option.value) : undefined;
    const most = Math.max(...chosen.map(each => (each[key] as number | null | undefined) ?? Infinity));
    if (!option || asked === undefined || !(asked > most)) {
      return [];
    }
    const where = chosen.map(each => each.name).join(' and ');
    return [errorAtValue(option, `The partition ${where} has ${words(most)}.`)];
  });
}

function inWords(amount: number): string {
  return amount % 1440 === 0 ? `${amount / 1440} days` : amount % 60 === 0 ? `${amount / 60} hours` : `${amount} minutes`;
}
