// A job script as a language of CodeMirror: shell, in which the lines #SBATCH stand out.

import { StreamLanguage, type StreamParser, type StringStream } from '@codemirror/language';

const WORDS = new Set(
  ('if then else elif fi for while until do done case esac in function select time return exit break continue ' +
    'local export readonly declare unset shift trap source set cd echo exec eval wait module srun mpirun').split(' ')
);

/** What the parser knows at the end of a line: an open quote, and whether a command has been seen. */
interface State {
  quote: string;
  isDirective: boolean;
  hasCommand: boolean;
}

const parser: StreamParser<State> = {
  name: 'sbatch',
  startState: () => ({ quote: '', isDirective: false, hasCommand: false }),
  token: (stream, state) => {
    if (stream.sol()) {
      const isMagic = !state.quote && stream.match('#SBATCH');
      state.isDirective = Boolean(isMagic) && !state.hasCommand;
      if (isMagic) {
        return state.isDirective ? 'meta' : 'comment';
      }
    }
    return state.isDirective ? directiveToken(stream) : shellToken(stream, state);
  },
  languageData: { commentTokens: { line: '#' } }
};

function directiveToken(stream: StringStream): string | null {
  if (stream.eatSpace()) {
    return null;
  }
  if (stream.peek() === '#') {
    stream.skipToEnd();
    return 'comment';
  }
  if (stream.match(/^--?[A-Za-z][\w-]*/)) {
    return 'propertyName';
  }
  if (stream.match(/^=/)) {
    return 'operator';
  }
  stream.match(/^(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s=#"']+|.)/);
  return 'string';
}

function shellToken(stream: StringStream, state: State): string | null {
  if (state.quote) {
    return quotedToken(stream, state);
  }
  if (stream.eatSpace()) {
    return null;
  }
  if (stream.peek() === '#') {
    stream.skipToEnd();
    return 'comment';
  }
  state.hasCommand = true;
  if (stream.match(/^["']/)) {
    state.quote = stream.current();
    return quotedToken(stream, state);
  }
  if (stream.match(/^\$(?:\w+|\{[^}]*\}|[#?$!@*])/)) {
    return 'variableName.special';
  }
  if (stream.match(/^[\w./+-]+/)) {
    const word = stream.current();
    return WORDS.has(word) ? 'keyword' : /^[0-9]+$/.test(word) ? 'number' : word.startsWith('-') ? 'attributeName' : null;
  }
  return stream.match(/^[|&;<>=]+/) || stream.next() ? 'operator' : null;
}

/** The rest of a quoted text on this line. */
function quotedToken(stream: StringStream, state: State): string {
  let char: string | void;
  while ((char = stream.next())) {
    if (char === '\\' && state.quote === '"') {
      stream.next();
    } else if (char === state.quote) {
      state.quote = '';
      break;
    }
  }
  return 'string';
}

export const sbatchLanguage = StreamLanguage.define(parser);
