"Every lesson runs from top to bottom in a fresh kernel, as `imgcourse run` does it, without a network."
import os, re, subprocess, sys
from pathlib import Path
import nbformat, pytest
from imgcourse.cli import lesson_files, main

@pytest.fixture(scope='session')
def no_network(): return {'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9', 'HF_HUB_OFFLINE': '1', 'no_proxy': '127.0.0.1,localhost'}

def test_imgcourse_run(tmp_path, no_network, wheel_bin):
    "From the wheel alone, outside of the repository."
    p = subprocess.run([wheel_bin/'imgcourse', 'run', '--out', str(tmp_path/'out')], capture_output=True, text=True, cwd=tmp_path, env={**{k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}, **no_network})
    print(p.stdout, p.stderr)
    assert p.returncode == 0
    names = [f.stem for f in lesson_files()]
    lines, table = p.stdout.split('\n\nlesson')
    for i, n in enumerate(names):
        assert re.search(rf'\[{i + 1}/{len(names)}\] {n} … \d+\.\d s', lines)
        assert re.search(rf'^{n} +\d+\.\d  \S+', table, re.M), 'a headline figure for each lesson'
        assert '<html' in (tmp_path/'out'/f'{n}.html').read_text(encoding='utf-8')[:500]
        nb = nbformat.read(tmp_path/'out'/f'{n}.ipynb', 4)
        assert all(c.execution_count for c in nb.cells if c.cell_type == 'code' and c.source.strip())
    assert str(tmp_path/'out') in p.stdout

@pytest.mark.parametrize('name', ['index', '91_command', '92_all'])
def test_appendix(tmp_path, name):
    from imgcourse.cli import run_lesson
    _, text, ok = run_lesson(lesson_files()[0].parent/f'{name}.ipynb', tmp_path)
    assert ok, text

def test_a_lesson_that_fails(tmp_path, monkeypatch, capsys):
    "The others are run all the same, what came out is kept, and the exit code tells."
    import imgcourse.cli as cli
    for name, code in (('01_bad', 'print("before")\n1/0'), ('02_good', 'print("In short: fine")')):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path/f'{name}.ipynb')
    monkeypatch.setattr(cli, 'lesson_files', lambda first='': sorted(tmp_path.glob('*.ipynb')))
    assert main(['run', '--out', str(tmp_path/'out')]) == 1
    out = capsys.readouterr().out
    assert 'FAILED: ZeroDivisionError' in out and re.search(r'02_good +\d+\.\d  fine', out) and 'before' in (tmp_path/'out'/'01_bad.ipynb').read_text()

def test_command_line(capsys, tmp_path):
    assert main(['run', '77']) == 2 and '01_data_look' in capsys.readouterr().err
    (tmp_path/'file').write_text('x')
    assert main(['run', '00', '--out', str(tmp_path/'file')]) == 2
    for argv, code in ((['--help'], 0), (['run', '--help'], 0), (['nonsense'], 2), ([], 2)):
        with pytest.raises(SystemExit) as e: main(argv)
        assert e.value.code == code

def test_bars_leave_nothing_in_a_notebook():
    "They are shown while the work lasts, and not as widgets, which would be broken when the notebook is opened again."
    from nbclient import NotebookClient
    class Client(NotebookClient):
        def process_message(self, msg, cell, index):
            shown.append(str(msg['content'].get('data', ''))); return super().process_message(msg, cell, index)
    shown = []
    for code in ('for _ in ProgressBar(range(4), "A < B"): time.sleep(.6)', 'for k in ProgressBar(range(4), "A < B"):\n    time.sleep(.6)\n    if k == 2: break', 'for _ in ProgressBar(range(4), "A < B"): pass'):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f'from imgcourse.data import ProgressBar\nimport time\n{code}')])
        Client(nb, kernel_name='python3').execute()
        assert [o.get('data', o) for o in nb.cells[0].outputs] == [{'text/html': '', 'text/plain': '<IPython.core.display.HTML object>'}]*('sleep' in code)
    assert any(re.search(r'<pre>A &lt; B: +75%.*3/4', s) for s in shown)
