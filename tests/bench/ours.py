"""What imgcourse does, in pieces that can be measured; each runs in a process of its own (see work.py)."""
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

LAYERS = 10, 20, 40, 80, 160 # of the Keras text's ResNet


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def start(code):
    "A Python that runs this code and ends."
    command = [sys.executable, '-c', code]
    return {'seconds': median(timed(lambda: subprocess.run(command, check=True)) for _ in range(9))}


def import_module(name):
    return {'seconds': timed(lambda: importlib.import_module(name))}


def three_lines(photos, epochs):
    start = time.perf_counter()
    from imgcourse.all import ConvLearner, ImageClassifierData, resnet34, set_seed, tfms_from_model
    imported = time.perf_counter()
    set_seed(0) # the same weights, so that a second run finds the features of the first
    data = ImageClassifierData.from_paths(photos, tfms=tfms_from_model(resnet34, 224))
    learn = ConvLearner.pretrained(resnet34, data, precompute=True, weights=False)
    learn.fit(.01, epochs)
    end = time.perf_counter()
    return {'seconds': end - start, 'import_seconds': imported - start, 'accuracy': learn.history[-1]['accuracy']}


def train(photos):
    "The command `imgcourse train`."
    program = 'import sys, imgcourse.cli as cli; getattr(cli, "command", lambda: sys.exit(cli.main()))()'
    with tempfile.TemporaryDirectory() as tmp:
        command = [sys.executable, '-c', program, 'train', str(photos), '--out', f'{tmp}/net']
        start = time.perf_counter()
        p = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    return {'seconds': seconds, 'accuracy': float(re.search(r'([\d.]+)% of the validation', p.stdout)[1])/100}


def compute_features(photos, arch, weights, sz):
    "Photos from files to features, after those for validation: whatever a process does only once is done with them."
    from imgcourse.all import ImageClassifierData, create_backbone, features, tfms_from_model
    data = ImageClassifierData.from_paths(photos, tfms=tfms_from_model(arch, sz))
    backbone = create_backbone(arch, weights)
    first = timed(lambda: features(backbone, data.val_ds))
    seconds = timed(lambda: features(backbone, data.fix_ds))
    return {'seconds': seconds, 'count': len(data.fix_ds), 'first_seconds': first}


def go_through(dl):
    for _ in dl:
        pass


def decode(photos, sz):
    from imgcourse.all import ImageClassifierData, tfms_from_model
    data = ImageClassifierData.from_paths(photos, tfms=tfms_from_model('resnet34', sz))
    go_through(data.fix_dl)
    return {'seconds': timed(lambda: go_through(data.fix_dl)), 'count': len(data.fix_ds)}


def small_pictures(folder, n):
    "The first n/10 pictures of each of ten classes, uint8 `(n, 32, 32, 3)`, and their class numbers."
    import numpy as np
    from PIL import Image
    classes = sorted(f for f in Path(folder).iterdir() if f.is_dir())
    files = [f for c in classes for f in sorted(c.iterdir())[:n//10]]
    x = np.stack([np.asarray(Image.open(f).convert('RGB')) for f in files])
    return x, np.repeat(np.arange(len(classes)), n//10)


def small_data(cifar, n, bs, aug):
    from imgcourse.all import ImageClassifierData, PictureTransform
    tfm = PictureTransform([], 32, (0, 0, 0), (1, 1, 1))
    trn, val = small_pictures(f'{cifar}/train', n), small_pictures(f'{cifar}/test', n//5)
    return ImageClassifierData.from_arrays('.', trn, val, bs, (tfm, tfm)).on_device(aug)


def resnet_epoch(cifar, n):
    "The second epoch of lesson 6's ResNet, without its validation."
    from imgcourse.all import Callback, ConvLearner, ResNet, random_flip, random_shift
    data, seconds = small_data(cifar, n, 256, [random_shift, random_flip]), []

    class Clock(Callback):
        def before_pass(self, learn): self.start = time.perf_counter()

        def after_pass(self, learn):
            if learn.training:
                seconds.append(time.perf_counter() - self.start)

    learn = ConvLearner.from_model(ResNet((32, 32, 3), LAYERS, 10), data, cbs=Clock()).silent()
    learn.fit(.01, 2)
    return {'seconds': seconds[1], 'count': n}


def plain_net(lesson):
    "That of lesson 6 before its shortcuts, or a tiny one."
    from torch import nn
    if lesson:
        from imgcourse.all import ConvNet2
        return ConvNet2((32, 32, 3), LAYERS, 10)
    convs = []
    for i, o in ((3, 16), (16, 32), (32, 64)):
        convs += [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(64*16, 10))


def fit_net(cifar, n, bs, lesson, epochs, times):
    from imgcourse.all import Learner
    learn = Learner(plain_net(lesson), small_data(cifar, n, bs, [])).silent()
    learn.fit(.01, 1)
    return {'seconds': median(timed(lambda: learn.fit(.01, epochs)) for _ in range(times))}


def head_data(n, n_val, channels):
    "Made-up pictures, and a backbone that gives so many maps of one pixel."
    import numpy as np
    from torch import nn

    from imgcourse.all import Backbone, ImageClassifierData, PictureTransform

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, channels, 8)

        def forward_features(self, x): return self.conv(x)

    x, y = np.random.RandomState(0).randint(0, 256, (n + n_val, 8, 8, 3), np.uint8), np.arange(n + n_val) % 2
    tfm = PictureTransform([], 8, (.5, .5, .5), (.25, .25, .25))
    data = ImageClassifierData.from_arrays('.', (x[:n], y[:n]), (x[n:], y[n:]), tfms=(tfm, tfm))
    return data, Backbone(Wide())


def fit_head(data, backbone, channels, epochs):
    from imgcourse.all import ConvLearner, make_head
    ConvLearner(backbone, make_head(2*channels, 2), data, precompute=True).silent().fit(.01, epochs)


def heads(n, n_val, channels, epochs, times):
    "Trainings of so many heads on features that are there already."
    data, backbone = head_data(n, n_val, channels)
    fit_head(data, backbone, channels, 1)
    return {'seconds': timed(lambda: [fit_head(data, backbone, channels, epochs) for _ in range(times)])}


def thirty_lines(n, width, classes, bs, cycles):
    "Phase 1 of lesson 5 on made-up features."
    import numpy as np
    from torch.utils.data import DataLoader

    from imgcourse.all import FeatureDataset, Features, Learner, Shuffle, get_cv_idxs, make_head
    from imgcourse.batches import as_is
    rng = np.random.RandomState(0)
    y = rng.randint(0, classes, n)
    x = (rng.randn(classes, width)[y]*.15 + rng.randn(n, width)).astype(np.float32)

    def loader(rows, **how):
        return DataLoader(FeatureDataset(Features(x, rows), y[rows]), bs, collate_fn=as_is, **how)

    class Data:
        pass

    val, data = np.sort(get_cv_idxs(n, val_pct=.1)), Data()
    trn = np.setdiff1d(np.arange(n), val)
    data.trn_dl, data.val_dl = loader(trn, sampler=Shuffle(len(trn))), loader(val)
    learn = Learner(make_head(width, classes, [2048, 512], [.5, .5, .4]), data).silent()
    seconds = timed(lambda: learn.fit(1e-2, n_cycle=cycles, cycle_len=1))
    return {'seconds': seconds, 'accuracy': learn.history[-1]['accuracy']}


def growth(n):
    "From a table of n pictures to an epoch of the head, with the small backbone of memory.py."
    from memory import Small, Watch, make_pictures

    from imgcourse.all import (Backbone, ConvLearner, ImageClassifierData, get_cv_idxs, make_head, set_seed,
                               tfms_from_model)
    set_seed(0)
    with tempfile.TemporaryDirectory() as tmp:
        make_pictures(n, Path(tmp))
        watch, start = Watch(), time.perf_counter()
        watch.start()
        data = ImageClassifierData.from_csv(
            tmp, 'train', f'{tmp}/labels.csv', suffix='.png', tfms=tfms_from_model('resnet18', 16),
            val_idxs=get_cv_idxs(n, val_pct=.1),
        )
        ConvLearner(Backbone(Small()), make_head(16, data.c), data, precompute=True).silent().fit(.01, 1)
        seconds = time.perf_counter() - start
        watch.stop()
    return {'seconds': seconds, 'count': n, 'anonymous_mb': watch.peak/1e6}
