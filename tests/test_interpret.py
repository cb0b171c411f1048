"Lesson 2b: pictures that are right, wrong or uncertain, losses, calibration, several nets side by side."
import os
import random
import sys
from functools import partial
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from imgcourse.data import ImageClassifierData
from imgcourse.interpret import Comparison, Interpretation, over_seeds
from imgcourse.transforms import lite0, tfms_from_model

matplotlib.use('agg')


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def pets_of(folder): return ImageClassifierData.from_paths(folder, tfms=tfms_from_model(lite0, 32))


def make(folder, probs):
    "An interpretation of the 12 validation pictures (six cats, six dogs) with given probabilities."
    return Interpretation(pets_of(folder), np.log(np.array(probs, np.float32)))


@pytest.fixture
def interp(same_few):
    dog = [.1, .2, .3, .4, .9, .7, .95, .8, .6, .55, .45, .2]
    return make(same_few, [[1 - p, p] for p in dog])


# ---- pictures
def test_surest_answers(interp):
    assert list(interp.most_by_correct(0, True)) == [0, 1, 2, 3]
    assert list(interp.most_by_correct(0, False)) == [4, 5]
    assert list(interp.most_by_correct(1, True)) == [6, 7, 8, 9]
    assert list(interp.most_by_correct(1, True, n=1)) == [6]
    assert list(interp.most_by_correct(1, False)) == [11, 10]


def test_least_sure_answers(interp): assert set(interp.most_uncertain(2)) == {9, 10}


def test_choices_at_random(interp):
    for _ in range(5):
        assert set(interp.rand_by_correct(False)) == {4, 5, 10, 11}
        assert set(interp.rand_by_correct(True)) < {0, 1, 2, 3, 6, 7, 8, 9}
        assert set(interp.rand_by_class(1, n=9)) == set(range(6, 12))


def test_very_sure_answers_keep_their_order(interp):
    "Where the probabilities are all 1, the logprobs of the other class decide."
    log_preds = np.array([[0., -50]]*12, np.float32)
    log_preds[[3, 4, 7, 8]] = [0, -300], [0, -120], [-300, 0], [-120, 0]
    interp = Interpretation(interp.data, log_preds)
    assert list(interp.most_by_correct(0, True, 2)) == [3, 4]
    assert list(interp.most_by_correct(1, True, 2)) == [7, 8]
    assert interp.top_losses(1).loss.iloc[0] == 50


def test_titles_of_pictures(interp, capsys):
    interp.plot_val_with_title([4, 6], 'Two')
    fig = plt.gcf()
    assert [a.get_title() for a in fig.axes][:2] == ['0.9000', '0.9500']
    assert fig.get_suptitle() == 'Two'
    assert sum(bool(a.images) for a in fig.axes) == 2
    interp.plot_val_with_title(np.array([], int), 'Wrong')
    assert 'Wrong: none' in capsys.readouterr().out


def test_three_classes():
    x, y = np.random.RandomState(0).randint(0, 256, (6, 20, 20, 3), dtype=np.uint8), np.arange(6) % 3
    tfms = tfms_from_model(lite0, 32)
    data = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=tfms, classes=['a', 'b', 'c'])
    probs = [[.5, .3, .2], [.1, .2, .7], [.1, .1, .8], [.4, .35, .25], [.2, .5, .3], [.3, .3, .4]]
    interp = Interpretation(data, np.log(probs))
    assert interp.most_uncertain(1)[0] == 3
    assert list(interp.most_by_correct(1, False)) == [1]
    assert interp.confusion_matrix().sum() == 6
    interp.plot_val_with_title([1])
    assert plt.gcf().axes[0].get_title() == 'c 0.70'
    assert interp.top_losses(1).file.iloc[0] == 'picture 1'


# ---- tables
def test_confusion_matrix(interp): assert interp.confusion_matrix(plot=True).tolist() == [[4, 2], [2, 4]]


def test_top_losses(interp):
    top = interp.top_losses(3)
    assert list(top.index) == [4, 11, 5]
    assert top.loss.tolist() == pytest.approx([-np.log(.1), -np.log(.2), -np.log(.3)], rel=1e-4)
    assert list(top.actual) == ['cats', 'dogs', 'cats']
    assert list(top.predicted) == ['dogs', 'cats', 'dogs']
    assert top.probability.tolist() == pytest.approx([.9, .8, .7])
    assert top.file[4].endswith('.jpg')
    assert 'cats' in top.file[4]


def test_most_confused(same_few):
    "Three classes; the order is by how often, and pairs that are never mixed up are left out."
    data = pets_of(same_few)
    preds = np.array([0, 1, 1, 1, 2, 0, 1, 1, 0, 1, 2, 2])
    data.val_y, data.c, data.classes = np.array([0]*6 + [1]*4 + [2]*2), 3, ['a', 'b', 'c']
    table = Interpretation(data, np.log(np.eye(3, dtype=np.float32)[preds]*.97 + .01)).most_confused()
    assert table.values.tolist() == [['a', 'b', 3, .5], ['a', 'c', 1, 1/6], ['b', 'a', 1, .25]]


def test_what_does_not_fit(interp):
    with pytest.raises(ValueError, match='12 validation pictures and 2 classes'):
        Interpretation(interp.data, np.zeros((11, 2)))
    with pytest.raises(ValueError, match='no logprobs'):
        Interpretation(interp.data, interp.probs)
    with pytest.raises(ValueError, match=r'0: .cats.'):
        interp.most_by_correct('cats', True)
    with pytest.raises(ValueError, match='no 2'):
        interp.rand_by_class(2)


# ---- calibration
class StandIn:
    "Data of which nothing but the classes is asked."
    def __init__(self, y, c): self.val_ds, self.val_y, self.c, self.classes = list(y), y, c, [str(k) for k in range(c)]


@pytest.mark.parametrize('said, low, high', [(.7, 0, .03), (.95, .22, .28), (.5, .17, .23)])
def test_calibration(said, low, high):
    "Forecasts that are right in seven of ten cases."
    rng = np.random.RandomState(0)
    y = rng.randint(0, 4, 4000)
    right = rng.rand(4000) < .7
    probs = np.full((4000, 4), (1 - said)/3)
    probs[np.arange(4000), np.where(right, y, (y + 1) % 4)] = said
    probs *= np.exp(rng.randn(4000, 4)*.001)
    probs /= probs.sum(1, keepdims=True)
    error = Interpretation(StandIn(y, 4), np.log(probs)).plot_calibration()
    assert low <= error <= high
    assert plt.gca().get_xlabel()


def test_calibration_of_equally_sure_answers():
    "900 answers of probability 1, all right, and 100 of 0.6, all wrong: a tenth is off by 0.6."
    probs, y = np.array([[1 - 1e-9, 1e-9]]*900 + [[.6, .4]]*100), np.array([0]*900 + [1]*100)
    assert Interpretation(StandIn(y, 2), np.log(probs)).plot_calibration() == pytest.approx(.06, abs=1e-6)


@pytest.mark.parametrize('y', [0, 1])
def test_calibration_where_all_are_right_or_wrong(y):
    "Also of probabilities that rounding has made a little larger than 1."
    log_preds = np.array([[1e-7, -20]]*30)
    assert Interpretation(StandIn(np.full(30, y), 2), log_preds).plot_calibration() == pytest.approx(y, abs=1e-6)


# ---- several nets
@pytest.fixture
def three(same_few):
    "A net that is always right, one that is not sure, and one that is wrong but for picture 3."
    data = pets_of(same_few)
    good = np.log(np.where(np.arange(2) == data.val_y[:, None], .9, .1))
    flat = np.log(np.full((12, 2), .5) + np.array([1e-6, -1e-6]))
    bad = good[:, ::-1].copy()
    bad[3] = good[3]
    return Comparison(data, {'good': good, 'flat': flat, 'bad': bad})


def test_a_row_for_each_net(three):
    table = three.table()
    assert table.accuracy.tolist() == pytest.approx([1, .5, 1/12])
    assert table.loc['good', 'log loss'] == pytest.approx(-np.log(.9))
    assert table.confidence.tolist() == pytest.approx([.9, .5, .9], abs=1e-4)


def test_pictures_that_some_nets_get_right(three):
    assert three.pick(right=['good', 'bad']).tolist() == [3]
    dogs = np.flatnonzero(three.data.val_y == 1)
    assert set(three.pick(right=['good'], wrong=['flat'], n=99)) == set(dogs)
    assert len(three.pick(right=['good'], n=2)) == 2
    assert len(three.pick(wrong=['good'])) == 0


def test_nets_that_are_not_compared(three):
    with pytest.raises(ValueError, match="no net 'best'; there are good"):
        three.pick(right=['best'])
    with pytest.raises(ValueError, match='Say which'):
        three.pick()


def test_bars_of_each_net(three):
    three.plot_scores([0, 3])
    labels = [t.get_text() for t in plt.gcf().axes[1].get_yticklabels()]
    data = three.data
    assert labels == [f'{data.classes[k]} {p:.2f}' for k, p in ((data.val_y[0], .9), (1 - data.val_y[0], .1))]


def test_bars_of_classes_with_odd_names():
    "Formulas, and on Linux bytes that are no text."
    names = [r'$\frac$', '$^$', os.fsdecode(b'x\xff') if sys.platform == 'linux' else 'x']
    x, y = np.zeros((3, 20, 20, 3), np.uint8), np.arange(3)
    data = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=tfms_from_model(lite0, 32), classes=names)
    Comparison(data, {r'$\frac$': np.log(np.full((3, 3), 1/3))}).plot_scores([0, 1, 2])
    plt.gcf().canvas.draw()


# ---- several seeds
def test_gain_and_spread():
    "Seed by seed: what is common to both variants falls out of the spread."
    scores = {'plain': [.5, .7, .6], 'better': [.6, .9, .9], 'worse': [.4, .5, .3]}
    table = over_seeds({name: partial(next, iter(values)) for name, values in scores.items()}, [4, 5, 6])
    assert list(table.index) == list(scores)
    assert list(table) == ['seed 4', 'seed 5', 'seed 6', 'mean', 'gain', 'gain / spread']
    assert table.iloc[:, :3].values.tolist() == list(scores.values())
    assert table['mean'].tolist() == pytest.approx([.6, .8, .4])
    assert table.gain.tolist() == pytest.approx([0, .2, -.2])
    assert table['gain / spread'].tolist() == pytest.approx([np.nan, 2, -2], nan_ok=True) # gains .1, .2, .3


def test_seeds_reach_all_random_numbers():
    "Each run begins anew, whatever the one before it has drawn."
    seen = []
    def run():
        seen.append((random.random(), np.random.rand(), torch.rand(1).item()))
        return len(seen)
    table = over_seeds({'one': run, 'other': run}, (3, 8))
    assert seen[:2] == seen[2:]
    assert all(a != b for a, b in zip(*seen[:2]))
    assert table[['seed 3', 'seed 8']].values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize('seeds', [[], [1], [2, 2]])
def test_one_seed_has_no_spread(seeds):
    with pytest.raises(ValueError, match='at least two different seeds'):
        over_seeds({'one': lambda: pytest.fail('it was trained')}, seeds)
