// Checks of several options: those that exclude each other, need another, or are given twice.

import { removeOption, type Script, type ScriptOption } from '../script';
import { minutes } from '../values';
import { errorAtValue, type Mark, mark } from './mark';

type ByName = ReadonlyMap<string, ScriptOption>;

/** Options of which a job may have one. Source: sbatch(1). */
const EXCLUSIVE: readonly (readonly string[])[] = [
  ['mem', 'mem-per-cpu', 'mem-per-gpu'],
  ['core-spec', 'thread-spec'],
  ['cpus-per-task', 'cpus-per-gpu'],
  ['ntasks-per-gpu', 'gpus-per-task'],
  ['ntasks-per-gpu', 'gpus-per-socket'],
  ['ntasks-per-gpu', 'ntasks-per-node']
];

/** Options that need one of others beside them. Source: sbatch(1). */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  'gpus-per-task': ['ntasks', 'gpus', 'ntasks-per-node'],
  'gpus-per-socket': ['sockets-per-node', 'extra-node-info']
};

/** Each component of a heterogeneous job has options of its own. */
export function together(script: Script): Mark[] {
  const count = Math.max(0, ...script.options.map(each => each.line.component));
  const components = Array.from({ length: count + 1 }, (_, index) => script.options.filter(each => each.line.component === index));
  return components.flatMap(options => ofComponent(script, options));
}

function ofComponent(script: Script, options: readonly ScriptOption[]): Mark[] {
  const last: ByName = new Map(options.map(each => [each.name, each]));
  return [
    ...repeated(options, last),
    ...EXCLUSIVE.flatMap(names => exclusive(script, names, last)),
    ...Object.keys(NEEDS).flatMap(name => needs(name, last)),
    ...arrayOutput(last),
    ...shortestTime(last)
  ];
}

function repeated(options: readonly ScriptOption[], last: ByName): Mark[] {
  const overridden = options.filter(each => last.get(each.name) !== each && last.get(each.name)?.value !== each.value);
  return overridden.map(each => mark(each, 'warning', `--${each.name} is given again below, and the last one counts.`));
}

function exclusive(script: Script, names: readonly string[], last: ByName): Mark[] {
  const found = names.flatMap(name => last.get(name) ?? []).sort((one, other) => one.from - other.from);
  return found.slice(1).map(each => {
    const message = `--${each.name} excludes --${found[0]?.name}, which is there already.`;
    return mark(each, 'error', message, { label: 'Remove it', changes: removeOption(script, each.name) });
  });
}

function needs(name: string, last: ByName): Mark[] {
  const option = last.get(name);
  const others = NEEDS[name] ?? [];
  if (!option || others.some(each => last.has(each))) {
    return [];
  }
  return [mark(option, 'error', `--${name} needs ${others.map(each => `--${each}`).join(' or ')} beside it.`)];
}

function arrayOutput(last: ByName): Mark[] {
  const output = last.get('output');
  if (!last.has('array') || !output?.value || /%[0-9]*[aA]/.test(output.value) || output.value === '/dev/null') {
    return [];
  }
  return [mark(output, 'warning', 'All jobs of the array write into the same file. %A_%a stands for their ids.')];
}

function shortestTime(last: ByName): Mark[] {
  const [shortest, time] = ['time-min', 'time'].map(name => minutes(last.get(name)?.value ?? ''));
  const option = last.get('time-min');
  const isLonger = shortest !== undefined && time !== undefined && shortest > time;
  return option && isLonger ? [errorAtValue(option, '--time-min must not be longer than --time.')] : [];
}
