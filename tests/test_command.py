"""The commands `run`, `progress`, `data`, `doctor` and `lab`, and what is common to all (train, predict: test_report,
test_export)."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
import nbformat
import nbformat.sign
import psutil
import pytest
from imgcourse import cli, pictures, sources
from imgcourse.cli import lesson_files, main

IMGCOURSE = Path(sys.executable).parent/'imgcourse'


def interruptible():
    "Ctrl-C works even where the tests run in the background."
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# ---- data


def list_data(capsys):
    "What `imgcourse data` says of each set."
    assert main(['data']) == 0
    return dict(line.split(': ', 1) for line in capsys.readouterr().out.splitlines())


def test_data_says_what_could_be_had(own_cache, capsys):
    lines = list_data(capsys)
    assert set(lines) == set(sources.full_sets)
    for name, line in lines.items():
        assert 'nothing here yet' in line and f'{sources.full_sets[name].mb} MB' in line


def test_data_says_what_is_here(own_cache, tmp_path, monkeypatch, capsys):
    folder = sources.get_dataset('cifar100')
    line = list_data(capsys)['cifar100']
    assert str(folder) in line and 'sketches (' in line and '169 MB' in line
    (tmp_path/'own'/'cifar10'/'train').mkdir(parents=True)
    (tmp_path/'own'/'cifar10'/'train'/'x.bin').write_bytes(bytes(3_000_000))
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path/'own'))
    line = list_data(capsys)['cifar10']
    assert 'your own copy (3 MB)' in line and 'download' not in line


def test_data_that_is_not_there(capsys):
    assert main(['data', 'cats']) == 2 and 'there are dogscats' in capsys.readouterr().err
    assert main(['data', '--fetch']) == 2 and 'which data set' in capsys.readouterr().err


def test_a_folder_for_results_that_never_came(few, tmp_path, capsys):
    "It is made before the training, and goes when there is nothing to put into it; one that was there stays."
    (tmp_path/'there').mkdir()
    for name in ('new', 'there'):
        assert main(['train', str(few/'train'), '--out', str(tmp_path/name), '--weights', str(tmp_path/'none')]) == 2
    assert not (tmp_path/'new').exists() and (tmp_path/'there').exists()
    assert 'none' in capsys.readouterr().err


def test_a_training_that_fails_is_said_in_a_line(monkeypatch, capsys):
    "As when the learning rate was too high."
    def fails(): raise FloatingPointError('The loss is no number any more; take a smaller rate')
    monkeypatch.setattr(cli, 'doctor', fails)
    assert main(['doctor']) == 2
    assert capsys.readouterr().err == 'imgcourse: The loss is no number any more; take a smaller rate\n'


@pytest.mark.skipif(sys.platform != 'linux', reason='of a shell, and of a device that is always full')
@pytest.mark.parametrize('to, code', [('>&-', 0), ('> /dev/full', 2)])
def test_nobody_hears_what_is_said(own_cache, to, code):
    "What was to be done is done; only what cannot be written is an error."
    done = subprocess.run(f'"{IMGCOURSE}" data {to}', shell=True, capture_output=True, text=True)
    assert done.returncode == code and 'Traceback' not in done.stderr


def test_a_download_that_fails_is_said_in_a_line(monkeypatch, capsys):
    def failing(name, full=None):
        raise sources.DownloadError('The server has no x (404).')
    monkeypatch.setattr(sources, 'get_dataset', failing)
    assert main(['data', 'cifar10', '--fetch']) == 2
    assert capsys.readouterr().err == 'imgcourse: The server has no x (404).\n'


def test_a_download_that_succeeds_is_found_afterwards(own_cache, monkeypatch, capsys):
    def there(name, full=None):
        assert full
        (own_cache/'data'/name).mkdir(parents=True)
    monkeypatch.setattr(sources, 'get_dataset', there)
    assert main(['data', 'cifar10', '--fetch']) == 0
    assert f'full (0 MB) in {own_cache/"data"/"cifar10"}' in capsys.readouterr().out


# ---- doctor


@pytest.fixture
def healthy(monkeypatch):
    "A machine with nothing to complain of; a test makes it ill."
    monkeypatch.setattr(psutil, 'getloadavg', lambda: (.1, .1, .1))
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=9e9, total=16e9))
    monkeypatch.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=50e9))
    monkeypatch.setattr('shutil.which', lambda program: None)
    return monkeypatch


def test_doctor_of_a_healthy_machine(healthy, capsys):
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    assert 'No problem was found' in out and 'PROBLEM' not in out
    for name in ('Python', 'torch', 'timm', 'processor', 'memory', 'threads', 'GPU', 'cache'):
        assert re.search(rf'^ *{name}: \S', out, re.M), name


def busy(machine, folder):
    machine.setattr(psutil, 'getloadavg', lambda: (99, 1, 1))


def short_of_memory(machine, folder):
    machine.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=1e9, total=4e9))


def torchvision_broken(machine, folder):
    machine.setitem(sys.modules, 'torchvision', None)


def cache_not_writable(machine, folder):
    (folder/'file').write_text('x')
    machine.setenv('IMGCOURSE_CACHE', str(folder/'file'/'cache'))


def disk_full(machine, folder):
    machine.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=1e9))


def gpu_not_used(machine, folder):
    machine.setattr('shutil.which', lambda program: '/usr/bin/nvidia-smi')
    machine.setattr('torch.cuda.is_available', lambda: False)


@pytest.mark.parametrize('ill, mend', [
    (busy, 'Stop other programs'),
    (short_of_memory, 'Less than 2 GB of memory'),
    (torchvision_broken, 'force-reinstall torch torchvision'),
    (cache_not_writable, 'IMGCOURSE_CACHE to a folder of yours'),
    (disk_full, 'Only 1.0 GB are free'),
    (gpu_not_used, 'does not use it'),
])
def test_doctor_names_the_mend(healthy, tmp_path, capsys, ill, mend):
    ill(healthy, tmp_path)
    assert main(['doctor']) == 1
    problem, = [line for line in capsys.readouterr().out.splitlines() if line.startswith('PROBLEM: ')]
    assert mend in problem


# ---- what is common to all


COMMANDS = 'run', 'lab', 'train', 'check', 'predict', 'export', 'publish', 'serve', 'data', 'progress', 'doctor'


def test_every_command_is_tested(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    there = re.search(r'\{(.*?)\}', capsys.readouterr().out, re.S)[1].split(',')
    assert sorted(there) == sorted(COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as e:
        main([command, '--help'])
    out = capsys.readouterr().out
    assert e.value.code == 0 and f'usage: imgcourse {command}' in out and 'None' not in out


@pytest.mark.parametrize('argv, code', [(['--help'], 0), (['run', '--help'], 0), (['nonsense'], 2), ([], 2)])
def test_exit_codes(argv, code):
    with pytest.raises(SystemExit) as e:
        main(argv)
    assert e.value.code == code


@pytest.mark.parametrize('argv, why', [
    (['run', ''], 'empty'),
    (['train', ''], 'empty'),
    (['predict', '', 'x.jpg'], 'empty'),
    (['predict', '{folder}', 'x.jpg'], 'name the model file in it'),
    (['predict', 'x.jpg', '--top', '0'], '--top is how many classes are shown, a whole number of at least 1, not 0'),
    (['predict', '{folder}/none.jpg', '--json'], 'there is no such file'),
    (['check', '{folder}/nowhere'], 'There is no folder'),
    (['check', '{folder}', '--most', '-1'], '--most is how many lines'),
    (['export', 'resnet18', '--onnx', 'net.txt'], "ends in .onnx; 'net.txt' does not"),
    (['export', 'nonsense', '--onnx', 'x.onnx'], "no net of timm's"),
    (['export', '{folder}/model.safetensors', '--onnx', 'x.onnx'], 'model.safetensors'),
    (['publish', 'nonsense', '{folder}/page'], "no net of timm's"),
    (['publish', 'tf_efficientnet_lite0', '{folder}'], 'holds other files'),
    (['publish', 'tf_efficientnet_lite0', '{folder}/page', '--runtime', '{folder}'], 'does not have the files'),
    (['serve', '{folder}/nothing.safetensors'], 'no file'),
    (['serve', 'tf_efficientnet_lite0', '--port', '0'], 'port is where the page is'),
    (['train', '{folder}', '--mix', 'mixup'], 'give finetune'),
    (['train', '{folder}', '--tracker', 'nobody'], 'There is no tracker'),
    (['train', '{folder}', '--valid', '{folder}/nowhere'], 'nowhere'),
    (['lab', '{file}'], '{file}: File exists'),
    (['run', '01', '--out', '{file}'], '{file}: File exists'),
])
def test_odd_arguments_in_one_line(tmp_path, capsys, argv, why):
    (tmp_path/'file').write_text('x')
    (tmp_path/'model.safetensors').write_text('x')
    def put(text): return text.format(file=tmp_path/'file', folder=tmp_path)
    try:
        code = main([put(a) for a in argv])
    except SystemExit as e:
        code = e.code
    err = capsys.readouterr().err.splitlines()
    assert code == 2 and put(why) in err[-1] and 'Errno' not in err[-1]


def test_notes_of_other_libraries_are_not_printed(tmp_path, monkeypatch, capsys):
    "Also where `imgcourse` stands somewhere in their path."
    def warn(name=None, fetch=False):
        warnings.warn_explicit('theirs', UserWarning, str(tmp_path/'imgcourse'/'lib'/'other.py'), 1)
        warnings.warn_explicit('ours', UserWarning, pictures.__file__, 1)
        return 0
    monkeypatch.setattr(cli, 'list_data', warn)
    assert main(['data']) == 0 and capsys.readouterr().err == 'imgcourse: note: ours\n'


# ---- run (all of it: test_lessons)


def stems(*args): return [f.stem for f in lesson_files(*args)]


def test_lessons_and_workshop_are_told_apart():
    lessons, workshop = stems(), stems('', True)
    assert lessons[:3] == ['01_data_look', '02_three_lines', '02b_interpret'] and lessons[-1].startswith('09')
    assert {'50_pictures', '56_checkpoints'} <= set(workshop) and sorted(workshop) == workshop
    assert not set(lessons) & set(workshop) and not [n for n in lessons + workshop if n >= '9']


def test_a_beginning_finds_a_lesson_or_else_the_workshop():
    assert stems('02') == ['02_three_lines', '02b_interpret'] and stems('55') == stems('55', True) == ['55_features']
    assert stems('5') == [n for n in stems('', True) if n[0] == '5']


def test_several_beginnings():
    assert stems(['04', '02b']) == ['02b_interpret', '04_fine_tuning']
    assert stems(['51', '57']) == [n for n in stems('', True) if n.startswith(('51', '57'))]
    assert stems([]) == stems()


@pytest.mark.parametrize('argv, why, names', [
    (['run', '77'], "No lesson or workshop notebook begins with '77'; there are", ['01_data_look', '50_pictures']),
    (['run', '77', '4'], "No lesson or workshop notebook begins with '77' or '4'; there are", ['01_data_look']),
    (['run', '91'], 'appendices are to be read: imgcourse lab', ['01_data_look']),
    (['run', '--workshop', '03'], "No workshop notebook begins with '03'", ['50_pictures']),
])
def test_run_names_what_there_is(capsys, argv, why, names):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert why in err and all(n in err for n in names) and ('01_data_look' in err) == ('01_data_look' in names)


@pytest.fixture
def ran(monkeypatch):
    "What was run: the names of notebooks, and whether only their fronts."
    names = []
    class Pretended:
        def __init__(self, file, out, front=False, threads=None): self.file, self.front = file, front
        def execute(self):
            names.append((self.file.stem, self.front))
            return 1.5, 'fine', True
        def kill(self): pass
    monkeypatch.setattr(cli, 'LessonRun', Pretended)
    return names


@pytest.mark.parametrize('argv, kind', [
    ([], 'lessons'), (['--workshop'], 'workshop notebooks'), (['55'], 'workshop notebook'), (['03'], 'lesson'),
    (['03', '02b'], 'lessons')])
@pytest.mark.parametrize('front', [[], ['--front']])
def test_run_says_what_it_runs(tmp_path, ran, capsys, argv, kind, front):
    assert main(['run', *argv, *front, '--out', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    names = stems('', True) if argv == ['--workshop'] else stems(argv)
    assert sorted(ran) == [(name, bool(front)) for name in names]
    assert re.match(rf'{len(names)} {kind}(, \d at a time)?; ', out) and f'{names[0]}.html' in out
    assert re.search(rf'^{names[-1]} +1\.5  fine$', out, re.M)
    assert figures(tmp_path) == figures(lesson_files()[0].parent) != {}


@pytest.mark.parametrize('cores, gigabytes, full, words', [
    (16, 32, '0', ', 4 at a time;'), (2, 32, '0', ', 2 at a time;'), (16, 8, '0', ', 3 at a time;'),
    (16, 2, '0', 'lessons;'), (16, 32, '1', 'lessons;')])
def test_as_many_side_by_side_as_there_is_room_for(
        tmp_path, ran, monkeypatch, capsys, cores, gigabytes, full, words):
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: SimpleNamespace(available=gigabytes*10**9, total=32*10**9))
    monkeypatch.setattr(os, 'cpu_count', lambda: cores)
    monkeypatch.setenv('IMGCOURSE_FULL', full)
    assert main(['run', '--out', str(tmp_path)]) == 0
    assert words in capsys.readouterr().out.splitlines()[0]


def figures(folder):
    "The diagrams that lessons show."
    return {f.name: f.read_bytes() for f in (folder/'figures').iterdir()}


def test_run_does_not_write_over_the_lessons(capsys):
    assert main(['run', '01', '--out', str(lesson_files()[0].parent)]) == 2
    assert 'name another folder' in capsys.readouterr().err


@pytest.mark.parametrize('jobs', ['0', '-1', '1.5', 'all'])
def test_run_refuses_a_number_of_jobs(tmp_path, ran, capsys, jobs):
    try:
        assert main(['run', '--jobs', jobs, '--out', str(tmp_path)]) == 2
    except SystemExit as e:
        assert e.code == 2
    assert '--jobs' in capsys.readouterr().err and not ran


@pytest.mark.e2e
def test_run_is_stopped_by_ctrl_c(tmp_path):
    "In the middle of two lessons: a line, the usual exit code, and nothing goes on, nor does a third lesson begin."
    p = subprocess.Popen(
        [IMGCOURSE, 'run', '01', '02b', '03', '--jobs', '2', '--out', str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible)
    assert '3 lessons, 2 at a time;' in p.stdout.readline()
    for _ in range(600):
        kernels = psutil.Process(p.pid).children(recursive=True)
        if len(kernels) >= 2:
            break
        time.sleep(.1)
    assert len(kernels) >= 2
    time.sleep(4)
    os.killpg(p.pid, signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and 'Traceback' not in err and err.splitlines()[-1] == 'imgcourse: stopped', err
    assert not psutil.wait_procs(kernels, 20)[1]


# ---- progress


def test_progress(tmp_path, monkeypatch, capsys):
    file = tmp_path/'progress.json'
    monkeypatch.setenv('IMGCOURSE_PROGRESS', str(file))
    for solved in ([], ['03.1', '03.2']):
        file.write_text(json.dumps({'solved': solved}))
        assert main(['progress']) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        row = next(line for line in lines if '03 lr finding' in line)
        n, of = re.search(r'finding +(\d+) +(\d+) ', row).groups()
        assert int(n) == len(solved) < int(of)
        assert re.fullmatch(rf'{len(solved)} of \d+ exercises are solved', last)
    file.write_text('no JSON')
    assert main(['progress']) == 2
    err = capsys.readouterr().err
    assert f'{file} cannot be read' in err and len(err.splitlines()) == 1


# ---- lab


class Server:
    "Stands in for JupyterLab."
    started = []

    def __init__(self, argv): self.started.append(argv)

    def wait(self): return 7


@pytest.fixture
def started(monkeypatch, tmp_path):
    "The command lines of the servers that were started; trust goes into a folder of the test."
    monkeypatch.setattr(Server, 'started', [])
    monkeypatch.setattr(cli.subprocess, 'Popen', Server)
    monkeypatch.setattr(cli.signal, 'signal', lambda *args: None)
    monkeypatch.setenv('JUPYTER_DATA_DIR', str(tmp_path/'jupyter'))
    return Server.started


def test_lab_passes_options_on(tmp_path, started):
    assert main(['lab', str(tmp_path/'mine'), '--port=9999', '--allow-root']) == 7
    assert f'--notebook-dir={(tmp_path/"mine").resolve()}' in started[0]
    assert started[0][-2:] == ['--port=9999', '--allow-root'] and (tmp_path/'mine'/'02_three_lines.ipynb').is_file()


def test_other_commands_do_not_take_them():
    with pytest.raises(SystemExit) as e:
        main(['run', '--port=9999'])
    assert e.value.code == 2


def test_lab_begins_with_the_first_lesson(tmp_path, started):
    "Later it comes back as it was left; and whoever names another page gets that."
    page = '--LabApp.default_url=/lab/tree/01_data_look.ipynb'
    for folder, *options in (['mine'], ['mine'], ['other', '--LabApp.default_url=/lab']):
        main(['lab', str(tmp_path/folder), *options])
    assert [page in argv for argv in started] == [True, False, False]
    assert sum('default_url' in option for option in started[2]) == 1, 'JupyterLab takes one alone'


def notebooks(folder):
    return {str(f.relative_to(folder)) for f in folder.rglob('*.ipynb')}


def test_lab_copies_all_and_jupyterlab_trusts_the_copies(tmp_path, started, capsys):
    "Exercises, solutions and diagrams, too, in folders of their own, where the lessons look for them."
    mine, theirs = tmp_path/'mine', lesson_files()[0].parent
    assert main(['lab', str(mine)]) == 7
    names = notebooks(mine)
    assert f'{len(names)} notebooks are new' in capsys.readouterr().out
    assert names == notebooks(theirs) - {'index.ipynb'}
    assert {'exercises/02_three_lines.ipynb', 'solutions/02_three_lines.ipynb'} < names
    assert figures(mine) == figures(theirs) != {}
    notary = nbformat.sign.NotebookNotary(data_dir=str(tmp_path/'jupyter'))
    for name in names:
        assert notary.check_signature(nbformat.read(mine/name, 4)), name


def test_lab_twice(tmp_path, started, capsys):
    "What the learner has written stays; what is new or was lost comes again."
    mine = tmp_path/'mine'
    main(['lab', str(mine)])
    texts = {name: (mine/name).read_text() + ' ' for name in ('02_three_lines.ipynb', 'exercises/02_three_lines.ipynb')}
    for name, text in texts.items():
        (mine/name).write_text(text)
    lost = mine/'05_dog_breeds.ipynb', mine/'exercises'/'05_dog_breeds.ipynb'
    for file in lost:
        file.unlink()
    capsys.readouterr()
    assert main(['lab', str(mine)]) == 7 and capsys.readouterr().out.startswith('2 notebooks are new')
    assert texts == {name: (mine/name).read_text() for name in texts} and all(file.is_file() for file in lost)


def test_lab_is_stopped_with_its_server(tmp_path, monkeypatch):
    "By SIGTERM, as Docker does it: the signal is handed on."
    class Stopped:
        code = None
        def __init__(self, argv): pass
        def terminate(self): self.code = -15
        def wait(self):
            signal.raise_signal(signal.SIGTERM)
            return self.code
    monkeypatch.setattr(cli.subprocess, 'Popen', Stopped)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(['lab', str(tmp_path/'mine')]) == -15
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.e2e
def test_jupyterlab_opens_the_first_lesson(tmp_path):
    "The real one, with options of the user's."
    command = [IMGCOURSE, 'lab', str(tmp_path/'mine'), '--no-browser', '--allow-root', '--ServerApp.base_url=/course/']
    env = os.environ | {'JUPYTER_CONFIG_DIR': str(tmp_path), 'JUPYTER_DATA_DIR': str(tmp_path), 'JUPYTER_PORT': '0'}
    p = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in p.stdout:
            assert 'error' not in line.lower()
            if 'http://' in line:
                break
    finally:
        p.terminate()
        p.communicate(timeout=60)
    assert '/course/lab/tree/01_data_look.ipynb?token=' in line
