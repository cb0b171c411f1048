"""kill -9 at random moments. What was complete is whole and right, and the same command goes on and ends as if nothing
had happened, to the bit; nothing is left lying about."""
import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
import traceback
import warnings
from pathlib import Path
from hard_disks import backbone, learner
from hard_folders import two_classes
from trials import Lost, Silent, Trial


def digest(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(part if isinstance(part, bytes) else repr(part).encode())
    return h.hexdigest()


def weights_of(learn): return digest(*(v.numpy().tobytes() for v in learn.full.state_dict().values()))


def numbered(learn, k):
    "All weights are this number."
    for p in learn.full.parameters():
        p.data.fill_(k)


# ---- what is done, and what must be true after a kill; each writes into a folder that only it uses
def features(folder):
    os.environ['IMGCOURSE_CACHE'] = str(folder/'cache')
    import imgcourse.features
    imgcourse.features._pause = 0 # written after each batch
    there = any(b'\n' in index.read_bytes() for index in folder.rglob('index'))
    real, made = imgcourse.features._compute, []
    def compute(net, ds, keys, store):
        made.extend(keys)
        return real(net, ds, keys, store)
    imgcourse.features._compute = compute
    learn = learner(folder)
    trn, val = learn.feature_sets(learn.data.fix_ds, learn.data.val_ds)
    if there and len(made) == len(trn) + len(val):
        raise Lost('features that were there were made again')
    return digest(trn.feats[:].tobytes(), val.feats[:].tobytes())


def run(folder):
    "What goes on with a run owes nothing to its own random numbers."
    from imgcourse.checkpoint import Checkpoint
    begun = list(folder.glob('models/run.*.safetensors'))
    learn = learner(folder, precompute=False, seed=4 if begun else 3)
    learn.fit_one_cycle(4, .01, cbs=Checkpoint(part=.9))
    return digest(weights_of(learn), json.dumps(learn.history))


def saves(folder):
    learn = learner(folder)
    learn.fit(.01, 1)
    for k in range(40):
        numbered(learn, k/100)
        learn.history[-1]['epoch'] = k
        learn.save('weights')
        learn.save_state('state')
        learn.export(folder/'net.safetensors')
    return 'done'


def saves_hold(folder):
    from imgcourse.export import load_learner
    from imgcourse.features import read_whole
    for name in ('weights', 'state'):
        file = folder/'models'/f'{name}.safetensors'
        if file.exists():
            tensors, about = read_whole(file)
            numbers = {float(v.flatten()[0]) for k, v in tensors.items() if k.endswith('0.weight') and '/' not in k}
            if len(numbers) != 1:
                raise Lost(f'{name}: weights of several moments: {numbers}')
            if name == 'state' and round(numbers.pop()*100) != about['training']['history'][-1]['epoch']:
                raise Lost('the state is not that of the weights')
    if (folder/'net.safetensors').exists():
        load_learner(folder/'net.safetensors')


def range_test(folder):
    learn = learner(folder, precompute=False)
    before = weights_of(learn)
    learn.lr_find(num_it=40, stop_div=False)
    if weights_of(learn) != before:
        raise Silent('lr_find has changed the weights')
    return digest([float(x) for x in learn.sched.losses])


def trains(folder):
    "The command, as it was given. (Where it had ended, the model stays, and the command says so.)"
    from imgcourse.cli import main
    from imgcourse.features import read_whole
    pictures = folder.parent/f'pictures of {folder.name}'
    if not pictures.exists():
        two_classes(folder.parent/f'new {os.getpid()}', 20).rename(pictures)
    args = '--arch', 'test_resnet', '--size', '32', '--epochs', '3', '--finetune', '1', '--bs', '8'
    whole = (folder/'out'/'model.safetensors').exists() and not list((folder/'out').glob('run-*'))
    weights = backbone(folder.parent)
    if main(['train', str(pictures), '--out', str(folder/'out'), '--weights', weights, *args]) != (2 if whole else 0):
        raise Silent('it ended in another way')
    left = sorted(f.name for f in (folder/'out').iterdir())
    if left != ['model.safetensors', 'report.html', 'result.json', 'train.log']:
        raise Silent(f'it left {left}')
    tensors, about = read_whole(folder/'out'/'model.safetensors') # not its bytes: safetensors' notes have no order
    return digest(*(tensors[k].numpy().tobytes() for k in sorted(tensors)), json.dumps(about))


def trains_hold(folder):
    from imgcourse.export import load_learner
    if (folder/'out'/'model.safetensors').exists():
        load_learner(folder/'out'/'model.safetensors')
    page = folder/'out'/'report.html'
    if page.exists() and not page.read_text(encoding='utf-8').rstrip().endswith('</html>'):
        raise Lost('half a report')


def sketches(folder):
    from imgcourse.sketches import make_sketches
    if not (folder/'drawn').exists():
        make_sketches('dogscats', folder/'drawn', n_train=12, n_valid=4)
    return all_of(folder/'drawn')


def sketches_hold(folder):
    if (folder/'drawn').exists() and len(list((folder/'drawn').rglob('*.jpg'))) != 32:
        raise Lost('a folder of some of the sketches')


def all_of(folder): return digest(*(f.read_bytes() for f in sorted(folder.rglob('*')) if f.is_file()))


def archives(folder):
    from hard_archives import tar
    from imgcourse.sources import unpack
    archive = folder/'a.tar'
    if not (folder/'unpacked').exists():
        archive.write_bytes(tar(content={f'{k % 5}/{k}.bin': bytes([k % 256])*3000 for k in range(400)}))
        unpack(archive, folder/'unpacked')
    return all_of(folder/'unpacked')


def archives_hold(folder):
    if (folder/'unpacked').exists() and len(list((folder/'unpacked').rglob('*.bin'))) != 400:
        raise Lost('a folder of some of the files')


def checks(folder):
    os.environ['IMGCOURSE_CACHE'] = str(folder/'cache')
    from imgcourse.pictures import look_at
    pictures = folder.parent/f'many pictures of {folder.name}'
    if not pictures.exists():
        two_classes(folder.parent/f'new {os.getpid()}', 150).rename(pictures)
    found = look_at(sorted(pictures.rglob('*.jpg')))
    return digest(found.prints.tobytes(), found.bad)


def lessons(folder):
    from imgcourse import cli
    if cli.run('66', folder/'out', jobs=1):
        raise Silent('the notebook failed')
    return 'done'


def lessons_hold(folder):
    for f in (folder/'out').glob('*.ipynb'):
        json.loads(f.read_text(encoding='utf-8'))


WORKS = { # name: what is done, and what must hold at any moment
    'features': (features, None), 'run': (run, None), 'saves': (saves, saves_hold), 'lr_find': (range_test, None),
    'train': (trains, trains_hold), 'data': (sketches, sketches_hold), 'unpack': (archives, archives_hold),
    'checks': (checks, None), 'imgcourse run': (lessons, lessons_hold),
}


# ---- the kill
SERVER = multiprocessing.get_context('forkserver')


def child(name, folder, out):
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    warnings.simplefilter('ignore')
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    try:
        result = WORKS[name][0](folder)
    except Exception:
        Path(f'{out}.error').write_text(traceback.format_exc())
        raise
    Path(f'{out}.new').write_text(str(result))
    os.replace(f'{out}.new', out)


def begin(name, folder, out):
    SERVER.set_forkserver_preload(['imgcourse.all', 'hard_crashes'])
    process = SERVER.Process(target=child, args=(name, folder, out))
    process.start()
    return process


def to_its_end(name, folder, out):
    start = time.monotonic()
    process = begin(name, folder, out)
    process.join()
    if process.exitcode:
        error = Path(f'{out}.error')
        raise Silent(f'it ended with {process.exitcode}: {error.read_text()[-500:] if error.exists() else ""}')
    return out.read_text(), time.monotonic() - start


def kill_one(name, place, out, rng, seconds):
    "At a random moment; at an earlier one if it had ended by then."
    while True:
        process, seconds = begin(name, place, out), rng.uniform(0, seconds)
        process.join(seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return


UNBROKEN = {}


def killed(folder, name, seed):
    folder, rng = Path(folder), random.Random(f'{name} {seed}')
    if name not in UNBROKEN:
        whole = folder/f'unbroken {name} {os.getpid()}'
        whole.mkdir()
        to_its_end('lr_find', whole, folder/f'first {os.getpid()}.txt') # whatever is slow only the first time
        UNBROKEN[name] = to_its_end(name, whole, folder/f'unbroken {name} {os.getpid()}.txt')
    want, seconds = UNBROKEN[name]
    place, out = folder/f'{name} {seed}', folder/f'{name} {seed}.txt'
    place.mkdir()
    for _ in range(rng.choice((1, 1, 2))):
        kill_one(name, place, out, rng, seconds)
        if WORKS[name][1]:
            WORKS[name][1](place)
    got, _ = to_its_end(name, place, out)
    if got != want:
        raise Lost('it has not ended as it does without a kill')
    left = [f.name for f in place.rglob('.*') if f.name.endswith('.new')]
    if left:
        raise Silent(f'left lying about: {left}')
    return 'right'


def make(folder, quick, rng):
    for name in WORKS:
        for k in range({'imgcourse run': 0}.get(name, 1) if quick else {'imgcourse run': 3}.get(name, 13)):
            yield Trial(f'kill: {name} {k}', killed, (str(folder), name, k), 180)
