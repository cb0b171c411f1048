"""The runs on real photos that lesson 8 reports: `python tests/bench/caltech.py FOLDER [ARCH [WEIGHTS]] [alone]`.

FOLDER holds Caltech-101 in train/ and test/ (`get_dataset('caltech101', full=True)` makes one). The three nets get the
same time: what transfer learning needs, the features included; with `alone` there is transfer learning only. The
pictures in test/ are looked at after each epoch, and nothing is chosen by them.
"""
import sys
import time
import pandas as pd
from imgcourse.all import (
    Callback, Comparison, ConvLearner, ImageClassifierData, ShortNet, StopFit, TrautNet, lite0, random_flip,
    random_shift, set_seed, tfms_from_model, transforms_side_on)


class StopAfter(Callback):
    def __init__(self, seconds): self.seconds = seconds
    def before_fit(self, learn): self.start = time.perf_counter()
    def after_epoch(self, learn):
        if time.perf_counter() - self.start > self.seconds:
            raise StopFit()


def row(learn, start):
    n = sum(p.numel() for p in learn.full.parameters())
    return {'accuracy': learn.history[-1]['accuracy'], 'million weights': n/1e6, 'seconds': time.perf_counter() - start,
            'epochs': len(learn.history)}


def transfer(path, arch, weights):
    "The learner, and the rows after the head and after all layers."
    set_seed(42)
    start = time.perf_counter()
    data = ImageClassifierData.from_paths(
        path, 64, tfms_from_model(arch, 224, aug_tfms=transforms_side_on, max_zoom=1.1), val_name='test')
    args = {'pad_type': 'same'} if arch.startswith('mobilenet') else {}
    learn = ConvLearner.pretrained(arch, data, precompute=True, weights=weights, **args)
    learn.fit_one_cycle(10, .02)
    head = row(learn, start)
    learn.unfreeze()
    learn.bn_freeze(True)
    learn.fit_one_cycle(1, slice(1e-4, 2e-3))
    return learn, {'transfer, head only': head, 'transfer': row(learn, start)}


def from_nothing(net_class, data, seconds):
    set_seed(42)
    start = time.perf_counter()
    learn = ConvLearner.from_model(net_class((56, 56, 3), data.c), data)
    learn.fit(1e-3, 1000, cbs=[StopAfter(seconds)])
    return learn, row(learn, start)


def main(path, arch=lite0, weights=None, alone=False):
    learn, rows = transfer(path, arch, weights)
    data, preds = learn.data, {'transfer': learn.predict()}
    raw = ImageClassifierData.from_paths(path, 64, tfms_from_model(arch, 56), val_name='test')
    raw = raw.on_device([random_shift, random_flip])
    for name, net_class in () if alone else (('full net', TrautNet), ('short net', ShortNet)):
        learn, rows[name] = from_nothing(net_class, raw, rows['transfer']['seconds'])
        preds[name] = learn.predict()
    print(pd.DataFrame(rows).T.round(3))
    print(Comparison(data, preds).table().round(3))


if __name__ == '__main__':
    main(*[a for a in sys.argv[1:] if a != 'alone'], alone='alone' in sys.argv)
