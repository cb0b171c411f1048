"Rare classes, mixtures, averages of weights, trackers."
import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from imgcourse.all import (
    Average, ConvLearner, ImageClassifierData, Mix, Track, WeightedLoss, balanced_accuracy, lite0, set_seed,
    tfms_from_model)
from imgcourse.learner import Callback
from imgcourse.nets import FastNet


@pytest.fixture(scope='module')
def data(same_few):
    return ImageClassifierData.from_paths(same_few, 8, tfms_from_model(lite0, 64))


def head(data, **options):
    set_seed(1)
    return ConvLearner.pretrained(lite0, data, True, **options).silent()


# ---- rare classes
def test_balanced_accuracy():
    preds = torch.eye(3)[[0, 0, 0, 0, 1, 2]]
    assert balanced_accuracy(preds, torch.tensor([0, 0, 0, 1, 1, 2])).item() == pytest.approx((1 + .5 + 1)/3)
    assert balanced_accuracy(preds[:4], torch.zeros(4, dtype=int)).item() == 1, 'classes that do not occur do not count'


def test_rare_classes_weigh_more(data):
    "As much as all others together; a learner takes it as any loss."
    few = types.SimpleNamespace(trn_y=np.repeat([0, 1], [20, 1]), c=2, several=False)
    loss = WeightedLoss(few)
    assert loss.weights.tolist() == pytest.approx([21/40, 21/2])
    preds = torch.tensor([[0., 0]]*21)
    each = F.cross_entropy(preds, torch.tensor(few.trn_y), reduction='none')
    assert loss(preds, torch.tensor(few.trn_y)).item() == pytest.approx(each.mean().item())
    wrong = torch.tensor([[9., 0]]*21) # the rare one is not seen: about half of all that counts
    assert loss(wrong, torch.tensor(few.trn_y)).item() == pytest.approx(4.5, abs=.01)
    learn = head(data, loss_fn=WeightedLoss(data, .1))
    learn.fit_one_cycle(2, .01)
    assert np.isfinite(learn.history[-1]['validation loss'])
    assert repr(WeightedLoss(few)) != repr(WeightedLoss(few, .1)), 'a run that goes on must know'


@pytest.mark.parametrize('counts', [(200, 8), (50, 50, 0)])
def test_with_smoothing_the_best_answer_is_the_right_one(counts):
    "For common, rare and missing classes."
    y = np.repeat(np.arange(len(counts)), counts)
    loss = WeightedLoss(types.SimpleNamespace(trn_y=y, c=len(counts), several=False), .1)
    logits = torch.zeros(len(counts), len(counts), requires_grad=True) # what is said of all pictures of a class
    opt = torch.optim.LBFGS([logits], max_iter=200)
    def again():
        opt.zero_grad()
        found = loss(logits[y], torch.tensor(y))
        found.backward()
        return found
    opt.step(again)
    n = sum(k > 0 for k in counts)
    assert logits[:n].argmax(1).tolist() == [*range(n)]
    assert logits[:n].softmax(1).amax(1).tolist() == pytest.approx([.9 + .1/len(counts)]*n, abs=.01)


# ---- mixtures
class See(Callback):
    "What the net is given."
    order = 10
    def __init__(self): self.seen = []
    def before_batch(self, learn): self.seen.append((learn.training, learn.x.clone(), learn.y.clone()))


@pytest.mark.parametrize('kind', ['mixup', 'cutmix'])
def test_mixtures_of_pictures(data, kind):
    "Training batches alone are mixed; labels in the proportion of the pictures."
    see = See()
    learn = ConvLearner.from_model(FastNet((64, 64, 3), [8], 2), data, loss_fn=F.cross_entropy)
    set_seed(3)
    learn.fit(.01, 1, cbs=[Mix(kind, 1.), see])
    for training, x, y in see.seen:
        assert x.shape[1:] == (3, 64, 64)
        assert y.ndim == (2 if training else 1)
    soft = torch.cat([y for training, _, y in see.seen if training])
    assert torch.allclose(soft.sum(1), torch.ones(len(soft)), atol=1e-5) and ((soft > .01) & (soft < .99)).any()
    assert 0 <= learn.history[-1]['training accuracy'] <= 1


def test_features_can_be_mixed_but_not_cut(data):
    see, learn = See(), head(data)
    learn.fit(.01, 1, cbs=[Mix('mixup'), see])
    assert all(x.ndim == 2 for _, x, _ in see.seen)
    with pytest.raises(ValueError, match='stored features'):
        learn.fit(.01, 1, cbs=Mix('cutmix'))
    for wrong in (('blend',), ('mixup', 0)):
        with pytest.raises(ValueError, match=r'kind is|alpha is'):
            Mix(*wrong)


# ---- averages
def test_the_average_is_what_is_validated_and_kept(data):
    "It is that of timm, of the weights after each step; training goes on with its own weights."
    class Note(Callback):
        order = 30
        def before_fit(self, learn): self.steps, self.own = [], []
        def before_batch(self, learn):
            if learn.training:
                self.own.append(learn.head[2].weight.detach().clone())
        def after_batch(self, learn):
            if learn.training:
                self.steps.append(learn.head[2].weight.detach().clone())
    note, average = Note(), Average(.9)
    learn = head(data)
    learn.fit(.05, 3, cbs=[average, note])
    assert all(torch.equal(after, before) for after, before in zip(note.steps, note.own[1:])), 'its own go on'
    want = None
    for k, w in enumerate(note.steps, 1):
        decay = min(.9, 1 - k**(-2/3)) if k > 1 else 0
        want = w.clone() if want is None else want*decay + w*(1 - decay)
    kept = learn.head[2].weight
    assert torch.allclose(kept, want, atol=1e-5) and not torch.allclose(kept, note.steps[-1], atol=1e-4)


def test_the_best_epoch_of_the_average_is_saved(data, tmp_path):
    learn = head(data)
    learn.models_path = tmp_path
    learn.fit(.05, 3, best_save_name='best', cbs=Average(.9))
    best = min(row['validation loss'] for row in learn.history)
    learn.load('best')
    logps, y = learn.predict_with_targs()
    assert F.nll_loss(torch.tensor(logps), torch.tensor(y)).item() == pytest.approx(best, abs=1e-4)


def test_an_average_is_not_resumed(data, tmp_path):
    learn = head(data)
    learn.models_path = tmp_path
    with pytest.raises(ValueError, match='does not go with resume'):
        learn.fit(.01, 1, resume=True, cbs=Average())
    with pytest.raises(ValueError, match='decay is'):
        Average(1.)


# ---- trackers
def test_tensorboard_as_a_tracker(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    learn = head(data)
    learn.fit(.01, 2, cbs=Track('tensorboard', 'mine', {'rate': .01}, tmp_path))
    log = EventAccumulator(str(tmp_path/'mine'))
    log.Reload()
    told = [e.value for e in log.Scalars('accuracy')]
    assert told == pytest.approx([row['accuracy'] for row in learn.history])
    learn.fit(.01, 1, cbs=Track('tensorboard', 'mine', {'rate': .01}, tmp_path))
    log.Reload()
    assert [e.step for e in log.Scalars('accuracy')] == [0, 1, 2], 'a second training goes on behind the first'


def test_wandb_as_a_tracker(data, monkeypatch):
    "A stand-in for the package, which is not installed here; accelerate calls it."
    told = {'log': [], 'config': {}}
    run = types.SimpleNamespace(log=lambda values, step=None, **k: told['log'].append((step, values)),
                                finish=lambda: told.update(done=True))
    wandb = types.SimpleNamespace(init=lambda project, **k: told.update(project=project) or run,
                                  config=types.SimpleNamespace(update=lambda new, **k: told['config'].update(new)))
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    learn = head(data)
    learn.fit(.01, 2, cbs=Track('wandb', 'mine', {'rate': .01}))
    assert told['project'] == 'mine' and told['config'] == {'epochs': 2, 'batch size': 8, 'rate': .01} and told['done']
    assert [values['accuracy'] for _, values in told['log']] == [row['accuracy'] for row in learn.history]


def test_trackers_that_are_not_there(data, monkeypatch):
    with pytest.raises(ValueError, match='There is no tracker'):
        Track('notebook')
    monkeypatch.setattr('imgcourse.recipes.find_spec', lambda name: None)
    monkeypatch.delitem(sys.modules, 'wandb', raising=False)
    with pytest.raises(ValueError, match='pip install wandb'):
        Track('wandb')


def test_an_average_that_is_no_number_is_not_taken(data):
    "The last good weights, which were put back, stay."
    class Break(Callback):
        order = 0
        def before_batch(self, learn):
            if learn.training and learn.epoch == 1:
                learn.x = learn.x*float('nan')
    learn = head(data)
    with pytest.raises(FloatingPointError):
        learn.fit(.01, 3, cbs=[Average(.9), Break()])
    assert all(torch.isfinite(p).all() for p in learn.head.parameters())
