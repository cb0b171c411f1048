"A file is whole or not there, whatever happens; nothing is left lying about."
import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
import pytest
from imgcourse import files
from imgcourse.files import cache_dir, whole_file, whole_folder


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


@pytest.mark.parametrize('fault', [errno.EINVAL, errno.EACCES])
def test_a_share_that_cannot_bring_a_folder_to_the_disk(tmp_path, monkeypatch, fault):
    "The file is there all the same."
    real = os.fsync
    def fsync(f):
        if stat.S_ISDIR(os.fstat(f).st_mode):
            raise OSError(fault, os.strerror(fault))
        real(f)
    monkeypatch.setattr(os, 'fsync', fsync)
    with whole_file(tmp_path/'a.txt') as new:
        new.write_text('one')
    with whole_folder(tmp_path/'b') as new:
        (new/'c.txt').write_text('two')
    assert names(tmp_path) == ['a.txt', 'b'] and (tmp_path/'b'/'c.txt').read_text() == 'two'


def test_a_folder_that_another_process_makes_at_the_same_moment(tmp_path, monkeypatch):
    real = os.rename
    def rename(one, other):
        (tmp_path/'b').mkdir()
        (tmp_path/'b'/'theirs.txt').write_text('one')
        real(one, other)
    monkeypatch.setattr(os, 'rename', rename)
    with pytest.raises(FileExistsError, match='is there already'), whole_folder(tmp_path/'b') as new:
        (new/'ours.txt').write_text('two')
    assert names(tmp_path) == ['b'] and names(tmp_path/'b') == ['theirs.txt']


def test_what_another_machine_is_writing_stays(tmp_path, monkeypatch):
    "Also one whose name begins as ours does; its processes are not known here."
    monkeypatch.setattr(files, '_here', 'gpu')
    theirs = tmp_path/'.a.txt.gpu-1-99999999-0.new'
    theirs.write_text('half')
    ours = tmp_path/'.a.txt.gpu-99999999-0.new'
    ours.write_text('of a process that is gone')
    with whole_file(tmp_path/'a.txt') as new:
        new.write_text('whole')
    assert names(tmp_path) == [theirs.name, 'a.txt']


def test_what_cannot_be_removed_is_in_nobodys_way(tmp_path, monkeypatch):
    (tmp_path/f'.a.txt.{files._here}-99999999-0.new').write_text('of another user')
    def rename(one, other): raise PermissionError(errno.EPERM, 'Operation not permitted', one)
    monkeypatch.setattr(os, 'rename', rename)
    with whole_file(tmp_path/'a.txt') as new:
        new.write_text('whole')
    assert (tmp_path/'a.txt').read_text() == 'whole'


@pytest.mark.parametrize('name', ['猫'*80, 'n'*250, 'é'*120], ids=['three', 'one', 'two'])
def test_names_as_long_as_the_system_allows(tmp_path, name):
    "It counts bytes."
    with whole_file(tmp_path/name) as new:
        new.write_text('whole')
    assert names(tmp_path) == [name]


def test_what_is_left_of_a_process_that_cannot_be(tmp_path):
    (tmp_path/f'.a.txt.{files._here}-{"9"*30}-0.new').write_text('somebody made it up')
    with whole_file(tmp_path/'a.txt') as new:
        new.write_text('whole')
    assert (tmp_path/'a.txt').read_text() == 'whole'


def test_a_user_without_a_home(monkeypatch):
    for name in ('IMGCOURSE_CACHE', 'XDG_CACHE_HOME', 'HOME', 'USERPROFILE', 'HOMEDRIVE', 'HOMEPATH'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('os.path.expanduser', lambda path: path)
    with pytest.raises(OSError, match='IMGCOURSE_CACHE'):
        cache_dir()


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
signal.signal(signal.SIGINT, signal.default_int_handler) # who started this may have it ignored
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


def test_who_waits_for_another_process_says_so(tmp_path):
    code = ('import sys\nfrom imgcourse.files import one_at_a_time\n'
            'with one_at_a_time(sys.argv[1], "counts to ten"):\n    print("it is my turn", flush=True)\n    input()\n')
    def start():
        return subprocess.Popen([sys.executable, '-c', code, str(tmp_path/'lock')], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, bufsize=1)
    first = start()
    assert first.stdout.readline() == 'it is my turn\n'
    second = start()
    assert second.stdout.readline() == 'Another process counts to ten; waiting until it has finished.\n'
    first.communicate('\n')
    assert second.communicate('\n')[0] == 'it is my turn\n'
