"A file is whole or not there, whatever happens; nothing is left lying about."
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
import pytest
from imgcourse.files import whole_file, whole_folder


def names(folder): return sorted(os.listdir(folder))


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    file = tmp_path/'new folder'/'a.txt'
    with whole_file(file) as new:
        new.write_text('one')
        assert not file.exists() and new.parent == file.parent
    assert file.read_text() == 'one' and names(file.parent) == ['a.txt']


@pytest.mark.parametrize('error', [RuntimeError('no'), KeyboardInterrupt(), OSError(28, 'No space left on device')])
def test_after_an_error_all_is_as_it_was(tmp_path, error):
    (tmp_path/'a.txt').write_text('old')
    with pytest.raises(type(error)) as e, whole_file(tmp_path/'a.txt') as new:
        new.write_text('half')
        raise error
    assert (tmp_path/'a.txt').read_text() == 'old' and names(tmp_path) == ['a.txt']
    if isinstance(error, OSError):
        assert str(tmp_path/'a.txt') in str(e.value) and 'nothing has changed' in str(e.value) and e.value.errno == 28


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere a folder cannot be brought to the disk')
def test_a_power_failure_leaves_the_old_or_the_new(tmp_path, disk):
    with whole_file(tmp_path/'a.txt') as new:
        new.write_text('one')
    with whole_folder(tmp_path/'b') as new:
        (new/'c.txt').write_text('two')
    assert disk.named() == ['a.txt', 'b']


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    code = f"""
import os, signal
from imgcourse.files import whole_file
with whole_file({str(tmp_path/'a*.txt')!r}) as new:
    new.write_text('half')
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, '-c', code], check=False, env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)})
    (tmp_path/'.a.new').write_text('of somebody else')
    assert len(names(tmp_path)) == 2
    with whole_file(tmp_path/'a*.txt') as new:
        new.write_text('whole')
    assert names(tmp_path) == ['.a.new', 'a*.txt']


def test_what_a_killed_process_has_left_and_its_child_still_writes(tmp_path):
    code = f"""
import os, signal, subprocess, sys
from imgcourse.files import whole_folder
with whole_folder({str(tmp_path/'a')!r}) as new:
    child = 'import sys; print(flush=True); [open(f"{{sys.argv[1]}}/{{k}}", "w").close() for k in range(10**6)]'
    subprocess.Popen([sys.executable, '-c', child, new], stdout=subprocess.PIPE).stdout.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, '-c', code], check=False, stderr=subprocess.DEVNULL,
                   env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)})
    assert len(names(tmp_path)) == 1
    with whole_folder(tmp_path/'a') as new:
        (new/'b.txt').write_text('whole')
    assert names(tmp_path) == ['a'] and names(tmp_path/'a') == ['b.txt']


def test_many_write_one_file_at_once(tmp_path):
    "They do not mix."
    def write(k):
        with whole_file(tmp_path/'a.txt') as new:
            new.write_text(f'{k}\n'*10_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    lines = (tmp_path/'a.txt').read_text().split()
    assert len(lines) == 10_000 and len(set(lines)) == 1 and names(tmp_path) == ['a.txt']


def test_a_long_name(tmp_path):
    with whole_file(tmp_path/('x'*250)) as new:
        new.write_text('a')
    assert names(tmp_path) == ['x'*250]


@pytest.mark.parametrize('first, then', [('torch.nn', 'imgcourse.pictures'), ('imgcourse.schedule', 'imgcourse.all')])
def test_ctrl_c_while_libraries_are_loaded(first, then):
    "They are loaded to their end, then it counts; the same line then does what it does."
    code = f"""
import os, signal, sys
class Press:
    def find_spec(name, *args):
        if name == {first!r}:
            sys.meta_path.remove(Press)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press)
try:
    from {then} import *
except KeyboardInterrupt:
    print('stopped')
from {then} import *
from {then} import read_picture
import torch
print(torch.ones(2).sum().item(), read_picture.__module__)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split() == ['stopped', '2.0', 'imgcourse.pictures'], done.stderr
