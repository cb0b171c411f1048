"""Ratios, each of two things measured side by side in one run: `python tests/bench/bench.py [FOLDER]`.

FOLDER holds train/ and valid/ with a folder for each class, photos best; without it sketches are used.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEAN, STD = (.485, .456, .406), (.229, .224, .225)


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def best(f, n=3):
    return min(timed(f) for _ in range(n))


def line(what, ours, theirs, base):
    print(f'{what:45} {ours:8.3f} s  {theirs:8.3f} s  {ours/theirs:6.2f} of {base}', flush=True)


def imports():
    def run(module):
        return best(lambda: subprocess.run([sys.executable, '-c', f'import {module}'], check=True))
    line('import imgcourse', run('imgcourse'), run('torch'), 'import torch')


def get_data(folder, sz):
    from imgcourse.all import ImageClassifierData, tfms_from_model
    return ImageClassifierData.from_paths(folder, tfms=tfms_from_model('resnet34', sz))


def decoding(folder, sz):
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder
    data = get_data(folder, sz)
    resize = T.Resize(sz, T.InterpolationMode.BICUBIC)
    tfm = T.Compose([resize, T.CenterCrop(sz), T.ToTensor(), T.Normalize(MEAN, STD)])
    theirs = DataLoader(ImageFolder(folder/'train', tfm), 64)
    what = f'read and resize {len(data.fix_ds)} pictures to {sz}'
    line(what, best(lambda: list(data.fix_dl)), best(lambda: list(theirs)), "ImageFolder's time")


def three_lines(folder, sz):
    import torch

    from imgcourse.all import ConvLearner

    def run():
        torch.manual_seed(0) # the same weights, so that stored features are of use
        ConvLearner.pretrained('resnet34', get_data(folder, sz), precompute=True, weights=False).fit(.01, 3)

    with tempfile.TemporaryDirectory() as cache:
        os.environ['IMGCOURSE_CACHE'] = cache
        first = timed(run)
        line('three lines (resnet34), the second time', timed(run), first, 'the first time')


def feature_loader(x, y, rows, bs, **kwargs):
    from torch.utils.data import DataLoader

    from imgcourse.all import FeatureDataset, Features, as_is
    return DataLoader(FeatureDataset(Features(x, rows), y[rows]), bs, collate_fn=as_is, **kwargs)


def loop(n=5000, width=2560, epochs=3):
    import numpy as np

    from imgcourse.all import Learner, make_head
    x, y = np.random.RandomState(0).randn(n, width).astype(np.float32), np.arange(n) % 2

    class StandIn:
        trn_dl = feature_loader(x, y, np.arange(n), 64, shuffle=True)
        val_dl = feature_loader(x, y, np.arange(n), 64)

    ours = best(lambda: Learner(make_head(width, 2), StandIn).fit(.01, epochs))
    plain = best(lambda: plain_loop(make_head(width, 2), x, y, epochs))
    line('fit, three epochs on features', ours, plain, "a bare loop's time")


def plain_loop(head, x, y, epochs):
    import torch
    import torch.nn.functional as F
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    opt = torch.optim.SGD(head.parameters(), lr=.01, momentum=.9)
    for _ in range(epochs):
        head.train()
        for i in torch.randperm(len(y)).split(64):
            F.cross_entropy(head(x[i]), y[i]).backward()
            opt.step()
            opt.zero_grad()
        head.eval()
        with torch.no_grad():
            for i in torch.arange(len(y)).split(64):
                F.cross_entropy(head(x[i]), y[i]).item()


def thirty_lines(n=10_222, width=2048, classes=120, bs=210, cycles=25):
    """Phase 1 of lesson 5 at the size of the competition, on made-up features; beside it nothing but the matrix
    products of forward and backward passes."""
    import numpy as np

    from imgcourse.all import Learner, Shuffle, get_cv_idxs, make_head
    rng = np.random.RandomState(0)
    y = rng.randint(0, classes, n)
    x = (rng.randn(classes, width)[y]*.15 + rng.randn(n, width)).astype(np.float32)
    val = get_cv_idxs(n, val_pct=.1)
    trn = np.setdiff1d(np.arange(n), val)

    class StandIn:
        trn_dl = feature_loader(x, y, trn, bs, sampler=Shuffle(len(trn)))
        val_dl = feature_loader(x, y, np.sort(val), bs)

    learn = Learner(make_head(width, classes, [2048, 512], [.5, .5, .4]), StandIn)
    learn.silent()
    bare = timed(lambda: matrix_products(learn.model, bs, cycles, -(-len(trn)//bs), -(-len(val)//bs)))
    ours = timed(lambda: learn.fit(1e-2, n_cycle=cycles, cycle_len=1))
    line(f'{cycles} cycles on {n:,} x {width:,} features', ours, bare, "its bare matrix products' time")
    print(f'  of {classes} classes {learn.history[-1]["accuracy"]:.3f} right')


def matrix_products(model, bs, cycles, n_trn, n_val):
    "Those of each linear layer: forward and twice backward in training, forward in validation."
    import torch
    weights = [m.weight for m in model if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for _ in range(cycles):
            for _ in range(n_trn):
                for w in weights:
                    v = torch.ones(bs, w.shape[1])
                    g = v@w.T
                    g@w
                    g.T@v
            for _ in range(n_val):
                for w in weights:
                    torch.ones(bs, w.shape[1])@w.T


def main(folder=None):
    imports()
    if folder is None:
        from imgcourse.all import get_dataset
        folder = get_dataset('dogscats')
    folder = Path(folder)
    decoding(folder, 224)
    decoding(folder, 96)
    loop()
    thirty_lines()
    three_lines(folder, 224)


if __name__ == '__main__':
    main(*sys.argv[1:])
