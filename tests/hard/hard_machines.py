"""Machines as people have them: little memory, one thread or 64, no home, no shared memory, another language, a closed
standard input, packages that may only be read. The same results, or words that say what is missing."""
import os
import shutil
import subprocess
import sys
from pathlib import Path
from hard_disks import backbone
from hard_folders import two_classes
from trials import Silent, Trial, refused

TRAIN = """
import sys, warnings
import numpy as np, torch
from imgcourse.all import ConvLearner, ImageClassifierData, set_seed, tfms_from_model
warnings.simplefilter('ignore')
set_seed(1)
data = ImageClassifierData.from_folder(sys.argv[1], bs=8, tfms=tfms_from_model('test_resnet', 32), num_workers=workers)
learn = ConvLearner.pretrained('test_resnet', data, weights=sys.argv[2], precompute=precompute).silent()
learn.fit(.01, 2)
print('loss', learn.history[-1]['validation loss'])
"""


def trained(folder, name, env=None, before='', workers=0, precompute=True, wrap=(), **how):
    "What a program that trains prints, in an odd place."
    folder = Path(folder)
    pictures = folder/f'pictures {os.getpid()}'
    if not pictures.exists():
        two_classes(pictures, 12)
    place = {**os.environ, 'IMGCOURSE_CACHE': str(folder/f'cache {name}'), **(env or {})}
    place = {k: v for k, v in place.items() if v is not None}
    code = f'workers, precompute = {workers}, {precompute}\n{before}{TRAIN}'
    command = [*wrap, sys.executable, '-c', code, pictures, backbone(folder)]
    return subprocess.run(command, env=place, capture_output=True, text=True, **how)


def loss(done):
    if done.returncode or 'loss' not in done.stdout:
        raise Silent(f'it ended with {done.returncode}: {done.stdout[-200:]} {done.stderr[-500:]}')
    return float(done.stdout.split('loss')[1])


def threads(folder, n):
    one, many = (loss(trained(folder, f'{k} threads', {'OMP_NUM_THREADS': str(k)})) for k in (1, n))
    if abs(one - many) > 1e-3:
        raise Silent(f'{one} with one thread, {many} with {n}')
    return 'right'


FORK = """
import os, torch
from pathlib import Path
from imgcourse.pictures import look_at
files = sorted(Path(__import__('sys').argv[1]).rglob('*.jpg'))
look_at(files)
torch.ones(500, 500) @ torch.ones(500, 500)
"""
FORKED = FORK + """
pid = os.fork()
if pid == 0:
    os.environ['IMGCOURSE_CACHE'] += ' of the child'
    os._exit(len(look_at(files).bad))
assert os.waitpid(pid, 0)[1] == 0
"""


def after_a_fork(folder, kind):
    "Threads have been at work before: a forked child, or processes that load data, must not wait for them."
    if kind == 'fork':
        loss(trained(folder, 'fork', before=FORKED))
    else:
        loss(trained(folder, 'loaders', before=FORK, workers=2, precompute=False))
    return 'right'


def little_memory(folder):
    "A batch that does not fit: a smaller one is named, and it does."
    code = """
import resource, sys
import torch
from noise import small_data
from imgcourse.all import *
data = small_data(n=96, bs=96, sz=128, on_device=False)
model = nn.Sequential(nn.Conv2d(3, 256, 3), nn.ReLU(), nn.Conv2d(256, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(8, 3))
learn = ConvLearner.from_model(model, data).silent()
used = int(open('/proc/self/status').read().split('VmData:')[1].split()[0])*1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 900_000_000,)*2)
for _ in range(7):
    try:
        learn.fit(.01, 1)
        print('fits', data.bs)
        break
    except MemoryTooSmall as e:
        print(e)
        data.set_bs(data.bs//2)
"""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, capture_output=True,
                          text=True)
    lines = done.stdout.split('\n')
    if 'fits' not in done.stdout or 'set_bs(48)' not in lines[0]:
        raise Silent(f'{done.stdout[-400:]} {done.stderr[-400:]}')
    return 'right'


def little_shared_memory(folder, kilobytes):
    "Processes that load data need some; where there is too little, threads do it."
    hide = ['unshare', '-m', 'sh', '-c', f'mount -t tmpfs -o size={kilobytes}k tmpfs /dev/shm && exec "$0" "$@"']
    for precompute in (True, False):
        want, got = (loss(trained(folder, 'shared memory', workers=workers, precompute=precompute, wrap=wrap))
                     for workers, wrap in ((0, ()), (2, hide)))
        if abs(want - got) > 1e-3:
            raise Silent(f'{got} instead of {want}')
    return 'right'


def no_home(folder, home):
    "A home that is not there, or none at all: a user whom the system does not know, as in a container."
    env = {'HOME': home, 'IMGCOURSE_CACHE': None, 'XDG_CACHE_HOME': None}
    unknown = ('import os.path, pwd\ndef nobody(number): raise KeyError(number)\npwd.getpwuid = nobody\n'
               'import matplotlib' if home is None else '')
    done = trained(folder, 'no home', env, before=unknown)
    if done.returncode == 0:
        raise Silent(f'features were kept somewhere: {done.stdout}')
    return refused(ValueError(done.stderr.strip().split('\n')[-1]), 'IMGCOURSE_CACHE')


def command(folder, what, env=None, wrap=(), **how):
    "The command, in an odd place: train, and ask about a picture whose name is odd."
    folder = Path(folder)/what
    pictures = two_classes(folder/'pictures', 8)
    (pictures/'cats').rename(pictures/'Kätzchen 猫')
    place = {**os.environ, 'IMGCOURSE_CACHE': str(folder/'cache'), **(env or {})}
    base = [*wrap, sys.executable, '-c', 'from imgcourse.cli import command; command()']
    out = folder/'net'
    steps = [['train', pictures, '--out', out, '--arch', 'test_resnet', '--weights', backbone(folder), '--size', '32',
              '--epochs', '1'], ['predict', out/'model.safetensors', pictures/'Kätzchen 猫'/'0.jpg'], ['data']]
    for step in steps:
        done = subprocess.run([*base, *step], env=place, capture_output=True, text=True, errors='replace', **how)
        if done.returncode or 'Traceback' in done.stderr:
            raise Silent(f'{step[0]} ended with {done.returncode}: {done.stderr[-500:]}')
    return 'right'


def read_only_packages(folder):
    "As in a container, or where an administrator has installed them."
    import imgcourse
    places = [sys.prefix, str(Path(imgcourse.__file__).parent)]
    mounts = ' && '.join(f'mount --bind "{p}" "{p}" && mount -o remount,bind,ro "{p}"' for p in places)
    wrap = ['unshare', '-m', 'sh', '-c', f'{mounts} && exec "$0" "$@"']
    return command(folder, 'read-only packages', wrap=wrap)


def no_mounts():
    "Why a process cannot have mounts of its own here, or ''."
    if not shutil.which('unshare') or subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode:
        return 'a process can have no mounts of its own here'
    return ''


def make(folder, quick, rng):
    place, why = str(folder), no_mounts()
    yield Trial('little memory for a batch', little_memory, (place,), 120)
    yield Trial('a fork after threads', after_a_fork, (place, 'fork'), 120)
    if quick:
        return
    yield Trial('64 threads', threads, (place, 64), 200)
    yield Trial('processes that load data after threads', after_a_fork, (place, 'loaders'), 120)
    for home in ('/proc/nothing', None):
        yield Trial(f'HOME={home}', no_home, (place, home), 120)
    c = {'LC_ALL': 'C', 'LANG': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    yield Trial('LANG=C', command, (place, 'in C', c), 200)
    yield Trial('standard input closed', closed_input, (place,), 200)
    for k in (4, 200, 3000):
        name = f'{k} kB of shared memory'
        yield f'{name}: {why}' if why else Trial(name, little_shared_memory, (place, k), 200)
    name = 'packages that may only be read'
    yield f'{name}: {why}' if why else Trial(name, read_only_packages, (place,), 200)


def closed_input(folder): return command(folder, 'closed', wrap=['sh', '-c', 'exec "$0" "$@" <&-'])
