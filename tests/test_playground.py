"The closing score, the nets of *Plain English* and Traut, and the playground."
import json
import re
import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from imgcourse.data import ImageClassifierData
from imgcourse.learner import ConvLearner, accuracy_np, set_seed
from imgcourse.nets import SimpleNet, layer_rows
from imgcourse.playground import MaxNormLinear, PlainNet, Playground, TrautNet, dots
from imgcourse.transforms import lite0, tfms_from_model
from noise import IN, PLAIN, pictures, small_data


# ---- the closing score
@pytest.fixture(scope='module')
def learn():
    "Its data have test pictures, whose classes are unknown."
    test = pictures(5)[0]
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (PLAIN, PLAIN), test=test)
    set_seed(1)
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data)
    learn.silent()
    learn.fit(.01, 1)
    return learn


def test_evaluate(learn):
    score, preds, y = learn.evaluate(), learn.predict(), learn.data.val_y
    loss = log_loss(y, np.exp(preds.astype(np.float64)))
    assert score == {'loss': pytest.approx(loss, rel=1e-5), 'accuracy': pytest.approx(accuracy_np(preds, y))}
    seen = accuracy_np(*learn.predict_dl(learn.data.fix_dl))
    assert learn.evaluate(learn.data.fix_dl)['accuracy'] == pytest.approx(seen)


def test_evaluate_asks_the_whole_model():
    tfms = tfms_from_model(lite0, 64)
    data = ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms)
    stored = ConvLearner.pretrained(lite0, data, precompute=True)
    assert stored.evaluate(data.val_dl) == pytest.approx(stored.evaluate(), rel=1e-2)


def test_evaluate_without_answers(learn):
    with pytest.raises(ValueError, match='unknown'):
        learn.evaluate(learn.data.test_dl)


def test_evaluate_takes_batches(learn):
    for wrong in (True, learn.data.val_ds):
        with pytest.raises(ValueError, match=r'data\.val_dl'):
            learn.evaluate(wrong)


# ---- the nets
def n_params(net):
    return sum(row.params for row in layer_rows(net, net.in_shape))


def test_sizes_of_the_nets():
    assert n_params(PlainNet(IN, [32, 32, 256], 10)) == 896 + 3*9_248 + 800*256 + 256 + 2_570
    assert n_params(TrautNet(IN, 10)) == pytest.approx(2.26e6, abs=5e3)


def test_nets_for_pictures_that_are_not_square():
    assert PlainNet((48, 40, 3), [4, 4, 8], 5)(torch.rand(2, 3, 48, 40)).shape == (2, 5)
    assert TrautNet((16, 24, 3), 7)(torch.rand(2, 3, 16, 24)).shape == (2, 7)


def test_order_of_the_layers():
    kinds = [row.kind for row in layer_rows(TrautNet(IN, 10), IN)]
    block = ['Conv2D', 'Activation', 'MaxPooling2D', 'Dropout', 'BatchNormalization']
    small = [k for k in block if k != 'MaxPooling2D']
    end = ['Flatten', 'Dropout', 'Dense', 'Activation', 'Dropout', 'BatchNormalization', 'Dense', 'Activation',
           'Dense', 'Activation']
    assert kinds == ['InputLayer', *small, *block, *block, *small, *end]


def test_max_norm():
    "Long weights are cut back to 3, short ones left alone; asking changes no weights."
    layer = MaxNormLinear(4, 2)
    layer.weight.data = torch.tensor([[6., 0, 8, 0], [1., 1, 0, 0]])
    for training in (False, True):
        out = layer.train(training)(torch.eye(4)) - layer.bias
        assert torch.allclose(out.T, torch.tensor([[1.8, 0, 2.4, 0], [1., 1, 0, 0]]), atol=1e-5)
        assert torch.allclose(layer.weight.norm(dim=1)[0], torch.tensor(3. if training else 10.))


def test_max_norm_in_training():
    set_seed(0)
    learn = ConvLearner.from_model(TrautNet((16, 16, 3), 3), small_data(sz=16))
    learn.fit(.3, 1)
    layer = next(m for m in learn.model if isinstance(m, MaxNormLinear))
    assert layer.weight.norm(dim=1).max() > 3, 'the last step was long'
    layer.train()(torch.zeros(1, layer.in_features, device=layer.weight.device))
    assert layer.weight.norm(dim=1).max() <= 3.0001


@pytest.mark.parametrize('make, message', [
    (lambda: PlainNet((3, 32, 32), [32, 32, 256], 10), 'height, width, channels'),
    (lambda: PlainNet(IN, [32, 32, 64, 256], 10), 'three sizes'),
    (lambda: PlainNet((12, 32, 3), [32, 32, 256], 10), '16 pixels'),
    (lambda: TrautNet((3, 32, 32), 10), 'height, width, channels'),
    (lambda: Playground(hidden=3), 'list of sizes'),
    (lambda: Playground().train(0), 'epochs is .* at least 1'),
    (lambda: Playground().train(5, n_frames=0), 'n_frames is .* at least 1')])
def test_what_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- the playground
@pytest.mark.parametrize('kind, hidden', [('circles', (4, 2)), ('moons', (5, 3)), ('blobs', ())])
def test_playground_learns(kind, hidden):
    play = Playground(kind, hidden)
    start = play.loss().item()
    play.train(300, n_frames=7)
    assert play.epoch == 300 and play.loss().item() < start/3


def test_training_is_a_film(monkeypatch):
    "A picture of the start, and so many of what comes after it; a second training goes on."
    shown = []
    monkeypatch.setattr('IPython.display.display', lambda html: shown.append(html.data))
    play = Playground()
    play.train(10, n_frames=4)
    play.train(1)
    for html, epochs in zip(shown, ([0, 2, 5, 7, 10], [10]*8 + [11]), strict=True):
        assert json.loads(re.search('"titles": (.*?])', html)[1]) == [f'epoch {k}' for k in epochs]
        pictures = re.findall('data:image/webp;base64,[^"]+', html)
        assert len(pictures) == len(epochs) and len(set(pictures)) == len(set(epochs))
        assert re.search('<img [^>]*alt="[^"]*epoch (.*?)"', html)[1] == str(epochs[-1]), 'seen at first'


gpu = pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'))


@pytest.mark.parametrize('device', ['cpu', gpu])
def test_playground_leaves_random_numbers_alone(device):
    torch.manual_seed(4)
    want = torch.rand(1, device=device)
    torch.manual_seed(4)
    Playground().train(2, n_frames=1)
    assert torch.equal(torch.rand(1, device=device), want)


@pytest.mark.parametrize('hidden', [(), (1,), (8, 6, 4)])
def test_playground_picture_holds_all_it_shows(hidden):
    "Titles and boxes lie within the picture, and no two titles on top of one another."
    fig = Playground(hidden=hidden).figure()
    fig.draw_without_rendering()
    boxes = [t.get_window_extent() for ax in fig.axes for t in [*ax.texts, ax.title] if t.get_text()]
    assert len(boxes) == len(hidden) + 3
    for box in boxes:
        assert 0 <= box.x0 and box.x1 <= fig.bbox.x1 and 0 <= box.y0 and box.y1 <= fig.bbox.y1
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_dots():
    x, y = dots('moons', 50, seed=2)
    assert x.shape == (50, 2) and x.abs().max() < 2.5 and y.bincount().tolist() == [25, 25]
    with pytest.raises(ValueError, match='circles, moons, blobs'):
        dots('spiral')
