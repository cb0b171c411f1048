"What `pip install imgcourse` gives: the wheel alone, outside of the repository, without a network."
import os, subprocess, zipfile
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
OFFLINE = {'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9', 'HF_HUB_OFFLINE': '1'}

def run(wheel_bin, cwd, *argv):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    return subprocess.run([wheel_bin/argv[0], *map(str, argv[1:])], cwd=cwd, capture_output=True, text=True, env={**env, **OFFLINE})

def test_wheel_holds_what_it_should(dist):
    wheel, = dist.glob('*.whl'); sdist, = dist.glob('*.tar.gz')
    names = zipfile.ZipFile(wheel).namelist()
    assert max(wheel.stat().st_size, sdist.stat().st_size) < 5e6
    assert {f'imgcourse/lessons/{f.name}' for f in (ROOT/'nbs').glob('*.ipynb')} | {'imgcourse/cli.py'} <= set(names)
    assert not [n for n in names if 'test' in n.lower() or 'shared' in n or n.endswith(('.tgz', '.pyc'))]

def test_the_package_is_the_wheel(wheel_bin, tmp_path):
    p = run(wheel_bin, tmp_path, 'python', '-c', 'import imgcourse, sys; print(imgcourse.__file__, sys.prefix)')
    file, prefix = p.stdout.split()
    assert file.startswith(prefix) and Path(prefix) == wheel_bin.parent and run(wheel_bin, tmp_path, 'imgcourse', '--version').stdout.strip() == '0.1.0'

def test_train_from_the_wheel(wheel_bin, few, tmp_path):
    p = run(wheel_bin, tmp_path, 'imgcourse', 'train', few, '--epochs', 1)
    assert p.returncode == 0, p.stderr
    p = run(wheel_bin, tmp_path, 'imgcourse', 'predict', 'imgcourse-net/model.safetensors', few/'valid'/'cats'/'cat.1.jpg')
    assert p.returncode == 0 and 'cats' in p.stdout

def test_a_lesson_from_the_wheel(wheel_bin, tmp_path):
    "(All of them: test_lessons.)"
    p = run(wheel_bin, tmp_path, 'imgcourse', 'run', '02b', '--out', 'out')
    assert p.returncode == 0, p.stdout + p.stderr

def test_lessons_are_copied_and_never_over_the_learners_own(wheel_bin, tmp_path):
    code = "from imgcourse.cli import copy_lessons; print(len(copy_lessons('mine')))"
    first = int(run(wheel_bin, tmp_path, 'python', '-c', code).stdout)
    (tmp_path/'mine'/'02_three_lines.ipynb').write_text('edited'); (tmp_path/'mine'/'03_lr_finding.ipynb').unlink()
    assert first == len(list((ROOT/'nbs').glob('*.ipynb'))) - 1 and int(run(wheel_bin, tmp_path, 'python', '-c', code).stdout) == 1
    assert (tmp_path/'mine'/'02_three_lines.ipynb').read_text() == 'edited' and (tmp_path/'mine'/'03_lr_finding.ipynb').is_file()
