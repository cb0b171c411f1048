"""The runs on real photos that lesson 8 reports: `python tests/bench/caltech.py FOLDER [ARCH [WEIGHTS]] [alone]`.

FOLDER holds Caltech-101 in train/ and test/ (`get_dataset('caltech101', full=True)` makes one). The three nets get the same time: what transfer learning needs,
the features included; with `alone` there is transfer learning only. The pictures in test/ are looked at after each epoch, and nothing is chosen by them.
"""
import sys, time
from imgcourse.all import *

class StopAfter(Callback):
    def __init__(self, seconds): self.seconds = seconds
    def before_fit(self, learn): self.start = time.perf_counter()
    def after_epoch(self, learn):
        if time.perf_counter() - self.start > self.seconds: raise StopFit()

def main(path, arch='tf_efficientnet_lite0', weights=None, alone=False):
    cfg = {'pad_type': 'same'} if arch.startswith('mobilenet') else {}
    def get_data(tfms): return ImageClassifierData.from_paths(path, 64, tfms, val_name='test')
    set_seed(42); start = time.perf_counter()
    data = get_data(tfms_from_model(arch, 224, aug_tfms=transforms_side_on, max_zoom=1.1))
    learn = ConvLearner.pretrained(arch, data, precompute=True, weights=weights, **cfg)
    learn.fit_one_cycle(10, .02)
    head = learn.history[-1]['accuracy'], time.perf_counter() - start
    learn.unfreeze(); learn.bn_freeze(True)
    learn.fit_one_cycle(1, slice(1e-4, 2e-3))
    seconds = time.perf_counter() - start
    rows = {'transfer, head only': (head[0], learn.full, head[1], 10), 'transfer': (learn.history[-1]['accuracy'], learn.full, seconds, 11)}
    preds, raw = {'transfer': learn.predict()}, get_data(tfms_from_model(arch, 56)).on_device([random_shift, random_flip])
    for name, net in () if alone else (('full net', TrautNet), ('short net', ShortNet)):
        set_seed(42); start = time.perf_counter()
        learn = ConvLearner.from_model(net((56, 56, 3), data.c), raw)
        learn.fit(1e-3, 1000, cbs=[StopAfter(seconds)])
        rows[name] = learn.history[-1]['accuracy'], learn.full, time.perf_counter() - start, len(learn.history)
        preds[name] = learn.predict()
    print(pd.DataFrame({k: {'accuracy': a, 'million weights': sum(p.numel() for p in m.parameters())/1e6, 'seconds': s, 'epochs': n} for k, (a, m, s, n) in rows.items()}).T.round(3))
    print(Comparison(data, preds).table().round(3))

main(*[a for a in sys.argv[1:] if a != 'alone'], alone='alone' in sys.argv)
