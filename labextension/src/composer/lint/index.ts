// What is wrong with a script before it is submitted: marks with their places, pure.
//
// text       the first line, line ends, comments that look like directives
// directive  one directive: the spelling of options, their values
// together   several options: they exclude each other, need another, are given twice
// offer      what this user may ask for

import type { Script } from '../script';
import { ofDirective } from './directive';
import type { Mark } from './mark';
import { bounds, type Known } from './offer';
import { wholeText } from './text';
import { together } from './together';

export type { Mark } from './mark';
export type { Known } from './offer';

/** All marks of a script, in the order of the text. */
export function lint(script: Script, known: Known = {}): Mark[] {
  const directives = script.directives.flatMap(line => ofDirective(script, line));
  const marks = [...wholeText(script), ...directives, ...together(script), ...bounds(script, known)];
  return marks.sort((one, other) => one.from - other.from);
}
