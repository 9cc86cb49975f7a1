// Where in a script a refusal of Slurm belongs. Pure.

import type { TestAnswer } from '../wire';
import { type Mark, mark } from './lint/mark';
import type { Script, Span } from './script';

/** The mark of a refusal: on the option that it is about, else on its line, else on the first line. */
export function refusalMark(script: Script, answer: Pick<TestAnswer, 'sentence' | 'options' | 'line'>): Mark {
  const named = answer.options.flatMap(name => script.options.filter(each => each.name === name || each.info?.short === name));
  return mark(named[0] ?? lineAt(script.text, answer.line ?? 1), 'error', answer.sentence);
}

function lineAt(text: string, number: number): Span {
  const before = text.split('\n').slice(0, number - 1);
  const from = before.reduce((sum, each) => sum + each.length + 1, 0);
  const end = text.indexOf('\n', from);
  return { from, to: end < 0 ? text.length : end };
}
