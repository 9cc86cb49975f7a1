// What is wrong with a script before it is submitted: marks with their places, pure.

import { type OptionInfo, OPTIONS } from './options';
import { type Change, type DirectiveLine, removeOption, type Script, type ScriptOption, type Span, type Word } from './script';
import { mebibytes, minutes, problem } from './values';

/** A mark in the text: `error` for what Slurm refuses, `warning` for what it does otherwise than one may think. */
export interface Mark extends Span {
  severity: 'error' | 'warning';
  message: string;
  /** A change that mends it, and what to call that. */
  fix?: { label: string; changes: Change[] };
}

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

/** All marks of a script, in the order of the text. */
export function lint(script: Script, offer: Offer = {}): Mark[] {
  const marks = [
    ...wholeText(script),
    ...script.directives.flatMap(line => ofLine(script, line)),
    ...lookAlikes(script),
    ...together(script),
    ...bounds(script, offer)
  ];
  return marks.sort((one, other) => one.from - other.from);
}

function mark(span: Span, severity: Mark['severity'], message: string, fix?: Mark['fix']): Mark {
  return { from: span.from, to: span.to, severity, message, ...(fix ? { fix } : {}) };
}

// -- the text

function wholeText({ text, lineBreak }: Script): Mark[] {
  const marks: Mark[] = [];
  const end = text.indexOf('\n');
  const first = { from: 0, to: end < 0 ? text.length : end };
  if (!text.startsWith('#!')) {
    const isMarked = text.startsWith('\uFEFF#!');
    const fix = isMarked
      ? { label: 'Remove the mark', changes: [{ from: 0, to: 1, insert: '' }] }
      : { label: 'Add #!/bin/bash', changes: [{ from: 0, to: 0, insert: `#!/bin/bash${lineBreak}` }] };
    const message = isMarked
      ? 'The script begins with a byte order mark, so Slurm does not see its first line. Remove it.'
      : 'Slurm wants the shell in the first line, such as #!/bin/bash.';
    marks.push(mark(first, 'error', message, fix));
  }
  const dos = text.indexOf('\r\n');
  if (dos >= 0) {
    const changes = [...text.matchAll(/\r\n/g)].map(({ index }) => ({ from: index, to: index + 1, insert: '' }));
    const message = 'Slurm refuses a script with line ends of Windows.';
    marks.push(mark({ from: text.lastIndexOf('\n', dos - 1) + 1, to: dos }, 'error', message, { label: 'Change the line ends', changes }));
  }
  const nul = text.indexOf('\0');
  if (nul >= 0) {
    marks.push(mark({ from: nul, to: nul + 1 }, 'error', 'Slurm refuses a script with NUL characters.'));
  }
  return marks;
}

const LOOKS_ALIKE = /^(?:[ \t]+#SBATCH\b|#[ \t]*SBATCH\b(?=[ \t]+-))/i;

/** Comments that look like directives. Two # are a usual way to switch a directive off, so they are no mistake. */
function lookAlikes({ text, firstCommand }: Script): Mark[] {
  const marks: Mark[] = [];
  const until = firstCommand ?? text.length;
  let from = 0;
  for (const line of text.slice(0, until).split('\n')) {
    const found = LOOKS_ALIKE.exec(line);
    if (found && !line.startsWith('#SBATCH')) {
      const place = { from, to: from + line.replace(/\r$/, '').length };
      const changes = [{ from, to: from + found[0].length, insert: '#SBATCH' }];
      marks.push(mark(place, 'warning', 'For Slurm this is a comment: a directive begins with #SBATCH.', { label: 'Make it a directive', changes }));
    }
    from += line.length + 1;
  }
  return marks;
}

// -- one directive

function ofLine(script: Script, line: DirectiveLine): Mark[] {
  if (line.isIgnored) {
    return [mark(line.span, 'warning', 'Slurm ignores this: directives must stand above the first command.')];
  }
  const open = line.words.find(each => each.isOpen);
  if (open) {
    return [mark(open, 'error', 'A quote is opened and not closed.')];
  }
  return [...line.strays.flatMap(ofStray), ...line.options.flatMap(each => ofOption(script, each))];
}

function ofStray(word: Word): Mark[] {
  if (/^(hetjob|packjob)$/i.test(word.text)) {
    return [];
  }
  const name = /^[a-z-]+/.exec(word.text)?.[0] ?? '';
  const meant = OPTIONS.find(each => each.name === name);
  const fix = meant ? { label: `Write --${word.text}`, changes: [{ from: word.from, to: word.from, insert: '--' }] } : undefined;
  return [mark(word, 'error', 'This is no option. An option begins with - or --.', fix)];
}

function ofOption(script: Script, option: ScriptOption): Mark[] {
  const { info, value } = option;
  if (!info) {
    return [unknown(option)];
  }
  if (info.kind === 'flag') {
    return value === null ? about(script, info, option) : [mark(option, 'error', `--${info.name} takes no value.`)];
  }
  if (value === null || value === '') {
    return info.isOptional && value === null ? about(script, info, option) : [mark(option, 'error', `--${info.name} needs a value.`)];
  }
  const wrong = problem(info.kind, value);
  if (wrong) {
    return [mark(option.valueSpan ?? option, 'error', wrong)];
  }
  return [...about(script, info, option), ...ambiguous(option, info, value)];
}

function unknown(option: ScriptOption): Mark {
  const candidates = OPTIONS.filter(each => each.name.startsWith(option.name));
  if (option.spelled.startsWith('--') && candidates.length > 1) {
    const names = candidates.slice(0, 3).map(each => `--${each.name}`);
    return mark(option, 'error', `This may be ${names.join(', ')} or others: write the whole name.`);
  }
  const near = option.spelled.startsWith('--') ? nearest(option.name) : undefined;
  const place = { from: option.from, to: option.from + option.spelled.length };
  const fix = near ? { label: `Write --${near}`, changes: [{ ...place, insert: `--${near}` }] } : undefined;
  return mark(option, 'error', `sbatch has no option ${option.spelled}.${near ? ` Do you mean --${near}?` : ''}`, fix);
}

function nearest(name: string): string | undefined {
  const lower = name.toLowerCase().replace(/_/g, '-');
  const ranked = OPTIONS.map(each => ({ name: each.name, distance: distance(lower, each.name) }));
  const best = ranked.sort((one, other) => one.distance - other.distance)[0];
  return best && best.distance <= 2 ? best.name : undefined;
}

/** How many letters must be typed anew, or two swapped, to get from one name to the other. */
function distance(one: string, other: string): number {
  const rows: number[][] = [Array.from({ length: other.length + 1 }, (_, index) => index)];
  const cell = (row: number, column: number): number => rows[row]?.[column] ?? Infinity;
  for (let at = 1; at <= one.length; at++) {
    rows.push([at]);
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[at - 1] === other[column - 1];
      const isSwapped = one[at - 1] === other[column - 2] && one[at - 2] === other[column - 1];
      const ways = [cell(at, column - 1) + 1, cell(at - 1, column) + 1, cell(at - 1, column - 1) + (isSame ? 0 : 1)];
      rows[at]?.push(Math.min(...ways, isSwapped ? cell(at - 2, column - 2) + 1 : Infinity));
    }
  }
  return cell(one.length, other.length);
}

const NOTHING_SUBMITTED = new Set(['help', 'usage', 'version', 'test-only']);

/** Options that are right and yet not what one may want. */
function about(script: Script, info: OptionInfo, option: ScriptOption): Mark[] {
  const fix = { label: 'Remove it', changes: removeOption(script, info.name) };
  if (NOTHING_SUBMITTED.has(info.name)) {
    return [mark(option, 'warning', `With --${info.name} nothing is submitted.`, fix)];
  }
  if (info.name === 'wrap') {
    return [mark(option, 'error', '--wrap takes the place of a script, and can not be used in one.', fix)];
  }
  if (info.name === 'get-user-env') {
    return [mark(option, 'warning', 'Slurm 25.05 and later refuse --get-user-env.', fix)];
  }
  return [];
}

function ambiguous(option: ScriptOption, info: OptionInfo, value: string): Mark[] {
  if (info.kind !== 'time' || !/^[0-9]+:[0-9]{2}$/.test(value) || !option.valueSpan) {
    return [];
  }
  const fix = { label: `Write ${value}:00`, changes: [{ ...option.valueSpan, insert: `${value}:00` }] };
  const amount = minutes(value);
  return [mark(option.valueSpan, 'warning', `Slurm reads this as ${amount} minutes, not hours.`, fix)];
}

// -- several options

const EXCLUSIVE = ['mem', 'mem-per-cpu', 'mem-per-gpu'];

function together(script: Script): Mark[] {
  const marks: Mark[] = [];
  const last = new Map(script.options.map(each => [each.name, each]));
  for (const each of script.options) {
    const winner = last.get(each.name);
    if (winner && winner !== each && winner.value !== each.value) {
      marks.push(mark(each, 'warning', `--${each.name} is given again below, and the last one counts.`));
    }
  }
  const memory = EXCLUSIVE.flatMap(name => last.get(name) ?? []).sort((one, other) => one.from - other.from);
  for (const each of memory.slice(1)) {
    const message = `Give the memory by one option: --${memory[0]?.name} is there already.`;
    marks.push(mark(each, 'error', message, { label: 'Remove it', changes: removeOption(script, each.name) }));
  }
  const output = last.get('output');
  if (last.has('array') && output?.value && !/%[0-9]*[aA]/.test(output.value) && output.value !== '/dev/null') {
    marks.push(mark(output, 'warning', 'All jobs of the array write into the same file. %A_%a stands for their ids.'));
  }
  return marks;
}

// -- what this user may ask for

function bounds(script: Script, offer: Offer): Mark[] {
  const last = new Map(script.options.map(each => [each.name, each]));
  const marks: Mark[] = [];
  const among = (name: string, known: readonly string[] | undefined, what: string): void => {
    const option = last.get(name);
    const wrong = known && option?.value?.split(',').find(each => !known.includes(each));
    if (option && wrong) {
      const offered = known.length ? ` You can use ${known.slice(0, 6).join(', ')}.` : '';
      marks.push(mark(option.valueSpan ?? option, 'error', `There is no ${what} ${wrong} for you.${offered}`));
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
    return [mark(option.valueSpan ?? option, 'error', `The partition ${where} has ${words(most)}.`)];
  });
}

function inWords(amount: number): string {
  return amount % 1440 === 0 ? `${amount / 1440} days` : amount % 60 === 0 ? `${amount / 60} hours` : `${amount} minutes`;
}
