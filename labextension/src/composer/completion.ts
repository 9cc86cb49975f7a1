// What may stand at a place in a directive: options with what they mean, and what this user may give them. Pure.

import type { Known } from './lint';
import { byLetter, byName, type OptionInfo, OPTIONS } from './options';
import { type DirectiveLine, parse, type Span } from './script';
import { MAIL_TYPES } from './values';

/** Something that may be written; `about` is a sentence or "". */
export interface Candidate {
  label: string;
  insert: string;
  about: string;
}

/** Candidates for this part of the text. */
export interface Completion extends Span {
  candidates: Candidate[];
}

const NAME = /\s(-|--[\w-]*)$/;
const VALUE = /\s(?:--([\w-]+)(?:=|\s+)|-([A-Za-z])\s*)([^\s"']*)$/;

/** The candidates at this place; null outside of directives, and where nothing is known. */
export function complete(text: string, place: number, known: Known): Completion | null {
  const isHere = ({ span, isIgnored }: DirectiveLine): boolean => span.from < place && place <= span.to && !isIgnored;
  const line = parse(text).directives.find(isHere);
  if (!line) {
    return null;
  }
  const before = text.slice(line.span.from, place);
  return nameAt(before, place) ?? valueAt(before, place, known);
}

function nameAt(before: string, place: number): Completion | null {
  const written = NAME.exec(before)?.[1];
  if (written === undefined) {
    return null;
  }
  const found = OPTIONS.filter(each => `--${each.name}`.startsWith(written));
  return { from: place - written.length, to: place, candidates: found.map(asCandidate) };
}

function asCandidate({ name, kind, isOptional, about }: OptionInfo): Candidate {
  const takesValue = kind !== 'flag' && !isOptional;
  return { label: `--${name}`, insert: `--${name}${takesValue ? '=' : ''}`, about };
}

function valueAt(before: string, place: number, known: Known): Completion | null {
  const [, name, letter, written = ''] = VALUE.exec(before) ?? [];
  const info = name ? byName(name) : byLetter(letter ?? '');
  const part = written.slice(written.lastIndexOf(',') + 1);
  const found = (info ? values(info, known) : []).filter(each => each.toLowerCase().startsWith(part.toLowerCase()));
  const candidates = found.map(each => ({ label: each, insert: each, about: '' }));
  return candidates.length > 0 ? { from: place - part.length, to: place, candidates } : null;
}

/** The values that are known for an option. */
function values({ kind, words }: OptionInfo, known: Known): readonly string[] {
  switch (kind) {
    case 'partition':
      return (known.partitions ?? []).map(each => each.name);
    case 'account':
      return known.accounts ?? [];
    case 'qos':
      return known.qos ?? [];
    case 'reservation':
      return known.reservations ?? [];
    case 'mail':
      return MAIL_TYPES;
    case 'gpus':
      return gpuTypes(known).map(each => `${each}:1`);
    case 'gres':
      return gpuTypes(known).map(each => `gpu:${each}:1`);
    default:
      return words ?? [];
  }
}

function gpuTypes({ partitions }: Known): string[] {
  return [...new Set((partitions ?? []).flatMap(each => Object.keys(each.gpus)))].filter(each => each !== '');
}
