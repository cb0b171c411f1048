"""Several processes, and two machines as far as network namespaces are some: the same features, weights and predictions
as one process, whatever the number; a run that goes on with another number; a process that is killed ends the others,
with a message, within a minute."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
import numpy as np
import psutil
from hard_disks import backbone
from hard_folders import draw, two_classes
from trials import Lost, Silent, Trial, refused

SCRIPT = '''
import hashlib, json, sys, warnings
import imgcourse.features as f
from accelerate import PartialState
from imgcourse.all import *
warnings.simplefilter('ignore')
folder, out, mode, epochs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
real, counts = f._compute, []
def count(net, ds, keys, store):
    counts.extend(keys)
    return real(net, ds, keys, store)
f._compute = count
set_seed(3)
tfms = tfms_from_model('test_resnet', 64, aug_tfms=transforms_side_on)
data = ImageClassifierData.from_folder(folder, bs=16, tfms=tfms)
head = nn.Sequential(nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 2), nn.LogSoftmax(1))
learn = ConvLearner(create_backbone('test_resnet', False), head, data, True).silent()
learn.models_path = Path(out)/'models'
say = lambda **what: sys.stdout.write(f'said {json.dumps(what)}\\n') # at once: others write to the same pipe
class Tell(Callback):
    order = 30
    def before_batch(self, learn):
        if learn.training and learn.i == 0:
            sys.stdout.write(f'epoch {learn.epoch}\\n')
            sys.stdout.flush()
        if mode == 'slowly':
            import time
            time.sleep(.3)
if mode == 'all':
    learn.fit(.03, 2)
    learn.precompute = False
    learn.fit(.01, 1)
    learn.lr_find(num_it=20)
    learn.save('all')
    losses = [h['validation loss'] for h in learn.history] + [float(x) for x in learn.sched.losses[:10]]
    say(process=PartialState().process_index, made=counts, losses=losses, preds=learn.predict().tolist())
elif mode == 'uneven':
    learn.save('first') # whatever comes first finds out that there are others
    preds = learn.predict()
    learn.fit(1e-9, 1)
    losses = [learn.history[-1][k] for k in ('validation loss', 'accuracy')]
    say(process=PartialState().process_index, made=counts, losses=losses, preds=preds.tolist())
else:
    learn.precompute = False
    learn.fit(.01, epochs, cbs=[Checkpoint(part=1), Tell()])
    learn.save('run')
    say(process=PartialState().process_index, losses=[h['validation loss'] for h in learn.history])
'''


def environment(cache):
    cpu = {'ACCELERATE_USE_CPU': '1', 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    return {**os.environ, **cpu, 'IMGCOURSE_CACHE': str(cache)}


def launcher(n, *more):
    if n == 1:
        return [sys.executable]
    return [sys.executable, '-m', 'accelerate.commands.launch', '--multi_gpu', f'--num_processes={n}', *more]


def prepared(folder, n=40):
    "The script, and so many pictures of each class."
    folder = Path(folder)
    script, pictures = folder/'script.py', folder/f'{n} of each'
    script.write_text(SCRIPT)
    if not pictures.exists():
        two_classes(folder/f'new {os.getpid()}', n).rename(pictures)
    return script, pictures


def said(text):
    lines = [json.loads(line[5:]) for line in text.split('\n') if line.startswith('said ')]
    return sorted(lines, key=lambda s: s['process'])


def launch(folder, n, out, mode='all', epochs=1, goes_on=False):
    script, pictures = prepared(folder, 37 if mode == 'uneven' else 40)
    out.mkdir(exist_ok=True)
    command = [*launcher(n, '--main_process_port=0'), script, pictures, out, mode, str(epochs)]
    done = subprocess.run(command, env=environment(out/'cache'), capture_output=True, text=True)
    if done.returncode:
        raise Silent(f'{n} processes ended with {done.returncode}: {done.stderr[-600:]}')
    if ('Going on with the run' in done.stdout) != goes_on:
        raise Lost(f'it began {"anew" if goes_on else "in the middle"}: {done.stdout[-400:]}')
    return said(done.stdout)


def same(folder, n):
    "`n` processes against one."
    from safetensors.torch import load_file
    folder = Path(folder)
    one, many = launch(folder, 1, folder/'one'), launch(folder, n, folder/f'{n} at once')
    made = [key for s in many for key in s['made']]
    if len(many) != n or len(made) != 80 or len(set(made)) != 80:
        raise Silent(f'{len(made)} features were made, of {len(set(made))} pictures')
    for s in many:
        if not np.allclose(s['losses'], one[0]['losses'], atol=1e-4):
            raise Silent(f'other losses: {s["losses"]} {one[0]["losses"]}')
        if not np.allclose(s['preds'], one[0]['preds'], atol=1e-3):
            raise Silent('other predictions, or in another order')
    a, b = (load_file(folder/name/'models'/'all.safetensors') for name in ('one', f'{n} at once'))
    if any((a[k] - b[k]).abs().max() > 1e-4 for k in a):
        raise Silent('other weights')
    return 'right'


def uneven(folder, n):
    "Numbers of pictures that `n` does not divide: each counts once, in its place."
    folder = Path(folder)
    one = launch(folder, 1, folder/'one, uneven', 'uneven')[0]
    many = launch(folder, n, folder/f'{n} at once, uneven', 'uneven')
    if len(many) != n or sum(len(s['made']) for s in many) != 74:
        raise Silent(f'{[len(s["made"]) for s in many]} features were made')
    for s in many:
        if np.shape(s['preds']) != np.shape(one['preds']) or not np.allclose(s['preds'], one['preds'], atol=1e-4):
            raise Silent('other predictions, or in another order')
        if not np.allclose(s['losses'], one['losses'], atol=1e-4):
            raise Silent(f'other scores: {s["losses"]} {one["losses"]}')
    return 'right'


def trains(folder, n):
    "The command: one folder, each line of the log once, and an accuracy that is that of the file."
    from imgcourse.export import load_learner
    folder = Path(folder)
    _, pictures = prepared(folder)
    place = folder/f'trained by {n}'
    place.mkdir()
    files = [draw(place/'valid'/c/f'{k}.jpg', 2*k + (c == 'dogs')) for c in ('cats', 'dogs') for k in range(50, 60)]
    (place/'command.py').write_text('from imgcourse.cli import command\ncommand()\n')
    args = '--arch', 'test_resnet', '--size', '32', '--epochs', '2', '--finetune', '1', '--bs', '16', '--valid', 'valid'
    command = [*launcher(n, '--main_process_port=0'), 'command.py', 'train', pictures, '--weights', backbone(folder)]
    done = subprocess.run([*command, *args], cwd=place, env=environment(place/'cache'), capture_output=True, text=True)
    if done.returncode or done.stdout.count('are recognized') != 1:
        raise Silent(f'it ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-600:]}')
    left = sorted(str(f.relative_to(place)) for f in place.rglob('imgcourse-net*/*'))
    if left != [f'imgcourse-net/{f}' for f in ('model.safetensors', 'report.html', 'result.json', 'train.log')]:
        raise Silent(f'it left {left}')
    lines = (place/'imgcourse-net'/'train.log').read_text().split('\n')
    if sum('validation loss' in line for line in lines) != 3:
        raise Silent(lines)
    result = json.loads((place/'imgcourse-net'/'result.json').read_text())
    net = load_learner(place/'imgcourse-net'/'model.safetensors')
    right = (net.predict(files).argmax(1) == np.repeat([0, 1], 10)).mean()
    if net.classes != ['cats', 'dogs'] or not np.isclose(right, result['accuracy']):
        raise Silent(result)
    return 'right'


def odd_batches(folder):
    "Three processes cannot share 16 pictures; it is said, with a number that can be shared."
    folder = Path(folder)
    script, pictures = prepared(folder)
    (folder/'odd').mkdir()
    command = [*launcher(3, '--main_process_port=0'), script, pictures, folder/'odd', 'run', '1']
    done = subprocess.run(command, env=environment(folder/'odd'/'cache'), capture_output=True, text=True)
    words = [line for line in done.stderr.split('\n') if 'ValueError: ' in line]
    if done.returncode == 0 or not words:
        raise Silent(f'it ended with {done.returncode}: {done.stderr[-500:]}')
    return refused(ValueError(words[0]), '3 processes', 'set_bs(18)')


def begun(folder, n, out, epochs):
    "A run that has reached its second epoch."
    script, pictures = prepared(folder)
    out.mkdir()
    command = [*launcher(n, '--main_process_port=0'), script, pictures, out, 'slowly', str(epochs)]
    errors = open(out/'errors.txt', 'w')
    process = subprocess.Popen(command, env=environment(out/'cache'), stdout=subprocess.PIPE, stderr=errors, text=True)
    for line in process.stdout:
        if line.startswith('epoch 1'):
            return process
    process.kill()
    raise Silent(f'it never came so far: {(out/"errors.txt").read_text()[-500:]}')


def workers_of(process, script='script.py'):
    return [p for p in psutil.Process(process.pid).children(recursive=True) if script in ' '.join(p.cmdline())]


def killed(folder, n, then, which=-1):
    """One of `n` processes is killed (the first is the one that writes). The others end within a minute and say why;
    `then` so many go on, to the end of a run that nothing has interrupted."""
    folder = Path(folder)
    out = folder/f'{n} killed, {then} go on, {which}'
    process = begun(folder, n, out, 3)
    workers = workers_of(process)
    workers[which].send_signal(signal.SIGKILL)
    start = time.monotonic()
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        for p in workers:
            p.kill()
        raise Silent('the others had not ended after a minute') from None
    words = (out/'errors.txt').read_text()
    if process.returncode == 0 or 'SIGKILL' not in words:
        raise Silent(f'it ended with {process.returncode}: {words[-500:]}')
    if any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers):
        raise Silent('some are still there')
    again = launch(folder, then, out, 'run', 3, goes_on=True)
    want = launch(folder, then, folder/f'whole {then} for {n} {which}', 'run', 3)
    if len(again[0]['losses']) != 3 or not np.allclose(again[0]['losses'], want[0]['losses'], atol=5e-3):
        raise Lost(f'{again[0]["losses"]} instead of {want[0]["losses"]} ({time.monotonic() - start:.0f} s)')
    return 'right'


# ---- two machines
def hosts():
    "Why there can be no two network namespaces here; '' if there can."
    if not shutil.which('ip') or os.getuid():
        return 'two hosts: there is no `ip`, or no right to use it'
    done = subprocess.run(['ip', 'netns', 'add', f'hard{os.getpid()}'], capture_output=True, text=True)
    subprocess.run(['ip', 'netns', 'delete', f'hard{os.getpid()}'], capture_output=True)
    return f'two hosts: {done.stderr.strip()}' if done.returncode else ''


def two_hosts(folder):
    "Two namespaces with a wire between them; one process in each, with a cache of its own."
    folder, tag = Path(folder), f'h{os.getpid() % 10_000}'
    a, b = f'{tag}a', f'{tag}b'
    def ip(*args): subprocess.run(['ip', *args], check=True, capture_output=True)
    try:
        for name in (a, b):
            ip('netns', 'add', name)
        ip('link', 'add', f'{a}v', 'netns', a, 'type', 'veth', 'peer', 'name', f'{b}v', 'netns', b)
        for name, address in ((a, '10.77.0.1'), (b, '10.77.0.2')):
            ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', f'{name}v')
            ip('-n', name, 'link', 'set', f'{name}v', 'up')
            ip('-n', name, 'link', 'set', 'lo', 'up')
        script, pictures = prepared(folder)
        running = []
        for rank, name in enumerate((a, b)):
            out = folder/f'host {rank}'
            out.mkdir()
            more = ['--num_machines=2', f'--machine_rank={rank}', '--main_process_ip=10.77.0.1',
                    '--main_process_port=29501', '--rdzv_backend=static']
            env = environment(out/'cache') | {'GLOO_SOCKET_IFNAME': f'{name}v', 'TP_SOCKET_IFNAME': f'{name}v'}
            command = ['ip', 'netns', 'exec', name, *launcher(2, *more), script, pictures, out, 'all', '1']
            pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
            running.append(subprocess.Popen(command, env=env, **pipes))
        texts = [p.communicate(timeout=240) for p in running]
        if any(p.returncode for p in running):
            raise Silent(f'{[p.returncode for p in running]}: {texts[0][1][-400:]} {texts[1][1][-400:]}')
        both = sorted(said(texts[0][0]) + said(texts[1][0]), key=lambda s: s['process'])
        one = launch(folder, 1, folder/'one host')
        if [s['process'] for s in both] != [0, 1] or not np.allclose(both[1]['losses'], one[0]['losses'], atol=1e-4):
            raise Silent(f'other losses: {[s["losses"] for s in both]} {one[0]["losses"]}')
        if not all(np.allclose(s['preds'], one[0]['preds'], atol=1e-3) for s in both):
            raise Silent('other predictions, or in another order')
        return 'right'
    finally:
        for name in (a, b):
            subprocess.run(['ip', 'netns', 'delete', name], capture_output=True)


def make(folder, quick, rng):
    yield Trial('one of 2 is killed, 2 go on', killed, (str(folder), 2, 2), 300)
    yield Trial('2 processes train a folder', trains, (str(folder), 2), 300)
    if quick:
        return
    yield Trial('2 processes are one', same, (str(folder), 2), 300)
    yield Trial('4 processes are one', same, (str(folder), 4), 400)
    yield Trial('4 processes, and numbers that they do not divide', uneven, (str(folder), 4), 400)
    yield Trial('3 processes and batches of 16', odd_batches, (str(folder),), 200)
    yield Trial('the first of 2 is killed, 2 go on', killed, (str(folder), 2, 2, 0), 400)
    for n, then in ((2, 1), (4, 2), (2, 4)):
        yield Trial(f'one of {n} is killed, {then} go on', killed, (str(folder), n, then), 400)
    why = hosts()
    yield why or Trial('two hosts', two_hosts, (str(folder),), 400)
