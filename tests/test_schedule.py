"The range test leaves no trace; rates follow their rule; runs stop and save when they should."
import random
from pathlib import Path
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn
from imgcourse.all import ConvLearner, set_seed
from imgcourse.batches import keep_random_state
from imgcourse.checkpoint import Clip
from imgcourse.data import ImageClassifierData
from imgcourse.features import WeightsError
from imgcourse.learner import Callback
from imgcourse.schedule import EarlyStopping, LRFinder, Suggestion, smooth
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on

matplotlib.use('agg')
TFMS = tfms_from_model(lite0, 64)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "What is saved lies in the test's own folder."
    monkeypatch.chdir(tmp_path)
    yield
    plt.close('all')


@pytest.fixture
def data(same_few):
    return ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)


@pytest.fixture
def augmented(same_few):
    tfms = tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.1)
    return ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms)


def learner(data, precompute=True, **kwargs):
    set_seed(1)
    return ConvLearner.pretrained(lite0, data, precompute, **kwargs).silent()


@pytest.fixture(scope='module')
def untrained(same_few):
    "For what is refused; no test may train it."
    return learner(ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS))


def small_net():
    layers = nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 2))


def weights(learn):
    "Also the buffers, as bytes."
    return [t.detach().cpu().numpy().tobytes() for t in (*learn.full.parameters(), *learn.full.buffers())]


def everything(learn):
    "All that lr_find must put back: weights, buffers, the optimizer, history, three kinds of random numbers."
    opt = learn.opt.state_dict()
    averages = [v for kept in opt['state'].values() for v in kept.values() if torch.is_tensor(v)]
    _, keys, *rest = np.random.get_state()
    return [weights(learn), [v.cpu().numpy().tobytes() for v in averages], repr(opt['param_groups']), id(learn.opt),
            [dict(row) for row in learn.history],
            random.getstate(), keys.tobytes(), rest, torch.get_rng_state().numpy().tobytes()]


# ---- the range test
@pytest.mark.parametrize('precompute', [True, False])
def test_lr_find_leaves_no_trace(augmented, precompute):
    learn = learner(augmented, precompute, opt_fn=torch.optim.Adam)
    learn.fit(.01, 1)
    before, cbs = everything(learn), [*learn.cbs]
    learn.lr_find(num_it=20, stop_div=False)
    assert everything(learn) == before and learn.cbs == cbs
    assert all(p.grad is None for p in learn.full.parameters())
    assert len(learn.sched.lrs) == 20


def test_lr_find_puts_modes_and_order_back(data):
    learn = learner(data)
    modes = [m.training for m in learn.full.modules()]
    learn.lr_find(num_it=20)
    assert [m.training for m in learn.full.modules()] == modes
    assert learn.data.trn_dl.sampler.seed is None


def test_training_after_lr_find_is_as_without_it(augmented):
    def train(find):
        learn = learner(augmented, False)
        if find:
            learn.lr_find(num_it=20)
        learn.fit(.01, 1)
        return weights(learn)
    assert train(True) == train(False)


def test_ctrl_c_in_lr_find(augmented, ctrl_c):
    class Interrupt(Callback):
        order, in_range_test = 50, True
        def after_batch(self, learn):
            if len(learn.sched.lrs) == 12:
                ctrl_c()
    learn = ConvLearner.from_model(small_net(), augmented)
    set_seed(1)
    learn.fit(.01, 1)
    before = everything(learn)
    learn.cbs.append(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find()
    assert everything(learn) == before
    assert len(learn.sched.lrs) == 12, 'what it has seen can be plotted'


class Watch(Callback):
    "Notes at each batch whether the batch norm learns."
    in_range_test = True
    def __init__(self): self.seen = []
    def before_batch(self, learn): self.seen.append(learn.full[1].training)


@pytest.mark.parametrize('frozen', [True, False])
def test_bn_freeze_takes_part_in_the_range_test(data, frozen):
    watch = Watch()
    learn = ConvLearner.from_model(small_net(), data, cbs=watch)
    learn.bn_freeze(frozen)
    learn.lr_find(num_it=20, stop_div=False)
    assert watch.seen == [not frozen]*20


class Note(Callback):
    "The head's weights at the end, before they are put back."
    in_range_test = True
    def after_fit(self, learn): self.weight = learn.head[2].weight.detach().clone()


def test_clipping_takes_part_in_the_range_test(data):
    def change(*cbs):
        note = Note()
        learn = learner(data, xtra_fc=[], ps=[0], cbs=[note, *cbs])
        learn.lr_find(num_it=20, stop_div=False)
        return (note.weight - learn.head[2].weight.detach()).norm().item()
    assert change(Clip(1e-9)) < 1e-6 and change() > .1


def test_callbacks_that_only_look_take_no_part_in_the_range_test(data):
    class Look(Callback):
        def before_fit(self, learn): raise AssertionError
    learn = learner(data, cbs=Look())
    learn.lr_find(num_it=20)


def test_few_batches_are_repeated(same_few):
    "Two in an epoch; each rate is the one before times a constant."
    learn = learner(ImageClassifierData.from_paths(same_few, bs=12, tfms=TFMS))
    learn.lr_find(stop_div=False, end_lr=.1)
    lrs = rates(learn)
    assert len(lrs) == 100 and np.allclose(lrs[1:]/lrs[:-1], lrs[1]/lrs[0])
    assert lrs[0] == pytest.approx(1e-5) and lrs[-1] == pytest.approx(.1)


def test_rates_that_grow_by_equal_steps(data):
    learn = learner(data)
    learn.lr_find(start_lr=.01, end_lr=.2, num_it=39, linear=True, stop_div=False)
    lrs = rates(learn)
    assert len(lrs) == 39 and np.allclose(np.diff(lrs), .19/38) and lrs[-1] == pytest.approx(.2)


def test_it_stops_when_the_loss_grows(data):
    learn = learner(data)
    learn.lr_find(end_lr=1e6)
    losses = smooth([float(loss) for loss in learn.sched.losses])
    assert len(losses) < 100 and (losses[-1] > 4*losses.min() or not np.isfinite(losses[-1]))
    learn.sched.plot()
    learn.sched.plot_lr()
    assert len(plt.get_fignums()) == 2


def test_lr_find_with_accumulation(data):
    learn = learner(data)
    learn.accumulate = 2
    learn.lr_find(num_it=20, stop_div=False)
    assert len(learn.sched.lrs) == 20 and len(learn.sched.suggest()) == 3


def test_a_refused_range_test_keeps_the_record(data):
    learn = learner(data)
    learn.fit(.01, 1)
    record = learn.sched
    learn.precision = 'fp7'
    with pytest.raises(ValueError, match='precision'):
        learn.lr_find()
    assert learn.sched is record


@pytest.mark.parametrize('args, message', [
    (dict(start_lr=0), 'start_lr'), (dict(start_lr=-1), 'start_lr'), (dict(start_lr='1e-5'), 'start_lr'),
    (dict(start_lr=1, end_lr=.1), 'end_lr'), (dict(end_lr=float('inf')), 'end_lr'),
    (dict(num_it=3), 'num_it'), (dict(num_it=50.5), 'num_it')])
def test_bad_range_tests(untrained, args, message):
    with pytest.raises(ValueError, match=message):
        untrained.lr_find(**args)


# ---- suggestions
@pytest.fixture
def finder():
    "Of a known curve: flat until 0.001, falling until 0.1, flat until 1, then growing."
    found, lrs = LRFinder(1e-5, 10, 100, False, True), np.geomspace(1e-5, 10, 100)
    found.lrs = [[lr] for lr in lrs]
    found.losses = np.interp(np.log10(lrs), [-5, -3, -1, 0, 1], [2., 2., .2, .2, 9.])
    return found


def test_suggestions_of_a_known_curve(finder):
    found = finder.suggest()
    assert isinstance(found, Suggestion)
    assert 1e-3 < found.steepest < .1 and .01 < found.minimum < .2 and .01 < found.valley < .1


def test_the_average_is_unsteady_at_first(finder):
    "No rate is read off there."
    finder.losses[0] = 2.5
    assert 1e-3 < finder.suggest().steepest < .1


def test_suggestions_are_marked(finder):
    finder.plot()
    labels = [text.get_text().split(':')[0] for text in plt.gca().get_legend().get_texts()]
    assert labels == ['steepest', 'minimum', 'valley']


def test_no_suggestion_where_the_loss_only_grows(finder):
    finder.losses = np.linspace(1, 9, 100)
    with pytest.raises(ValueError, match='grew from the start'):
        finder.suggest()


def test_the_suggestion_trains(sketches):
    learn = learner(ImageClassifierData.from_paths(sketches, tfms=tfms_from_model(lite0, 128)))
    learn.lr_find()
    learn.fit(learn.sched.suggest().valley, 1)
    assert learn.history[-1]['accuracy'] > .94


def test_three_suggestions_are_not_a_rate(untrained):
    with pytest.raises(ValueError, match='valley'):
        untrained.fit(Suggestion(.1, .2, .3), 1)


# ---- schedules
def rates(learn): return np.array(learn.sched.lrs)[:, 0]


def test_constant_rate(data):
    learn = learner(data)
    learn.fit(.01, 2)
    assert rates(learn).tolist() == [.01]*6 and len(learn.sched.valid) == 2
    learn.sched.plot_loss()
    learn.sched.plot_lr()


def test_warm_restarts(data):
    learn = learner(data)
    learn.fit(.01, 3, cycle_len=1, cycle_mult=2)
    assert len(learn.history) == 7
    cycles = [.01*(1 + np.cos(np.pi*np.arange(n)/n))/2 for n in (3, 6, 12)]
    assert np.allclose(rates(learn), np.concatenate(cycles))


def test_triangles(data):
    learn = learner(data)
    learn.fit(.01, 2, cycle_len=4, use_clr=(10, 3))
    first, second = np.split(rates(learn), [12])
    assert len(second) == 12 and np.allclose(first, second)
    assert first[0] == pytest.approx(.001) and first[4] == pytest.approx(.01) and first.max() <= .01 + 1e-9
    assert (np.diff(first[:5]) > 0).all() and (np.diff(first[4:]) < 0).all()


def test_one_cycle(data):
    learn = learner(data)
    learn.fit_one_cycle(5, .01)
    lrs, moms = rates(learn), np.array(learn.sched.moms)[:, 0]
    assert len(lrs) == 15 and lrs.max() == pytest.approx(.01, rel=.1) and lrs[0] < .001 and lrs[-1] < 1e-4
    assert .85 <= moms.min() < .87 and moms.max() == pytest.approx(.95)
    assert lrs.argmax() == moms.argmin()
    learn.sched.plot_lr()


@pytest.mark.parametrize('opt_fn', [torch.optim.RMSprop, torch.optim.AdamW, torch.optim.SGD])
def test_one_cycle_of_any_optimizer(data, opt_fn):
    learner(data, opt_fn=opt_fn).fit_one_cycle(1, 1e-3)


def test_one_cycle_of_a_single_step(same_few):
    learner(ImageClassifierData.from_paths(same_few, bs=24, tfms=TFMS)).fit_one_cycle(1, .01)


def test_one_cycle_with_its_arguments_turned_round(untrained):
    with pytest.raises(ValueError, match='n is the number of epochs'):
        untrained.fit_one_cycle(.01, 3)


@pytest.mark.parametrize('args, message', [
    (dict(n_cycle=0), 'n_cycle'), (dict(n_cycle=2.5), 'n_cycle'), (dict(cycle_len=0), 'cycle_len'),
    (dict(cycle_len=1, cycle_mult=0), 'cycle_mult'), (dict(cycle_mult=2), 'cycle_len=1'),
    (dict(use_clr=(10, 3)), 'cycle_len=1'), (dict(cycle_len=1, use_clr=(10,)), 'use_clr'),
    (dict(cycle_len=1, use_clr=5), 'use_clr'), (dict(cycle_len=1, use_clr=(20, float('nan'))), 'use_clr'),
    (dict(cycle_len=1, use_clr=(.5, 3)), 'use_clr'), (dict(cycle_len=1, cycle_mult=2, use_clr=(10, 3)), 'use_clr'),
    (dict(best_save_name=True), 'best_save_name'), (dict(cycle_save_name='x'), 'cycle_len'),
    (dict(cbs=[EarlyStopping]), 'class of callbacks'),
    (dict(lrs=True), 'above 0'), (dict(lrs=-.1), 'above 0'), (dict(lrs='0.1'), 'learning rate'),
    (dict(wds=-1), 'wds'), (dict(wds=[.1, .2]), 'wds'), (dict(resum=True), 'resum'),
    (dict(resume=3), 'resume is the name')])
def test_bad_fits(untrained, args, message):
    before = weights(untrained)
    with pytest.raises((ValueError, TypeError), match=message):
        untrained.fit(**dict(lrs=.01) | args)
    assert weights(untrained) == before and untrained.history == []


def test_weight_decay(data):
    "Decay pulls matrices towards 0, and leaves biases and norms alone."
    sizes = []
    for decay in (0., 1.):
        learn = learner(data)
        learn.fit(.02, 6, wds=decay)
        sizes.append(sum((p.detach()**2).sum().item() for p in learn.head.parameters() if p.ndim > 1))
    assert sizes[1] < .8*sizes[0]
    assert {g['weight_decay'] for g in learn.opt.param_groups if all(p.ndim == 1 for p in g['params'])} == {0}


def test_numpy_numbers_are_numbers(data):
    learn = learner(data)
    learn.fit(np.float32(.01), np.int64(2), cycle_len=np.int64(1), cycle_mult=np.int64(2))
    assert len(learn.history) == 3


# ---- the record
def test_no_record_yet(untrained):
    with pytest.raises(AttributeError, match='lr_find'):
        untrained.sched.plot()
    with pytest.raises(AttributeError, match='fit'):
        untrained.sched.plot_lr()


def test_the_record_of_a_training_has_no_suggestion(data):
    learn = learner(data)
    learn.fit(.01, 1)
    with pytest.raises(AttributeError, match='lr_find'):
        learn.sched.suggest()


# ---- saving
def saved_files(): return sorted(f.name for f in Path('models').iterdir())


def test_best_epoch_is_saved(data):
    learn = learner(data)
    learn.fit(.03, 6, best_save_name='best')
    best = min(row['validation loss'] for row in learn.history)
    learn.load('best')
    assert -np.mean(learn.predict()[range(12), data.val_y]) == pytest.approx(best, rel=1e-4)


def test_weights_alone_are_saved(data):
    "Neither the best epoch nor the end of a cycle brings the state of the training along."
    learn = learner(data)
    learn.fit(.03, 1, cycle_len=1, best_save_name='best', cycle_save_name='cycle')
    assert saved_files() == ['best.safetensors', 'cycle_cyc_0.safetensors']
    with pytest.raises(WeightsError, match='no state'):
        learn.load_state('best')


def test_snapshots_and_their_ensemble(data):
    learn = learner(data)
    learn.fit(.02, 3, cycle_len=1, cycle_mult=2, cycle_save_name='snap')
    names = ['snap_cyc_0', 'snap_cyc_1', 'snap_cyc_2']
    assert saved_files() == [f'{name}.safetensors' for name in names]
    before = everything(learn)
    together = learn.predict_ensemble(names)
    assert everything(learn) == before and together.dtype == np.float32
    singles = []
    for name in names:
        learn.load(name)
        singles.append(np.exp(learn.predict()))
    assert np.allclose(np.exp(together), np.mean(singles, 0), atol=1e-6)
    assert not np.allclose(singles[0], singles[2], atol=1e-3)


def test_ensembles_that_cannot_be(untrained):
    before = weights(untrained)
    untrained.save('snap_cyc_0')
    with pytest.raises(WeightsError, match='snap_cyc_9'):
        untrained.predict_ensemble(['snap_cyc_0', 'snap_cyc_9'])
    with pytest.raises(ValueError, match='list of names'):
        untrained.predict_ensemble([])
    assert weights(untrained) == before


# ---- early stopping
def test_early_stopping(data, capsys):
    losses = iter([5, 4, 4.5, 3, 3, 3.5, 3.2, 1])
    class Script(Callback):
        order = 15
        def after_epoch(self, learn): learn.history[-1]['validation loss'] = next(losses)
    learn = learner(data)
    learn.fit(.01, 8, cbs=[Script(), EarlyStopping(patience=3)])
    assert len(learn.history) == 7 and 'Stopped after epoch 6' in capsys.readouterr().out


def test_early_stopping_must_wait_for_an_epoch():
    with pytest.raises(ValueError, match='patience'):
        EarlyStopping(0)


# ---- chance
def test_keep_random_state():
    def draw(): return random.random(), np.random.rand(), torch.rand(1).item()
    set_seed(3)
    want = draw()
    set_seed(3)
    with keep_random_state():
        draw()
        set_seed(9)
    assert draw() == want


def test_augmentation_does_not_hang_on_the_number_of_workers(same_few):
    tfms = tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.2)
    def batches(workers, epoch):
        data = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms, num_workers=workers)
        data.trn_dl.sampler.seed = 5
        data.trn_dl.sampler.set_epoch(epoch)
        return torch.cat([x for x, _ in data.trn_dl])
    want = batches(0, 2)
    assert torch.equal(want, batches(2, 2))
    assert not torch.equal(want, batches(2, 3))
