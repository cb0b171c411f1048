"TensorBoard's own reader finds what happened in a training, and the training is none the worse for it."
import io
import multiprocessing
import os
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from imgcourse.checkpoint import Checkpoint
from imgcourse.data import ImageClassifierData
from imgcourse.learner import Callback, ConvLearner, Learner, Progress, set_seed
from imgcourse.nets import SimpleNet
from imgcourse.tensorboard import TensorBoard
from imgcourse.transforms import PictureTransform, lite0, tfms_from_model
from noise import IN, pictures, small_data


def read(folder):
    return EventAccumulator(str(folder), size_guidance={'scalars': 0, 'histograms': 0, 'images': 0}).Reload()


def scalars(log, tag):
    return [e.value for e in log.Scalars(tag)]


def steps(log, tag):
    return [e.step for e in log.Scalars(tag)]


def learner(data=None, seed=1, **kwargs):
    "It prints nothing."
    set_seed(seed)
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data or small_data(), **kwargs)
    learn.cbs = [cb for cb in learn.cbs if not isinstance(cb, Progress)]
    return learn


# ---- what is in the log
@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    "A learner after two epochs, and its log."
    folder = tmp_path_factory.mktemp('log')
    learn = learner(cbs=TensorBoard(folder/'run', n_pictures=3))
    learn.fit_one_cycle(2, .01)
    return learn, read(folder/'run')


@pytest.mark.parametrize('name', ['training loss', 'validation loss', 'accuracy', 'training accuracy'])
def test_log_of_epochs(two_epochs, name):
    learn, log = two_epochs
    assert scalars(log, f'epoch/{name}') == pytest.approx([row[name] for row in learn.history], rel=1e-5)
    assert steps(log, f'epoch/{name}') == [1, 2]


def test_log_of_batches(two_epochs):
    learn, log = two_epochs
    losses, rates = scalars(log, 'batch/loss'), scalars(log, 'batch/learning rate')
    assert losses == pytest.approx([float(loss) for loss in learn.sched.losses], rel=1e-5) and len(losses) == 8
    assert rates == pytest.approx([lrs[0] for lrs in learn.sched.lrs], rel=1e-5)


def test_log_of_weights(two_epochs):
    learn, log = two_epochs
    assert set(log.Tags()['histograms']) == {f'weights/{n}' for n, _ in learn.model.named_parameters()}
    histograms, w = log.Histograms('weights/1.weight'), learn.model[1].weight
    last = histograms[-1].histogram_value
    assert len(histograms) == 2 and last.num == 3072*8
    assert last.max == pytest.approx(w.max().item(), rel=1e-5)
    assert last.sum == pytest.approx(w.sum().item(), rel=1e-3, abs=1e-3)


def test_log_has_the_graph(two_epochs):
    assert two_epochs[1].Tags()['graph']


def test_pictures_are_those_of_the_data(tmp_path):
    "Side by side, not normalized."
    tfm = PictureTransform([], 32, (.5, .4, .3), (.2, .3, .4))
    learner(small_data(tfm=tfm)).fit(.01, 1, cbs=TensorBoard(tmp_path, n_pictures=3))
    png = read(tmp_path).Images('pictures')[0].encoded_image_string
    shown = np.asarray(Image.open(io.BytesIO(png))).astype(int)
    assert shown.shape == (32, 96, 3)
    assert abs(shown - np.concatenate(pictures(30, 32, 1)[0][:3], 1)).max() <= 1


def test_no_pictures_if_none_are_wanted(tmp_path):
    learner().fit(.01, 1, cbs=TensorBoard(tmp_path, n_pictures=0))
    tags = read(tmp_path).Tags()
    assert not tags['images'] and tags['graph']
    with pytest.raises(ValueError, match='n_pictures'):
        TensorBoard(tmp_path, n_pictures=-1)


# ---- several trainings
def test_each_run_has_a_folder(tmp_path):
    "A cell that is run again does not lay its curve over the first one."
    boards = [TensorBoard(tmp_path/'a') for _ in range(3)]
    for board in boards:
        learner().fit(.01, 1, cbs=board)
    assert [board.log_dir.name for board in boards] == ['a', 'a-2', 'a-3']
    assert [len(scalars(read(board.log_dir), 'batch/loss')) for board in boards] == [4, 4, 4]


def test_several_trainings_follow_one_another(tmp_path):
    learn = learner(cbs=TensorBoard(tmp_path))
    learn.fit(.01, 1)
    learn.fit(.001, 2)
    log = read(tmp_path)
    assert steps(log, 'epoch/accuracy') == [1, 2, 3] and steps(log, 'batch/loss') == list(range(12))


class Die(Callback):
    "The power fails in the middle of the second epoch."
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.i) == (1, 2):
            os._exit(3)


def logged(folder, cbs=(), **kwargs):
    learn = learner(cbs=TensorBoard(folder/'log'))
    learn.models_path = folder/'models'
    learn.fit(.01, 3, cbs=cbs, **kwargs)


def die(folder):
    logged(folder, [Checkpoint(part=1), Die()])


@pytest.mark.e2e
def test_resumed_log(tmp_path):
    "Nothing of the batches before the stop is lost, and epochs are counted on."
    process = multiprocessing.get_context('spawn').Process(target=die, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == 3
    logged(tmp_path, resume=True)
    first, second = read(tmp_path/'log'), read(tmp_path/'log-2')
    assert {*steps(first, 'batch/loss'), *steps(second, 'batch/loss')} == set(range(12))
    assert steps(second, 'epoch/accuracy') == [2, 3]


def test_the_log_changes_nothing(tmp_path):
    "Weights, history and random numbers are those of a training without it, with dropout and shuffling."
    def run(cbs):
        set_seed(3)
        learn = Learner(nn.Sequential(nn.Flatten(), nn.Dropout(.5), nn.Linear(3072, 3)), small_data())
        learn.silent()
        learn.fit(.01, 2, cbs=cbs)
        return learn.history, learn.model[2].weight.detach(), torch.rand(1)
    (history, weights, number), (history2, weights2, number2) = run([]), run(TensorBoard(tmp_path))
    assert history == history2 and torch.equal(weights, weights2) and torch.equal(number, number2)


# ---- other learners
@pytest.mark.parametrize('precision', ['bf16', None])
def test_log_of_other_learners(tmp_path, precision):
    "Stored features (no pictures then), a frozen backbone, groups with rates of their own, half precision."
    data = ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms_from_model(lite0, 64))
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.precision = precision
    def tags_of(name, lrs):
        learn.fit(lrs, 1, cbs=TensorBoard(tmp_path/name))
        return read(tmp_path/name).Tags()
    head = tags_of('head', .01)
    assert not head['images'] and head['histograms'] and head['graph']
    learn.precompute = False
    frozen = tags_of('frozen', .01)
    assert set(frozen['histograms']) == {f'weights/{n}' for n, w in learn.model.named_parameters() if w.requires_grad}
    assert 0 < len(frozen['histograms']) < 20
    learn.unfreeze()
    tags = tags_of('all', [1e-4, 1e-3, 1e-2])
    log = read(tmp_path/'all')
    rates = [scalars(log, tag)[0] for tag in tags['scalars'] if 'rate' in tag]
    assert sorted(rates) == pytest.approx([1e-4, 1e-3, 1e-2]) and tags['images'] and tags['graph']


class Untraceable(nn.Linear):
    def forward(self, x):
        if torch.jit.is_tracing():
            raise TypeError('not me')
        return super().forward(x.flatten(1))


def test_a_net_that_cannot_be_traced_is_trained_all_the_same(tmp_path):
    learn = Learner(Untraceable(3072, 3), small_data())
    with pytest.warns(UserWarning, match='no graph') as found:
        learn.fit(.01, 1, cbs=TensorBoard(tmp_path))
    assert __file__ in [w.filename for w in found]
    assert len(learn.history) == 1 and scalars(read(tmp_path), 'epoch/accuracy')


class Poison(Callback):
    order = 5
    def after_epoch(self, learn): learn.model[1].weight.data[0, 0] = float('nan')


def test_weights_that_are_no_numbers(tmp_path):
    with pytest.warns(UserWarning, match=r'no histogram of 1.weight'):
        learner().fit(.01, 1, cbs=[TensorBoard(tmp_path), Poison()])
    found = read(tmp_path).Tags()['histograms']
    assert 'weights/1.weight' not in found and 'weights/1.bias' in found
