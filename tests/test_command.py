"The commands `data`, `doctor` and `lab`, and what is common to all (run: test_lessons; train, predict: test_deploy)."
import os, re, signal, subprocess, sys, time
from pathlib import Path
import psutil, pytest
import imgcourse.data as data_module
from imgcourse.cli import main
from imgcourse.data import get_dataset

def test_data_says_what_is_here(own_cache, tmp_path, monkeypatch, capsys):
    def lines(): assert main(['data']) == 0; return dict(l.split(': ', 1) for l in capsys.readouterr().out.splitlines())
    first = lines()
    assert set(first) == set(data_module.full_sets) and all('nothing here yet' in l and f'{data_module.full_sets[n].mb} MB' in l for n, l in first.items())
    folder = get_dataset('cifar100')
    assert str(folder) in lines()['cifar100'] and 'sketches (' in lines()['cifar100'] and '169 MB' in lines()['cifar100']
    (tmp_path/'own'/'cifar10'/'train').mkdir(parents=True); (tmp_path/'own'/'cifar10'/'train'/'x.bin').write_bytes(bytes(3_000_000))
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path/'own'))
    assert 'your own copy (3 MB)' in lines()['cifar10'] and 'download' not in lines()['cifar10']

def test_data_that_is_not_there(capsys):
    assert main(['data', 'cats']) == 2 and 'there are dogscats' in capsys.readouterr().err
    assert main(['data', '--fetch']) == 2 and 'which data set' in capsys.readouterr().err

def test_data_fetches(own_cache, monkeypatch, capsys):
    "A download that fails is said in a line; one that succeeds is found afterwards."
    def failing(name, full=None): raise data_module.DownloadError('The server has no x (404).')
    monkeypatch.setattr(data_module, 'get_dataset', failing)
    assert main(['data', 'cifar10', '--fetch']) == 2 and capsys.readouterr().err == 'imgcourse: The server has no x (404).\n'
    def there(name, full=None): assert full; (own_cache/'data'/name).mkdir(parents=True)
    monkeypatch.setattr(data_module, 'get_dataset', there)
    assert main(['data', 'cifar10', '--fetch']) == 0 and f'full (0 MB) in {own_cache/"data"/"cifar10"}' in capsys.readouterr().out

def quiet(monkeypatch): monkeypatch.setattr(psutil, 'getloadavg', lambda: (.1, .1, .1)); monkeypatch.setattr(psutil, 'virtual_memory', lambda: type('M', (), {'available': 9e9, 'total': 16e9})); monkeypatch.setattr('shutil.disk_usage', lambda p: type('D', (), {'free': 50e9})); monkeypatch.setattr('shutil.which', lambda p: None)

def test_doctor_of_a_healthy_machine(monkeypatch, capsys):
    quiet(monkeypatch)
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    assert 'No problem was found' in out and 'PROBLEM' not in out
    for name in ('Python', 'torch', 'timm', 'processor', 'memory', 'threads', 'GPU', 'cache'): assert re.search(rf'^ *{name}: \S', out, re.M), name

@pytest.mark.parametrize('break_it, why', [
    (lambda m, p: m.setattr(psutil, 'getloadavg', lambda: (99, 1, 1)), 'OMP_NUM_THREADS=1'),
    (lambda m, p: m.setattr(psutil, 'virtual_memory', lambda: type('M', (), {'available': 1e9, 'total': 4e9})), 'Less than 2 GB of memory'),
    (lambda m, p: m.setitem(sys.modules, 'torchvision', None), 'force-reinstall torch torchvision'),
    (lambda m, p: ((p/'file').write_text('x'), m.setenv('IMGCOURSE_CACHE', str(p/'file'/'cache'))), 'IMGCOURSE_CACHE to a folder of yours'),
    (lambda m, p: m.setattr('shutil.disk_usage', lambda p: type('D', (), {'free': 1e9})), 'Only 1.0 GB are free'),
    (lambda m, p: (m.setattr('shutil.which', lambda n: '/usr/bin/nvidia-smi'), m.setattr('torch.cuda.is_available', lambda: False)), 'does not use it')])
def test_doctor_names_the_mend(tmp_path, monkeypatch, capsys, break_it, why):
    quiet(monkeypatch); break_it(monkeypatch, tmp_path)
    assert main(['doctor']) == 1
    problems = [l for l in capsys.readouterr().out.splitlines() if l.startswith('PROBLEM: ')]
    assert len(problems) == 1 and why in problems[0]

@pytest.mark.parametrize('command', ['run', 'lab', 'train', 'predict', 'data', 'doctor'])
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as e: main([command, '--help'])
    out = capsys.readouterr().out
    assert e.value.code == 0 and f'usage: imgcourse {command}' in out and 'None' not in out

@pytest.mark.parametrize('argv, why', [(['run', ''], 'empty'), (['train', ''], 'empty'), (['predict', '', 'x.jpg'], 'empty'), (['predict', '{folder}', 'x.jpg'], 'name the model file in it'),
    (['lab', '{file}'], '{file}: File exists'), (['run', '00', '--out', '{file}'], '{file}: File exists')])
def test_odd_arguments_in_one_line(tmp_path, capsys, argv, why):
    (tmp_path/'file').write_text('x'); (tmp_path/'model.safetensors').write_text('x')
    put = lambda text: text.format(file=tmp_path/'file', folder=tmp_path)
    try: code = main([put(a) for a in argv])
    except SystemExit as e: code = e.code
    err = capsys.readouterr().err.splitlines()
    assert code == 2 and put(why) in err[-1] and 'Errno' not in err[-1]

def test_run_is_stopped_by_ctrl_c(tmp_path):
    "In the middle of a lesson: a line, the usual exit code, and nothing goes on."
    p = subprocess.Popen([Path(sys.executable).parent/'imgcourse', 'run', '01b', '--out', str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert '1 lessons' in p.stdout.readline()
    time.sleep(8)
    os.killpg(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and 'Traceback' not in err and err.splitlines()[-1] == 'imgcourse: stopped', err

def test_lab_passes_options_on(tmp_path, monkeypatch):
    import imgcourse.cli as cli
    started = []
    class Server:
        def __init__(self, argv): started.append(argv)
        def wait(self): return 7
    monkeypatch.setattr(cli.subprocess, 'Popen', Server); monkeypatch.setattr(cli.signal, 'signal', lambda *a: None)
    assert main(['lab', str(tmp_path/'mine'), '--port=9999', '--allow-root']) == 7
    assert f'--notebook-dir={(tmp_path/"mine").resolve()}' in started[0] and started[0][-2:] == ['--port=9999', '--allow-root'] and (tmp_path/'mine'/'02_three_lines.ipynb').is_file()
    with pytest.raises(SystemExit) as e: main(['run', '--port=9999'])
    assert e.value.code == 2

def test_lab_twice(tmp_path, monkeypatch, capsys):
    "What the learner has written stays; what is new or was lost comes again; JupyterLab trusts the copies."
    import nbformat.sign
    import imgcourse.cli as cli
    monkeypatch.setattr(cli.subprocess, 'Popen', lambda argv: type('Server', (), {'wait': lambda self: 0})()); monkeypatch.setattr(cli.signal, 'signal', lambda *a: None)
    monkeypatch.setenv('JUPYTER_DATA_DIR', str(tmp_path/'jupyter'))
    mine = tmp_path/'mine'
    assert main(['lab', str(mine)]) == 0
    names = sorted(f.name for f in mine.iterdir())
    assert f'{len(names)} notebooks are new' in capsys.readouterr().out and names == sorted({f.name for f in cli.lesson_files()[0].parent.glob('*.ipynb')} - {'index.ipynb'})
    notary = nbformat.sign.NotebookNotary(data_dir=str(tmp_path/'jupyter'))
    for n in names: assert notary.check_signature(nbformat.read(mine/n, 4)), n
    text = (mine/'02_three_lines.ipynb').read_text().replace('three lines', 'my lines'); (mine/'02_three_lines.ipynb').write_text(text)
    (mine/'05_dog_breeds.ipynb').unlink()
    assert main(['lab', str(mine)]) == 0 and '1 notebooks are new' in capsys.readouterr().out
    assert (mine/'02_three_lines.ipynb').read_text() == text and (mine/'05_dog_breeds.ipynb').is_file()

def test_notes_of_other_libraries_are_not_printed(tmp_path, monkeypatch, capsys):
    "Also where `imgcourse` stands somewhere in their path."
    import warnings
    import imgcourse.cli as cli
    def warn(name=None, fetch=False):
        warnings.warn_explicit('theirs', UserWarning, str(tmp_path/'imgcourse'/'lib'/'other.py'), 1); warnings.warn_explicit('ours', UserWarning, data_module.__file__, 1)
        return 0
    monkeypatch.setattr(cli, 'list_data', warn)
    assert main(['data']) == 0 and capsys.readouterr().err == 'imgcourse: note: ours\n'

def test_lab_is_stopped_with_its_server(tmp_path, monkeypatch):
    "By SIGTERM, as Docker does it: the signal is handed on."
    import signal
    import imgcourse.cli as cli
    class Server:
        code = None
        def __init__(self, argv): pass
        def terminate(self): self.code = -15
        def wait(self): signal.raise_signal(signal.SIGTERM); return self.code
    monkeypatch.setattr(cli.subprocess, 'Popen', Server)
    before = signal.getsignal(signal.SIGTERM)
    try: assert main(['lab', str(tmp_path/'mine')]) == -15
    finally: signal.signal(signal.SIGTERM, before)
