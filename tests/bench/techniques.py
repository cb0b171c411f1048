"""Each technique on a task where it pays: `python tests/bench/techniques.py [NAME …] [--photos FOLDER] [--json FILE]`.

A row trains without the technique and with it, all else being equal, with each of the seeds. Its gain is the difference
of the two means, its spread the larger of the two standard deviations. The pictures are sketches; with photos the same
rows take those in FOLDER/cifar10, FOLDER/dogscats and FOLDER/caltech101, as `get_dataset(name, full=True)` makes them.
"""
import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import nn
from imgcourse.all import (
    Average, ConcatPool, ConvLayer, ConvLearner, ConvNet, ConvNet2, EarlyStopping, FastNet, ImageClassifierData,
    Mix, PictureTransform, ResLayer, ResNet, WeightedLoss, accuracy_np, best_thresholds, draw_several, get_cv_idxs,
    get_dataset, lite0, log_loss, random_crop, random_flip, random_shift, set_seed, tfms_from_model, train_folder,
    transforms_side_on)

SEEDS = 1, 2, 3
LEAST = .001 # the spread where three results are the same: one picture of a thousand
Adam = torch.optim.Adam
shift = partial(random_crop, pad=6)
models = tempfile.TemporaryDirectory()
rows = {}


class Score(NamedTuple):
    accuracy: float = 0
    loss: float = 0
    seconds: float = 0
    f1: float = 0


class Row(NamedTuple):
    run: Callable # of a seed: the scores without the technique and with it
    task: str
    measure: str # 'accuracy', 'loss', 'seconds' or 'f1'
    pays: bool # the others run only when they are named


def row(name, task, measure='accuracy', pays=True):
    def add(run):
        rows[name] = Row(run, task, measure, pays)
        return run
    return add


def part(data, trn, val, y=None):
    "Training pictures of these numbers; `val` holds items and classes to check with. `y`: other classes for training."
    y = data.trn_y if y is None else y
    items = [data.trn_ds.items[i] for i in trn]
    return ImageClassifierData(data.path, (items, y[trn]), val, data.classes, data.tfms, data.bs)


def first(y, n):
    "Numbers of the first n pictures of each class."
    return np.concatenate([np.flatnonzero(y == k)[:n] for k in np.unique(y)])


def few(data, n, n_val, times=1):
    "The first n training pictures of each class, each so many times in an epoch, and n_val to check with."
    val = first(data.val_y, n_val)
    return part(data, np.tile(first(data.trn_y, n), times), ([data.val_ds.items[i] for i in val], data.val_y[val]))


@cache
def cifar():
    tfm = PictureTransform([], 32, (.491, .482, .447), (.247, .243, .262))
    return ImageClassifierData.from_paths(get_dataset('cifar10'), 50, (tfm, tfm), val_name='test')


@cache
def ten(n, aug=(), times=1):
    "n pictures of each class of CIFAR-10, in memory."
    return few(cifar(), n, 100, times).on_device(aug)


@cache
def cats(n, sz, bs=16):
    data = ImageClassifierData.from_paths(get_dataset('dogscats'), bs, tfms_from_model(lite0, sz))
    return few(data, n, 200)


@cache
def small_cats(sz): return cats(200, sz, 32).on_device([random_flip])


@cache
def many(n, sz=80, bs=64):
    "120 breeds of drawn dogs; with photos Caltech-101."
    tfms = tfms_from_model(lite0, sz, aug_tfms=transforms_side_on, max_zoom=1.1)
    if 'IMGCOURSE_DATA' in os.environ:
        return few(ImageClassifierData.from_paths(get_dataset('caltech101'), bs, tfms, val_name='test'), n, 20)
    path = get_dataset('dogbreeds')
    val = get_cv_idxs(3000)
    data = ImageClassifierData.from_csv(path, 'train', path/'labels.csv', bs, tfms, val, '.jpg')
    return few(data, n, 20)


def last(learn): return Score(learn.history[-1]['accuracy'], learn.history[-1]['validation loss'])
def score(data, probs): return Score(accuracy_np(probs, data.val_y), log_loss(data.val_y, probs, labels=range(data.c)))


def net(model, data, seed, **kwargs):
    "A learner for a net from scratch; `model` makes it."
    set_seed(seed)
    return ConvLearner.from_model(model(), data, **kwargs).silent()


def head(data, seed, **kwargs):
    "A learner for a head on stored features."
    set_seed(seed)
    learn = ConvLearner.pretrained(lite0, data, precompute=True, **kwargs).silent()
    learn.models_path = models.name
    return learn


def fast_net(): return FastNet((32, 32, 3), [8, 16, 32], 10)
def conv_net(): return ConvNet((32, 32, 3), [20, 40, 80], 10)


@row('range test', 'ten classes × 200, `FastNet` from scratch, SGD, 3 epochs: rate 0.01 | the valley of `lr_find`')
def range_test(seed):
    usual = net(fast_net, ten(200), seed)
    usual.fit(.01, 3)
    found = net(fast_net, ten(200), seed)
    found.lr_find(1e-4)
    found.fit(found.sched.suggest().valley, 3)
    return last(usual), last(found)


@row('augmentation', 'ten classes × 20, `ConvNet` from scratch, each picture 60 times: as it is | flipped and shifted')
def augmentation(seed):
    def train(aug):
        learn = net(conv_net, ten(20, aug, times=20), seed)
        learn.fit_one_cycle(3, .003)
        return last(learn)
    return train(()), train((random_flip, shift))


@row('unfreezing', '120 breeds, a head, 6 epochs | a head, 4 epochs, then all layers, augmented, 2 epochs')
def unfreezing(seed):
    alone = head(many(25, bs=32), seed, opt_fn=Adam)
    alone.fit_one_cycle(6, 1e-3)
    learn = head(many(25, bs=32), seed, opt_fn=Adam)
    learn.fit_one_cycle(4, 1e-3)
    learn.unfreeze()
    learn.bn_freeze(True)
    learn.fit_one_cycle(2, [1e-4, 3e-4, 1e-3])
    return last(alone), last(learn)


@row('rates by depth', 'cats and dogs × 100, all layers and a fresh head: the best of three rates | 1e-4, 3e-4, 1e-2')
def rates_by_depth(seed):
    def train(rates):
        learn = head(cats(100, 64).on_device([random_flip]), seed)
        learn.unfreeze()
        learn.bn_freeze(True)
        learn.fit_one_cycle(2, rates)
        return last(learn)
    return train(3e-4), train([1e-4, 3e-4, 1e-2])


@row('batch norm kept', 'cats and dogs × 100 at 64 pixels, all layers, 1 epoch: it adapts | `bn_freeze(True)`')
def batch_norm_kept(seed):
    def train(flag):
        learn = head(cats(100, 64), seed)
        learn.fit(3e-3, 3)
        learn.unfreeze()
        learn.bn_freeze(flag)
        learn.fit([1e-5, 1e-4, 1e-3], 1)
        return last(learn)
    return train(False), train(True)


@row('restarts', 'ten classes × 200, `ConvNet2` from scratch, 7 epochs at 0.01: constant | cycles of 1, 2, 4')
def restarts(seed):
    def train(**cycles):
        learn = net(lambda: ConvNet2((32, 32, 3), [10, 20, 40, 80], 10), ten(200), seed)
        learn.fit(.01, **cycles)
        return last(learn)
    return train(n_cycle=7), train(n_cycle=3, cycle_len=1, cycle_mult=2)


def one_cycle_against(seed, model, data, constant_rate):
    constant = net(model, data, seed)
    constant.fit(constant_rate, 7)
    cycle = net(model, data, seed)
    cycle.fit_one_cycle(7, .01)
    return last(constant), last(cycle)


@row('one cycle', 'ten classes × 200, `ConvNet` from scratch, 7 epochs at 0.01: constant | one cycle')
def one_cycle(seed): return one_cycle_against(seed, conv_net, ten(200), .01)


@row('one cycle, ResNet', 'the same, `ResNet`: the best of three constant rates, 0.003 | one cycle to 0.01')
def one_cycle_resnet(seed):
    data = ten(200, (random_shift, random_flip))
    return one_cycle_against(seed, lambda: ResNet((32, 32, 3), [10, 20, 40, 80, 160], 10), data, .003)


@row('residual layers', 'ten classes × 200, 20 layers from scratch, one cycle of 4 epochs: without `Add` | with it')
def residual_layers(seed):
    def train(layer):
        def model():
            layers = [ConvLayer(3, 16, stride=2), ConvLayer(16, 16, stride=2), *(layer() for _ in range(18))]
            return nn.Sequential(*layers, ConcatPool(), nn.Linear(32, 10))
        learn = net(model, ten(200), seed, opt_fn=Adam)
        learn.fit_one_cycle(4, .01)
        return last(learn)
    return train(lambda: ConvLayer(16, 16)), train(lambda: ResLayer(16))


@row('snapshots', '120 breeds × 10, a head, six cycles of one epoch: the last | the last four averaged', 'loss')
def snapshots(seed):
    learn = head(many(10), seed)
    learn.fit(.04, 6, cycle_len=1, cycle_save_name='snapshot')
    together = learn.predict_ensemble([f'snapshot_cyc_{i}' for i in range(2, 6)])
    return score(learn.data, np.exp(learn.predict())), score(learn.data, np.exp(together))


@row('ensemble', '120 breeds × 5, heads, 4 epochs: five one by one (mean score) | their answers averaged')
def ensemble(seed):
    probs = []
    for k in range(5):
        learn = head(many(5), 10*seed + k)
        learn.fit_one_cycle(4, .04)
        probs.append(np.exp(learn.predict()))
    alone = [score(learn.data, p) for p in probs]
    return Score(*np.mean(alone, 0).tolist()), score(learn.data, np.mean(probs, 0))


@row('several looks', '120 breeds × 20, a head, 4 epochs: each picture once | `TTA(4)`', 'loss')
def several_looks(seed):
    learn = head(many(20), seed)
    learn.fit_one_cycle(4, .03)
    log_preds, _ = learn.TTA(4)
    return score(learn.data, np.exp(log_preds[0])), score(learn.data, np.exp(log_preds).mean(0))


def largest_losses(data, y, seed):
    "Numbers of training pictures, those first that nets which have not learned from them find least likely."
    losses = np.zeros(len(y))
    for k in range(5):
        out = get_cv_idxs(len(y), k, .2, seed)
        fold = part(data, np.setdiff1d(range(len(y)), out), ([data.trn_ds.items[i] for i in out], y[out]), y)
        learn = head(fold, seed)
        learn.fit(.01, 5)
        losses[out] = -learn.predict()[range(len(out)), y[out]]
    return np.argsort(-losses)


@row('cleaning', 'cats and dogs × 30, a head, 12 labels wrong: as they are | mended, if among the 24 looked at')
def cleaning(seed):
    data = cats(30, 96)
    bad = np.random.RandomState(seed).choice(len(data.trn_y), 12, replace=False)
    y = data.trn_y.copy()
    y[bad] = 1 - y[bad]
    def train(y):
        learn = head(part(data, range(len(y)), (data.val_ds.items, data.val_y), y), seed)
        learn.fit(.01, 5)
        return last(learn)
    mended, looked_at = y.copy(), largest_losses(data, y, seed)[:24]
    mended[looked_at] = data.trn_y[looked_at]
    return train(y), train(mended)


@row('early stopping', 'cats and dogs × 20 at 64 pixels, a head: 40 epochs | stopped, the best kept', 'loss')
def early_stopping(seed):
    data, scores = cats(20, 64, 8), []
    halves = [part(data, range(len(data.trn_y)), (data.val_ds.items[k::2], data.val_y[k::2])) for k in (0, 1)]
    for cbs in ([], [EarlyStopping(patience=3)]):
        learn = head(halves[0], seed, ps=[0, 0], opt_fn=Adam)
        learn.fit(3e-4, 40, best_save_name='best', cbs=cbs)
        if cbs:
            learn.load('best')
        learn.set_data(halves[1]) # these have not chosen the epoch
        scores.append(score(halves[1], np.exp(learn.predict())))
    return scores


@row('stored features', 'cats and dogs × 100, a head, 5 epochs: `precompute=False` | True', 'seconds')
def stored_features(seed):
    def train(precompute):
        learn = head(cats(100, 96), seed)
        learn.precompute, start = precompute, time.perf_counter()
        learn.fit(.01, 5)
        return last(learn)._replace(seconds=time.perf_counter() - start)
    return train(False), train(True)


# what does not pay, on these sketches or on photos

@row('transfer', 'cats and dogs × 50: `FastNet` from scratch at 64 pixels, 20 epochs | a head on features', pays=False)
def transfer(seed):
    scratch = net(lambda: FastNet((64, 64, 3), [8, 16, 32], 2), cats(50, 64).on_device([random_flip]), seed)
    scratch.fit_one_cycle(20, .03)
    learn = head(cats(50, 128), seed)
    learn.fit(.01, 5)
    return last(scratch), last(learn)


@row('weight decay', '120 breeds × 20, a head without dropout, 10 epochs: none | 0.1', pays=False)
def weight_decay(seed):
    def train(wds):
        learn = head(many(20), seed, ps=[0, 0])
        learn.fit_one_cycle(10, .05, wds=wds)
        return last(learn)
    return train(None), train(.1)


def fit_head(seed, **kwargs):
    learn = head(many(10), seed, **kwargs)
    learn.fit_one_cycle(6, .05)
    return score(learn.data, np.exp(learn.predict()))


@row('dropout', '120 breeds × 10, a head, 6 epochs: none | 0.25 and 0.5', pays=False)
def dropout(seed): return fit_head(seed, ps=[0, 0]), fit_head(seed)


@row('label smoothing', '120 breeds × 10, a head, 6 epochs: none | 0.1', pays=False)
def label_smoothing(seed): return fit_head(seed), fit_head(seed, loss_fn=partial(F.cross_entropy, label_smoothing=.1))


@row('growing pictures', 'cats and dogs × 200, `FastNet`: 2 epochs at 64 pixels | 3, 1, 1 at 32, 48, 64', pays=False)
def growing_pictures(seed):
    def train(*sizes):
        learn = net(lambda: FastNet((64, 64, 3), [8, 16, 32], 2), small_cats(64), seed)
        for sz, epochs in sizes:
            learn.set_data(small_cats(sz))
            learn.fit_one_cycle(epochs, .1)
        return last(learn)
    return train((64, 2)), train((32, 3), (48, 1), (64, 1))


@row('one cycle, short', 'ten classes × 100, `FastNet` from scratch, 7 epochs at 0.1: constant | one cycle', pays=False)
def one_cycle_short(seed):
    constant = net(fast_net, ten(100), seed)
    constant.fit(.1, 7)
    cycle = net(fast_net, ten(100), seed)
    cycle.fit_one_cycle(7, .1)
    return last(constant), last(cycle)


@row('several looks, from scratch', 'ten classes × 50, `FastNet`, 16 epochs: once | `TTA(4)`', 'loss', pays=False)
def several_looks_from_scratch(seed):
    learn = net(fast_net, ten(50, (random_flip, random_crop)), seed)
    learn.fit_one_cycle(16, .1)
    log_preds, _ = learn.TTA(4)
    return score(learn.data, np.exp(log_preds[0])), score(learn.data, np.exp(log_preds).mean(0))


def mixed(kind):
    def run(seed):
        data = ten(20, (), 20)
        scores = []
        for cbs in ((), Mix(kind, .4)):
            learn = net(conv_net, data, seed)
            learn.fit_one_cycle(3, .01, cbs=cbs)
            scores.append(last(learn))
        return scores
    return run


MIXED = 'ten classes × 20, `ConvNet` from scratch, one cycle of 3 epochs, each picture 20 times: as it is | {}'
row('MixUp', MIXED.format('`Mix("mixup", .4)`'), 'loss')(mixed('mixup'))
row('CutMix', MIXED.format('`Mix("cutmix", .4)`'), 'loss')(mixed('cutmix'))


@row('MixUp, augmented', 'ten classes × 50, flipped, `FastNet`, 40 epochs: no | `Mix("mixup", .2)`', pays=False)
def mixup_augmented(seed):
    scores = []
    for cbs in ((), Mix('mixup', .2)):
        learn = net(fast_net, ten(50, (random_flip, shift)), seed)
        learn.fit_one_cycle(40, .1, cbs=cbs)
        scores.append(last(learn))
    return scores


@row('MixUp of features', '120 breeds × 10, a head, 20 epochs: no | `Mix("mixup", .2)`', pays=False)
def mixup_of_features(seed):
    scores = []
    for cbs in ((), Mix('mixup', .2)):
        learn = head(many(10), seed)
        learn.fit_one_cycle(20, .01, cbs=cbs)
        scores.append(last(learn))
    return scores


def averaged(train):
    def run(seed):
        scores = []
        for cbs in ((), Average(.97)):
            learn = net(conv_net, ten(200, (random_flip, shift)), seed)
            train(learn, cbs)
            scores.append(last(learn))
        return scores
    return run


row('running average', 'ten classes × 200, `ConvNet`, 15 epochs at a constant 0.01: the last weights | `Average(.97)`')(
    averaged(lambda learn, cbs: learn.fit(.01, 15, cbs=cbs)))
row('running average, one cycle', 'the same with one cycle: the last weights | `Average(.97)`', pays=False)(
    averaged(lambda learn, cbs: learn.fit_one_cycle(15, .01, cbs=cbs)))


@cache
def rare():
    "Five classes with 200 pictures each, five with 10; as many of all to check with."
    data, counts = cifar(), [200]*5 + [10]*5
    trn = np.concatenate([np.flatnonzero(data.trn_y == k)[:n] for k, n in enumerate(counts)])
    val = first(data.val_y, 100)
    val = [data.val_ds.items[i] for i in val], data.val_y[val]
    return part(data, trn, val).on_device((random_flip, shift))


@row('class weights', 'five classes × 200, five × 10, `FastNet`, 20 epochs; all alike to check: no | `WeightedLoss`')
def class_weights(seed):
    scores = []
    for loss in (F.cross_entropy, WeightedLoss(rare())):
        learn = net(fast_net, rare(), seed, loss_fn=loss)
        learn.fit_one_cycle(20, .1)
        scores.append(last(learn))
    return scores


@cache
def rare_dogs():
    data = ImageClassifierData.from_paths(get_dataset('dogscats'), 32, tfms_from_model(lite0, 96))
    trn = np.concatenate([np.flatnonzero(data.trn_y == k)[:n] for k, n in enumerate((400, 20))])
    return part(data, trn, (data.val_ds.items, data.val_y))


@row('class weights, a head', 'cats × 400, dogs × 20, a head, 10 epochs: no | `WeightedLoss`', pays=False)
def class_weights_a_head(seed):
    scores = []
    for loss in (F.cross_entropy, WeightedLoss(rare_dogs())):
        learn = head(rare_dogs(), seed, loss_fn=loss)
        learn.fit_one_cycle(10, .01)
        scores.append(last(learn))
    return scores


@cache
def rare_folder():
    "A folder with 440 cats and 22 dogs to learn from, and as many of both as there are to check with."
    source, folder = get_dataset('dogscats'), Path(tempfile.mkdtemp(dir=models.name))
    for name, n in (('train/cats', 440), ('train/dogs', 22), ('valid/cats', None), ('valid/dogs', None)):
        (folder/name).mkdir(parents=True)
        for file in sorted((source/name).iterdir())[:n]:
            shutil.copy(file, folder/name)
    return folder


@row('balance', '`train_folder`, cats × 440, dogs × 22; as many of both to check: no | `balance=True`', pays=False)
def balance(seed):
    scores = []
    for balanced in (False, True):
        out = tempfile.mkdtemp(dir=models.name)
        _, _, right = train_folder(rare_folder(), out, seed=seed, check=False, balance=balanced)
        scores.append(Score(right, json.loads((Path(out)/'result.json').read_text())['log loss']))
    return scores


@row('thresholds', 'five labels, 320 pictures, a head, 5 epochs, others to check: 0.5 | `best_thresholds`', 'f1',
     pays=False)
def thresholds(seed):
    folder = draw_several(Path(tempfile.mkdtemp(dir=models.name))/'several', 800, seed)
    set_seed(seed)
    data = ImageClassifierData.from_csv(
        folder, 'train', folder/'labels.csv', tfms=tfms_from_model(lite0, 160), suffix='.jpg', label_delim=' ',
        val_idxs=range(320, 800))
    learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    learn.fit(.01, 5)
    log_preds = learn.predict()
    best = best_thresholds(log_preds[:240], data.val_y[:240])
    return [Score(f1=f1_score(data.val_y[240:], np.exp(log_preds[240:]) > at, average='macro')) for at in (.5, best)]


def compare(name):
    "Run a row; all that is known of it."
    found, start = rows[name], time.perf_counter()
    scores = [found.run(seed) for seed in SEEDS]
    without, with_it = ([getattr(score, found.measure) for score in arm] for arm in zip(*scores))
    gain = mean(with_it) - mean(without)
    if found.measure in ('loss', 'seconds'): # less is better
        gain = -gain
    spread = max(stdev(without), stdev(with_it), LEAST)
    return {'technique': name, 'task': found.task, 'measure': found.measure, 'without': without, 'with': with_it,
            'gain': gain, 'gain over spread': gain/spread, 'seconds': time.perf_counter() - start,
            'scores': [[score._asdict() for score in pair] for pair in scores]}


def as_line(r):
    without, with_it = (' '.join(f'{value:.3f}' for value in r[arm]) for arm in ('without', 'with'))
    return (f'| {r["technique"]} | {r["task"].replace(" | ", "; ")} | {r["measure"]} | {without} | {with_it} '
            f'| {r["gain"]:.3f} | {r["gain over spread"]:.1f} | {r["seconds"]:.0f} |')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('name', nargs='*', help=f'of {list(rows)}; none: all that pay')
    parser.add_argument('--photos', help='a folder that holds cifar10, dogscats and caltech101')
    parser.add_argument('--json', help='a file for all scores')
    args = parser.parse_args()
    if unknown := set(args.name) - set(rows):
        parser.error(f'There are no rows {sorted(unknown)}; there are {list(rows)}')
    if args.photos:
        os.environ['IMGCOURSE_DATA'] = args.photos
    columns = 'technique', 'task', 'measure', 'without', 'with', 'gain', 'gain over spread', 'seconds'
    print('|', ' | '.join(columns), '|\n' + '| --- '*len(columns) + '|')
    done = []
    for name in args.name or [name for name, found in rows.items() if found.pays]:
        done.append(compare(name))
        print(as_line(done[-1]), flush=True)
    if args.json:
        with open(args.json, 'w') as f:
            json.dump(done, f, indent=1)


if __name__ == '__main__':
    main()
