"The loop, its callbacks, the head, predictions, weights in files; and what is refused before any work."
import re
import subprocess
import sys
from functools import partial
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.utils import find_executable_batch_size
from torch import nn
from noise import small_data
from imgcourse.data import ImageClassifierData
from imgcourse.learner import (Callback, ConvLearner, Learner, MemoryTooSmall, Metrics, Progress, accuracy,
                               accuracy_np, logprobs, make_head, set_seed)
from imgcourse.ondevice import alternating_flip
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on

matplotlib.use('agg')
TFMS = tfms_from_model(lite0, 64)


@pytest.fixture
def data(few):
    return ImageClassifierData.from_paths(few, bs=8, tfms=TFMS, test_name='valid')


def small_net():
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), pooled, nn.Linear(8, 2))


# ---- the must-shows on sketches
def test_three_lines_on_sketches(sketches):
    "At least 0.97 in three epochs, in the mean of three seeds."
    data = ImageClassifierData.from_paths(sketches, tfms=tfms_from_model(lite0, 128))
    got = []
    for seed in (1, 2, 3):
        set_seed(seed)
        learn = ConvLearner.pretrained(lite0, data, precompute=True)
        learn.fit(0.01, 3)
        got.append(learn.history[-1]['accuracy'])
    assert np.mean(got) >= .97
    assert accuracy_np(learn.predict(), data.val_y) == pytest.approx(learn.history[-1]['accuracy'])


# ---- the loop
def plain_loop(model, data, seed, epochs):
    "Training and validation loss of the last epoch."
    opt = torch.optim.SGD(model.parameters(), lr=.1, momentum=.9)
    torch.manual_seed(seed)
    data.trn_dl.sampler.seed = int(torch.randint(2**62, ()))
    for epoch in range(epochs):
        data.trn_dl.sampler.set_epoch(epoch)
        losses = []
        for x, y in data.trn_dl:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            opt.zero_grad()
            losses.append(loss.item()*len(y))
    with torch.no_grad():
        val = sum(F.cross_entropy(model(x), y, reduction='sum').item() for x, y in data.val_dl)
    return sum(losses)/len(data.trn_ds), val/len(data.val_ds)


def test_fit_is_the_plain_loop(few):
    "The same weights as a loop written by hand, step by step."
    data = ImageClassifierData.from_paths(few, bs=8, tfms=TFMS)
    torch.manual_seed(0)
    fitted = small_net()
    torch.manual_seed(0)
    by_hand = small_net()
    learn = Learner(fitted, data)
    torch.manual_seed(1)
    learn.fit(.1, 2)
    training, validation = plain_loop(by_hand, data, 1, 2)
    for p, q in zip(fitted.parameters(), by_hand.parameters()):
        assert torch.allclose(p.cpu(), q, atol=1e-6)
    assert learn.history[-1]['training loss'] == pytest.approx(training, rel=1e-4)
    assert learn.history[-1]['validation loss'] == pytest.approx(validation, rel=1e-4)


def test_callbacks_are_called_in_order(data):
    seen = []
    class Note(Callback):
        def __getattr__(self, name):
            if name.split('_')[0] in ('before', 'after'):
                return lambda learn: seen.append(name)
            raise AttributeError(name)
    Learner(small_net(), data).fit(.01, 1, cbs=[Note()])
    training = ['before_pass', *['before_batch', 'before_step', 'after_batch']*3, 'after_pass']
    validation = ['before_pass', *['before_batch', 'after_batch']*2, 'after_pass']
    assert seen == ['before_fit', 'before_epoch', *training, *validation, 'after_epoch', 'after_fit']


def test_after_fit_is_called_when_something_breaks(data):
    class Break(Callback):
        ended = False
        def after_batch(self, learn): raise KeyboardInterrupt
        def after_fit(self, learn): self.ended = True
    cb = Break()
    with pytest.raises(KeyboardInterrupt):
        Learner(small_net(), data).fit(.01, 1, cbs=cb)
    assert cb.ended


def test_same_seed_same_result(data):
    def run():
        set_seed(3)
        learn = ConvLearner.pretrained(lite0, data, precompute=True)
        learn.fit(.01, 2)
        return learn.predict()
    assert np.array_equal(run(), run())


def test_lines_in_a_terminal(data, capsys):
    Learner(small_net(), data).fit(.01, 2)
    head, *lines = capsys.readouterr().out.strip().split('\n')
    assert head.split() == ['epoch', 'training', 'loss', 'validation', 'loss', 'accuracy', 'time']
    assert len(lines) == 2
    for i, line in enumerate(lines):
        assert re.fullmatch(rf'\s*{i}\s+\d+\.\d{{5}}\s+\d+\.\d{{5}}\s+[01]\.\d{{5}}\s+\d+\.\d\d s', line)


def test_a_silent_learner(data, capsys):
    Learner(small_net(), data).silent().fit(.01, 1)
    assert capsys.readouterr().out == ''


def test_metrics_see_the_whole_validation_set(data):
    from torchmetrics.classification import MulticlassF1Score
    sizes = []
    def count(preds, targs):
        sizes.append(len(targs))
        return torch.tensor(0.)
    learn = Learner(small_net(), data, metrics=[count, MulticlassF1Score(num_classes=2)])
    learn.fit(.01, 1)
    assert sizes == [12]
    assert set(learn.history[0]) == {'epoch', 'training loss', 'validation loss', 'count', 'MulticlassF1Score'}


class Elsewhere(torch.Tensor):
    "A tensor that says whether it was taken to the CPU."
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs or {})
        return out.as_subclass(torch.Tensor) if func is torch.Tensor.cpu else out


def test_losses_are_computed_where_the_predictions_are(data):
    "A loss function may hold weights there; so also in validation."
    kinds = []
    class There(nn.Module):
        def forward(self, x): return x.as_subclass(Elsewhere)
    def loss(preds, targs):
        kinds.append(type(preds))
        return F.cross_entropy(preds.as_subclass(torch.Tensor), targs)
    Learner(nn.Sequential(small_net(), There()), data, loss_fn=loss).fit(.01, 1)
    assert len(kinds) == 3 + 2 + 1 and set(kinds) == {Elsewhere}, 'batches of training and validation, and all at once'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_class_weights_on_a_gpu(data):
    weights = torch.tensor([1., 2.], device='cuda')
    learn = Learner(small_net(), data, loss_fn=nn.CrossEntropyLoss(weights))
    learn.fit(.01, 1)
    assert np.isfinite(learn.history[0]['validation loss'])


# ---- at the door
BAD_RATES = [0., -.1, float('nan'), float('inf'), [.1, -.2], [.1, .2, .3, .4]]


@pytest.mark.parametrize('lrs', BAD_RATES)
def test_bad_rates(data, lrs):
    with pytest.raises(ValueError, match=r'above 0|layer groups|learning rate'):
        Learner(small_net(), data).fit(lrs, 1)


@pytest.mark.parametrize('n', [0, 1.5, '3', True])
def test_bad_epochs(data, n):
    with pytest.raises(ValueError, match=r'n_cycle is the number of .*a whole number of at least 1'):
        Learner(small_net(), data).fit(.1, n)


@pytest.fixture(scope='module')
def arrays():
    x = np.random.RandomState(0).randint(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    part = x, np.arange(12) % 2
    return ImageClassifierData.from_arrays('.', part, part, bs=4, tfms=tfms_from_model(lite0, 32))


class Wrong(Callback):
    "One that is never made."


@pytest.mark.parametrize('args, message', [
    (dict(metrics=['accuracy']), "metric is a function .*such as accuracy, not 'accuracy'"),
    (dict(metrics='accuracy'), "metric is a function .*not 'accuracy'"),
    (dict(metrics=nn.L1Loss), r'L1Loss is a class: metrics=L1Loss\(\)'),
    (dict(metrics=[accuracy, accuracy]), 'name of its own'),
    (dict(loss_fn=nn.CrossEntropyLoss), r'CrossEntropyLoss is a class: loss_fn=CrossEntropyLoss\(\)'),
    (dict(loss_fn='cross_entropy'), "loss_fn is a function .*not 'cross_entropy'"),
    (dict(opt_fn='adam'), "opt_fn makes an optimizer .*not 'adam'"),
    (dict(opt_fn=torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)), 'opt_fn makes an optimizer'),
    (dict(cbs=Wrong), r'Wrong is a class of callbacks; make one: cbs=Wrong\(\)'),
    (dict(cbs=[print]), 'cbs are callbacks'),
    (dict(cbs='Metrics'), "cbs are callbacks.* 'Metrics' is none"),
    (dict(precision='fp7'), "precision is 'no', 'bf16' or 'fp16', not 'fp7'"),
    (dict(precision=16), 'precision'),
    (dict(accumulate=0), 'accumulate is the number of batches for a step'),
    (dict(accumulate=1.5), 'accumulate')])
def test_what_a_learner_cannot_be_made_of(arrays, args, message):
    with pytest.raises(ValueError, match=message):
        Learner(small_net(), arrays, **args)


@pytest.mark.parametrize('cbs', [Wrong, [print], 'Metrics'])
def test_callbacks_of_a_fit_are_checked(arrays, cbs):
    learn = Learner(small_net(), arrays)
    with pytest.raises(ValueError, match='callbacks'):
        learn.fit(.1, 1, cbs=cbs)
    assert learn.history == []


def test_settings_are_checked_again_before_a_training(arrays):
    learn = Learner(small_net(), arrays)
    learn.accumulate = 0
    with pytest.raises(ValueError, match='accumulate'):
        learn.fit(.1, 1)


def test_one_or_several(arrays, capsys):
    "A metric, a callback: alone or in a list."
    for several in (True, False):
        progress = Progress()
        metrics, cbs = ([accuracy], [progress]) if several else (accuracy, progress)
        learn = Learner(small_net(), arrays, metrics=metrics, cbs=cbs)
        learn.fit(.1, 1, cbs=Wrong())
        assert 'accuracy' in learn.history[0]
        assert [cb for cb in learn.cbs if isinstance(cb, Progress)] == [progress], 'it took the place of the default'
    assert capsys.readouterr().out.count('accuracy') == 2


@pytest.mark.parametrize('name, hint', [
    ('after_bach', 'did you mean after_batch'), ('befor_fit', 'did you mean before_fit'),
    ('on_epoch_end', 'there are before_fit'), ('before_epochs', 'did you mean before_epoch'),
    ('after_training', 'after_fit')])
def test_a_misspelt_moment_is_refused_where_it_is_defined(name, hint):
    with pytest.raises(ValueError, match=f'Mine.{name} would never be called; .*{hint}'):
        type('Mine', (Callback,), {name: lambda self, learn: None})


def test_other_members_of_a_callback_are_free():
    def method(self): pass
    members = {'check': method, 'write_epoch': method, '_after_batch': method, 'batch': 3, 'on_error': 'raise'}
    type('Mine', (Callback,), members)


def test_a_given_callback_takes_the_place_of_one_that_the_model_brings(arrays):
    class Talk(Progress):
        "Another kind of table."
    class Mine(nn.Sequential):
        def learner_args(self): return {'cbs': Talk()}
    net, own = Mine(nn.Flatten(), nn.Linear(3072, 2)), Progress()
    kinds = [cb for cb in ConvLearner.from_model(net, arrays).cbs if isinstance(cb, Progress)]
    assert [type(cb) for cb in kinds] == [Talk], 'also a second time: the net keeps its arguments'
    assert [cb for cb in ConvLearner.from_model(net, arrays, cbs=own).cbs if isinstance(cb, Progress)] == [own]


def test_an_import_of_the_module_is_enough():
    "A learner trains, predicts, saves and loads with imgcourse.learner alone."
    code = '''
import sys, numpy as np, torch
from torch import nn
from imgcourse.data import ImageClassifierData
from imgcourse.learner import Learner, set_seed
from imgcourse.transforms import lite0, tfms_from_model
assert not {'imgcourse.' + m for m in ('schedule', 'finetune', 'checkpoint', 'all')} & set(sys.modules)
x = np.random.RandomState(0).randint(0, 256, (12, 32, 32, 3), dtype=np.uint8)
part = x, np.arange(12) % 2
data = ImageClassifierData.from_arrays('.', part, part, bs=4, tfms=tfms_from_model(lite0, 32))
learn = Learner(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), data)
learn.fit(.01, 1)
before = learn.predict()
learn.save('net')
learn.full[1].weight.data.zero_()
learn.load('net')
assert np.array_equal(learn.predict(), before)
'''
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)


# ---- backbone and head
@pytest.mark.parametrize('precompute', [True, False])
def test_only_the_head_learns(data, precompute):
    learn = ConvLearner.pretrained(lite0, data, precompute=precompute)
    before = {k: v.clone() for k, v in learn.full.state_dict().items()}
    learn.fit(.01, 1)
    changed = {k for k, v in learn.full.state_dict().items() if not torch.equal(v.cpu(), before[k].cpu())}
    assert {k.split('.')[0] for k in changed} == {'2'}, 'backbone (with its batch norms) and pooling stay'


def test_precompute_on_and_off_agree(data):
    "Stored features or the whole network: the same predictions, up to the number format."
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit(.01, 2)
    stored = learn.predict()
    learn.precompute = False
    whole = learn.predict()
    assert np.abs(np.exp(stored) - np.exp(whole)).mean() < .03
    x = torch.stack([data.val_ds[i][0] for i in range(12)])
    with torch.no_grad():
        direct = learn.full(x.to(next(learn.full.parameters()).device)).cpu()
    assert np.allclose(whole, direct, atol=1e-3)


def first_batches(learn, seed):
    torch.manual_seed(seed)
    return torch.cat([x for x, _ in learn.loaders()[0]])


def test_augmentation_reaches_the_network(few):
    tfms = tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.1)
    learn = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, bs=8, tfms=tfms), precompute=True)
    assert first_batches(learn, 0).ndim == 2
    assert torch.equal(first_batches(learn, 0), first_batches(learn, 0))
    learn.precompute = False
    one, other = first_batches(learn, 0), first_batches(learn, 1)
    assert not torch.equal(one, other) and one.shape[1:] == (3, 64, 64)
    learn.fit(.01, 1)


def test_predictions(data):
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit(.01, 1)
    p, y = learn.predict_with_targs()
    assert p.shape == (12, 2) and p.dtype == np.float32
    assert np.allclose(np.exp(p).sum(1), 1, atol=1e-5) and np.array_equal(y, data.val_y)
    t, y = learn.predict_with_targs(is_test=True)
    assert np.allclose(t, p, atol=1e-5) and set(y) == {-1}, 'the test folder holds the same pictures'
    assert np.array_equal(learn.predict(is_test=True), t)
    data.test_ds = None
    with pytest.raises(ValueError, match='test_name'):
        learn.predict(is_test=True)


@pytest.mark.parametrize('args, idxs, shape', [
    ({}, [0, 2, 3, 5, 6, 8, 9, 11], (2, 4)),
    ({'n': 3, 'cols': 2}, [0, 6, 11], (2, 2)),
    ({'n': 99}, range(12), (3, 4))])
def test_results_are_shown(data, args, idxs, shape):
    "Pictures from the first to the last, each with the answer; of six cats and six dogs all are taken for the same."
    torch.manual_seed(0)
    learn, ds = ConvLearner.from_model(small_net(), data), data.val_ds
    probs = np.exp(learn.predict())
    learn.show_results(**args)
    axs = plt.gcf().axes
    assert axs[0].get_gridspec().get_geometry() == shape
    seen = [(ax.get_title(), ax.title.get_color()) for ax in axs if ax.images]
    answers = [(f'{data.classes[p.argmax()]} {p.max():.2f}', p.argmax() == y) for p, y in zip(probs, data.val_y)]
    assert seen == [(words, 'green' if right else 'firebrick') for words, right in (answers[i] for i in idxs)]
    assert {color for _, color in seen} == {'green', 'firebrick'}
    assert all(np.array_equal(ax.images[0].get_array(), ds.picture(i)) for ax, i in zip(axs, idxs))
    plt.close('all')


def test_no_results_are_shown(data):
    with pytest.raises(ValueError, match='n is the number of pictures'):
        ConvLearner.from_model(small_net(), data).show_results(0)


def test_ask_without_a_picture_in_a_program(data, capsys):
    "There is no button to press; the net is not asked."
    learn = ConvLearner.from_model(small_net(), data)
    learn.ask()
    line, = capsys.readouterr().out.splitlines()
    assert 'takes a notebook' in line and "learn.ask('cat.jpg')" in line
    learn.ask(data.val_ds.name(0), k=1)
    assert re.fullmatch(r'  [01]\.\d{3}  (cats|dogs)', capsys.readouterr().out.rstrip())


def test_logprobs():
    z = torch.randn(5, 3)
    assert torch.allclose(logprobs(z), logprobs(logprobs(z))), 'of logprobs the same'
    one = logprobs(z[:, :1])
    assert torch.allclose(one[:, 1].exp(), z[:, 0].sigmoid()) and torch.allclose(one.exp().sum(1), torch.ones(5))


def test_head():
    head = make_head(20, 5, [16, 8], [.1, .2, .3])
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ['BatchNorm1d', 'Dropout', 'Linear', 'ReLU']*2 + ['BatchNorm1d', 'Dropout', 'Linear', 'LogSoftmax']
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [.1, .2, .3]
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [16, 8, 5]
    assert torch.allclose(head(torch.randn(4, 20)).exp().sum(1), torch.ones(4))
    with pytest.raises(ValueError, match='3 numbers'):
        make_head(20, 5, [16, 8], [.1])


def test_pretrained_refuses_data_of_another_net(data, few):
    with pytest.raises(ValueError, match='resnet34'):
        ConvLearner.pretrained('resnet43', data)
    other = ImageClassifierData.from_paths(few, tfms=tfms_from_model('resnet34', 96))
    with pytest.raises(ValueError, match='channel means'):
        ConvLearner.pretrained(lite0, other)
    with pytest.raises(ValueError, match='at least two pictures'):
        ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, bs=1, tfms=TFMS))


@pytest.mark.parametrize('ps', [[.1], .1])
@pytest.mark.parametrize('weights', [None, '/no/such/file'])
def test_dropouts_are_checked_before_weights_are_sought(data, weights, ps):
    with pytest.raises(ValueError, match=r'ps needs .*: 2 numbers, not \[0.1\]'):
        ConvLearner.pretrained(lite0, data, ps=ps, weights=weights)


def test_what_a_learner_is_made_of_goes_through_pretrained(data):
    "A loss with class weights, say; the loss that is reported is that one."
    loss = nn.NLLLoss(torch.tensor([1., 3.]))
    learn = ConvLearner.pretrained(lite0, data, precompute=True, xtra_fc=16, loss_fn=loss, precision='no', accumulate=2)
    assert [m.out_features for m in learn.head if isinstance(m, nn.Linear)] == [16, 2]
    assert learn.accumulate == 2 and learn.precision == 'no'
    learn.fit(.01, 1)
    preds, targs = learn.predict_with_targs()
    theirs = loss(torch.tensor(preds), torch.tensor(targs)).item()
    assert learn.history[0]['validation loss'] == pytest.approx(theirs, rel=1e-4)
    assert theirs != pytest.approx(F.nll_loss(torch.tensor(preds), torch.tensor(targs)).item(), rel=1e-3)


@pytest.mark.parametrize('args, message', [
    (dict(metrics=[accuracy, accuracy]), 'name of its own'), (dict(metrics='accuracy'), 'A metric is'),
    (dict(opt_fn='adam'), 'opt_fn'), (dict(cbs=Wrong), 'class of callbacks'), (dict(loss_fn='focal'), 'loss_fn'),
    (dict(precision='fp7'), 'precision'), (dict(accumulate=0), 'accumulate')])
def test_the_door_stands_before_the_work(arrays, args, message):
    "No weights are sought, no net is asked, for a learner that cannot be."
    with pytest.raises(ValueError, match=message):
        ConvLearner.pretrained(lite0, arrays, weights='/no/such/file', **args)
    class Never(nn.Module):
        def forward(self, x): pytest.fail('it was asked')
    with pytest.raises(ValueError, match=message):
        ConvLearner.from_model(Never(), arrays, **args)


def test_any_module(data):
    learn = ConvLearner.from_model(small_net(), data, opt_fn=torch.optim.Adam)
    learn.fit(.01, 1)
    assert np.allclose(np.exp(learn.predict()).sum(1), 1, atol=1e-5)
    seven = nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 7))
    with pytest.raises(ValueError, match=r'must give \(1, 2\)'):
        ConvLearner.from_model(seven, data)
    with pytest.raises(RuntimeError, match='mat1 and mat2'): # in its own words
        ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), data)


def test_a_model_brings_its_arguments(arrays):
    "What the caller says wins; callbacks are added."
    class Other(Callback):
        "One of the model's."
    class Mine(nn.Sequential):
        def learner_args(self):
            return {'opt_fn': torch.optim.Adam, 'loss_fn': F.nll_loss, 'cbs': [Other()]}
    net = Mine(nn.Flatten(), nn.Linear(3072, 2), nn.LogSoftmax(1))
    extra = Wrong()
    learn = ConvLearner.from_model(net, arrays, cbs=extra, opt_fn=partial(torch.optim.SGD, momentum=.5))
    learn.fit(.1, 1)
    assert learn.loss_fn is F.nll_loss and learn.opt.defaults['momentum'] == .5
    assert [type(cb) for cb in learn.cbs[-2:]] == [Other, Wrong] and learn.cbs[-1] is extra
    assert isinstance(learn.cbs[0], Metrics)


def test_accuracy():
    p, y = np.log(np.array([[.9, .1], [.2, .8], [.6, .4]])), np.array([0, 1, 1])
    assert accuracy_np(p, y) == pytest.approx(2/3) == float(accuracy(torch.tensor(p), torch.tensor(y)))


def test_more_than_two_classes():
    x = np.random.RandomState(0).randint(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    part = x, np.arange(60) % 5
    data = ImageClassifierData.from_arrays('.', part, part, tfms=TFMS, bs=16)
    learn = ConvLearner.pretrained(lite0, data, precompute=True, xtra_fc=[])
    learn.fit(.1, 2)
    assert learn.predict().shape == (60, 5)


# ---- too little memory
class Hungry(nn.Module):
    "A net that has room for so many pictures."
    def __init__(self, most, error):
        super().__init__()
        self.layer, self.most, self.error = nn.Linear(3, 3), most, error

    def forward(self, x):
        if len(x) > self.most:
            raise self.error
        return self.layer(x.mean((2, 3)))


OF_A_GPU = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has less')
OF_A_CPU = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to …")


@pytest.mark.parametrize('error', [OF_A_GPU, OF_A_CPU])
def test_too_little_memory_for_a_batch(error):
    "A smaller size is named; it does; and accelerate's search for one understands."
    learn = ConvLearner.from_model(Hungry(8, error), small_data(bs=30)).silent()
    words = r'batches of 30 pictures.*set_bs\(15\).*' + re.escape(str(error)[:10])
    with pytest.raises(MemoryTooSmall, match=words):
        learn.fit(.01)
    learn.data.set_bs(8)
    learn.fit(.01)
    assert len(learn.history) == 1 and learn.data.trn_dl.batch_size == 8
    sizes = []
    def train(bs):
        sizes.append(bs)
        learn.data.set_bs(bs)
        learn.fit(.01)
    halves = iter([16, 8])
    find_executable_batch_size(train, 32, lambda: next(halves))()
    assert sizes == [32, 16, 8]


@pytest.mark.parametrize('error', [RuntimeError('something else'), RuntimeError(ValueError('something else'))])
def test_other_errors_stay_what_they_are(error):
    learn = ConvLearner.from_model(Hungry(8, error), small_data(bs=30)).silent()
    with pytest.raises(RuntimeError, match=r'^something else$'):
        learn.fit(.01)


def test_batches_of_another_size_on_the_device():
    data = small_data(bs=30, aug=[alternating_flip])
    data.set_bs(7)
    assert len(next(iter(data.trn_dl))[0]) == 7 and data.trn_ds.sampler is data.trn_dl.sampler
    with pytest.raises(ValueError, match='bs is the number'):
        data.set_bs(0)
