import { lint } from '../lint';
import { parse } from '../script';
import { corpus } from './corpus';

const markedLines = (text: string): number[] => lint(parse(text)).map(each => text.slice(0, each.from).split('\n').length);

describe('the corpus', () => {
  it('has at least 200 scripts of each kind, none twice', () => {
    for (const cases of [corpus('wrong'), corpus('right')]) {
      expect(new Set(cases.map(each => each.text)).size).toBe(cases.length);
      expect(cases.length).toBeGreaterThanOrEqual(200);
    }
  });

  it('has at least 95 of 100 wrong scripts marked on the wrong line', () => {
    const wrong = corpus('wrong');
    const missed = wrong.filter(each => !markedLines(each.text).includes(each.wrongLine));
    expect(missed.length / wrong.length <= 0.05 ? [] : missed.map(each => each.source)).toEqual([]);
  });

  it('has no mark on a line that is right', () => {
    const stray = [...corpus('right'), ...corpus('wrong')].filter(each => markedLines(each.text).some(line => line !== each.wrongLine));
    expect(stray.map(each => each.source)).toEqual([]);
  });
});
