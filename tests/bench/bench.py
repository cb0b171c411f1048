"""Ratios, each of two things measured side by side in one run: `python tests/bench/bench.py [FOLDER]`.

FOLDER holds train/ and valid/ with a folder for each class, photos best; without it sketches are used.
"""
import subprocess, sys, tempfile, time, os
from pathlib import Path

def best(f, n=3): return min(timed(f) for _ in range(n))
def timed(f): t = time.perf_counter(); f(); return time.perf_counter() - t
def line(what, ours, theirs, base): print(f'{what:45} {ours:8.3f} s  {theirs:8.3f} s  {ours/theirs:6.2f} of {base}', flush=True)

def imports():
    run = lambda m: subprocess.run([sys.executable, '-c', f'import {m}'], check=True)
    line('import imgcourse', best(lambda: run('imgcourse')), best(lambda: run('torch')), 'import torch')

def decoding(folder, sz):
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder
    from imgcourse.data import ImageClassifierData, tfms_from_model
    data = ImageClassifierData.from_paths(folder, tfms=tfms_from_model('resnet34', sz))
    theirs = DataLoader(ImageFolder(folder/'train', T.Compose([T.Resize(sz, T.InterpolationMode.BICUBIC), T.CenterCrop(sz), T.ToTensor(), T.Normalize((.485, .456, .406), (.229, .224, .225))])), 64)
    line(f'read and resize {len(data.fix_ds)} pictures to {sz}', best(lambda: list(data.fix_dl)), best(lambda: list(theirs)), "ImageFolder's time")

def three_lines(folder, sz):
    from imgcourse.all import ConvLearner, ImageClassifierData, tfms_from_model
    def run(): ConvLearner.pretrained('resnet34', ImageClassifierData.from_paths(folder, tfms=tfms_from_model('resnet34', sz)), precompute=True, weights=False).fit(.01, 3)
    with tempfile.TemporaryDirectory() as d:
        os.environ['IMGCOURSE_CACHE'] = d
        import torch
        def same_weights(): torch.manual_seed(0); run()
        first = timed(same_weights)
        line('three lines (resnet34), the second time', timed(same_weights), first, 'the first time')

def loop(n=5000, width=2560, epochs=3):
    import numpy as np, torch, torch.nn.functional as F
    from imgcourse.all import ImageClassifierData, Learner, make_head, FeatureDataset, Features
    from torch.utils.data import DataLoader
    from imgcourse.data import as_is
    x, y = np.random.RandomState(0).randn(n, width).astype(np.float32), np.arange(n) % 2
    ds = FeatureDataset(Features(x, np.arange(n)), y)
    class Stand_in: trn_dl, val_dl = DataLoader(ds, 64, True, collate_fn=as_is), DataLoader(ds, 64, collate_fn=as_is)
    def ours(): Learner(make_head(width, 2), Stand_in).fit(.01, epochs)
    def plain():
        head, X, Y = make_head(width, 2), torch.from_numpy(x), torch.from_numpy(y)
        opt = torch.optim.SGD(head.parameters(), lr=.01, momentum=.9)
        for _ in range(epochs):
            head.train()
            for i in torch.randperm(n).split(64): F.cross_entropy(head(X[i]), Y[i]).backward(); opt.step(); opt.zero_grad()
            head.eval()
            with torch.no_grad(): [F.cross_entropy(head(X[i]), Y[i]).item() for i in torch.arange(n).split(64)]
    line('fit, three epochs on features', best(ours), best(plain), "a bare loop's time")

def thirty_lines(n=10_222, width=2048, classes=120, bs=210, cycles=25):
    "Phase 1 of lesson 5 at the size of the competition, on made-up features; beside it nothing but the matrix products of forward and backward passes."
    import numpy as np, torch
    from torch import nn
    from torch.utils.data import DataLoader
    from imgcourse.all import FeatureDataset, Features, Learner, Shuffle, as_is, get_cv_idxs, make_head
    rng = np.random.RandomState(0)
    y = rng.randint(0, classes, n)
    x = (rng.randn(classes, width)[y]*.15 + rng.randn(n, width)).astype(np.float32)
    val = np.isin(np.arange(n), get_cv_idxs(n, val_pct=.1))
    def dl(rows, **kw): return DataLoader(FeatureDataset(Features(x, np.flatnonzero(rows)), y[rows]), bs, collate_fn=as_is, **kw)
    class Stand_in: trn_dl, val_dl = dl(~val, sampler=Shuffle((~val).sum())), dl(val)
    learn = Learner(make_head(width, classes, [2048, 512], [.5, .5, .4]), Stand_in)
    learn.cbs = learn.cbs[:1]
    layers = [m for m in learn.model if isinstance(m, nn.Linear)]
    def products():
        for _ in range(cycles):
            for _ in range(-(-(~val).sum()//bs)):
                for m in layers: v = torch.ones(bs, m.in_features); g = v@m.weight.T; g@m.weight; g.T@v
            for _ in range(-(-val.sum()//bs)):
                for m in layers: torch.ones(bs, m.in_features)@m.weight.T
    with torch.no_grad(): bare = timed(products)
    line(f'{cycles} cycles on {n:,} x {width:,} features', timed(lambda: learn.fit(1e-2, n_cycle=cycles, cycle_len=1)), bare, "its bare matrix products' time")
    print(f'  of {classes} classes {learn.history[-1]["accuracy"]:.3f} right')

if __name__ == '__main__':
    imports()
    if len(sys.argv) > 1: folder = Path(sys.argv[1])
    else:
        from imgcourse.data import get_dataset
        folder = get_dataset('dogscats')
    decoding(folder, 224); decoding(folder, 96)
    loop()
    thirty_lines()
    three_lines(folder, 224)
