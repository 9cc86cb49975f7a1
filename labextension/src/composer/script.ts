// A job script and the options in it, with their places in the text. The text is the truth: an edit of one option is a small
// change of the text, and everything else stays as it is.
//
// sbatch reads lines that begin with #SBATCH up to the first command, splits them into words (quotes, backslashes, and # for
// the rest of the line), and hands the words to getopt_long. Source: src/sbatch/opt.c of Slurm 24.11.

import { byLetter, byName, type OptionInfo } from './options';

/** A part of the text, as offsets in UTF-16 units. */
export interface Span {
  from: number;
  to: number;
}

/** A replacement of a part of the text. */
export interface Change extends Span {
  insert: string;
}

/** A word of a directive. */
export interface Word extends Span {
  /** Without quotes and backslashes. */
  text: string;
  /** Where each character of `text` stands. */
  places: number[];
  /** Has it a quote that isn't closed? */
  isOpen: boolean;
}

/** An option in a directive. */
export interface ScriptOption extends Span {
  /** What is known of it; undefined for an option that sbatch doesn't have. */
  info: OptionInfo | undefined;
  /** The long name, or what is written if it isn't known. */
  name: string;
  /** As it is written, such as -t or --time. */
  spelled: string;
  /** The value without quotes, null without one. */
  value: string | null;
  valueSpan: Span | null;
  line: DirectiveLine;
}

/** A line that begins with #SBATCH. `span` has no line break. */
export interface DirectiveLine {
  span: Span;
  number: number;
  words: Word[];
  options: ScriptOption[];
  /** Words that aren't part of an option. */
  strays: Word[];
  /** Slurm doesn't read a directive below the first command. */
  isIgnored: boolean;
  /** Which part of a heterogeneous job it describes, from 0. */
  component: number;
}

export interface Script {
  text: string;
  directives: DirectiveLine[];
  /** The options that Slurm reads, in order. */
  options: ScriptOption[];
  /** Where the first command begins; null without one. */
  firstCommand: number | null;
  /** The line break that the text uses. */
  lineBreak: string;
}

const MAGIC = '#SBATCH';
const NEXT_COMPONENT = /^(hetjob|packjob)$/i;
const BYTE_ORDER_MARK = /^\uFEFF/;
const SPACE = /[ \t\v\f\r]/;

/** The script in this text. Never fails. */
export function parse(text: string): Script {
  const directives: DirectiveLine[] = [];
  let firstCommand: number | null = null;
  let number = 0;
  let component = 0;
  for (const span of lines(text)) {
    number += 1;
    const content = text.slice(span.from, span.to).replace(BYTE_ORDER_MARK, '');
    if (content.startsWith(MAGIC)) {
      const line = directive(text, span, number, { isIgnored: firstCommand !== null, component });
      component += line.strays.some(each => NEXT_COMPONENT.test(each.text)) ? 1 : 0;
      directives.push(line);
    } else if (firstCommand === null && /^[ \t\v\f\r]*[^ \t\v\f\r#]/.test(content)) {
      firstCommand = span.from;
    }
  }
  const options = directives.filter(line => !line.isIgnored).flatMap(line => line.options);
  return { text, directives, options, firstCommand, lineBreak: text.includes('\r\n') ? '\r\n' : '\n' };
}

function* lines(text: string): Generator<Span> {
  let from = 0;
  while (from < text.length) {
    const end = text.indexOf('\n', from);
    const to = end < 0 ? text.length : end;
    yield { from, to: to > from && text[to - 1] === '\r' ? to - 1 : to };
    from = to + 1;
  }
}

function directive(
  text: string,
  span: Span,
  number: number,
  where: Pick<DirectiveLine, 'isIgnored' | 'component'>
): DirectiveLine {
  const words = split(text, span.from + MAGIC.length, span.to);
  const line: DirectiveLine = { span, number, words, options: [], strays: [], ...where };
  for (let index = 0; index < words.length; ) {
    index = readOption(line, index);
  }
  return line;
}

/** The words of a part of the text, as sbatch splits them. */
export function split(text: string, from: number, to: number): Word[] {
  const words: Word[] = [];
  let at = from;
  for (;;) {
    while (at < to && SPACE.test(text[at] as string)) {
      at += 1;
    }
    if (at >= to || text[at] === '#') {
      return words;
    }
    const word = readWord(text, at, to);
    words.push(word);
    at = word.to;
  }
}

function readWord(text: string, from: number, to: number): Word {
  let quote = '';
  let content = '';
  const places: number[] = [];
  const keep = (place: number): void => {
    content += text[place];
    places.push(place);
  };
  let at = from;
  for (; at < to; at++) {
    const char = text[at] as string;
    if (char === '\\' && at + 1 < to) {
      at += 1;
      keep(at);
    } else if (quote) {
      if (char === quote) {
        quote = '';
      } else {
        keep(at);
      }
    } else if (char === '"' || char === "'") {
      quote = char;
    } else if (char === '#' || SPACE.test(char)) {
      break;
    } else {
      keep(at);
    }
  }
  return { from, to: at, text: content, places, isOpen: quote !== '' };
}

/** Reads the option at this word; returns the index of the next word that is unread. */
function readOption(line: DirectiveLine, index: number): number {
  const word = line.words[index] as Word;
  if (word.text.startsWith('--') && word.text.length > 2) {
    return readLong(line, index, word);
  }
  if (word.text.startsWith('-') && word.text.length > 1) {
    return readShort(line, index, word);
  }
  line.strays.push(word);
  return index + 1;
}

function readLong(line: DirectiveLine, index: number, word: Word): number {
  const equals = word.text.indexOf('=');
  const written = equals < 0 ? word.text : word.text.slice(0, equals);
  const info = byName(written.slice(2));
  const next = line.words[index + 1];
  const made = { info, name: info?.name ?? written.slice(2), spelled: written, line, from: word.from };
  if (equals >= 0) {
    const valueSpan = { from: after(word, equals + 1), to: word.to };
    line.options.push({ ...made, to: word.to, value: word.text.slice(equals + 1), valueSpan });
    return index + 1;
  }
  if (info && info.kind !== 'flag' && !info.isOptional && next) {
    line.options.push({ ...made, to: next.to, value: next.text, valueSpan: { from: next.from, to: next.to } });
    return index + 2;
  }
  line.options.push({ ...made, to: word.to, value: null, valueSpan: null });
  return index + 1;
}

function readShort(line: DirectiveLine, index: number, word: Word): number {
  for (let at = 1; at < word.text.length; at++) {
    const letter = word.text[at] as string;
    const info = byLetter(letter);
    const from = at === 1 ? word.from : after(word, at);
    const made = { info, name: info?.name ?? letter, spelled: `-${letter}`, line, from };
    if (!info || info.kind === 'flag') {
      const to = at === word.text.length - 1 ? word.to : after(word, at + 1);
      line.options.push({ ...made, to, value: null, valueSpan: null });
      continue;
    }
    const rest = word.text.slice(at + 1);
    const next = line.words[index + 1];
    if (rest || info.isOptional || !next) {
      const valueSpan = rest ? { from: after(word, at + 1), to: word.to } : null;
      line.options.push({ ...made, to: word.to, value: rest || null, valueSpan });
      return index + 1;
    }
    line.options.push({ ...made, to: next.to, value: next.text, valueSpan: { from: next.from, to: next.to } });
    return index + 2;
  }
  return index + 1;
}

/** Where the text goes on after the first `count` characters of a word's content. */
function after(word: Word, count: number): number {
  return (word.places[count - 1] ?? word.from - 1) + 1;
}

// -- edits

/** Gives an option this value (null for a flag), or adds it. The last of several counts, so that is changed. */
export function setOption(script: Script, name: string, value: string | null): Change[] {
  const present = script.options.filter(each => each.name === name).at(-1);
  if (!present) {
    return [addition(script, name, value)];
  }
  if (value === present.value) {
    return [];
  }
  if (value !== null && present.valueSpan) {
    return [{ ...present.valueSpan, insert: quoted(value) }];
  }
  const insert = value === null ? present.spelled : `--${present.name}=${quoted(value)}`;
  return [{ from: present.from, to: present.to, insert }];
}

/** Removes an option wherever Slurm reads it; a line that has nothing else goes with it. */
export function removeOption(script: Script, name: string): Change[] {
  const changes: Change[] = [];
  for (const line of script.directives.filter(each => !each.isIgnored)) {
    const removed = line.options.filter(each => each.name === name);
    if (removed.length === 0) {
      continue;
    }
    const rest = script.text.slice(line.words.at(-1)?.to, line.span.to).trim();
    const isAll = removed.length === line.options.length && line.strays.length === 0 && rest === '';
    changes.push(...(isAll ? [wholeLine(script.text, line.span)] : removed.map(each => cut(script.text, each))));
  }
  return changes;
}

/** The text after these changes, which don't overlap. */
export function apply(text: string, changes: readonly Change[]): string {
  const ordered = [...changes].sort((one, other) => other.from - one.from);
  return ordered.reduce((result, each) => result.slice(0, each.from) + each.insert + result.slice(each.to), text);
}

/** A value as it is written in a directive. */
export function quoted(value: string): string {
  return /^[^\s'"\\#]+$/.test(value) ? value : `"${value.replace(/(["\\])/g, '\\$1')}"`;
}

function addition(script: Script, name: string, value: string | null): Change {
  const line = `${MAGIC} --${name}${value === null ? '' : `=${quoted(value)}`}`;
  const last = script.directives.filter(each => !each.isIgnored).at(-1);
  const hasShebang = script.text.startsWith('#!');
  const first = script.text.indexOf('\n');
  const shebangEnd = first < 0 ? script.text.length : first - (script.text[first - 1] === '\r' ? 1 : 0);
  if (last || hasShebang) {
    const at = last ? last.span.to : shebangEnd;
    return { from: at, to: at, insert: `${script.lineBreak}${line}` };
  }
  return { from: 0, to: 0, insert: `${line}${script.lineBreak}` };
}

function wholeLine(text: string, span: Span): Span & Change {
  const end = text.indexOf('\n', span.from);
  if (end >= 0) {
    return { from: span.from, to: end + 1, insert: '' };
  }
  const before = text[span.from - 1] === '\n' ? (text[span.from - 2] === '\r' ? 2 : 1) : 0;
  return { from: span.from - before, to: text.length, insert: '' };
}

/** The option and the space before it; in a bundle of letters only its own. */
function cut(text: string, option: ScriptOption): Change {
  if (option.spelled.startsWith('-') && !option.spelled.startsWith('--') && text[option.from] !== '-') {
    return { from: option.from, to: option.to, insert: '' };
  }
  const isBundled = option.to < option.line.span.to && !SPACE.test(text[option.to] as string) && text[option.to] !== '#';
  if (isBundled) {
    return { from: option.from + 1, to: option.to, insert: '' };
  }
  let from = option.from;
  while (from > option.line.span.from + MAGIC.length && SPACE.test(text[from - 1] as string)) {
    from -= 1;
  }
  return { from, to: option.to, insert: '' };
}
