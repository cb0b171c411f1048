"""The exercises: what `check` says of all kinds of answers, what it remembers, and that the solutions are right.

(After a change of a notebook of solutions: python tests/exercises.py.)"""
import base64
import json
import re
import nbformat
import numpy as np
import pytest
import torch
from exercises import EXERCISES, JUDGES, NOT_SHOWN, SOLUTIONS, entries, for_learners, headings, kind, run
from imgcourse import exercises
from imgcourse.cli import lesson_files
from imgcourse.exercises import Between, Calls, Choice, Items, Near, check, judge, progress, seal, solved, unseal

each_lesson = pytest.mark.parametrize('file', SOLUTIONS, ids=lambda f: f.stem)


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    "A file for what is solved, and no judges of other tests."
    monkeypatch.setenv('IMGCOURSE_PROGRESS', str(tmp_path/'mine'/'progress.json'))
    monkeypatch.setattr(exercises, 'sealed', {})
    return tmp_path/'mine'/'progress.json'


def said(capsys, number, answer):
    check(number, answer)
    return capsys.readouterr().out.strip()


# ---- what is said
half = Near(.5, 'Even chances.', rel=.01, mistakes=[(.25, 'that is for both.')])
pair = Near([.9, 12], 'A pair.', rel=.01)
table = Near([[1, 2, 3], [4, 5, 6]], 'A table.', rel=0)
reached = Between([.9, 0], [1, 100], 'Reached.')
rate = Between(.01, .1, 'Fine.', mistakes=[(.1, 1, 'too far to the right.')])
letter = Choice('b', 'B.', {'a': 'a is not.', 'c': 'c is not.'})
items = Items(['wolf', 'fox'], 'Wild.', mistakes=[(['wolf'], 'there is another one.')])
double = Calls([([1.], 2.), ([-3.], -6., 'also below zero.'), ([torch.ones(2)], torch.tensor([2., 2.]))], 'Doubled.')


@pytest.mark.parametrize('how, answer, begins, has', [
    (half, .5, 'Right. ', 'Even chances.'),
    (half, np.float32(.503), 'Right.', ''),
    (half, torch.tensor([.5], requires_grad=True), 'Right.', ''),
    (half, .25, 'Not yet: ', 'that is for both.'),
    (half, .52, 'Nearly: ', 'digits'),
    (half, 50, 'Nearly: ', 'not a percentage'),
    (half, .05, 'Nearly: ', 'factor of 10'),
    (half, -.5, 'Nearly: ', 'sign'),
    (half, .7, 'Not yet: ', '0.7 is too large'),
    (half, float('nan'), 'Not yet: ', 'no number'),
    (half, '0.5', 'Not yet: ', 'leave out the quotes'),
    (half, [.5, .5], 'Not yet: ', 'a single number is expected, not 2'),
    (half, len, 'Not yet: ', 'not a function'),
    (half, {'x': 1}, 'Not yet: ', 'dict'),
    (half, None, 'Not answered yet', ''),
    (half, ..., 'Not answered yet', ''),
    (pair, (.9, torch.tensor([[12.]])), 'Right.', ''),
    (pair, [12, .9], 'Nearly: ', 'another order'),
    (pair, [.9, ...], 'Not answered yet', ''),
    (pair, [], 'Not answered yet', ''),
    (pair, [.9, 14], 'Not yet: ', '14 at [1] is too large'),
    (pair, [[.9], [12, 3]], 'Not yet: ', 'numbers are expected'),
    (table, np.array([[1, 2, 3], [4, 5, 6]]), 'Right.', ''),
    (table, np.array([[1, 2, 3], [4, 5, 6]]).T, 'Nearly: ', 'rows and columns'),
    (table, np.zeros((3, 3)), 'Not yet: ', 'shape (2, 3) is expected, not (3, 3)'),
    (table, np.array([[1, 2, 3], [4, 5, 7]]), 'Not yet: ', '7 at [1, 2] is too large'),
    (Near(30, '', rel=0), 31, 'Nearly: ', 'off by one'),
    (Near(30, '', rel=0), 30.2, 'Not yet: ', 'too large'),
    (Near([2, 3], '', rel=0), torch.Size([2, 3]), 'Right.', ''),
    (reached, [.95, 99], 'Right. ', 'Reached.'),
    (reached, [.89, 99], 'Nearly: ', '0.89 at [0] is too small'),
    (reached, [.5, 99], 'Not yet: ', 'too small'),
    (reached, [.95, 1000], 'Not yet: ', '1000 at [1] is too large'),
    (reached, .95, 'Not yet: ', '2 numbers are expected, not 1'),
    (Between(.9, 1, ''), 95, 'Nearly: ', 'not a percentage'),
    (rate, .5, 'Not yet: ', 'too far to the right.'),
    (letter, ' B ', 'Right.', ''),
    (letter, 'c', 'Not yet: ', 'c is not.'),
    (letter, 7, 'Not yet: ', "'a', 'b', 'c'"),
    (items, {'Fox', 'wolf '}, 'Right. ', 'Wild.'),
    (items, 'wolf', 'Not yet: ', 'there is another one.'),
    (items, ['fox', 'cat'], 'Nearly: ', '1 of your 2 belongs there, 1 more does.'),
    (items, ['cat'], 'Not yet: ', '0 of your 1'),
    (Items([3, 5], ''), np.array([5, 3]), 'Right.', ''),
    (double, lambda x: 2*x, 'Right. ', 'Doubled.'),
    (double, abs, 'Not yet: ', 'abs(1) gives 1, not 2: '),
    (double, lambda x: 2*abs(x), 'Nearly: ', 'it(-3) gives 6, not -6: also below zero.'),
    (double, lambda x: 2*float(x), 'Not yet: ', 'it([1, 1]) stops with'),
    (double, lambda x: 1/0, 'Not yet: ', 'ZeroDivisionError: division by zero'),
    (double, lambda x: None, 'Not answered yet: ', 'gives nothing back'),
    (double, lambda x: ..., 'Not answered yet: ', 'gives nothing back'),
    (double, lambda x: 2*..., 'Not answered yet: ', 'dots'),
    (double, 2., 'Not yet: ', 'a function is expected'),
])
def test_every_answer_is_told_what_it_is(capsys, how, answer, begins, has):
    judge('99.1', how)
    line = said(capsys, '99.1', answer)
    assert line.startswith(begins) and has in line and '\n' not in line


def test_a_function_may_change_what_it_is_given(capsys):
    judge('99.1', Calls([([np.array([2., 1.])], [1., 2.])], 'Sorted.'))
    def in_place(x):
        x.sort()
        return x
    assert said(capsys, '99.1', in_place) == said(capsys, '99.1', in_place) == 'Right. Sorted.'


def test_an_unknown_number_names_near_ones():
    with pytest.raises(ValueError, match=r"There is no exercise '3\.1'\. Did you mean .*03\.1"):
        check('3.1', 30)


@pytest.mark.parametrize('how', [half, table, reached, rate, letter, items, double])
def test_a_sealed_judge_says_the_same(how):
    again = unseal(seal(how))
    assert seal(again) == seal(how) and type(again) is type(how)
    for answer in (.5, 'b', ['fox', 'cat'], [.95, 99], np.ones((3, 2)), lambda x: 2*x):
        assert again.look(answer) == how.look(answer)


# ---- what is remembered
def test_what_is_solved_is_remembered_once(capsys, own_progress):
    assert solved() == []
    check('03.1', 29)
    assert not own_progress.exists()
    for _ in range(2):
        check('03.1', 30)
    check('01.1', 38.5)
    assert solved() == json.loads(own_progress.read_text())['solved'] == ['01.1', '03.1']
    assert [f.name for f in own_progress.parent.iterdir()] == ['progress.json'], 'nothing is left beside it'


def test_what_a_solutions_notebook_checks_is_not_counted(capsys):
    judge('03.1', Near(30, 'Yes.'))
    assert said(capsys, '03.1', 30) == 'Right. Yes.' and solved() == []


def test_progress_is_a_table(capsys, own_progress):
    before = progress()
    assert list(before.columns) == ['solved', 'of', 'next'] and (before.solved == 0).all() and (before.of >= 5).all()
    assert before.of.sum() == len(exercises.exercises())
    check('03.1', 30)
    row = progress().loc['03 lr finding']
    assert row.solved == 1 and row.next.startswith('03.2 ★') and len(row.next) > 10
    numbers = [n for n in exercises.exercises() if n.startswith('03.')]
    own_progress.write_text(json.dumps({'solved': [*numbers, 'of a later version']}))
    row = progress().loc['03 lr finding']
    assert row.solved == row.of and row.next == ''


@pytest.mark.parametrize('text', ['', '{', '[]', '{"solved": 3}', '{"solved": [1]}', '{"other": []}', '\udcff'])
def test_a_damaged_file_is_named_and_left_alone(capsys, own_progress, text):
    own_progress.parent.mkdir()
    own_progress.write_bytes(text.encode(errors='surrogateescape'))
    before = own_progress.read_bytes()
    verdict, note = said(capsys, '03.1', 30).splitlines()
    assert verdict.startswith('Right. ') and f'{own_progress} cannot be read' in note
    assert own_progress.read_bytes() == before
    with pytest.raises(ValueError, match='Move it away'):
        progress()


def test_a_place_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('x')
    monkeypatch.setenv('IMGCOURSE_PROGRESS', str(tmp_path/'file'/'progress.json'))
    verdict, note = said(capsys, '03.1', 30).splitlines()
    assert verdict.startswith('Right. ') and note.startswith('(It was not noted') and 'Not a directory' in note


def test_without_the_variable_it_is_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv('IMGCOURSE_PROGRESS')
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))
    assert exercises.progress_file() == tmp_path/'imgcourse'/'progress.json'


# ---- the notebooks
def test_every_lesson_has_exercises():
    assert [f.name for f in SOLUTIONS] == [f.name for f in lesson_files()]
    assert sorted(f.name for f in EXERCISES.glob('*.ipynb')) == [f.name for f in SOLUTIONS]


@each_lesson
def test_exercises_are_graded_and_whole(file):
    "Five or more, numbered, from easy to hard; each with a folded hint and its five cells, in their order."
    nb = nbformat.read(file, 4)
    found = headings(nb)
    prefix = file.stem.split('_')[0]
    assert [number for number, _, _ in found] == [f'{prefix}.{k}' for k in range(1, len(found) + 1)]
    stars = [len(s) for _, s, _ in found]
    assert len(found) >= 5 and stars == sorted(stars) and stars[0] == 1 and stars[-1] == 3
    kinds = [kind(c) for c in nb.cells if kind(c)]
    assert kinds == ['judge', *['judge', 'starter', 'solution', 'wrong']*len(found)]
    tasks = [c.source for c in nb.cells if c.source.startswith('### ')]
    assert len(tasks) == len(found)
    assert all(re.search(r'\n\n<details><summary>Hint</summary>\n\n.+\n\n</details>$', t, re.S) for t in tasks)
    lines = [t.split('<details>')[0] for t in tasks]
    assert [t[:40] for t in lines if len(t) > 8*80] == [], 'too long a task'
    code = [line for c in nb.cells if c.cell_type == 'code' for line in c.source.split('\n')]
    assert [line for line in code if len(line) > 120] == []


@each_lesson
def test_the_learners_notebook_is_fresh_and_shows_no_answer(file):
    text = (EXERCISES/file.name).read_text(encoding='utf-8')
    assert text == for_learners(file), 'make it anew: python tests/exercises.py'
    nb = nbformat.reads(text, 4)
    assert not [c for c in nb.cells if kind(c)] and not [c for c in nb.cells if c.get('outputs')]
    answers = [c.source for c in nbformat.read(file, 4).cells if kind(c) in NOT_SHOWN]
    assert len(answers) > 15 and not [a for a in answers if a.split('\n', 1)[1] in text]
    links = re.findall(r'\]\((\.\./[^)#]+)', text)
    assert len(links) >= 2 and all((EXERCISES/link).is_file() for link in links)


def test_no_judge_can_be_read_in_passing():
    found = json.loads(JUDGES.read_text(encoding='utf-8'))
    assert all(e.keys() == {'lesson', 'title', 'stars', 'judge'} for e in found.values())
    for e in found.values():
        assert unseal(e['judge']).right not in JUDGES.read_text(encoding='utf-8')
        base64.b64decode(e['judge'], validate=True)


def lines(cell):
    "What `check` has said in a cell."
    text = '\n'.join(o.text for o in cell.get('outputs', []) if o.output_type == 'stream' and o.name == 'stdout')
    return re.findall(r'^(?:Right\.|Nearly:|Not yet:|Not answered yet:) .*', text, re.M)


@pytest.mark.e2e
@each_lesson
def test_solutions_are_right_and_mistakes_refused(file):
    "And imgcourse/exercises.json is what the notebooks make."
    nb = run(nbformat.read(file, 4))
    stored = json.loads(JUDGES.read_text(encoding='utf-8'))
    assert entries(file, nb) == {n: e for n, e in stored.items() if e['lesson'] == file.stem}
    for c in nb.cells:
        where, verdicts = f'{file.stem}: {c.source[:60]}', [line.split()[0] for line in lines(c)]
        if kind(c) == 'starter':
            assert verdicts == ['Not'], where
        if kind(c) == 'solution':
            assert verdicts == ['Right.'], where
        if kind(c) == 'wrong':
            assert len(verdicts) >= 3 and set(verdicts) <= {'Not', 'Nearly:'}, where
            assert not [line for line in lines(c) if line.startswith('Not answered') or len(line) < 15], where


@pytest.mark.e2e
@each_lesson
def test_a_learner_solves_all(file):
    "The learner's notebook runs as it is; then the solutions are typed in, and all is noted as solved."
    nb = nbformat.read(EXERCISES/file.name, 4)
    solutions = [c for c in nbformat.read(file, 4).cells if kind(c) == 'solution']
    nb.cells += [*solutions, nbformat.v4.new_code_cell('print(progress().solved.sum())')]
    run(nb)
    verdicts = [line for c in nb.cells for line in lines(c)]
    n = len(solutions)
    assert [v.split()[0] for v in verdicts] == ['Not']*n + ['Right.']*n
    assert nb.cells[-2].outputs[0].text.strip() == str(n) and nb.cells[-1].outputs[0].text.strip() == '{}'
