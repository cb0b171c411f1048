"""A disk that is full, at every place that writes; a cache that may only be read; a place that may not be written. The
message names the file; what was there is unharmed; nothing is left that keeps the disk full; with room again, the same
command goes on."""
import ctypes
import json
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
import numpy as np
import onnx
from PIL import Image
from hard_folders import read, split_as, two_classes
from trials import Lost, Silent, Trial, refused


@contextmanager
def small_disk(place, kilobytes):
    "A file system of its own, of so many kilobytes; a way to fill it, and one to make room."
    place.mkdir(parents=True)
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', place]
    subprocess.run(mount, check=True, capture_output=True)
    filler = place/'filler'
    def fill(leave=0):
        "All but so many kilobytes."
        with open(filler, 'ab', buffering=0) as f:
            try:
                while True:
                    f.write(bytes(4096))
            except OSError:
                f.truncate(max(0, f.tell() - leave*1024))
    try:
        yield fill, lambda: filler.unlink(missing_ok=True)
    finally:
        subprocess.run(['umount', '-l', place], check=True)


def can_mount():
    "Why there can be no small disk here; '' if there can."
    import tempfile
    with tempfile.TemporaryDirectory() as d:
        try:
            with small_disk(Path(d)/'x', 64):
                return ''
        except (OSError, subprocess.CalledProcessError) as e:
            return f'a small disk cannot be made here ({type(e).__name__})'


def contents(folder):
    return {f: f.read_bytes() for f in folder.rglob('*') if f.is_file() and f.name != 'filler'}


def check_whole(disk):
    "What has its final name is whole."
    from imgcourse.features import read_whole
    for f in contents(disk):
        if f.suffix == '.safetensors':
            read_whole(f)
        elif f.suffix == '.onnx':
            onnx.checker.check_model(f)
        elif f.suffix == '.html':
            assert f.read_text(encoding='utf-8').rstrip().endswith('</html>')
        elif f.suffix in ('.json', '.ipynb'):
            assert json.loads(f.read_text(encoding='utf-8'))
        elif f.suffix in ('.jpg', '.png'):
            Image.open(f).load()
        elif f.parent.name == 'unpacked':
            assert len(f.read_bytes()) == 20_000


# ---- places that write; each gets the disk and gives what it is to do
def learner(disk, precompute=True, seed=3):
    from imgcourse.all import ConvLearner, set_seed
    set_seed(seed)
    pictures = disk.parent/f'pictures of {disk.name}'
    if not pictures.exists():
        two_classes(disk.parent/f'new {os.getpid()}', 20).rename(pictures)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        data, _ = read(pictures)
    learn = ConvLearner.pretrained('test_resnet', data, precompute, weights=False).silent()
    learn.models_path = disk/'models'
    return learn


def saves(disk):
    learn = learner(disk)
    return lambda: learn.save('best')


def saves_state(disk):
    learn = learner(disk)
    learn.fit(.01, 1)
    return lambda: learn.save_state('best')


def keeps_checkpoints(disk):
    return lambda: learner(disk).fit(.01, 2, resume=True)


def keeps_the_best(disk):
    return lambda: learner(disk).fit(.01, 2, best_save_name='best')


def exports(disk):
    learn = learner(disk)
    return lambda: learn.export(disk/'net.safetensors')


def exports_onnx(disk):
    learn = learner(disk)
    return lambda: learn.export(disk/'net.onnx')


def writes_for_browsers(disk):
    from imgcourse.export import load_learner
    from imgcourse.share import write_net
    net = load_learner(learner(disk).export(disk.parent/f'net of {disk.name}.safetensors'))
    return lambda: write_net(net, disk/'page'/'net.onnx')


def writes_a_report(disk):
    from imgcourse.report import report
    learn = learner(disk)
    learn.fit(.01, 1)
    return lambda: report(learn, disk/'report.html')


def keeps_features(disk):
    os.environ['IMGCOURSE_CACHE'] = str(disk/'cache')
    return lambda: learner(disk).fit(.01, 1)


def draws_sketches(disk):
    from imgcourse.sketches import make_sketches
    return lambda: make_sketches('dogscats', disk/'sketches', n_train=60, n_valid=10)


def unpacks(disk):
    from hard_archives import zipped
    from imgcourse.sources import unpack
    rng = np.random.RandomState(0)
    archive = disk.parent/f'a {os.getpid()}.zip'
    archive.write_bytes(zipped({f'{k}.bin': rng.bytes(20_000) for k in range(20)}))
    return lambda: unpack(archive, disk/'unpacked')


def downloads(disk):
    import hard_archives
    from imgcourse import sources
    sources.time = hard_archives.Quick
    def do():
        with hard_archives.serving() as url:
            sources.download(f'{url}/says_nothing/x', disk/'file.bin', hard_archives.DIGEST)
    return do


def writes_tensorboard(disk):
    from imgcourse.tensorboard import TensorBoard
    return lambda: learner(disk).fit(.01, 2, cbs=TensorBoard(disk/'runs'))


def notes_progress(disk):
    os.environ['IMGCOURSE_PROGRESS'] = str(disk/'progress.json')
    from imgcourse import exercises
    def do():
        import contextlib
        import io
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exercises._remember('01.1')
        if 'not noted' in out.getvalue():
            raise OSError(28, out.getvalue())
    return do


def copies_lessons(disk):
    from imgcourse.cli import copy_lessons
    return lambda: copy_lessons(disk/'lessons')


def runs_a_notebook(disk):
    from imgcourse.cli import run
    return lambda: run('66', disk/'out', jobs=1)


def keeps_cycles(disk):
    return lambda: learner(disk).fit(.01, 2, cycle_len=1, cycle_save_name='c')


def keeps_a_photo(disk):
    from imgcourse.own import _keep
    content = (two_classes(disk.parent/f'photos {os.getpid()}', 1)/'cats'/'0.jpg').read_bytes()
    return lambda: _keep(disk/'collected', 'mug', 'a.jpg', content)


def moves_pictures(disk):
    "To this disk, from another."
    from imgcourse.all import Cleaner, ConvLearner, Interpretation
    pictures = two_classes(disk.parent/f'to clean {disk.name}')
    split_as(pictures, 'train', 'valid')
    data, _ = read(pictures)
    learn = ConvLearner.pretrained('test_resnet', data, weights=False).silent()
    cleaner = Cleaner(data, Interpretation(data, learn.predict()).top_losses(4))
    cleaner.choice = dict.fromkeys(cleaner.choice, 'delete')
    def do():
        try:
            cleaner.apply(disk/'removed')
        finally:
            if len([*pictures.rglob('*.jpg'), *disk.rglob('*.jpg')]) != 12:
                raise Lost('a picture is gone, or there twice')
    return do


def trains_a_folder(disk):
    from imgcourse.train import train_folder
    learner(disk)
    pictures = disk.parent/f'pictures of {disk.name}'
    def do():
        shutil.rmtree(disk/'out', ignore_errors=True)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            train_folder(pictures, disk/'out', arch='test_resnet', sz=32, epochs=1, bs=8, weights=backbone(disk.parent))
    return do


def backbone(folder):
    "A file of weights for the smallest net."
    from imgcourse.features import create_backbone, write_whole
    file = folder/f'weights {os.getpid()}.safetensors'
    if not file.exists():
        write_whole(create_backbone('test_resnet', False).model.state_dict(), file, {})
    return str(file)


PLACES = [
    saves, saves_state, keeps_checkpoints, keeps_the_best, exports, exports_onnx, writes_a_report, keeps_features,
    draws_sketches, unpacks, downloads, notes_progress, trains_a_folder, writes_tensorboard,
    copies_lessons, runs_a_notebook, keeps_cycles, keeps_a_photo, moves_pictures, writes_for_browsers,
]
ONCE = ( # a second time, nothing is written
    draws_sketches, unpacks, keeps_checkpoints, keeps_features, downloads, notes_progress, moves_pictures,
)


SEVERAL = keeps_checkpoints, keeps_the_best, keeps_cycles, trains_a_folder, runs_a_notebook # files, one after the other


def full(folder, place, leave, old):
    "`leave`: so many kilobytes are free. `old`: what is written is there already, from before."
    disk = Path(folder)/f'{place.__name__} {leave} {old}'
    cache = os.environ['IMGCOURSE_CACHE']
    with small_disk(disk, 40_000) as (fill, free):
        try:
            do = place(disk)
            if old:
                do()
            before = contents(disk)
            fill(leave)
            try:
                do()
                what = 'right'
            except (OSError, ValueError) as e:
                what = refused(e, disk, 'No space left')
                check_left(disk, before, place)
            check_whole(disk)
            free()
            do() # goes on
            check_whole(disk)
            return what
        finally:
            os.environ['IMGCOURSE_CACHE'] = cache


def check_left(disk, before, place):
    after = contents(disk)
    kept = ('rows', 'index') # they only grow, and what is in them stays
    harmed = [f for f in before if f not in after or (after[f] != before[f] and f.name not in kept)]
    if harmed and place not in SEVERAL:
        raise Lost(f'harmed: {harmed}')
    left = [f for f in after if f.name.endswith('.new') or f.name.startswith('.')]
    if left:
        raise Silent(f'left lying about: {left}')


# ---- places that may not be written
def without_rights(code, *args, **env):
    "A program that may not write what its user may not: as root, too, who may everything."
    def drop():
        for right in (1, 2): # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, right, 0, 0, 0)
    program = [sys.executable, '-c', code, *map(str, args)]
    return subprocess.run(program, preexec_fn=drop, capture_output=True, text=True, env=os.environ | env)


FEATURES = """
import sys, warnings
warnings.simplefilter('ignore')
from imgcourse.all import ConvLearner, set_seed, tfms_from_model
from imgcourse.own import read_folder
data = read_folder(sys.argv[1], 4, tfms_from_model('test_resnet', 32))
set_seed(1)
learn = ConvLearner.pretrained('test_resnet', data, precompute=True, weights=sys.argv[2]).silent()
try:
    learn.fit(.01, 1)
    print('trained', learn.history[-1]['validation loss'])
except (OSError, ValueError) as e:
    print('refused', e)
"""


def read_only_cache(folder, warm):
    pictures = two_classes(Path(folder)/f'p {warm}', 8)
    cache, weights = Path(folder)/f'cache {warm}', backbone(Path(folder))
    cache.mkdir()
    if warm:
        first = without_rights(FEATURES, pictures, weights, IMGCOURSE_CACHE=str(cache)).stdout
    for f in (cache, *cache.rglob('*')):
        f.chmod(0o555 if f.is_dir() else 0o444)
    before = {f: f.stat().st_mtime_ns for f in cache.rglob('*')}
    done = without_rights(FEATURES, pictures, weights, IMGCOURSE_CACHE=str(cache))
    if {f: f.stat().st_mtime_ns for f in cache.rglob('*')} != before:
        raise Silent('it was written to')
    if warm:
        if done.stdout != first or not first.startswith('trained'):
            raise Silent(f'{first!r}, {done.stdout!r} {done.stderr[-500:]}')
        return 'right'
    if not done.stdout.startswith('refused'):
        raise Silent(f'{done.stdout!r} {done.stderr[-500:]}')
    return refused(ValueError(done.stdout), cache, 'IMGCOURSE_CACHE')


def no_rights_for(folder, what):
    "A model's file, a folder for results, a table."
    folder = Path(folder)/f'no {what}'
    folder.mkdir()
    code = {
        'model': 'from imgcourse.export import load_learner\nload_learner(file)',
        'weights': "from imgcourse.features import create_net\ncreate_net('test_resnet', weights=file)",
        'table': 'from imgcourse.batches import read_labels\nread_labels(file, ".")',
        'picture': 'from imgcourse.pictures import read_picture\nread_picture(file)',
        'results': "from imgcourse.files import whole_file\nwith whole_file(file + '/x') as f: f.write_text('x')",
        'archive': "from imgcourse.sources import unpack\nunpack(file, file + ' unpacked')",
        'run.0.safetensors': 'from hard_disks import learner\nfrom pathlib import Path\n'
                             'learn = learner(Path(file).parent)\nlearn.models_path = Path(file).parent\n'
                             'learn.fit(.01, 1, resume=True)',
    }[what]
    file = folder/(what if '.' in what else 'file')
    file.mkdir() if what == 'results' else file.write_bytes(b'id,label\n')
    file.chmod(0)
    wrapped = f'import sys\nfile = sys.argv[1]\ntry:\n    {code.replace(chr(10), chr(10) + "    ")}\n'
    done = without_rights(wrapped + 'except (OSError, ValueError) as e:\n    print(e)', file)
    if not done.stdout:
        raise Silent(done.stderr[-500:])
    return refused(ValueError(done.stdout), file, 'Permission denied')


def full_disks(quick):
    "What is written, how many kilobytes are left, and is it there already?"
    if quick: # ONNX and notebooks take as long as five others
        slow = exports_onnx, writes_for_browsers, runs_a_notebook
        return [(place, 0, place not in ONCE) for place in PLACES if place not in slow]
    return [(place, leave, old) for place in PLACES for leave in (0, 4, 60) for old in (False, True)
            if not (old and place in ONCE)]


def make(folder, quick, rng):
    why = can_mount()
    if why:
        yield why
    for place, leave, old in [] if why else full_disks(quick):
        yield Trial(f'full disk: {place.__name__}, {leave} kB left, {"" if old else "no "}old file', full,
                    (str(folder), place, leave, old), 120)
    if sys.platform == 'linux':
        for warm in (True, False):
            yield Trial(f'a {"warm" if warm else "cold"} cache that may only be read', read_only_cache,
                        (str(folder), warm), 120)
        for what in ('model', 'weights', 'table', 'picture', 'results', 'archive', 'run.0.safetensors'):
            yield Trial(f'no rights for: {what}', no_rights_for, (str(folder), what), 60)
