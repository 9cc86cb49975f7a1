// A mark in a script: what the checks of this folder give back.

import type { Change, ScriptOption, Span } from '../script';

/** A mark in the text: `error` for what Slurm refuses, `warning` for what it does otherwise than one may think. */
export interface Mark extends Span {
  severity: 'error' | 'warning';
  message: string;
  /** A change that mends it, and what to call that. */
  fix?: Fix;
}

/** A change that mends a mistake; `label` is the text of its button. */
export interface Fix {
  label: string;
  changes: Change[];
}

/** The mark at this place. */
export function mark(span: Span, severity: Mark['severity'], message: string, fix?: Fix): Mark {
  return { from: span.from, to: span.to, severity, message, ...(fix ? { fix } : {}) };
}

/** An error at the option's value, or at the option if it has none. */
export function errorAtValue(option: ScriptOption, message: string, fix?: Fix): Mark {
  return mark(option.valueSpan ?? option, 'error', message, fix);
}
