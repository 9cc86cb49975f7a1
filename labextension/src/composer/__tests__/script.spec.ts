import fc from 'fast-check';

import { OPTIONS } from '../options';
import { apply, parse, quoted, removeOption, type Script, setOption } from '../script';

const values = (text: string): Record<string, string | null> =>
  Object.fromEntries(parse(text).options.map(each => [each.name, each.value]));

describe('parse', () => {
  it('reads options in every way of writing', () => {
    const text = [
      '#!/bin/bash',
      '#SBATCH --time=1:00:00 -N2 -n 4',
      '#SBATCH --mem 4G   # a remark with --qos=low',
      '#SBATCH --job-name="two words" -o out\\ put.txt',
      '#SBATCH -Hp shas',
      '#SBATCH --acco=ucb',
      '# SBATCH --nodes=9',
      ' #SBATCH --nodes=9',
      '',
      'srun hostname'
    ].join('\n');
    expect(values(text)).toEqual({
      time: '1:00:00',
      nodes: '2',
      ntasks: '4',
      mem: '4G',
      'job-name': 'two words',
      output: 'out put.txt',
      hold: null,
      partition: 'shas',
      account: 'ucb'
    });
  });

  it('knows that Slurm stops at the first command', () => {
    const script = parse('#!/bin/sh\n#SBATCH -t 5\necho\n#SBATCH --mem=1G\n');
    expect(script.options.map(each => each.name)).toEqual(['time']);
    expect(script.directives.map(each => each.isIgnored)).toEqual([false, true]);
    expect(script.firstCommand).toBe(23);
  });

  it('gives the place of each value', () => {
    const text = '#SBATCH --job-name="a b" -t5 -N 2';
    const spans = parse(text).options.map(each => text.slice(each.valueSpan?.from, each.valueSpan?.to));
    expect(spans).toEqual(['"a b"', '5', '2']);
  });

  it('keeps what is no option apart', () => {
    const [line] = parse('#SBATCH time=5 --nosuch=1 "open').directives;
    expect(line?.strays.map(each => [each.text, each.isOpen])).toEqual([
      ['time=5', false],
      ['open', true]
    ]);
    expect(line?.options[0]).toMatchObject({ name: 'nosuch', info: undefined });
  });
});

describe('edits', () => {
  const edited = (text: string, name: string, value: string | null): string =>
    apply(text, setOption(parse(text), name, value));

  it('change only the value', () => {
    expect(edited('#!/bin/sh\r\n#SBATCH -t 5  -N 2 # x\r\n', 'time', '10')).toBe(
      '#!/bin/sh\r\n#SBATCH -t 10  -N 2 # x\r\n'
    );
    expect(edited('#SBATCH --time=5\n#SBATCH -t 6\n', 'time', '7')).toBe('#SBATCH --time=5\n#SBATCH -t 7\n');
  });

  it('add a line below the last directive, or below the first line', () => {
    expect(edited('#!/bin/sh\n#SBATCH -t 5\n\nls', 'mem', '4G')).toBe('#!/bin/sh\n#SBATCH -t 5\n#SBATCH --mem=4G\n\nls');
    expect(edited('#!/bin/sh\r\nls\r\n', 'hold', null)).toBe('#!/bin/sh\r\n#SBATCH --hold\r\nls\r\n');
    expect(edited('ls', 'time', '5')).toBe('#SBATCH --time=5\nls');
    expect(edited('#!/bin/sh', 'time', '5')).toBe('#!/bin/sh\n#SBATCH --time=5');
  });

  it('remove an option, and its line if that has nothing else', () => {
    const removed = (text: string, name: string): string => apply(text, removeOption(parse(text), name));
    expect(removed('#!/bin/sh\n#SBATCH -t 5\nls\n', 'time')).toBe('#!/bin/sh\nls\n');
    expect(removed('#SBATCH -t 5 -N 2 # x\n', 'time')).toBe('#SBATCH -N 2 # x\n');
    expect(removed('#SBATCH -t 5 # x\n', 'time')).toBe('#SBATCH # x\n');
    expect(removed('#SBATCH -Hs -t5', 'hold')).toBe('#SBATCH -s -t5');
    expect(removed('#SBATCH -sH -t5', 'hold')).toBe('#SBATCH -s -t5');
    expect(removed('#!/bin/sh\r\n#SBATCH -t 5', 'time')).toBe('#!/bin/sh');
  });
});

// -- random scripts

const SEED = Number(process.env.FLATIRONS_SEED ?? '1');
const word = fc.oneof(
  fc.constantFrom('-t', '-N2', '-Hs', '--time=5', '--mem', '--job-name="a b"', "-J 'x y'", '--nosuch', '#', '\\', '"', '=', 'ä'),
  fc.string({ maxLength: 6 }),
  fc.constantFrom(...OPTIONS.map(each => `--${each.name}`))
);
const line = fc.oneof(
  { weight: 4, arbitrary: fc.array(word, { maxLength: 4 }).map(words => `#SBATCH ${words.join(' ')}`) },
  fc.constantFrom('', '# remark', ' #SBATCH -t 1', '#SBATCHx', '\t'),
  fc.string({ maxLength: 12 })
);
const scripts = fc
  .tuple(fc.constantFrom('', '\uFEFF', '#!/bin/bash'), fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'))
  .map(([first, rest, lineBreak]) => [first, ...rest].join(lineBreak));
const changed = fc.constantFrom('time', 'mem', 'job-name', 'array', 'output');
const setTo = fc.string({ minLength: 1, maxLength: 12 }).filter(text => !/[\n\r\0]/.test(text));
const options = (script: Script, without: string): string =>
  JSON.stringify(script.options.filter(each => each.name !== without).map(each => [each.name, each.spelled, each.value]));

describe('10,000 random scripts', () => {
  it('have options whose places hold what was read, in order', () => {
    fc.assert(
      fc.property(scripts, text => {
        const words = parse(text).directives.flatMap(each => each.words);
        const isInOrder = words.every((each, index) => each.from >= (words[index - 1]?.to ?? 0));
        return isInOrder && words.every(each => each.places.map(place => text[place]).join('') === each.text);
      }),
      { numRuns: 10_000, seed: SEED }
    );
  });

  it('stay as they are around an edit of one option', () => {
    fc.assert(
      fc.property(scripts, changed, setTo, (text, name, value) => {
        const script = parse(text);
        const changes = setOption(script, name, value);
        const result = apply(text, changes);
        const after = parse(result);
        const [change] = changes;
        return (
          result.startsWith(text.slice(0, change?.from)) &&
          result.endsWith(text.slice(change?.to ?? text.length)) &&
          options(after, name) === options(script, name) &&
          after.options.filter(each => each.name === name).at(-1)?.value === value
        );
      }),
      { numRuns: 10_000, seed: SEED }
    );
  });

  it('lose one option and nothing else when it is removed', () => {
    fc.assert(
      fc.property(scripts, changed, (text, name) => {
        const script = parse(text);
        const result = parse(apply(text, removeOption(script, name)));
        return options(result, name) === options(script, name) && !result.options.some(each => each.name === name);
      }),
      { numRuns: 10_000, seed: SEED }
    );
  });

  it('read a quoted value as it was', () => {
    fc.assert(fc.property(setTo, value => parse(`#SBATCH --x=${quoted(value)}`).directives[0]?.options[0]?.value === value));
  });
});
