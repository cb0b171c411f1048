import matplotlib; matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pytest
from imgcourse.data import ImageClassifierData, lite0, tfms_from_model
from imgcourse.interpret import Interpretation

def make(few, probs):
    "An interpretation of the 12 validation pictures (six cats, six dogs) with given probabilities."
    data = ImageClassifierData.from_paths(few, tfms=tfms_from_model(lite0, 32))
    return Interpretation(data, np.log(np.array(probs, np.float32)))

@pytest.fixture
def interp(few):
    dog = [.1, .2, .3, .4, .9, .7] + [.95, .8, .6, .55, .45, .2]
    return make(few, [[1 - p, p] for p in dog])

def test_choices(interp):
    assert list(interp.most_by_correct(0, True)) == [0, 1, 2, 3] and list(interp.most_by_correct(0, False)) == [4, 5]
    assert list(interp.most_by_correct(1, True)) == [6, 7, 8, 9] and list(interp.most_by_correct(1, False)) == [11, 10]
    assert set(interp.most_uncertain(2)) == {9, 10} and list(interp.most_by_correct(1, True, n=1)) == [6]
    for _ in range(5):
        assert set(interp.rand_by_correct(False)) == {4, 5, 10, 11}
        assert set(interp.rand_by_correct(True)) < {0, 1, 2, 3, 6, 7, 8, 9} and set(interp.rand_by_class(1, n=9)) == set(range(6, 12))

def test_matrix_and_losses(interp):
    assert interp.confusion_matrix(plot=True).tolist() == [[4, 2], [2, 4]]
    top = interp.top_losses(3)
    assert list(top.index) == [4, 11, 5] and top.loss.tolist() == pytest.approx([-np.log(.1), -np.log(.2), -np.log(.3)], rel=1e-4)
    assert list(top.actual) == ['cats', 'dogs', 'cats'] and list(top.predicted) == ['dogs', 'cats', 'dogs'] and top.probability.tolist() == pytest.approx([.9, .8, .7])
    assert top.file[4].endswith('.jpg') and 'cats' in top.file[4]
    plt.close('all')

def test_plot_titles(interp, capsys):
    interp.plot_val_with_title([4, 6], 'Two'); fig = plt.gcf()
    assert [a.get_title() for a in fig.axes][:2] == ['0.9000', '0.9500'] and fig.get_suptitle() == 'Two'
    assert sum(bool(a.images) for a in fig.axes) == 2
    interp.plot_val_with_title(np.array([], int), 'Wrong'); assert 'Wrong: none' in capsys.readouterr().out
    plt.close('all')

def test_three_classes():
    x = np.random.RandomState(0).randint(0, 256, (6, 20, 20, 3), dtype=np.uint8)
    data = ImageClassifierData.from_arrays('.', (x, np.arange(6) % 3), (x, np.arange(6) % 3), tfms=tfms_from_model(lite0, 32), classes=['a', 'b', 'c'])
    interp = Interpretation(data, np.log([[.5, .3, .2], [.1, .2, .7], [.1, .1, .8], [.4, .35, .25], [.2, .5, .3], [.3, .3, .4]]))
    assert interp.most_uncertain(1)[0] == 3 and list(interp.most_by_correct(1, False)) == [1] and interp.confusion_matrix().sum() == 6
    interp.plot_val_with_title([1]); assert plt.gcf().axes[0].get_title() == 'c 0.70'
    assert interp.top_losses(1).file.iloc[0] == 'picture 1'
    plt.close('all')

def test_wrong_shape(interp):
    with pytest.raises(ValueError, match='12 validation pictures and 2 classes'): Interpretation(interp.data, np.zeros((11, 2)))
    with pytest.raises(ValueError, match='no logprobs'): Interpretation(interp.data, interp.probs)
    with pytest.raises(ValueError, match='0: .cats.'): interp.most_by_correct('cats', True)
    with pytest.raises(ValueError, match='no 2'): interp.rand_by_class(2)

def test_very_sure_answers_keep_their_order(few):
    interp = make(few, [[.5, .5]]*12); lp = np.log(interp.probs)
    lp[:] = [0, -50]; lp[3], lp[4], lp[7], lp[8] = [0, -300], [0, -120], [-300, 0], [-120, 0]
    interp = Interpretation(interp.data, lp)
    assert list(interp.most_by_correct(0, True, 2)) == [3, 4] and list(interp.most_by_correct(1, True, 2)) == [7, 8] and interp.top_losses(1).loss.iloc[0] == 50

def test_most_confused(few):
    "Three classes; the order is by how often, and pairs that are never mixed up are left out."
    data = ImageClassifierData.from_paths(few, tfms=tfms_from_model(lite0, 32))
    y, preds = np.array([0]*6 + [1]*4 + [2]*2), np.array([0, 1, 1, 1, 2, 0] + [1, 1, 0, 1] + [2, 2])
    data.val_y, data.c, data.classes = y, 3, ['a', 'b', 'c']
    table = Interpretation(data, np.log(np.eye(3, dtype=np.float32)[preds]*.97 + .01)).most_confused()
    assert table.values.tolist() == [['a', 'b', 3, .5], ['a', 'c', 1, 1/6], ['b', 'a', 1, .25]]
