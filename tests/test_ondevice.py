"Pictures in one tensor: the same batches as before, augmented there, repeatable and resumed to the bit."
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from imgcourse.checkpoint import Checkpoint
from imgcourse.data import ImageClassifierData
from imgcourse.learner import Callback, ConvLearner, set_seed
from imgcourse.nets import ConvNet, FastNet, SimpleNet
from imgcourse.ondevice import alternating_flip, cutout, random_crop, random_flip, random_shift
from imgcourse.transforms import lite0, tfms_from_model
from noise import IN, PLAIN, pictures, small_data


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the data
def test_on_device_gives_the_same_batches():
    tfm = tfms_from_model(lite0, 24)[1]
    plain, held = small_data(on_device=False, tfm=tfm), small_data(tfm=tfm)
    for a, b in ((plain.val_dl, held.val_dl), (plain.fix_dl, held.fix_dl)):
        for (x, y), (x2, y2) in zip(a, b, strict=True):
            assert torch.allclose(x, x2.cpu(), atol=1e-5) and torch.equal(y, y2.cpu())
    assert held.classes == plain.classes and len(held.trn_ds) == 60 and held.val_ds.items.dtype == torch.uint8
    (x, y), (x2, y2) = plain.val_ds[7], held.val_ds[7]
    assert torch.allclose(x, x2.cpu(), atol=1e-5) and y == y2


def test_on_device_shuffles_and_keeps_the_pairs():
    data = small_data()
    seen = [(x.mean((2, 3)).argmax(1), y) for _ in range(2) for x, y in data.trn_dl]
    brightest, labels = (torch.cat(t) for t in zip(*seen))
    assert torch.equal(brightest, labels) and not torch.equal(labels[:60], labels[60:])
    assert labels[:60].bincount().tolist() == [20, 20, 20]


@pytest.fixture(scope='module')
def both():
    "The same data and the same net, from arrays and from the device."
    tfm, test = tfms_from_model(lite0, 32)[1], pictures(5, seed=3)[0]
    plain = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (tfm, tfm), test=test)
    learners = []
    for data in (plain, plain.on_device([random_flip])):
        torch.manual_seed(0)
        learners.append(ConvLearner.pretrained(lite0, data, precompute=True))
    return learners


def test_on_device_has_the_same_pictures_and_keys(both):
    plain, held = (learn.data.val_ds for learn in both)
    assert np.array_equal(np.asarray(held.picture(2)), pictures(30, 32, 1)[0][2])
    assert held.key(2) == plain.key(2)


@pytest.mark.parametrize('precompute', [True, False])
def test_on_device_gives_the_same_predictions(both, precompute):
    plain, held = both
    plain.precompute = held.precompute = precompute
    assert np.allclose(plain.predict(), held.predict(), atol=1e-3 if precompute else 1e-4)
    assert held.predict(is_test=True).shape == (5, 3)


def test_on_device_serves_the_rest_of_the_course(both, capsys):
    "Views for test-time augmentation, the range test, pictures that are shown."
    _, learn = both
    learn.precompute = False
    views, y = learn.TTA(n_aug=3)
    assert views.shape == (4, 30, 3) and np.array_equal(y, learn.data.val_y)
    assert len({v.tobytes() for v in views}) > 2
    learn.lr_find(num_it=20)
    assert len(learn.sched.lrs) > 5
    learn.data.show_batch(2)


def test_on_device_keeps_names(tmp_path):
    "Those of files, which submissions and lists of losses show."
    for split in ('train', 'valid', 'test'):
        for i, (x, y) in enumerate(zip(*pictures(12))):
            (tmp_path/split/str(y)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(x).save(tmp_path/split/str(y)/f'{split}{i}.png')
    plain = ImageClassifierData.from_paths(tmp_path, tfms=(PLAIN, PLAIN), test_name='test')
    held = plain.on_device()
    for name in ('trn_ds', 'val_ds', 'test_ds'):
        a, b = getattr(plain, name), getattr(held, name)
        assert [a.name(i) for i in range(12)] == [b.name(i) for i in range(12)]


def test_on_device_leaves_random_numbers_alone():
    data = small_data(on_device=False)
    torch.manual_seed(1)
    want = torch.rand(1)
    torch.manual_seed(1)
    data.on_device([random_flip, lambda x, idxs, epoch, g: x + torch.rand(())])
    assert torch.equal(torch.rand(1), want)


# ---- what is refused
def test_on_device_warns_of_lost_augmentation():
    tfms = tfms_from_model(lite0, 24, max_zoom=1.2)
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, tfms)
    with pytest.warns(UserWarning, match='random_flip') as found:
        data.on_device()
    assert found[0].filename == __file__


@pytest.mark.parametrize('aug', [
    random_flip, [lambda x: x], [nn.Identity()], [lambda x, idxs, epoch, g: x.mean(0)]])
def test_on_device_checks_the_augmentation(aug):
    with pytest.raises(ValueError, match='list of functions'):
        small_data(aug)


def test_on_device_needs_one_size(tmp_path):
    for split in ('train', 'valid'):
        for y in 'ab':
            (tmp_path/split/y).mkdir(parents=True)
            for i in range(3):
                Image.new('RGB', (32, 30 + i)).save(tmp_path/split/y/f'{i}.png')
    data = ImageClassifierData.from_paths(tmp_path, tfms=(PLAIN, PLAIN))
    with pytest.raises(ValueError, match=r'one size.*tfms_from_model'):
        data.on_device()


def test_on_device_needs_a_transform_that_can_be_undone():
    def black(im):
        return torch.zeros(3, 8, 8)
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (black, black))
    with pytest.raises(ValueError, match='PictureTransform'):
        data.on_device()


# ---- trainings that are resumed
class Cut(Callback):
    def after_batch(self, learn):
        if learn.epoch == 1 and learn.training and learn.i == 2:
            raise ZeroDivisionError


def augmented_learner(seed, folder):
    set_seed(seed)
    data = small_data([alternating_flip, random_crop, cutout, random_shift])
    learn = ConvLearner.from_model(FastNet(IN, [4, 8], 3), data)
    learn.models_path = folder
    return learn


def test_resumed_on_device_to_the_bit(tmp_path, capsys):
    "Augmented batches, the flip that alternates included, are those of the unbroken run."
    whole = augmented_learner(1, tmp_path)
    whole.fit_one_cycle(3, .1)
    with pytest.raises(ZeroDivisionError):
        augmented_learner(1, tmp_path).fit_one_cycle(3, .1, cbs=[Checkpoint(part=1), Cut()])
    again = augmented_learner(2, tmp_path)
    again.fit_one_cycle(3, .1, resume=True)
    weights = zip(whole.model.state_dict().values(), again.model.state_dict().values())
    assert all(torch.equal(a, b) for a, b in weights)
    assert whole.history == again.history and 'training accuracy' in again.history[-1]
    done = augmented_learner(3, tmp_path)
    done.fit_one_cycle(3, .1, resume=True)
    assert done.history == whole.history, 'nothing is left to be done'


def test_not_resumed_with_pictures_of_another_size(tmp_path, capsys):
    def fit(sz):
        learn = ConvLearner.from_model(ConvNet((sz, sz, 3), [4], 3), small_data(sz=sz))
        learn.models_path = tmp_path
        learn.fit(.01, 1, resume=True)
    fit(32)
    with pytest.raises(ValueError, match='another plan'):
        fit(16)


# ---- augmentation
X, IDXS = torch.rand(40, 3, 20, 16, generator=gen(5)), torch.arange(40)
ALL = [random_shift, random_flip, alternating_flip, random_crop, cutout]


@pytest.mark.parametrize('f', ALL, ids=lambda f: f.__name__)
def test_augmentation_is_repeatable_and_leaves_the_source(f):
    before = X.clone()
    once, again = f(X, IDXS, 0, gen(1)), f(X, IDXS, 0, gen(1))
    assert torch.equal(once, again) and torch.equal(X, before) and not torch.equal(once, X)
    assert once.shape == X.shape and once.dtype == X.dtype


def test_shift_moves_by_a_tenth_at_most():
    """A bright column of a picture 40 pixels wide comes to rest within 4 pixels of where it was, on either side,
    and the edge fills the rest."""
    x = torch.zeros(200, 3, 8, 40)
    x[..., 20], x[..., 0] = 1, .5
    y = random_shift(x, torch.arange(200), 0, gen())
    row = y[:, 0, 4, 10:31]
    place = (row*torch.arange(10, 31)).sum(1)/row.sum(1)
    assert 16 <= place.min() < 17 and 23 < place.max() <= 24
    assert (y[place > 22][:, :, :, 0] == .5).all()


def test_flips():
    y = random_flip(X, IDXS, 0, gen())
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(y, X)])
    assert torch.equal(y[~mirrored], X[~mirrored]) and 10 < mirrored.sum() < 30


def test_alternating_flip_shows_both_ways_in_two_epochs():
    x, idxs = torch.rand(1000, 3, 4, 4), torch.arange(1000)
    first, second, third = (alternating_flip(x, idxs, epoch, None) for epoch in range(3))
    assert torch.equal(first.flip(-1), second) and torch.equal(first, third)
    assert 400 < (first == x).all((1, 2, 3)).sum() < 600
    some = torch.tensor([5, 17, 900])
    assert torch.equal(alternating_flip(x[some], some, 0, None), first[some]), 'it is the picture that counts'


class Look(Callback):
    "The pictures of each epoch, as bytes."
    def __init__(self):
        self.seen = {}

    def before_batch(self, learn):
        if learn.training:
            views = self.seen.setdefault(learn.epoch, {})
            views.update((x.numpy().tobytes(), x.flip(-1).contiguous().numpy().tobytes())
                         for x in learn.x.cpu().contiguous())


def test_alternating_flip_follows_the_epochs_of_a_training(capsys):
    look, data = Look(), small_data([alternating_flip])
    ConvLearner.from_model(SimpleNet(IN, [4], 3), data).fit(.01, 2, cbs=look)
    first, second = look.seen[0], look.seen[1]
    assert set(second) == set(first.values()) and not first.keys() & second.keys()


def test_alternating_flip_of_single_epochs():
    "Trainings of one epoch each begin at either side by chance; test-time views show both."
    learn = ConvLearner.from_model(SimpleNet(IN, [4], 3), small_data([alternating_flip]))
    learn.silent()
    look = Look()
    set_seed(0)
    for _ in range(8):
        learn.fit(.01, 1, cbs=look)
    assert len(look.seen[0]) == 120


def test_crop_takes_windows_of_the_mirrored_picture():
    wide, y = F.pad(X, (2,)*4, 'reflect'), random_crop(X, IDXS, 0, gen())
    places = [(i, j) for i in range(5) for j in range(5)]
    windows = [[(i, j) for i, j in places if torch.equal(new, old[:, i:i + 20, j:j + 16])] for new, old in zip(y, wide)]
    assert all(len(found) == 1 for found in windows) and len({found[0] for found in windows}) > 10


def test_cutout_erases_one_square():
    for new, old in zip(cutout(X + 1, IDXS, 0, gen(), size=6), X + 1):
        hole = (new == 0).all(0)
        rows, cols = hole.any(1).sum(), hole.any(0).sum()
        assert torch.equal(new[:, ~hole], old[:, ~hole])
        assert hole.sum() == rows*cols and 9 <= hole.sum() <= 36
