import type { PartitionOffer } from '../../wire';
import { type Known, lint } from '../lint';
import { apply, parse } from '../script';

const marks = (text: string, known?: Known): [number, string][] =>
  lint(parse(text), known).map(each => [text.slice(0, each.from).split('\n').length, each.severity]);

const SHAS: PartitionOffer = {
  name: 'shas',
  is_default: true,
  max_minutes: 60,
  max_nodes: 4,
  max_cpus: 24,
  max_memory_mib: 8192,
  gpus: {},
  accounts: ['ucb'],
  qos: null
};
const HEAD = '#!/bin/bash\n';

describe('lint', () => {
  it.each([
    '#SBATCH -t 1-12:00:00 -N 2-4 --mem=4G',
    '#SBATCH --array=0-99%10 --output=out-%A_%a.txt',
    '#SBATCH --array=[1,3-9:2]%4',
    '#SBATCH --dependency=afterok:12:13,singleton',
    '#SBATCH --mail-type=END,FAIL --gres=gpu:v100:2',
    '#SBATCH --gpus=a100:2 --begin=now+2hours',
    '#SBATCH --exclusive --nice --hold --acco=ucb',
    '#SBATCH -n4 -c 2 # two cores each',
    '##SBATCH --mem=oops',
    '#SBATCH hetjob'
  ])('marks nothing in %s', line => {
    expect(marks(`${HEAD}${line}\nsrun hostname\n`)).toEqual([]);
  });

  it.each([
    ['#SBATCH --tiem=5', 'error'],
    ['#SBATCH -t 2h', 'error'],
    ['#SBATCH --time=2:00', 'warning'],
    ['#SBATCH --mem=4 G', 'error'],
    ['#SBATCH --mem=1.5G', 'error'],
    ['#SBATCH --nodes=two', 'error'],
    ['#SBATCH -N 4-2', 'error'],
    ['#SBATCH --array=9-1', 'error'],
    ['#SBATCH --hold=1', 'error'],
    ['#SBATCH --partition', 'error'],
    ['#SBATCH time=5', 'error'],
    ['#SBATCH --comment="open', 'error'],
    ['# SBATCH --time=5', 'warning'],
    ['#sbatch -t 5', 'warning'],
    [' #SBATCH -t 5', 'warning'],
    ['#SBATCH --nt=5', 'error'],
    ['#SBATCH --mem=1G --mem-per-cpu=1G', 'error'],
    ['#SBATCH --mail-type=DONE', 'error'],
    ['#SBATCH --dependency=later:12', 'error'],
    ['#SBATCH --test-only', 'warning']
  ])('marks %s', (line, severity) => {
    expect(marks(`${HEAD}# a remark\n${line}\nls\n`)).toEqual([[3, severity]]);
  });

  it('marks what Slurm ignores, and what stands in the wrong place', () => {
    expect(marks(`${HEAD}ls\n#SBATCH -t 5\n`)).toEqual([[3, 'warning']]);
    expect(marks('#SBATCH -t 5\n')).toEqual([[1, 'error']]);
    expect(marks(`${HEAD.trim()}\r\n#SBATCH -t 5\r\n`)).toEqual([[1, 'error']]);
  });

  it('knows what this user may ask for', () => {
    const known: Known = { partitions: [SHAS, { ...SHAS, name: 'sknl', is_default: false, accounts: ['knl'] }], accounts: ['ucb', 'knl'] };
    expect(marks(`${HEAD}#SBATCH -p shas -t 60 -A ucb --mem=8G\n`, known)).toEqual([]);
    expect(marks(`${HEAD}#SBATCH -p knl\n#SBATCH -A other\n`, known)).toEqual([[2, 'error'], [3, 'error']]);
    expect(marks(`${HEAD}#SBATCH -t 61\n#SBATCH --mem=9G\n`, known)).toEqual([[2, 'error'], [3, 'error']]);
    expect(marks(`${HEAD}#SBATCH -p sknl\n#SBATCH -A ucb\n`, known)).toEqual([[3, 'error']]);
    expect(marks(`${HEAD}#SBATCH -p any -A any -t 9-0\n`, { partitions: null, accounts: null })).toEqual([]);
  });

  it('mends what it marks', () => {
    const text = '#SBATCH --tiem=5 -t 2:00\r\nls\r\n';
    const mended = (script: string): string => {
      const fix = lint(parse(script)).find(each => each.fix)?.fix;
      return fix ? mended(apply(script, fix.changes)) : script;
    };
    expect(mended(text)).toBe('#!/bin/bash\n#SBATCH --time=5 -t 2:00:00\nls\n');
  });
});
