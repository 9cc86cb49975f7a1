import { complete } from '../completion';
import type { Known } from '../lint';

const KNOWN: Known = {
  partitions: [
    { name: 'shas', is_default: true, max_minutes: 60, max_nodes: 4, max_cpus: 24, max_memory_mib: 8192, gpus: { '': 2, v100: 2 }, accounts: null, qos: null }
  ],
  accounts: ['ucb-general', 'ucb-knl'],
  qos: ['normal', 'long'],
  reservations: null
};

/** The labels at the sign |. */
function labels(marked: string, known: Known = KNOWN): string[] | undefined {
  return complete(marked.replace('|', ''), marked.indexOf('|'), known)?.candidates.map(each => each.label);
}

describe('completion in a job script', () => {
  it('offers options with what they mean', () => {
    const found = complete('#SBATCH --ti', 12, KNOWN);
    expect(found).toMatchObject({ from: 8, to: 12 });
    expect(found?.candidates.map(each => each.insert)).toEqual(['--time=', '--time-min=']);
    expect(found?.candidates[0]?.about).toMatch(/^How long/);
    expect(labels('#SBATCH -N 2 -|')?.length).toBeGreaterThan(100);
    expect(complete('#SBATCH --hol', 13, KNOWN)?.candidates[0]?.insert).toBe('--hold');
  });

  it.each([
    ['#SBATCH --account=|', ['ucb-general', 'ucb-knl']],
    ['#SBATCH -A ucb-k|', ['ucb-knl']],
    ['#SBATCH -psh|', ['shas']],
    ['#SBATCH --qos l|', ['long']],
    ['#SBATCH --mail-type=END,fai|', ['FAIL']],
    ['#SBATCH --gres=|', ['gpu:v100:1']],
    ['#SBATCH --gpus=v|', ['v100:1']],
    ['#SBATCH --open-mode=|', ['append', 'truncate']]
  ])('offers what this user may give: %s', (text, expected) => {
    expect(labels(text)).toEqual(expected);
  });

  it.each(['# --ti|', 'ls\n#SBATCH --ti|', 'srun --ti|', '#SBATCH --reservation=|', '#SBATCH --job-name=|', '#SBATCH |'])('offers nothing in %s', text => {
    expect(labels(text)).toBeUndefined();
  });

  it('replaces only the part after the last comma', () => {
    const text = '#SBATCH --mail-type=END,F';
    expect(complete(text, text.length, KNOWN)).toMatchObject({ from: text.length - 1, to: text.length });
  });
});
