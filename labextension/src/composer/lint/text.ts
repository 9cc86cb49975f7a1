// Checks of the whole text: its first line, its line ends, and comments that look like directives.

import type { Script, Span } from '../script';
import { type Mark, mark } from './mark';
import { distance } from './spelling';

export function wholeText(script: Script): Mark[] {
  return [...firstLine(script), ...lineEnds(script), ...nulCharacters(script), ...lookAlikes(script)];
}

function firstLine({ text, lineBreak }: Script): Mark[] {
  const end = text.indexOf('\n');
  const first = { from: 0, to: end < 0 ? text.length : end };
  if (text.startsWith('\uFEFF#!')) {
    const message = 'The script begins with a byte order mark, so Slurm does not see its first line. Remove it.';
    return [mark(first, 'error', message, { label: 'Remove the mark', changes: [{ from: 0, to: 1, insert: '' }] })];
  }
  if (!text.startsWith('#!')) {
    const changes = [{ from: 0, to: 0, insert: `#!/bin/bash${lineBreak}` }];
    const message = 'Slurm wants the shell in the first line, such as #!/bin/bash.';
    return [mark(first, 'error', message, { label: 'Add #!/bin/bash', changes })];
  }
  const hasPath = /^#![ \t]*\//.test(text);
  return hasPath ? [] : [mark(first, 'error', 'The first line needs the whole path of the shell, such as #!/bin/bash.')];
}

function lineEnds({ text }: Script): Mark[] {
  const at = text.indexOf('\r\n');
  if (at < 0) {
    return [];
  }
  const changes = [...text.matchAll(/\r\n/g)].map(({ index }) => ({ from: index, to: index + 1, insert: '' }));
  const line = { from: at === 0 ? 0 : text.lastIndexOf('\n', at - 1) + 1, to: at };
  return [mark(line, 'error', 'Slurm refuses a script with line ends of Windows.', { label: 'Change the line ends', changes })];
}

function nulCharacters({ text }: Script): Mark[] {
  const at = text.indexOf('\0');
  return at < 0 ? [] : [mark({ from: at, to: at + 1 }, 'error', 'Slurm refuses a script with NUL characters.')];
}

const INDENTED = /^[ \t]+#SBATCH\b/i;
const COMMENT_WITH_OPTION = /^#[ \t]*([A-Za-z]{4,8})(?=[ \t]+--?[A-Za-z])/;

/** Comments that look like directives. Two # are a usual way to switch a directive off, so they are no mistake. */
function lookAlikes({ text, firstCommand }: Script): Mark[] {
  const marks: Mark[] = [];
  let from = 0;
  for (const line of text.slice(0, firstCommand ?? text.length).split('\n')) {
    const length = line.startsWith('#SBATCH') ? 0 : lookAlikeLength(line);
    if (length > 0) {
      const place: Span = { from, to: from + line.replace(/\r$/, '').length };
      const fix = { label: 'Make it a directive', changes: [{ from, to: from + length, insert: '#SBATCH' }] };
      marks.push(mark(place, 'warning', 'For Slurm this is a comment: a directive begins with #SBATCH.', fix));
    }
    from += line.length + 1;
  }
  return marks;
}

/** How much of the line stands for #SBATCH; 0 for an ordinary line. */
function lookAlikeLength(line: string): number {
  const indented = INDENTED.exec(line);
  if (indented) {
    return indented[0].length;
  }
  const [whole, word] = COMMENT_WITH_OPTION.exec(line) ?? ['', ''];
  const magic = (word ?? '').toUpperCase();
  return magic === 'SLURM' || distance(magic, 'SBATCH') <= 2 ? whole.length : 0;
}
