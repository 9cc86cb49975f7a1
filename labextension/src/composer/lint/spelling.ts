// How far apart two words are, to guess what somebody meant to write.

import { OPTIONS } from '../options';

/** How many letters must be typed anew, or two swapped, to get from one word to the other. */
export function distance(one: string, other: string): number {
  const rows: number[][] = [Array.from({ length: other.length + 1 }, (_, index) => index)];
  const cell = (row: number, column: number): number => rows[row]?.[column] ?? Infinity;
  for (let at = 1; at <= one.length; at++) {
    rows.push([at]);
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[at - 1] === other[column - 1];
      const isSwapped = one[at - 1] === other[column - 2] && one[at - 2] === other[column - 1];
      const ways = [cell(at, column - 1) + 1, cell(at - 1, column) + 1, cell(at - 1, column - 1) + (isSame ? 0 : 1)];
      rows[at]?.push(Math.min(...ways, isSwapped ? cell(at - 2, column - 2) + 1 : Infinity));
    }
  }
  return cell(one.length, other.length);
}

/** The name of an option that differs from this one by at most two letters; undefined if there is none. */
export function nearestOption(name: string): string | undefined {
  const lower = name.toLowerCase().replace(/_/g, '-');
  const ranked = OPTIONS.map(each => ({ name: each.name, distance: distance(lower, each.name) }));
  const best = ranked.sort((one, other) => one.distance - other.distance)[0];
  return best && best.distance <= 2 ? best.name : undefined;
}
