// Checks of one directive: the spelling of its options and their values.

import { type OptionInfo, OPTIONS } from '../options';
import { type DirectiveLine, removeOption, type Script, type ScriptOption, type Word } from '../script';
import { minutes, problem } from '../values';
import { errorAtValue, type Mark, mark } from './mark';
import { nearestOption } from './spelling';

export function ofDirective(script: Script, line: DirectiveLine): Mark[] {
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
  return [mark(word, 'error', 'This is no option. An option begins with - or --, and a value with blanks needs quotes.', fix)];
}

function ofOption(script: Script, option: ScriptOption): Mark[] {
  const { info, value } = option;
  if (!info) {
    return [unknown(option)];
  }
  if (info.kind === 'flag') {
    return value === null ? special(script, info, option) : [mark(option, 'error', `--${info.name} takes no value.`)];
  }
  if (value === null || value === '') {
    return info.isOptional && value === null ? special(script, info, option) : [mark(option, 'error', `--${info.name} needs a value.`)];
  }
  const wrong = unexpanded(info, value) ?? swallowed(script, option, value) ?? problem(info, value);
  return wrong ? [errorAtValue(option, wrong)] : [...special(script, info, option), ...ambiguousTime(option, info, value)];
}

function unknown(option: ScriptOption): Mark {
  const isLong = option.spelled.startsWith('--');
  const candidates = OPTIONS.filter(each => each.name.startsWith(option.name));
  if (isLong && candidates.length > 1) {
    const names = candidates.slice(0, 3).map(each => `--${each.name}`);
    return mark(option, 'error', `This may be ${names.join(', ')} or others: write the whole name.`);
  }
  const near = isLong ? nearestOption(option.name) : undefined;
  const place = { from: option.from, to: option.from + option.spelled.length };
  const fix = near ? { label: `Write --${near}`, changes: [{ ...place, insert: `--${near}` }] } : undefined;
  return mark(option, 'error', `sbatch has no option ${option.spelled}.${near ? ` Do you mean --${near}?` : ''}`, fix);
}

/** Slurm takes a directive literally: it is no shell. */
function unexpanded(info: OptionInfo, value: string): string | undefined {
  if (/\$[A-Za-z_{(]|`/.test(value)) {
    const instead = info.kind === 'path' ? ' In names of output files, %j is the job’s id, %u your name, and %x the job’s name.' : '';
    return `Slurm replaces no variables and commands in a directive.${instead}`;
  }
  return info.kind === 'path' && value.startsWith('~') ? 'Slurm does not know ~ in a directive. Write the whole path.' : undefined;
}

/** The next option, taken for the value of one that lacks its own. */
function swallowed(script: Script, option: ScriptOption, value: string): string | undefined {
  const isNextWord = /\s/.test(script.text[(option.valueSpan?.from ?? 0) - 1] ?? '');
  return isNextWord && /^--?[A-Za-z]/.test(value) ? `--${option.name} lacks its value, so Slurm takes ${value} for it.` : undefined;
}

const NOTHING_SUBMITTED = new Set(['help', 'usage', 'version', 'test-only']);

/** Options that are right and yet not what one may want. */
function special(script: Script, info: OptionInfo, option: ScriptOption): Mark[] {
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

/** A time such as 2:00 or 08:00, by which people mean hours. 30:00 is usual for minutes. */
function ambiguousTime(option: ScriptOption, info: OptionInfo, value: string): Mark[] {
  if (info.kind !== 'time' || !/^0?[0-9]:[0-9]{2}$/.test(value) || !option.valueSpan) {
    return [];
  }
  const fix = { label: `Write ${value}:00`, changes: [{ ...option.valueSpan, insert: `${value}:00` }] };
  return [mark(option.valueSpan, 'warning', `Slurm reads this as ${minutes(value)} minutes, not hours.`, fix)];
}
