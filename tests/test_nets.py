"Nets in Keras's style: their tables are the text's, their layers and losses what they say, their lines Keras's."
import inspect
import re
import tarfile
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from conftest import shared
from imgcourse.data import ImageClassifierData
from imgcourse.finetune import binary_loss
from imgcourse.learner import ConvLearner, accuracy_np, set_seed
from imgcourse.nets import (ConvLayer, ConvNet, ConvNet2, FastNet, KerasNet, KerasProgress, NormLayer, NormRes,
                            ResLayer, ResNet, Scale, SimpleNet, TrainingAccuracy, layer_rows, summary)
from imgcourse.ondevice import alternating_flip, cutout, random_crop, random_flip, random_shift
from imgcourse.sources import get_dataset
from imgcourse.transforms import lite0, tfms_from_model
from noise import IN, PLAIN, pictures, small_data

FOUR = {'SimpleNet': lambda: SimpleNet(IN, [40], 10),
        'ConvNet': lambda: ConvNet(IN, [20, 40, 80], 10),
        'ConvNet2': lambda: ConvNet2(IN, [10, 20, 40, 80, 160], 10),
        'ResNet': lambda: ResNet(IN, [10, 20, 40, 80, 160], 10)}


@pytest.fixture(scope='module')
def data():
    return small_data()


def kernels(model):
    return [m.conv.weight for m in model.modules() if isinstance(m, ConvLayer)]


# ---- the tables
def lines_of(text):
    "The rows of a table as Keras prints it: name, type (perhaps cut off), shape, parameters, layers before; totals."
    rows, totals = [], []
    for line in text.splitlines():
        if m := re.match(r'(\w+) \((\w+)\)?\s+(\(None[^)]*\))\s+([\d,]+)\s*(\w+)?', line):
            rows.append([m[1], m[2], m[3], int(m[4].replace(',', '')), [m[5]] if m[5] else []])
        elif m := re.match(r'\s{20,}(\w+)', line):
            rows[-1][4].append(m[1])
        elif 'params' in line:
            totals.append(line.strip())
    return rows, totals


@pytest.mark.photos
@pytest.mark.parametrize('name', FOUR)
def test_tables_are_those_of_the_text(name, capsys):
    "Line by line: type, shape, parameters, connections, totals."
    text = shared('ancestors/keras_convnets.txt').read_text()
    number = list(FOUR).index(name) + 1
    theirs, their_totals = lines_of(text[text.index(f'input_{number} (InputLayer)'):].split('model.fit_generator')[0])
    FOUR[name]().summary()
    ours, totals = lines_of(capsys.readouterr().out)
    assert len(theirs) > 5 and totals == their_totals
    assert [row[2:4] for row in ours] == [row[2:4] for row in theirs]
    for our, their in zip(ours, theirs):
        assert our[1].startswith(their[1]), 'a type, which the text may cut off'
    if name == 'ResNet':
        same = {their[0]: our[0] for our, their in zip(ours, theirs)}
        assert [our[4] for our in ours[1:]] == [[same[n] for n in their[4]] for their in theirs[1:]]


@pytest.mark.parametrize('name, total, frozen', [
    ('SimpleNet', 123_330, 0), ('ConvNet', 37_490, 0), ('ConvNet2', 156_570, 600), ('ResNet', 771_690, 1_800)])
def test_totals(name, total, frozen, capsys):
    model = FOUR[name]()
    assert sum(row.params for row in layer_rows(model, IN)) == total
    model.summary()
    want = f'Total params: {total:,}\nTrainable params: {total - frozen:,}\nNon-trainable params: {frozen:,}'
    assert want in capsys.readouterr().out


def test_summary_changes_nothing(capsys):
    model = FOUR['ResNet']()
    model[2].eval()
    before, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    model.summary()
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


def test_summary_of_a_model_of_timm(capsys):
    "Sums that are no layers, and a layer that is frozen."
    model = timm.create_model('resnet18', num_classes=5)
    model.conv1.requires_grad_(False)
    summary(model, (64, 48, 3))
    out = capsys.readouterr().out
    stats = sum(b.numel() for n, b in model.named_buffers() if 'running' in n)
    assert f'Total params: {sum(p.numel() for p in model.parameters()) + stats:,}' in out
    assert f'Non-trainable params: {model.conv1.weight.numel() + stats:,}' in out
    assert '(None, 32, 24, 64)' in out, 'height before width, channels last'
    vit = timm.create_model('vit_tiny_patch16_224', img_size=32)
    assert (None, 5, 192) in [row.shape for row in layer_rows(vit, IN)], 'tokens before their width'


class Odd(nn.Module):
    "A layer that is used twice, and parameters beside layers."
    def __init__(self):
        super().__init__()
        self.fc, self.shift = nn.Linear(4, 4), nn.Parameter(torch.zeros(7))

    def forward(self, x):
        return self.fc(self.fc(x.mean((2, 3)).repeat(1, 2)[:, :4]))


def test_summary_of_other_models(capsys):
    rows = layer_rows(Odd(), (8, 8, 3))
    assert [row.params for row in rows] == [0, 20, 0, 7]
    assert rows[1].inputs == [''] and rows[2].inputs == ['dense_1']
    summary(Odd(), (8, 8, 3))
    assert 'dense_1' in capsys.readouterr().out
    summary(FOUR['ConvNet']().to(torch.bfloat16), IN)
    summary(nn.Sequential(nn.Flatten()), IN)
    assert 'Total params: 0\n' in capsys.readouterr().out


def test_learner_summary(capsys, data):
    ConvLearner.from_model(SimpleNet(IN, [8], 3), data).summary()
    assert f'Total params: {3072*8 + 8 + 8*3 + 3:,}' in capsys.readouterr().out
    larger = ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms_from_model(lite0, 64))
    ConvLearner.pretrained(lite0, larger, weights=False).summary()
    assert '(None, 64, 64, 3)' in capsys.readouterr().out


@pytest.mark.parametrize('make, message', [
    (lambda: SimpleNet((3, 32, 32), [40], 10), r'height, width, channels'),
    (lambda: SimpleNet((32, 32), [40], 10), 'height, width, channels'),
    (lambda: ConvNet(IN, [], 10), 'list of sizes'),
    (lambda: ResNet(IN, 20, 10), 'list of sizes'),
    (lambda: ConvNet(IN, [8, 8, 8, 8, 8], 10), r'\(32, 32, 3\).*do not fit')])
def test_nets_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- the layers
@pytest.mark.parametrize('sz, stride, pads', [(8, 2, (0, 1)), (9, 2, (1, 1)), (8, 1, (1, 1))])
def test_same_padding_is_keras_s(sz, stride, pads):
    "With an even side and stride 2 the rim lies on the right and at the bottom."
    layer, x = ConvLayer(2, 3, stride=stride), torch.randn(1, 2, sz, sz)
    want = F.conv2d(F.pad(x, pads*2), layer.conv.weight, stride=stride)
    assert torch.allclose(layer.conv(x), want, atol=1e-6) and layer.conv.bias is None


def test_relu_comes_before_batch_norm_and_the_sum_after_it():
    layer, x = ResLayer(4).eval(), torch.randn(2, 4, 6, 6)
    layer.norm.running_mean.fill_(.3)
    layer.norm.weight.data.fill_(2)
    assert isinstance(layer, ConvLayer)
    assert torch.allclose(layer(x), x + 2*(layer.conv(x).relu() - .3)/(1 + 1e-3)**.5, atol=1e-5)


def test_the_penalty_is_on_the_kernels_of_the_blocks():
    torch.manual_seed(0)
    model = ResNet(IN, [4, 8], 3, l2=.1, p=0).eval()
    x, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    assert len(kernels(model)) == 3
    penalty = .1*sum((k**2).sum() for k in kernels(model))
    assert torch.allclose(model.loss(model(x), y), F.nll_loss(model(x), y) + penalty)
    assert ResNet(IN, [4, 8], 3)[2].l2 == 1e-6 and ConvNet2(IN, [4, 8], 3)[2].l2 == 0


def test_one_step_is_adam_on_cross_entropy_and_penalty():
    "What from_model trains is what a plain loop trains."
    one_batch, nets = small_data(n=16), []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(ResNet(IN, [4, 8], 3, l2=.01, p=0))
    model, twin = nets
    ConvLearner.from_model(model, one_batch).fit(.01, 1)
    opt, (x, y) = torch.optim.Adam(twin.parameters(), lr=.01), (t.cpu() for t in next(iter(one_batch.fix_dl)))
    (F.cross_entropy(twin.train()(x), y) + .01*sum((k**2).sum() for k in kernels(twin))).backward()
    opt.step()
    for p, p2 in zip(model.parameters(), twin.parameters()):
        assert torch.allclose(p.cpu(), p2, atol=2e-4)


def test_a_part_of_a_net():
    net = SimpleNet(IN, [8], 3)
    assert net[:-1](torch.rand(2, 3, 32, 32)).shape == (2, 3)
    assert net[1].out_features == 8 and len(net[1:3]) == 2


# ---- training in Keras's style
def test_lines_of_keras(capsys):
    data = small_data(n=50, bs=16)
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data)
    learn.fit(1e-9, 2)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == 'Epoch 1/2' and out[2] == 'Epoch 2/2' and len(out) == 4
    number = r'([\d.]+)'
    line = rf'4/4 - [\d.]+s \d+ms/step - loss: {number} - acc: {number} - val_loss: {number} - val_acc: {number}'
    shown = [float(g) for g in re.fullmatch(line, out[3]).groups()]
    names, row = ('training loss', 'training accuracy', 'validation loss', 'accuracy'), learn.history[-1]
    assert shown == pytest.approx([row[n] for n in names], abs=1e-4)
    assert row['training accuracy'] == pytest.approx(accuracy_np(*learn.predict_dl(data.fix_dl))), 'hardly a change'


class Bright(nn.Linear):
    "The channel's brightness is the score."
    def __init__(self):
        super().__init__(3, 3)
        self.weight.data, self.bias.data = 50*torch.eye(3), torch.zeros(3)


@pytest.mark.parametrize('n', [17, 40])
def test_training_accuracy_of_pictures_that_were_seen(n):
    "A last batch of one is left out; the accuracy is that of the others."
    model = KerasNet(IN, nn.AdaptiveAvgPool2d(1), nn.Flatten(), Bright(), nn.LogSoftmax(1))
    learn = ConvLearner.from_model(model, small_data(n=n, bs=16))
    learn.fit(1e-9, 1)
    assert learn.history[0]['training accuracy'] == 1, 'this net is always right'


def test_one_output_for_two_classes(capsys):
    (x, y), (val_x, val_y) = pictures(60), pictures(30, seed=1)
    trn, val = (x, (y > 0).astype(int)), (val_x, (val_y > 0).astype(int))
    data = ImageClassifierData.from_arrays('.', trn, val, 16, (PLAIN, PLAIN)).on_device()
    net = KerasNet(IN, nn.Flatten(), nn.Linear(3072, 1))
    with pytest.raises(ValueError, match='loss_fn=binary_loss'):
        ConvLearner.from_model(net, data)
    learn = ConvLearner.from_model(net, data, loss_fn=binary_loss)
    learn.fit(1e-9, 1)
    seen = accuracy_np(*learn.predict_dl(data.fix_dl))
    assert learn.history[0]['training accuracy'] == pytest.approx(seen, abs=.04)


@pytest.mark.parametrize('make, message', [
    (lambda: SimpleNet((64, 64, 3), [8], 3), r'made for pictures of \(64, 64, 3\).*\(32, 32, 3\)'),
    (lambda: ConvNet((32, 32, 1), [8], 3), 'gray ones get three channels'),
    (lambda: SimpleNet(IN, [8], 4), r'must give \(1, 3\)')])
def test_nets_that_do_not_fit_the_data(make, message, data):
    with pytest.raises(ValueError, match=message):
        ConvLearner.from_model(make(), data)


def test_what_a_net_brings(data):
    "Its loss, its optimizer, Keras's lines in the place of the table, and training accuracy."
    net = SimpleNet(IN, [8], 3)
    learn = ConvLearner.from_model(net, data)
    assert learn.loss_fn == net.loss and learn.opt_fn.func is torch.optim.Adam
    kinds = [type(cb).__name__ for cb in learn.cbs]
    assert KerasProgress.__name__ in kinds and TrainingAccuracy.__name__ in kinds and 'Progress' not in kinds


def test_what_is_said_counts_more_than_what_the_net_brings(capsys, data):
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data, opt_fn=torch.optim.SGD, loss_fn=F.nll_loss)
    learn.fit(.01, 1)
    assert type(learn.opt) is torch.optim.SGD and learn.loss_fn is F.nll_loss
    plain = ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)), data)
    capsys.readouterr()
    plain.fit(.01, 1)
    assert 'validation loss' in capsys.readouterr().out, 'other models get the table of lesson 2'


# ---- the net beyond the text
def test_fast_net_fits_a_page():
    parts = (NormLayer, NormRes, Scale, FastNet, alternating_flip, random_crop, cutout)
    assert sum(len(inspect.getsource(p).splitlines()) for p in parts) < 100


def test_fast_net_smooths_labels():
    model = FastNet(IN, [4, 8], 3)
    x, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    assert torch.allclose(model.loss(model(x), y), F.cross_entropy(model(x), y, label_smoothing=.1))


def test_convolutions_see_what_a_linear_model_does_not(capsys):
    "Sketches of CIFAR-10's classes: they are hard for a linear model on the pixels, and easy for a convnet."
    data = ImageClassifierData.from_paths(get_dataset('cifar10'), 32, (PLAIN, PLAIN), val_name='test')
    data = data.on_device([alternating_flip, random_crop, cutout])
    set_seed(0)
    linear = ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), data)
    linear.fit(.003, 6)
    fast = ConvLearner.from_model(FastNet(IN, [8, 16, 32, 64], 10), data)
    fast.fit_one_cycle(5, .05)
    assert linear.history[-1]['accuracy'] < .5 and fast.history[-1]['accuracy'] > .8


# ---- real pictures
@pytest.mark.slow
@pytest.mark.photos
@pytest.mark.parametrize('name, low, seeds', [('SimpleNet', .17, 8), ('ConvNet', .48, 2), ('ConvNet2', .66, 2)])
def test_real_cifar10(name, low, seeds, tmp_path, capsys):
    "Ten epochs with the text's settings, in the mean of the two best seeds: half of the SimpleNets die."
    with tarfile.open(shared('data/cifar10.tgz')) as t:
        t.extractall(tmp_path, filter='data')
    data = ImageClassifierData.from_paths(tmp_path/'cifar10', 256, (PLAIN, PLAIN), val_name='test')
    data = data.on_device([random_shift, random_flip])
    scores = []
    for seed in range(seeds):
        set_seed(seed + 1)
        learn = ConvLearner.from_model(FOUR[name](), data)
        learn.fit(.01, 10)
        scores.append(learn.history[-1]['accuracy'])
    assert np.mean(sorted(scores)[-2:]) >= low
