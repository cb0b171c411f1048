"The range test leaves no trace; rates follow their rule; runs stop and save when they should."
import random
import matplotlib; matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from torch import nn

from imgcourse.batches import keep_random_state
from imgcourse.data import ImageClassifierData
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on
from imgcourse.features import WeightsError
from imgcourse.learner import Callback, ConvLearner, Learner, set_seed
from imgcourse.schedule import EarlyStopping, LRFinder, Suggestion, smooth
from imgcourse.all import Path

TFMS = tfms_from_model(lite0, 64)

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path); yield; plt.close('all')

@pytest.fixture
def data(few): return ImageClassifierData.from_paths(few, bs=8, tfms=TFMS)

@pytest.fixture
def augmented(few): return ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.1))

def learner(data, precompute=True, **kw): set_seed(1); return ConvLearner.pretrained(lite0, data, precompute, **kw).silent()

def small_net(): return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))

def everything(learn):
    "All that lr_find must put back, as bytes: weights, buffers, the optimizer, three kinds of random numbers, history."
    opt = learn.opt.state_dict() if hasattr(learn, 'opt') else {}
    tensors = {**dict(learn.full.named_parameters()), **dict(learn.full.named_buffers()), **{f'{i}.{k}': v for i, s in opt.get('state', {}).items() for k, v in s.items() if torch.is_tensor(v)}}
    numpy = np.random.get_state()
    return ({k: v.detach().cpu().numpy().tobytes() for k, v in tensors.items()}, repr(opt.get('param_groups')), random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes(), [dict(h) for h in learn.history], id(learn.opt) if opt else None)

# ---- the range test
@pytest.mark.parametrize('precompute', [True, False])
def test_lr_find_leaves_no_trace(augmented, precompute):
    learn = learner(augmented, precompute, opt_fn=torch.optim.Adam)
    learn.fit(.01, 1)
    before, rows = everything(learn), len(learn.cbs)
    learn.lr_find(num_it=20, stop_div=False)
    assert everything(learn) == before and len(learn.cbs) == rows and all(p.grad is None for p in learn.full.parameters())
    assert len(learn.sched.lrs) == 20

def test_training_after_lr_find_is_as_without_it(augmented):
    def run(find):
        learn = learner(augmented, False)
        if find: learn.lr_find(num_it=20)
        learn.fit(.01, 1)
        return everything(learn)[0]
    assert run(True) == run(False)

def test_ctrl_c_in_lr_find(augmented, ctrl_c):
    class Interrupt(Callback):
        order, in_range_test = 50, True
        def after_batch(self, learn):
            if len(learn.sched.lrs) == 12: ctrl_c()
    learn = ConvLearner.from_model(small_net(), augmented)
    set_seed(1); learn.fit(.01, 1); before = everything(learn)
    learn.cbs.append(Interrupt())
    with pytest.raises(KeyboardInterrupt): learn.lr_find()
    assert everything(learn) == before and len(learn.sched.lrs) == 12, 'and what it has seen can be plotted'

def test_few_batches_are_repeated(few):
    data = ImageClassifierData.from_paths(few, bs=12, tfms=TFMS)   # two batches an epoch
    learn = learner(data)
    learn.lr_find(stop_div=False, end_lr=.1)
    lrs = np.array(learn.sched.lrs)[:, 0]
    assert len(lrs) == 100 and lrs[0] == pytest.approx(1e-5) and lrs[-1] == pytest.approx(.1) and np.allclose(lrs[1:]/lrs[:-1], lrs[1]/lrs[0])
    learn.lr_find(start_lr=.01, end_lr=.2, num_it=39, linear=True, stop_div=False)
    lrs = np.array(learn.sched.lrs)[:, 0]
    assert len(lrs) == 39 and np.allclose(np.diff(lrs), .19/38) and lrs[-1] == pytest.approx(.2)

def test_it_stops_when_the_loss_grows(data):
    learn = learner(data); learn.lr_find(end_lr=1e6)
    s = smooth([float(l) for l in learn.sched.losses])
    assert len(s) < 100 and (s[-1] > 4*s.min() or not np.isfinite(s[-1]))
    learn.sched.plot(); learn.sched.plot_lr(); assert len(plt.get_fignums()) == 2

def test_suggestions_of_a_known_curve():
    "Flat until 0.001, falling until 0.1, flat until 1, then growing."
    f = LRFinder(1e-5, 10, 100, False, True); lrs = np.geomspace(1e-5, 10, 100)
    f.lrs, f.losses = [[r] for r in lrs], np.interp(np.log10(lrs), [-5, -3, -1, 0, 1], [2., 2., .2, .2, 9.])
    s = f.suggest()
    assert isinstance(s, Suggestion) and 1e-3 < s.steepest < .1 and .01 < s.minimum < .2 and .01 < s.valley < .1
    f.losses[0] = 2.5 # the average is unsteady at first: no rate is read off there
    assert 1e-3 < f.suggest().steepest < .1
    f.losses[0] = 2.
    f.plot()
    labels = [t.get_text() for t in plt.gca().get_legend().get_texts()]
    assert [l.split(':')[0] for l in labels] == ['steepest', 'minimum', 'valley']
    f.losses = np.linspace(1, 9, 100)
    with pytest.raises(ValueError, match='grew from the start'): f.suggest()

def test_the_suggestion_trains(sketches):
    data = ImageClassifierData.from_paths(sketches, tfms=tfms_from_model(lite0, 128))
    learn = learner(data); learn.lr_find()
    learn.fit(learn.sched.suggest().valley, 1)
    assert learn.history[-1]['accuracy'] > .94

@pytest.mark.parametrize('args', [dict(start_lr=0), dict(start_lr=-1), dict(start_lr=1, end_lr=.1), dict(end_lr=float('inf')), dict(num_it=3), dict(num_it=50.5), dict(start_lr='1e-5')])
def test_bad_range_tests(data, args):
    with pytest.raises(ValueError): learner(data).lr_find(**args)

# ---- schedules
def rates(learn): return np.array(learn.sched.lrs)[:, 0]

def test_constant_rate(data):
    learn = learner(data); learn.fit(.01, 2)
    assert (rates(learn) == .01).all() and len(rates(learn)) == 6 and len(learn.sched.valid) == 2
    learn.sched.plot_loss(); learn.sched.plot_lr()

def test_warm_restarts(data):
    learn = learner(data); learn.fit(.01, 3, cycle_len=1, cycle_mult=2)
    assert len(learn.history) == 7
    want = np.concatenate([.01*(1 + np.cos(np.pi*np.arange(n)/n))/2 for n in (3, 6, 12)])
    assert np.allclose(rates(learn), want)

def test_triangles(data):
    learn = learner(data); learn.fit(.01, 2, cycle_len=4, use_clr=(10, 3))
    r = rates(learn)
    assert len(r) == 24 and np.allclose(r[:12], r[12:]) and r[0] == pytest.approx(.001) and r[4] == pytest.approx(.01) and r.max() <= .01 + 1e-9 and (np.diff(r[:5]) > 0).all() and (np.diff(r[4:12]) < 0).all()

def test_one_cycle(data):
    learn = learner(data); learn.fit_one_cycle(5, .01)
    r, m = rates(learn), np.array(learn.sched.moms)[:, 0]
    assert len(r) == 15 and r.max() == pytest.approx(.01, rel=.1) and r[0] < .001 and r[-1] < 1e-4 and r.argmax() == m.argmin() and .85 <= m.min() < .87 and m.max() == pytest.approx(.95)
    learn.sched.plot_lr()
    for opt in (torch.optim.RMSprop, torch.optim.AdamW, torch.optim.SGD): learner(data, opt_fn=opt).fit_one_cycle(1, 1e-3)

def test_one_cycle_with_its_arguments_turned_round(data):
    with pytest.raises(ValueError, match='n is the number of epochs'): learner(data).fit_one_cycle(.01, 3)

def test_one_cycle_of_a_single_step(few): learner(ImageClassifierData.from_paths(few, bs=24, tfms=TFMS)).fit_one_cycle(1, .01)

@pytest.mark.parametrize('args, message', [
    (dict(n_cycle=0), 'n_cycle'), (dict(n_cycle=2.5), 'n_cycle'), (dict(cycle_len=0), 'cycle_len'), (dict(cycle_len=1, cycle_mult=0), 'cycle_mult'), (dict(cycle_mult=2), 'cycle_len=1'), (dict(use_clr=(10, 3)), 'cycle_len=1'),
    (dict(cycle_len=1, use_clr=(10,)), 'use_clr'), (dict(cycle_len=1, use_clr=5), 'use_clr'), (dict(cycle_len=1, use_clr=(20, float('nan'))), 'use_clr'), (dict(lrs=True), 'above 0'), (dict(best_save_name=True), 'best_save_name'), (dict(cbs=[EarlyStopping]), 'class of callbacks'), (dict(cycle_len=1, use_clr=(.5, 3)), 'use_clr'), (dict(cycle_len=1, cycle_mult=2, use_clr=(10, 3)), 'use_clr'), (dict(cycle_save_name='x'), 'cycle_len'),
    (dict(lrs=-.1), 'above 0'), (dict(lrs='0.1'), 'learning rate'), (dict(wds=-1), 'wds'), (dict(wds=[.1, .2]), 'wds'), (dict(resum=True), 'resum')])
def test_bad_fits(data, args, message):
    learn = learner(data); before = everything(learn)[0]
    with pytest.raises((ValueError, TypeError), match=message): learn.fit(**{'lrs': .01, **args})
    assert everything(learn)[0] == before and learn.history == []

def test_weight_decay(data):
    "Decay pulls matrices towards 0, and leaves biases and norms alone."
    def norms(wd):
        learn = learner(data); learn.fit(.02, 6, wds=wd)
        big, small = zip(*[((p.detach()**2).sum().item(), 0) if p.ndim > 1 else (0, (p.detach()**2).sum().item()) for p in learn.head.parameters()])
        return sum(big), {g['weight_decay'] for g in learn.opt.param_groups if all(p.ndim == 1 for p in g['params'])}
    assert norms(1.)[0] < .8*norms(0.)[0] and norms(1.)[1] == {0}

# ---- saving
def test_best_epoch_is_saved(data):
    learn = learner(data); learn.fit(.03, 6, best_save_name='best')
    best = min(h['validation loss'] for h in learn.history)
    learn.load('best')
    assert -np.mean(learn.predict()[range(12), data.val_y]) == pytest.approx(best, rel=1e-4)

def test_snapshots_and_their_ensemble(data):
    learn = learner(data); learn.fit(.02, 3, cycle_len=1, cycle_mult=2, cycle_save_name='snap')
    assert sorted(f.name for f in Path('models').glob('snap*_?.safetensors')) == [f'snap_cyc_{i}.safetensors' for i in range(3)]
    before = everything(learn)
    names = [f'snap_cyc_{i}' for i in range(3)]
    p = learn.predict_ensemble(names)
    assert everything(learn) == before and p.dtype == np.float32
    singles = []
    for n in names: learn.load(n); singles.append(np.exp(learn.predict()))
    assert np.allclose(np.exp(p), np.mean(singles, 0), atol=1e-6) and not np.allclose(singles[0], singles[2], atol=1e-3)
    with pytest.raises(WeightsError, match='snap_cyc_9'): learn.predict_ensemble(['snap_cyc_0', 'snap_cyc_9'])
    with pytest.raises(ValueError, match='list of names'): learn.predict_ensemble([])

def test_early_stopping(data, capsys):
    losses = iter([5, 4, 4.5, 3, 3, 3.5, 3.2, 1])
    class Script(Callback):
        order = 15
        def after_epoch(self, learn): learn.history[-1]['validation loss'] = next(losses)
    learn = learner(data); learn.fit(.01, 8, cbs=[Script(), EarlyStopping(patience=3)])
    assert len(learn.history) == 7 and 'Stopped after epoch 6' in capsys.readouterr().out
    with pytest.raises(ValueError, match='patience'): EarlyStopping(0)

# ---- chance
def test_keep_random_state():
    set_seed(3); a = random.random(), np.random.rand(), torch.rand(1).item()
    set_seed(3)
    with keep_random_state(): random.random(), np.random.rand(), torch.rand(1); set_seed(9)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == a

def test_augmentation_does_not_hang_on_the_number_of_workers(few):
    batches = []
    for n in (0, 2):
        d = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.2), num_workers=n)
        d.trn_dl.sampler.seed = 5; d.trn_dl.sampler.set_epoch(2)
        batches.append(torch.cat([x for x, _ in d.trn_dl]))
    assert torch.equal(*batches)
    d.trn_dl.sampler.set_epoch(3)
    assert not torch.equal(batches[0], torch.cat([x for x, _ in d.trn_dl]))

def test_a_refused_range_test_keeps_the_record(data):
    learn = learner(data); learn.fit(.01, 1); record = learn.sched
    learn.precision = 'fp7'
    with pytest.raises(ValueError): learn.lr_find()
    assert learn.sched is record
    learn.precision, mode = None, [m.training for m in learn.full.modules()]
    learn.lr_find(num_it=20); assert [m.training for m in learn.full.modules()] == mode and learn.data.trn_dl.sampler.seed is None

def test_numpy_numbers_are_numbers(data):
    learn = learner(data); learn.fit(np.float32(.01), np.int64(2), cycle_len=np.int64(1), cycle_mult=np.int64(2))
    assert len(learn.history) == 3
    learn = learner(data); learn.lr_find()
    with pytest.raises(ValueError, match='valley'): learn.fit(learn.sched.suggest(), 1)

def test_no_record_yet(data):
    learn = learner(data)
    with pytest.raises(AttributeError, match='lr_find'): learn.sched.plot()
    with pytest.raises(AttributeError, match='fit'): learn.sched.plot_lr()
    learn.fit(.01, 1)
    with pytest.raises(AttributeError, match='lr_find'): learn.sched.suggest()
