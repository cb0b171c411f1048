"Every lesson, and every notebook of the workshop, runs from top to bottom in a fresh kernel, without a network."
import os
import re
import subprocess
import nbformat
import pytest
from nbclient import NotebookClient
from imgcourse import cli
from imgcourse.cli import LessonRun, lesson_files, main

NO_NETWORK = {
    'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9', 'HF_HUB_OFFLINE': '1',
    'no_proxy': '127.0.0.1,localhost'}


@pytest.fixture
def run_from_the_wheel(wheel_bin, tmp_path):
    "A function that runs a notebook as `imgcourse run` does it, from the wheel alone, outside of the repository."
    def run(name):
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | NO_NETWORK
        command = [wheel_bin/'imgcourse', 'run', name, '--out', str(tmp_path/'out')]
        p = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
        print(p.stdout, p.stderr)
        assert p.returncode == 0
        assert re.search(rf'\[1/1\] {name}: \d+\.\d s', p.stdout) and str(tmp_path/'out') in p.stdout
        assert re.search(rf'^{name} +\d+\.\d  \S+', p.stdout, re.M), 'a headline figure'
        assert '<html' in (tmp_path/'out'/f'{name}.html').read_text(encoding='utf-8')[:500]
        cells = nbformat.read(tmp_path/'out'/f'{name}.ipynb', 4).cells
        assert all(c.execution_count for c in cells if c.cell_type == 'code' and c.source.strip())
        links = re.findall(r'\((figures/.*?)\)', '\n'.join(c.source for c in cells))
        assert all((tmp_path/'out'/link).is_file() for link in links), 'the page shows its diagrams'
    return run


@pytest.mark.e2e
@pytest.mark.parametrize('name', [f.stem for f in lesson_files()])
def test_lesson(run_from_the_wheel, name):
    run_from_the_wheel(name)


@pytest.mark.e2e
@pytest.mark.parametrize('name', [f.stem for f in lesson_files(workshop=True)])
def test_workshop_notebook(run_from_the_wheel, name):
    run_from_the_wheel(name)


@pytest.mark.e2e
@pytest.mark.parametrize('name', ['index', '91_command', '92_all', '93_reference', 'what_can_go_wrong'])
def test_appendix(tmp_path, name):
    _, text, ok = LessonRun(lesson_files()[0].parent/f'{name}.ipynb', tmp_path).execute()
    assert ok, text


def notebook(*cells):
    "Of cells of code; those that begin with # and a blank are Markdown."
    def cell(text): return (nbformat.v4.new_markdown_cell if text[0] == '#' else nbformat.v4.new_code_cell)(text)
    return nbformat.v4.new_notebook(cells=[cell(text) for text in cells])


HOOD = '## Under the hood\n\nIn detail.'


def test_the_report_of_a_run(tmp_path, monkeypatch, capsys):
    """A line for each notebook, a table at the end. If one fails the others are run all the same, what came out is
    kept, and the exit code tells."""
    nbformat.write(notebook('print("before")\n1/0'), tmp_path/'01_bad.ipynb')
    nbformat.write(notebook('print("In short: front")', HOOD, 'print("In short: fine")'), tmp_path/'02_good.ipynb')
    monkeypatch.setattr(cli, 'lesson_files', lambda first='', workshop=False: sorted(tmp_path.glob('*.ipynb')))
    (tmp_path/'figures').mkdir()
    (tmp_path/'figures'/'a.svg').write_text('<svg/>')
    out = tmp_path/'out'
    assert main(['run', '--jobs', '1', '--out', str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    words = [r'2 lessons; executed notebooks and pages go to (\S+)',
             r'\[1/2\] 01_bad: \d+\.\d s, FAILED: ZeroDivisionError.*', r'\[2/2\] 02_good: \d+\.\d s', '',
             'lesson   seconds  in short', r'01_bad   +\d+\.\d  FAILED, see (\S+)', r'02_good  +\d+\.\d  fine',
             r'all      +\d+\.\d  open (\S+) to read']
    found = [re.fullmatch(w, line) for w, line in zip(words, lines)]
    assert len(lines) == len(words) and all(found), lines
    assert [m[1] for m in found if m.groups()] == [str(out), str(out/'01_bad.ipynb'), str(out/'01_bad.html')]
    assert 'before' in (out/'01_bad.ipynb').read_text()
    assert (out/'figures'/'a.svg').read_text() == '<svg/>'


def test_front_of_a_lesson(tmp_path):
    "Cells below the heading are neither run nor written; a notebook without it is run as a whole."
    head, front, rest, out = '# A lesson', 'print("In short: front")', 'print("In short: all of it")', tmp_path/'out'
    nbformat.write(notebook(head, front, HOOD, rest), tmp_path/'01.ipynb')
    nbformat.write(notebook(head, front, rest), tmp_path/'50.ipynb')
    out.mkdir()
    lessons = [LessonRun(tmp_path/f'{name}.ipynb', out, front=True) for name in ('01', '50')]
    assert [lesson.execute()[1:] for lesson in lessons] == [('front', True), ('all of it', True)]
    assert [len(nbformat.read(out/f'{name}.ipynb', 4).cells) for name in ('01', '50')] == [2, 3]
    assert ['all of it' in (out/f'{name}.html').read_text() for name in ('01', '50')] == [False, True]


def test_lessons_side_by_side(tmp_path, monkeypatch, capsys):
    """Each waits for what the other one writes; threads are shared out, unless the user has said how many. Lines come
    as they end, the table is in order."""
    def waits(mine, other):
        return (f'import os, pathlib, time\npathlib.Path("{mine}").touch()\n'
                f'while not pathlib.Path("{other}").exists(): time.sleep(.1)\n'
                'print("In short: threads", os.environ["OMP_NUM_THREADS"])')
    nbformat.write(notebook(waits('a', 'b'), 'time.sleep(2)'), tmp_path/'01.ipynb')
    nbformat.write(notebook(waits('b', 'a')), tmp_path/'02.ipynb')
    monkeypatch.setattr(cli, 'lesson_files', lambda first='', workshop=False: sorted(tmp_path.glob('*.ipynb')))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    assert main(['run', '--jobs', '2', '--out', str(tmp_path/'out')]) == 0
    out = capsys.readouterr().out
    assert re.search(r'\[1/2\] 02: .*\n\[2/2\] 01: .*\n\n.*\n01 .* threads 3\n02 .* threads 3\n', out), out
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    assert main(['run', '--jobs', '9', '--out', str(tmp_path/'two')]) == 0
    assert len(re.findall('threads 1\n', capsys.readouterr().out)) == 2


class Watched(NotebookClient):
    "Remembers all that a notebook was shown, also what was replaced later."
    def process_message(self, msg, cell, index):
        self.__dict__.setdefault('shown', []).append(str(msg['content'].get('data', '')))
        return super().process_message(msg, cell, index)


@pytest.mark.e2e
def test_bars_leave_nothing_in_a_notebook():
    """They are shown while the work lasts, and not as widgets, which would be broken when the notebook is opened
    again."""
    nb = notebook(
        'from imgcourse.pictures import ProgressBar\nimport time',
        'for _ in ProgressBar(range(4), "A < B"): time.sleep(.6)',
        'for k in ProgressBar(range(4), "A < B"):\n    time.sleep(.6)\n    if k == 2: break',
        'for _ in ProgressBar(range(4), "A < B"): pass')
    client = Watched(nb, kernel_name='python3')
    client.execute()
    nothing = [{'text/html': '', 'text/plain': '<IPython.core.display.HTML object>'}]
    assert [[o.get('data', o) for o in c.outputs] for c in nb.cells] == [[], nothing, nothing, []]
    assert any(re.search(r'<pre>A &lt; B: +75%.*3/4', s) for s in client.shown)


@pytest.mark.e2e
def test_widgets_leave_nothing_in_a_run(tmp_path):
    "Neither in the notebook nor on the page; the note beside them stays."
    code = 'from ipywidgets import Text\nfrom imgcourse.live import show_widget\nshow_widget(Text(), "a note")'
    nbformat.write(notebook(code), tmp_path/'01_widget.ipynb')
    out = tmp_path/'out'
    out.mkdir()
    _, text, ok = LessonRun(tmp_path/'01_widget.ipynb', out).execute()
    assert ok, text
    assert 'widget-view' not in (out/'01_widget.ipynb').read_text(encoding='utf-8')
    page = (out/'01_widget.html').read_text(encoding='utf-8')
    assert 'a note' in page and 'Text(value=' not in page
