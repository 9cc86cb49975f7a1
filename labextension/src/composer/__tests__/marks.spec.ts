import { ensureSyntaxTree } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, runScopeHandlers } from '@codemirror/view';

import { sbatchLanguage } from '../language';
import { type Known } from '../lint';
import { marks, showRefusal } from '../marks';

const TEXT = '#!/bin/bash\n#SBATCH --tiem=5\n#SBATCH -N 1 # one\nhostname\n';

function editor(doc: string, known: Known = {}): EditorView {
  return new EditorView({ doc, extensions: [sbatchLanguage, marks(() => known)], parent: document.body });
}

function press(view: EditorView, key: string, ctrlKey = false): boolean {
  return runScopeHandlers(view, new KeyboardEvent('keydown', { key, ctrlKey }), 'editor');
}

describe('an editor with a job script', () => {
  it('underlines what is wrong, and stops when it is mended', () => {
    const view = editor(TEXT);
    expect(view.dom.querySelector('.jp-flatirons-error')?.textContent).toBe('--tiem=5');
    view.dispatch({ changes: { from: TEXT.indexOf('tiem'), to: TEXT.indexOf('tiem') + 4, insert: 'time' } });
    expect(view.dom.querySelector('.jp-flatirons-error')).toBeNull();
  });

  it('is used by keyboard alone', () => {
    const view = editor(TEXT);
    expect(press(view, 'F8')).toBe(true);
    expect(view.state.selection.main.head).toBe(TEXT.indexOf('--tiem'));
    expect(press(view, '.', true)).toBe(true);
    expect(view.state.doc.toString()).toBe(TEXT.replace('tiem', 'time'));
    expect(press(view, 'F8')).toBe(false);
  });

  it('is checked again when Slurm answers while it is open', async () => {
    let known: Known = {};
    const answered = Promise.resolve().then(() => {
      known = { accounts: ['ucb'] };
    });
    const extensions = [sbatchLanguage, marks(() => known, answered)];
    const view = new EditorView({ doc: '#!/bin/bash\n#SBATCH -A other\n', extensions, parent: document.body });
    expect(view.dom.querySelector('.jp-flatirons-error')).toBeNull();
    await answered;
    await Promise.resolve();
    expect(view.dom.querySelector('.jp-flatirons-error')?.textContent).toBe('other');
  });

  it('checks what this user may ask for', () => {
    const view = editor('#!/bin/bash\n#SBATCH -A other\n', { accounts: ['ucb'] });
    expect(view.dom.querySelector('.jp-flatirons-error')?.textContent).toBe('other');
  });

  it('shows the refusal of Slurm until the text changes', () => {
    const view = editor('#!/bin/bash\n#SBATCH -p shas\n');
    showRefusal(view, { from: 20, to: 27, severity: 'error', message: 'There is no such partition.' });
    expect(view.dom.querySelector('.jp-flatirons-error')?.textContent).toBe('-p shas');
    expect(view.state.selection.main.head).toBe(20);
    view.dispatch({ changes: { from: 27, insert: 'x' } });
    expect(view.dom.querySelector('.jp-flatirons-error')).toBeNull();
  });

  it('reads directives apart from comments, and those below a command as comments', () => {
    const state = EditorState.create({ doc: `${TEXT}#SBATCH -t 5\n`, extensions: [sbatchLanguage] });
    const names: string[] = [];
    ensureSyntaxTree(state, state.doc.length)?.iterate({
      enter: node => void names.push(`${node.name} ${state.sliceDoc(node.from, node.to)}`)
    });
    expect(names.filter(each => each.includes('#'))).toEqual(
      expect.arrayContaining(['comment #!/bin/bash', 'meta #SBATCH', 'comment # one', 'comment #SBATCH'])
    );
    expect(names).toContain('propertyName --tiem');
  });
});
