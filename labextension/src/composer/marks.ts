// Marks in an editor with a job script, as one types: underlined, with a sign beside the line, explained when the pointer or
// the keyboard gets there. F8 goes to the next mark, and Mod-. mends the one under the cursor.

import { type EditorState, type Extension, RangeSet, StateEffect, StateField } from '@codemirror/state';
import { type Command, Decoration, EditorView, gutter, GutterMarker, hoverTooltip, keymap, type Tooltip, ViewPlugin } from '@codemirror/view';

import { type Known, lint, type Mark } from './lint';
import { parse, type ScriptOption } from './script';

/** What an editor needs: the marks of its text, and the options in it. */
interface Checked {
  marks: readonly Mark[];
  options: readonly ScriptOption[];
}

const refused = StateEffect.define<Mark>();

/** Shows the refusal of Slurm and goes there. It stays until the text changes. */
export function showRefusal(view: EditorView, refusal: Mark): void {
  view.dispatch({ effects: refused.of(refusal), selection: { anchor: refusal.from }, scrollIntoView: true });
}

const knowsMore = StateEffect.define<null>();

/**
 * Marks for an editor; `known` is asked after each change for what the user may ask for, and again once `answered` is done:
 * a script may be open before Slurm has answered.
 */
export function marks(known: () => Known, answered?: Promise<unknown>): Extension {
  const check = (state: EditorState): Checked => {
    const script = parse(state.doc.toString());
    return { marks: lint(script, known()), options: script.options };
  };
  const checked = StateField.define<Checked>({
    create: check,
    update: (value, transaction) => {
      const isNew = transaction.docChanged || transaction.effects.some(each => each.is(knowsMore));
      const current = isNew ? check(transaction.state) : value;
      const found = transaction.effects.filter(each => each.is(refused)).map(each => each.value as Mark);
      return found.length > 0 ? { ...current, marks: [...found, ...current.marks] } : current;
    },
    provide: field => [
      EditorView.decorations.from(field, value => underlined(value.marks)),
      gutter({ class: 'jp-flatirons-gutter', markers: view => signs(view.state, view.state.field(field).marks) })
    ]
  });
  const go: Command = view => goToNext(view, view.state.field(checked).marks);
  const mend: Command = view => mendHere(view, view.state.field(checked).marks);
  return [
    checked,
    answered ? ViewPlugin.define(view => checkAgain(view, answered)) : [],
    hoverTooltip((view, place) => explanation(view.state.field(checked), place)),
    keymap.of([
      { key: 'F8', run: go },
      { key: 'Mod-.', run: mend }
    ])
  ];
}

function checkAgain(view: EditorView, answered: Promise<unknown>): { destroy: () => void } {
  let isGone = false;
  void answered.then(() => {
    if (!isGone) {
      view.dispatch({ effects: knowsMore.of(null) });
    }
  });
  return {
    destroy: () => {
      isGone = true;
    }
  };
}

function underlined(found: readonly Mark[]): RangeSet<Decoration> {
  const visible = found.filter(each => each.to > each.from);
  return Decoration.set(visible.map(each => Decoration.mark({ class: `jp-flatirons-${each.severity}` }).range(each.from, each.to)), true);
}

/** A sign beside a line; its text is for those who don't see it, too. */
class Sign extends GutterMarker {
  constructor(private readonly mark: Mark) {
    super();
  }

  toDOM(): Node {
    const node = document.createElement('span');
    node.className = `jp-flatirons-sign jp-flatirons-sign-${this.mark.severity}`;
    node.textContent = this.mark.severity === 'error' ? '✖' : '⚠';
    node.title = this.mark.message;
    return node;
  }
}

function signs(state: EditorState, found: readonly Mark[]): RangeSet<GutterMarker> {
  const byLine = new Map<number, Mark>();
  for (const each of found) {
    const { from } = state.doc.lineAt(each.from);
    const other = byLine.get(from);
    byLine.set(from, other?.severity === 'error' ? other : each);
  }
  return RangeSet.of([...byLine].map(([from, each]) => new Sign(each).range(from)), true);
}

/** What is wrong here, or what the option here means. */
function explanation({ marks, options }: Checked, place: number): Tooltip | null {
  const isHere = (each: { from: number; to: number }): boolean => each.from <= place && place <= each.to;
  const found = marks.filter(isHere);
  const option = options.find(isHere);
  if (found.length === 0 && !option?.info) {
    return null;
  }
  const create = (view: EditorView): { dom: HTMLElement } => {
    const dom = document.createElement('div');
    dom.className = 'jp-flatirons-explanation';
    dom.append(...found.map(each => paragraph(view, each)));
    if (option?.info) {
      dom.append(line(`--${option.info.name}: ${option.info.about}`));
    }
    return { dom };
  };
  return { pos: found[0]?.from ?? option?.from ?? place, create };
}

function line(text: string): HTMLElement {
  const node = document.createElement('p');
  node.textContent = text;
  return node;
}

function paragraph(view: EditorView, { message, fix }: Mark): HTMLElement {
  const node = line(message);
  if (fix) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = fix.label;
    button.addEventListener('click', () => view.dispatch({ changes: fix.changes }));
    node.append(' ', button);
  }
  return node;
}

function goToNext(view: EditorView, found: readonly Mark[]): boolean {
  const next = found.find(each => each.from > view.state.selection.main.head) ?? found[0];
  if (!next) {
    return false;
  }
  const label = next.fix ? ` Ctrl or Command and full stop: ${next.fix.label}.` : '';
  view.dispatch({
    selection: { anchor: next.from },
    scrollIntoView: true,
    effects: EditorView.announce.of(`${next.message}${label}`)
  });
  return true;
}

function mendHere(view: EditorView, found: readonly Mark[]): boolean {
  const { head } = view.state.selection.main;
  const fix = found.find(each => each.fix && each.from <= head && head <= each.to)?.fix;
  if (fix) {
    view.dispatch({ changes: fix.changes, effects: EditorView.announce.of(`Done: ${fix.label}.`) });
  }
  return fix !== undefined;
}
