// The scripts of wrong.txt and right.txt.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A script, and the number of its wrong line, 0 for a right one. `source` is its line in the file. */
export interface Case {
  source: string;
  text: string;
  wrongLine: number;
}

const SIGNS: [string, string][] = [
  ['␍', '\r'],
  ['␀', '\0'],
  ['␟', '\uFEFF'],
  ['⇥', '\t']
];
const HEAD = '#!/bin/bash⏎# a remark⏎';
const TAIL = '⏎⏎srun hostname⏎';

/** The cases of a file in this directory. */
export function corpus(name: 'wrong' | 'right'): Case[] {
  const lines = readFileSync(join(__dirname, `${name}.txt`), 'utf8').trimEnd().split('\n');
  return lines.filter(line => !line.startsWith('//')).map(line => read(line, name === 'wrong'));
}

function read(source: string, isWrong: boolean): Case {
  const marked = isWrong && !source.includes('▶') ? source.replace(/^\^?/, '$&▶') : source;
  const whole = marked.startsWith('^') ? marked.slice(1) : HEAD + marked + TAIL;
  const wrongLine = isWrong ? whole.slice(0, whole.indexOf('▶')).split('⏎').length : 0;
  const text = SIGNS.reduce((made, [sign, char]) => made.replaceAll(sign, char), whole.replace('▶', '').replaceAll('⏎', '\n'));
  return { source, text, wrongLine };
}
