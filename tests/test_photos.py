"Real pictures, those in `../shared/data`."
import tarfile
import time
import numpy as np
import pytest
from conftest import shared, weights_of
from imgcourse.all import ConvLearner, ImageClassifierData, set_seed
from imgcourse.cli import main
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on

pytestmark = pytest.mark.photos


def learner(arch, data, seed=42):
    "On kept features."
    set_seed(seed)
    return ConvLearner.pretrained(arch, data, precompute=True, **weights_of(arch))


def accuracies(arch, data):
    "Of three lines, with three seeds."
    found = []
    for seed in (1, 2, 3):
        learn = learner(arch, data, seed)
        learn.fit(0.01, 3)
        found.append(learn.history[-1]['accuracy'])
    print(arch, found)
    return found


def unpacked(name, folder):
    "A data set of `../shared`."
    with tarfile.open(shared(f'data/{name}.tgz')) as t:
        t.extractall(folder, filter='data')
    return folder/name


def test_three_lines_on_photos(dogscats_photos):
    "A MobileNetV2 with ImageNet weights: at least 0.975."
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model('mobilenetv2_100', 224))
    assert (len(data.trn_ds), len(data.val_ds)) == (900, 200)
    assert np.mean(accuracies('mobilenetv2_100', data)) >= .975


@pytest.mark.parametrize('sz, least', [(160, .97), (224, .98)])
def test_net_on_board_on_photos(dogscats_photos, sz, least):
    "Three lines, frozen, mean of three seeds."
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model(lite0, sz))
    assert np.mean(accuracies(lite0, data)) >= least


def test_train_and_predict_on_photos(dogscats_photos, tmp_path, capsys):
    "The command at its defaults, on the training photos alone; then it is asked about each of the others."
    assert main(['train', str(dogscats_photos/'train'), '--out', str(tmp_path/'net')]) == 0
    capsys.readouterr()
    right, file = 0, str(tmp_path/'net'/'model.safetensors')
    for kind in ('cats', 'dogs'):
        assert main(['predict', file, str(dogscats_photos/'valid'/kind), '--top', '1']) == 0
        right += capsys.readouterr().out.count(f'  {kind}\n')
    print(right)
    assert right >= .97*200


@pytest.mark.slow
def test_net_on_board_on_102_classes(tmp_path):
    "Caltech-101, frozen, 224 pixels."
    path = unpacked('caltech101', tmp_path)
    data = ImageClassifierData.from_paths(path, val_name='test', tfms=tfms_from_model(lite0, 224))
    learn = learner(lite0, data)
    learn.fit_one_cycle(10, .02)
    print(learn.history[-1])
    assert data.c == 102 and learn.history[-1]['accuracy'] >= .88


@pytest.mark.slow
@pytest.mark.parametrize('arch', [lite0, 'mobilenetv2_100'])
def test_added_classes_on_photos(dogscats_photos, tmp_path, arch):
    """Caltech-101 and, as in lesson 8, classes of one's own: cats and dogs, 50 photos of each to learn from
    and 50 to check with."""
    path = unpacked('caltech101', tmp_path)
    data = ImageClassifierData.from_paths(path, val_name='test', tfms=tfms_from_model(arch, 224))
    data = data.add_classes(dogscats_photos/'valid', valid_pct=.5)
    learn = learner(arch, data)
    learn.fit_one_cycle(10, .02)
    right = learn.predict().argmax(1) == data.val_y
    before, added = right[:1007].mean(), right[1007:].mean()
    print(arch, f'all {right.mean():.3f}, the classes from before {before:.3f}, those added {added:.3f}')
    assert data.c == 104 and len(right) == 1107 and before >= .88 and added >= .9


def loss_after_an_epoch(arch, data, seed, rate):
    "Infinite where the training broke off."
    learn = learner(arch, data, seed).silent()
    try:
        learn.fit(float(rate), 1)
    except FloatingPointError:
        return np.inf
    return learn.history[-1]['validation loss']


def near_the_best(arch, data):
    "Is the suggested rate about as good as any of seven multiples of it? Mean loss after an epoch, over three seeds."
    losses, suggested = [], []
    for seed in (1, 2, 3):
        learn = learner(arch, data, seed).silent()
        learn.lr_find()
        rate = learn.sched.suggest().valley
        suggested.append(round(rate, 4))
        losses.append([loss_after_an_epoch(arch, data, seed, r) for r in rate*30.**(np.arange(-3, 4)/3)])
    means = np.mean(losses, 0)
    print(arch, suggested, means)
    return means[3] <= max(1.1*means.min(), means.min() + .02)


@pytest.mark.parametrize('arch', [lite0, pytest.param('mobilenetv2_100', marks=pytest.mark.slow)])
def test_the_suggested_rate_trains(dogscats_photos, arch):
    assert near_the_best(arch, ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model(arch, 224)))


@pytest.mark.slow
@pytest.mark.parametrize('arch, name, sz', [
    (lite0, 'caltech101', 224), ('mobilenetv2_100', 'caltech101', 224), ('mobilenetv2_100', 'cifar10', 64)])
def test_the_suggested_rate_trains_on(tmp_path, arch, name, sz):
    path = unpacked(name, tmp_path)
    data = ImageClassifierData.from_paths(path, val_name='test', tfms=tfms_from_model(arch, sz))
    assert near_the_best(arch, data)


@pytest.mark.slow
@pytest.mark.parametrize('arch', [lite0, 'mobilenetv2_100'])
@pytest.mark.parametrize('seed', [1, 2, 3])
def test_fine_tuning_stage_by_stage(dogscats_photos, arch, seed):
    "The table of lesson 4: frozen at 128, unfrozen at 160, unfrozen at 224."
    def data(sz):
        tfms = tfms_from_model(arch, sz, aug_tfms=transforms_side_on, max_zoom=1.1)
        return ImageClassifierData.from_paths(dogscats_photos, bs=32, tfms=tfms)
    learn, seconds = learner(arch, data(128), seed).silent(), []
    def fit(*args):
        start = time.perf_counter()
        learn.fit(*args, cycle_len=1)
        seconds.append(time.perf_counter() - start)
    fit(3e-3, 3)
    learn.unfreeze()
    learn.bn_freeze(True)
    for sz in (160, 224):
        learn.set_data(data(sz))
        fit([1e-5, 1e-4, 1e-3], 2)
    stages = [learn.history[i] for i in (2, 4, 6)]
    rows = [f'{h["accuracy"]:.3f} {h["validation loss"]:.3f} {s:.0f} s' for h, s in zip(stages, seconds)]
    print(arch, seed, '; '.join(rows))
    assert stages[2]['accuracy'] >= max(stages[0]['accuracy'], .975)
