"What `pip install imgcourse` gives: the wheel alone, outside of the repository, without a network."
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[1]
LESSONS = '*.ipynb', 'exercises/*.ipynb', 'solutions/*.ipynb', 'figures/*.svg'
OFFLINE = {'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9', 'HF_HUB_OFFLINE': '1'}


def run(wheel_bin, cwd, program, *args):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | OFFLINE
    return subprocess.run([wheel_bin/program, *map(str, args)], cwd=cwd, capture_output=True, text=True, env=env)


def test_wheel_holds_what_it_should(dist):
    wheel, = dist.glob('*.whl')
    sdist, = dist.glob('*.tar.gz')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert max(wheel.stat().st_size, sdist.stat().st_size) < 8e6 # figures have two dots for each pixel
    files = [f.relative_to(ROOT/'nbs') for kind in LESSONS for f in (ROOT/'nbs').glob(kind)]
    assert len({f.parent for f in files}) == len(LESSONS), 'some of each kind'
    assert {f'imgcourse/lessons/{f.as_posix()}' for f in files} <= names
    assert {f'imgcourse/{name}' for name in ('live.js', 'live.css', 'exercises.json', 'py.typed')} <= names
    assert {f'imgcourse/{f.name}' for f in (ROOT/'imgcourse').iterdir() if f.is_file()} <= names
    assert not [n for n in names if re.search(r'shared|(^|/)(conf)?tests?[/_.]|\.(tgz|pyc)$', n)]


def test_the_package_is_the_wheel(wheel_bin, tmp_path):
    p = run(wheel_bin, tmp_path, 'python', '-c', 'import imgcourse, sys; print(imgcourse.__file__, sys.prefix)')
    file, prefix = p.stdout.split()
    assert file.startswith(prefix) and Path(prefix) == wheel_bin.parent
    assert run(wheel_bin, tmp_path, 'imgcourse', '--version').stdout.strip() == '0.1.0'


def test_train_from_the_wheel(wheel_bin, few, tmp_path):
    p = run(wheel_bin, tmp_path, 'imgcourse', 'train', few, '--epochs', 1)
    assert p.returncode == 0, p.stderr
    picture = few/'valid'/'cats'/'cat.1.jpg'
    p = run(wheel_bin, tmp_path, 'imgcourse', 'predict', 'imgcourse-net/model.safetensors', picture)
    assert p.returncode == 0 and 'cats' in p.stdout


def test_a_lesson_from_the_wheel(wheel_bin, tmp_path):
    "(All of them: test_lessons.)"
    p = run(wheel_bin, tmp_path, 'imgcourse', 'run', '02b', '--out', 'out')
    assert p.returncode == 0, p.stdout + p.stderr


def test_lessons_are_copied_and_never_over_the_learners_own(wheel_bin, tmp_path):
    code = "from imgcourse.cli import copy_lessons; print(len(copy_lessons('mine')))"
    mine, notebooks = tmp_path/'mine', [f for kind in LESSONS[:3] for f in (ROOT/'nbs').glob(kind)]
    assert int(run(wheel_bin, tmp_path, 'python', '-c', code).stdout) == len(notebooks) - 1
    assert len(list((mine/'figures').iterdir())) == len(list((ROOT/'nbs'/'figures').iterdir()))
    (mine/'02_three_lines.ipynb').write_text('edited')
    (mine/'03_lr_finding.ipynb').unlink()
    assert int(run(wheel_bin, tmp_path, 'python', '-c', code).stdout) == 1
    assert (mine/'02_three_lines.ipynb').read_text() == 'edited'
    assert (mine/'03_lr_finding.ipynb').is_file()
