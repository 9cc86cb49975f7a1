import { refusalMark } from '../refusal';
import { parse } from '../script';

const TEXT = '#!/bin/bash\n#SBATCH -p shas --mem-per-cpu=9T\nhostname\n';

/** The text that is marked. */
function marked(options: string[], line: number | null = null): string {
  const { from, to } = refusalMark(parse(TEXT), { sentence: 'No.', options, line });
  return TEXT.slice(from, to);
}

describe('the mark of a refusal', () => {
  it('is on the first option of those that the script has', () => {
    expect(marked(['mem', 'mem-per-cpu'])).toBe('--mem-per-cpu=9T');
    expect(marked(['p'])).toBe('-p shas');
  });

  it('is on the line that Slurm means, or else on the first', () => {
    expect(marked([], 3)).toBe('hostname');
    expect(marked(['qos'])).toBe('#!/bin/bash');
  });
});
