"""The rows of the table: what is measured against what, and the ratio that is wanted."""
import json
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

RESNET34 = 3.67e9 # multiply-adds for a picture of 224 pixels
KERAS_RESNET = 10.7e6 # of 32; the way back takes twice as many


class Work(NamedTuple):
    "A piece of work."
    name: str # of a function in ours.py or peers.py
    args: dict # for it
    label: str = 'ours'
    mine: bool = True # does imgcourse do it? Then it is measured for an older checkout, too
    warm: dict = {} # arguments that make the warm-up smaller
    beside: int = 0 # how many processes spin beside it
    env: dict = {}
    twice: bool = False # the second run in the same cache counts
    keep: bool = False # its samples serve all rows that need it
    then: Callable = dict # from what was found to what counts

    @property
    def key(self):
        return json.dumps([self.name, self.args, self.beside, self.env, self.twice], sort_keys=True)


def faster(ours, theirs): return theirs/ours
def part(ours, theirs): return ours/theirs
def more_ms(ours, theirs): return 1000*(ours - theirs)


class Row(NamedTuple):
    name: str
    ours: Work
    peers: list[Work] # the fastest counts
    wanted: float | tuple[float, float] | None # at least, if `faster`, else at most; two: with AVX2 only, with bfloat16
    unit: str = 's' # 's', 'ms', 'pictures/s' or 'MB'
    compare: Callable = faster
    value: str = 'seconds' # what is compared; seconds for one picture, where a number of pictures is known
    limit: Work | None = None # what the machine could do
    note: str = ''

    def cost(self, found):
        "What counts of a sample; None if it has failed."
        if 'error' in found:
            return None
        return found[self.value]/found.get('count', 1) if self.value == 'seconds' else found[self.value]


def twenty_epochs(found):
    if 'error' in found:
        return found
    return found | {'seconds': found['before_seconds'] + 20*median(found['epoch_seconds'])}


def three_lines(photos, epochs, **more):
    return Work('three_lines', {'photos': photos, 'epochs': epochs}, warm={'epochs': 1}, **more)


def fastai(photos, **more):
    args = {'photos': photos, 'epochs': 3}
    return Work('fastai', args, 'fastai', mine=False, warm={'epochs': 1}, keep=True, **more)


def rows_of_lines(photos, n_photos):
    work = {'pictures': n_photos, 'multiply_adds': RESNET34}
    products = Work('matrix_products', work, 'matrix products', mine=False)
    ours, theirs, by_20 = three_lines(photos, 3, keep=True), fastai(photos), fastai(photos, then=twenty_epochs)
    train = Work('train', {'photos': photos})
    return [
        Row('three lines, 3 epochs', ours, [theirs], (7.5, 12), limit=products,
            note='limit: the multiply-adds of resnet34 alone, once for each picture, as products of matrices'),
        Row('three lines, 20 epochs', three_lines(photos, 20), [by_20], (45, 80), limit=products,
            note="fastai: its time until the first epoch begins, and 20 times the median of its three epochs' times"),
        Row('imgcourse train', train, [theirs], 20,
            note='the whole process, with 10 epochs of the net on board at 192 pixels, its file and the page; '
                 'fastai: three epochs of resnet34 at 224'),
        Row('a second run', three_lines(photos, 3, twice=True), [theirs], 60,
            note='three lines, 3 epochs, again with the cache of a first run'),
        Row('peak memory of three lines', ours, [theirs], .333, 'MB', part, 'memory_mb',
            note='resident memory of the process, and what its child processes do not share'),
    ]


def features_row(photos, arch, weights, sz, wanted, small):
    net = {'arch': arch, 'weights': weights, 'sz': sz}
    kinds = 'float32', 'bfloat16', 'onnxruntime', 'openvino', 'openvino_bf16'
    peers = [
        Work('engine', {'kind': kind, **net, 'times': 2 if small else 40}, kind, mine=False, warm={'times': 1})
        for kind in kinds]
    ours = Work('compute_features', {'photos': photos, **net})
    return Row(f'features, {arch}, {sz}', ours, peers, wanted, 'pictures/s',
               note='ours from files, theirs from tensors that are ready; float32 and bfloat16: torch')


def decoding_row(photos, sz):
    ours = Work('decode', {'photos': photos, 'sz': sz})
    theirs = Work('image_folder', {'photos': photos, 'sz': sz}, 'torchvision', mine=False)
    return Row(f'decode and resize to {sz}', ours, [theirs], 2.5, 'pictures/s',
               limit=Work('jpeg_decoder', {'photos': photos}, mine=False),
               note='limit: the JPEG decoder alone, at full size, in two threads')


def resnet_row(cifar, n):
    kinds = {'TensorFlow': ('tensorflow', False), 'TensorFlow, XLA': ('tensorflow', True), 'JAX': ('jax', True)}
    peers = [
        Work('keras_epoch', {'cifar': cifar, 'n': n, 'backend': backend, 'jit': jit}, kind, mine=False)
        for kind, (backend, jit) in kinds.items()]
    ours = Work('resnet_epoch', {'cifar': cifar, 'n': n})
    products = Work('matrix_products', {'pictures': 1, 'multiply_adds': 3*KERAS_RESNET}, mine=False)
    return Row('Keras ResNet, augmented', ours, peers, 2.5, 'pictures/s', limit=products,
               note=f'the second epoch of {n:,} pictures of CIFAR-10; limit: its multiply-adds as products of matrices')


def heads_work(name, n, times, **more):
    return Work(name, {'n': n, 'n_val': n//5, 'channels': 1280, 'epochs': 3, 'times': times}, **more)


def rows_of_loops(cifar, small):
    n, n_plain, many = (500, 500, 3) if small else (2000, 5000, 30)
    plain = {'cifar': cifar, 'n': n_plain, 'bs': 256, 'lesson': True, 'epochs': 3, 'times': 1 if small else 3}
    tiny = {'cifar': cifar, 'n': n, 'bs': 64, 'lesson': False, 'epochs': 3, 'times': 1 if small else 5}
    head = {'n': 900, 'n_val': 200, 'channels': 512, 'epochs': 5, 'times': many}
    bare, n_features = {'label': 'bare loop', 'mine': False}, 500 if small else 5000
    thirty = {'n': 10_222, 'width': 2048, 'classes': 120, 'bs': 210, 'cycles': 1 if small else 25}
    return [
        Row('fit on a plain net', Work('fit_net', plain), [Work('bare_net', plain, **bare)], 1.03, compare=part,
            note="lesson 6's ConvNet2, batches of 256; both with the allocator and threads as imgcourse sets them"),
        Row('fit on a tiny net', Work('fit_net', tiny), [Work('bare_net', tiny, **bare)], None, compare=part,
            note='three convolutions, batches of 64, four milliseconds each: what the loop itself costs is seen'),
        Row('fit on features', heads_work('heads', n_features, 1), [heads_work('bare_heads', n_features, 1, **bare)],
            1.1, compare=part, note='all of `fit`, the look at the stored features included'),
        Row('30 heads', Work('heads', head), [Work('bare_heads', head, **bare)], None, compare=part,
            note=f'{many} trainings of a head, 5 epochs each, on 900 + 200 stored features of 1,024 numbers'),
        Row('phase 1 of the thirty lines', Work('thirty_lines', thirty, warm={'cycles': 1}),
            [Work('head_products', thirty, 'matrix products', mine=False)], None, compare=part,
            note='25 cycles on made-up features of the size of the competition'),
    ]


def rows_of_imports():
    def module(name, **more): return Work('import_module', {'name': name}, **more)
    ours = Work('start', {'code': 'import imgcourse'})
    empty = Work('start', {'code': ''}, 'an empty Python', mine=False)
    return [
        Row('import imgcourse.all', module('imgcourse.all'),
            [module('fastai.vision.all', label='fastai.vision.all', mine=False)], 2,
            limit=module('torch', mine=False), note='limit: import torch'),
        Row('import imgcourse', ours, [empty], 50, 'ms', more_ms, note='milliseconds more than a Python without it'),
    ]


def rows_beside(photos, cifar, small):
    "Idle against one process that spins; four of them, against a single thread."
    works = {
        'three lines': three_lines(photos, 3),
        'a ResNet epoch': Work('resnet_epoch', {'cifar': cifar, 'n': 500 if small else 2000}),
        'a head': heads_work('heads', 500 if small else 5000, 1),
    }
    rows, one_thread = [], {'OMP_NUM_THREADS': '1'}
    for name, work in works.items():
        unit = 'pictures/s' if work.name == 'resnet_epoch' else 's'
        four = work._replace(beside=4)
        rows += [
            Row(f'{name} beside one', work._replace(beside=1), [work._replace(label='idle')], 2.2, unit, part,
                note='beside one process that spins, against beside none'),
            Row(f'{name} beside four', four, [four._replace(label='one thread', env=one_thread)], 1, unit,
                note='beside four processes that spin, against OMP_NUM_THREADS=1 beside them'),
        ]
    return rows


def rows_of_growth(n):
    def pictures(times):
        return Work('growth', {'n': times*n}, f'{times*n:,} pictures', warm={'n': n}, keep=True)

    def row(name, times, *more):
        return Row(name, pictures(times), [pictures(1)], None, *more, note=f'{times*n:,} pictures against {n:,}')
    return [
        row('growth, 10 times', 10, 'ms', part),
        row('growth, 100 times', 100, 'ms', part),
        row('growth of memory, 100 times', 100, 'MB', part, 'anonymous_mb'),
    ]


def all_rows(photos, n_photos, cifar, small):
    "All rows; small: of a size that tries out the rows, not imgcourse."
    lite0 = 'tf_efficientnet_lite0', None
    return [
        *rows_of_lines(photos, n_photos),
        features_row(photos, 'resnet34', False, 224, .85, small),
        *(features_row(photos, *lite0, sz, .85, small) for sz in (224, 160)),
        *(decoding_row(photos, sz) for sz in (128, 224)),
        resnet_row(cifar, 1000 if small else 5000),
        *rows_of_loops(cifar, small),
        *rows_of_imports(),
        *rows_beside(photos, cifar, small),
        *rows_of_growth(600 if small else 2000),
    ]
