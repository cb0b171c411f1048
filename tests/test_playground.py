import io, multiprocessing, os
import numpy as np, pytest, torch
from PIL import Image
from sklearn.metrics import log_loss
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
import imgcourse.finetune
from imgcourse.board import MaxNormLinear, PlainNet, Playground, TensorBoard, TrautNet, dots
from imgcourse.checkpoint import Checkpoint
from imgcourse.data import ImageClassifierData, PictureTransform, lite0, tfms_from_model
from imgcourse.learner import Callback, ConvLearner, Learner, accuracy_np, set_seed
from imgcourse.nets import SimpleNet, layer_rows
from test_nets import IN, PLAIN, pictures, small_data

def read(folder): return EventAccumulator(str(folder), size_guidance={'scalars': 0, 'histograms': 0, 'images': 0}).Reload()
def scalars(log, tag): return [e.value for e in log.Scalars(tag)]
def learner(data=None, seed=1, **kw): set_seed(seed); learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data or small_data(), **kw); learn.cbs = [cb for cb in learn.cbs if type(cb).__name__ != 'KerasProgress']; return learn

# ---- TensorBoard
def test_log_holds_what_happened(tmp_path):
    "TensorBoard's own reader finds losses, metrics, rates, histograms, pictures and the graph."
    learn = learner(cbs=[TensorBoard(tmp_path/'run', n_pictures=3)])
    learn.fit_one_cycle(2, .01)
    log = read(tmp_path/'run')
    for name in ('training loss', 'validation loss', 'accuracy'): assert scalars(log, f'epoch/{name}') == pytest.approx([r[name] for r in learn.history], rel=1e-5)
    assert [e.step for e in log.Scalars('epoch/accuracy')] == [1, 2]
    assert scalars(log, 'batch/loss') == pytest.approx([float(l) for l in learn.sched.losses], rel=1e-5) and len(scalars(log, 'batch/loss')) == 8
    assert scalars(log, 'batch/learning rate') == pytest.approx([lrs[0] for lrs in learn.sched.lrs], rel=1e-5)
    assert set(log.Tags()['histograms']) == {f'weights/{n}' for n, _ in learn.model.named_parameters()}
    last = log.Histograms('weights/1.weight')
    assert len(last) == 2 and last[-1].histogram_value.num == 3072*8
    w = learn.model[1].weight
    assert last[-1].histogram_value.max == pytest.approx(w.max().item(), rel=1e-5) and last[-1].histogram_value.sum == pytest.approx(w.sum().item(), rel=1e-3, abs=1e-3)
    assert log.Tags()['graph']

def test_pictures_are_those_of_the_data(tmp_path):
    "Side by side, not normalized."
    learn = learner(small_data(tfm=PictureTransform([], 32, (.5, .4, .3), (.2, .3, .4))), cbs=[TensorBoard(tmp_path, n_pictures=3)])
    learn.fit(.01, 1)
    shown = np.asarray(Image.open(io.BytesIO(read(tmp_path).Images('pictures')[0].encoded_image_string))).astype(int)
    assert shown.shape == (32, 96, 3) and abs(shown - np.concatenate(pictures(30, 32, 1)[0][:3], 1)).max() <= 1
    learner(cbs=[TensorBoard(tmp_path/'none', n_pictures=0)]).fit(.01, 1)
    assert not read(tmp_path/'none').Tags()['images'] and read(tmp_path/'none').Tags()['graph']

def test_each_run_has_a_folder(tmp_path):
    "A cell that is run again does not lay its curve over the first one."
    for _ in range(3): learn = learner(cbs=[TensorBoard(tmp_path/'a')]); learn.fit(.01, 1)
    assert [len(scalars(read(tmp_path/f), 'batch/loss')) for f in ('a', 'a-2', 'a-3')] == [4, 4, 4] and learn.cbs[-2].log_dir == tmp_path/'a-3'

class Die(Callback):
    "The power fails in the middle of the second epoch."
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.i) == (1, 2): os._exit(3)

def logged(folder, cbs=(), **kw):
    learn = learner(cbs=[TensorBoard(folder/'log')]); learn.models_path = folder/'models'
    learn.fit(.01, 3, cbs=cbs, **kw)

def die(folder): logged(folder, [Checkpoint(part=1), Die()])

def test_resumed_log(tmp_path):
    "Nothing of the batches before the stop is lost, and epochs are counted on."
    p = multiprocessing.get_context('spawn').Process(target=die, args=(tmp_path,)); p.start(); p.join(120)
    assert p.exitcode == 3
    logged(tmp_path, resume=True)
    first, second = read(tmp_path/'log'), read(tmp_path/'log-2')
    assert {e.step for log in (first, second) for e in log.Scalars('batch/loss')} == set(range(12))
    assert [e.step for e in second.Scalars('epoch/accuracy')] == [2, 3]

def test_several_trainings_follow_one_another(tmp_path):
    board = TensorBoard(tmp_path)
    learn = learner(cbs=[board])
    learn.fit(.01, 1); learn.fit(.001, 2)
    log = read(tmp_path)
    assert [e.step for e in log.Scalars('epoch/accuracy')] == [1, 2, 3] and [e.step for e in log.Scalars('batch/loss')] == list(range(12))

def test_the_log_changes_nothing(tmp_path):
    "Weights, history and random numbers are those of a training without it, with dropout, shuffling and augmentation."
    def run(cbs):
        set_seed(3)
        learn = Learner(nn.Sequential(nn.Flatten(), nn.Dropout(.5), nn.Linear(3072, 3)), small_data(), cbs=cbs); learn.cbs = [cb for cb in learn.cbs if type(cb).__name__ != 'Progress']
        learn.fit(.01, 2)
        return learn.history, learn.model[2].weight.detach(), torch.rand(1)
    (h, w, r), (h2, w2, r2) = run([]), run([TensorBoard(tmp_path)])
    assert h == h2 and torch.equal(w, w2) and torch.equal(r, r2)

@pytest.mark.parametrize('precision', ['bf16', None])
def test_log_of_other_learners(tmp_path, precision):
    "Frozen backbone and stored features (no pictures then), groups with rates of their own, half precision."
    data = ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms_from_model(lite0, 64))
    learn = ConvLearner.pretrained(lite0, data, precompute=True, cbs=[TensorBoard(tmp_path/'head')]); learn.precision = precision
    learn.fit(.01, 1)
    log = read(tmp_path/'head')
    assert not log.Tags()['images'] and all(t.startswith('weights/') for t in log.Tags()['histograms']) and log.Tags()['graph']
    learn.precompute = False; learn.cbs[-1] = TensorBoard(tmp_path/'frozen'); learn.fit(.01, 1)
    assert set(read(tmp_path/'frozen').Tags()['histograms']) == {f'weights/{n}' for n, w in learn.model.named_parameters() if w.requires_grad} and 0 < len(read(tmp_path/'frozen').Tags()['histograms']) < 20
    learn.unfreeze(); learn.cbs[-1] = TensorBoard(tmp_path/'all')
    learn.fit([1e-4, 1e-3, 1e-2], 1)
    log = read(tmp_path/'all')
    rates = {t: scalars(log, t)[0] for t in log.Tags()['scalars'] if 'rate' in t}
    assert sorted(rates.values()) == pytest.approx([1e-4, 1e-3, 1e-2]) and log.Tags()['images'] and log.Tags()['graph']

def test_a_net_that_cannot_be_traced_is_trained_all_the_same(tmp_path):
    class Odd(nn.Linear):
        def forward(self, x):
            if torch.jit.is_tracing(): raise TypeError('not me')
            return super().forward(x.flatten(1))
    learn = Learner(Odd(3072, 3), small_data(), cbs=[TensorBoard(tmp_path)])
    with pytest.warns(UserWarning, match='no graph'): learn.fit(.01, 1)
    assert len(learn.history) == 1 and scalars(read(tmp_path), 'epoch/accuracy')

def test_weights_that_are_no_numbers(tmp_path):
    class Poison(Callback):
        order = 5
        def after_epoch(self, learn): learn.model[1].weight.data[0, 0] = float('nan')
    learn = learner(cbs=[TensorBoard(tmp_path), Poison()])
    with pytest.warns(UserWarning, match='no histogram of 1.weight'): learn.fit(.01, 1)
    assert 'weights/1.weight' not in read(tmp_path).Tags()['histograms'] and 'weights/1.bias' in read(tmp_path).Tags()['histograms']

# ---- the closing score
def test_evaluate():
    data = small_data(); learn = learner(data); learn.fit(.01, 1)
    score, preds, y = learn.evaluate(), learn.predict(), data.val_y
    assert score == {'loss': pytest.approx(log_loss(y, np.exp(preds.astype(np.float64))), rel=1e-5), 'accuracy': pytest.approx(accuracy_np(preds, y))}
    assert learn.evaluate(data.fix_dl)['accuracy'] == pytest.approx(accuracy_np(*learn.predict_dl(data.fix_dl)))

def test_evaluate_asks_the_whole_model():
    tfms = tfms_from_model(lite0, 64)
    data = ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms)
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    assert learn.evaluate(data.val_dl) == pytest.approx(learn.evaluate(), rel=1e-2)

def test_evaluate_without_answers():
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (PLAIN, PLAIN), test=pictures(5)[0])
    with pytest.raises(ValueError, match='unknown'): learner(data).evaluate(data.test_dl)
    for wrong in (True, data.val_ds):
        with pytest.raises(ValueError, match='data.val_dl'): learner(data).evaluate(wrong)

# ---- the nets
def test_sizes_of_the_nets():
    def size(net): return sum(r.params for r in layer_rows(net, net.in_shape))
    assert size(PlainNet(IN, [32, 32, 256], 10)) == 896 + 3*9_248 + 800*256 + 256 + 2_570
    assert size(TrautNet(IN, 10)) == pytest.approx(2.26e6, abs=5e3)
    assert PlainNet((48, 40, 3), [4, 4, 8], 5)(torch.rand(2, 3, 48, 40)).shape == (2, 5) and TrautNet((16, 24, 3), 7)(torch.rand(2, 3, 16, 24)).shape == (2, 7)

def test_order_of_the_layers():
    kinds = [r.kind for r in layer_rows(TrautNet(IN, 10), IN)]
    block = ['Conv2D', 'Activation', 'MaxPooling2D', 'Dropout', 'BatchNormalization']
    small = [k for k in block if k != 'MaxPooling2D']
    assert kinds == ['InputLayer', *small, *block, *block, *small, 'Flatten', 'Dropout', 'Dense', 'Activation', 'Dropout', 'BatchNormalization', 'Dense', 'Activation', 'Dense', 'Activation']

def test_max_norm():
    "Long weights are cut back to 3, short ones left alone; asking changes no weights."
    layer = MaxNormLinear(4, 2)
    long = layer.weight.data = torch.tensor([[6., 0, 8, 0], [1., 1, 0, 0]])
    for training in (False, True):
        out = layer.train(training)(torch.eye(4)) - layer.bias
        assert torch.allclose(out.T, torch.tensor([[1.8, 0, 2.4, 0], [1., 1, 0, 0]]), atol=1e-5)
        assert torch.allclose(layer.weight.norm(dim=1)[0], torch.tensor(3. if training else 10.))

def test_max_norm_in_training():
    set_seed(0)
    learn = ConvLearner.from_model(TrautNet((16, 16, 3), 3), small_data(sz=16)); learn.fit(.3, 1)
    layer = next(m for m in learn.model if isinstance(m, MaxNormLinear))
    assert layer.weight.norm(dim=1).max() > 3, 'the last step was long'
    layer.train()(torch.zeros(1, layer.in_features))
    assert layer.weight.norm(dim=1).max() <= 3.0001

@pytest.mark.parametrize('make, message', [(lambda: PlainNet((3, 32, 32), [32, 32, 256], 10), 'height, width, channels'), (lambda: PlainNet(IN, [32, 32, 64, 256], 10), 'three sizes'),
    (lambda: PlainNet((12, 32, 3), [32, 32, 256], 10), '16 pixels'), (lambda: TrautNet((3, 32, 32), 10), 'height, width, channels'), (lambda: Playground(hidden=3), 'list of sizes'),
    (lambda: Playground().train(0), 'at least 1'), (lambda: Playground().train(5, frames=0), 'at least 1')])
def test_what_cannot_be(make, message):
    with pytest.raises(ValueError, match=message): make()

# ---- the playground
@pytest.mark.parametrize('kind, hidden', [('circles', (4, 2)), ('moons', (5, 3)), ('blobs', ())])
def test_playground_learns(kind, hidden):
    play = Playground(kind, hidden)
    start = play.loss().item()
    play.train(300, frames=7)
    assert play.epoch == 300 and play.loss().item() < start/3

def test_playground_leaves_random_numbers_alone():
    torch.manual_seed(4); a = torch.rand(1)
    torch.manual_seed(4); Playground().train(2, frames=1)
    assert torch.equal(torch.rand(1), a)

@pytest.mark.parametrize('hidden', [(), (1,), (8, 6, 4)])
def test_playground_picture_holds_all_it_shows(hidden):
    "Titles and boxes lie within the picture, and no two titles on top of one another."
    fig = Playground(hidden=hidden).figure()
    fig.draw_without_rendering()
    boxes = [t.get_window_extent() for ax in fig.axes for t in [*ax.texts, ax.title] if t.get_text()]
    assert len(boxes) == len(hidden) + 3
    for b in boxes: assert 0 <= b.x0 and b.x1 <= fig.bbox.x1 and 0 <= b.y0 and b.y1 <= fig.bbox.y1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])

def test_dots():
    x, y = dots('moons', 50, seed=2)
    assert x.shape == (50, 2) and x.abs().max() < 2.5 and y.bincount().tolist() == [25, 25]
    with pytest.raises(ValueError, match='circles, moons, blobs'): dots('spiral')
