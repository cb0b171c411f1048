"Lesson 9: kernels, filters, activations, pieces, heat maps."
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from scipy.signal import correlate2d
from torch import nn
from imgcourse.data import ImageClassifierData
from imgcourse.features import create_backbone
from imgcourse.finetune import binary_loss, dense_head
from imgcourse.inside import (
    Peaks, activations, conv_layers, heat_map, hide_pixels, kernels, last_maps, log_odds, show_activations,
    show_filters, show_heat, show_heat_maps, slide)
from imgcourse.learner import ConvLearner, set_seed
from imgcourse.nets import ResNet, SimpleNet
from imgcourse.transforms import PictureTransform, lite0, tfms_from_model

matplotlib.use('agg')
TFMS = tfms_from_model(lite0, 64)


@pytest.fixture(scope='module')
def data(same_few): return ImageClassifierData.from_paths(same_few, 8, TFMS)


@pytest.fixture(scope='module')
def vit_data(same_few):
    "Normalized as a ViT of timm's expects."
    tfms = tuple(PictureTransform(t.steps.transforms, 64, (.5,)*3, (.5,)*3) for t in TFMS)
    return ImageClassifierData.from_paths(same_few, 8, tfms)


@pytest.fixture(scope='module')
def learn(data):
    "A trained learner that no test changes."
    set_seed(1)
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.silent()
    learn.fit(.01, 2)
    return learn


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def batch(data, n): return torch.stack([data.val_ds[i][0] for i in range(n)])


# ---- kernels
@pytest.mark.parametrize('name', kernels)
def test_kernels_against_scipy(name):
    x = torch.rand(9, 7)
    got = slide(x, kernels[name])
    assert got.shape == (7, 5)
    assert np.allclose(got, correlate2d(x.numpy(), np.array(kernels[name]), 'valid'), atol=1e-5)
    assert torch.equal(slide(x, name), got)


def test_kernels_ask_what_they_are_called():
    x = torch.zeros(6, 6)
    x[:3] = 1
    assert slide(x, kernels['top edges']).max() == 3
    assert slide(x, kernels['left edges']).abs().max() == 0
    assert slide(x, kernels['outline']).mean().abs() < 1e-6
    assert torch.equal(slide(x, kernels['nothing']), x[1:-1, 1:-1])


@pytest.mark.parametrize('picture, kernel, why', [
    (torch.zeros(3, 9, 9), 'blur', 'gray picture'),
    (torch.zeros(2, 5), 'blur', 'at least 3'),
    (torch.zeros(5, 5), 'blurr', "no kernel 'blurr'"),
    (torch.zeros(5, 5), [['a']*3]*3, 'three numbers'),
    (torch.zeros(5, 5), [[1, 2], [3, 4]], 'three lists of three numbers'),
])
def test_what_cannot_be_slid(picture, kernel, why):
    with pytest.raises(ValueError, match=why):
        slide(picture, kernel)


# ---- layers
def test_activations_are_what_the_layers_say(learn):
    x = batch(learn.data, 3)
    got = activations(learn.full, x, ['0.model.blocks.1', '2'])
    with torch.no_grad():
        assert torch.allclose(got['2'], learn.full.eval()(x), atol=1e-6)
    assert got['0.model.blocks.1'].shape == (3, 24, 16, 16)
    assert not got['2'].requires_grad


def test_no_hook_is_left_behind(learn):
    activations(learn.full, batch(learn.data, 1), ['2'])
    with pytest.raises(RuntimeError):
        activations(learn.full, torch.zeros(1, 5, 64, 64), ['2'])
    last_maps(learn.full, batch(learn.data, 1))
    Peaks(learn, '0.model.blocks.1').piece(0, 0)
    assert not any(m._forward_hooks for m in learn.full.modules())


@pytest.mark.parametrize('n, many', [({}, 4), ({'n': 2}, 2), ({'n': 99}, 32)])
def test_filters(learn, n, many):
    "Those that make most of the picture come first; each is stretched, and below it is its map."
    x = learn.data.val_ds[0][0]
    show_filters(learn.backbone, x, **n)
    name, first = next(iter(conv_layers(learn.backbone).items()))
    assert name == 'model.conv_stem'
    maps = activations(learn.backbone, x[None], [name])[name][0]
    best = maps.std((1, 2)).argsort(descending=True)[:many].tolist()
    axs = plt.gcf().axes
    assert [a.get_title() for a in axs] == [f'filter {k}' for k in best] + ['']*many
    for k, above, below in zip(best, axs[:many], axs[many:]):
        drawn, w = np.asarray(above.images[0].get_array()), first.weight[k].permute(1, 2, 0).detach().numpy()
        assert drawn.min() == 0
        assert many == 32 or drawn.max() == pytest.approx(1), 'but for filters that are as good as nothing'
        assert np.allclose(drawn*np.ptp(w) + w.min(), w, atol=1e-5)
        assert np.array_equal(below.images[0].get_array(), maps[k])


@pytest.mark.parametrize('model', [SimpleNet((8, 8, 3), [4], 2), nn.Conv2d(1, 4, 3)], ids=['dense', 'gray'])
def test_filters_that_cannot_be_drawn(model):
    with pytest.raises(ValueError, match='three channels'):
        show_filters(model, torch.rand(3, 8, 8))


def test_strongest_maps_come_first(learn):
    x = learn.data.val_ds[0][0]
    show_activations(learn.backbone, x, ['model.blocks.1', 'model.blocks.6'], n=3)
    out = activations(learn.backbone, x[None], ['model.blocks.1'])['model.blocks.1'][0].amax((1, 2))
    assert [int(a.get_title()) for a in plt.gcf().axes[:3]] == out.argsort(descending=True)[:3].tolist()


def test_four_in_a_row(learn, planted):
    "Unless another number is named; of fewer pictures, as many as there are."
    show_activations(learn.backbone, learn.data.val_ds[0][0], ['model.blocks.1', 'model.blocks.6'])
    assert [a.get_title() != '' for a in plt.gcf().axes] == [True]*8
    Peaks(planted[0], 'conv').show([0, 1])
    assert len(plt.gcf().axes) == 8
    Peaks(planted[0], 'conv').show([0], 99)
    assert len(plt.gcf().axes) == 12


def test_rows_are_in_the_order_that_was_asked_for(learn):
    names = ['model.blocks.6', 'model.blocks.1', 'model.blocks.6']
    show_activations(learn.backbone, learn.data.val_ds[0][0], names, n=2)
    shapes = [a.images[0].get_array().shape for a in plt.gcf().axes]
    assert shapes == [(2, 2)]*2 + [(16, 16)]*2 + [(2, 2)]*2


def test_a_layer_with_fewer_maps_leaves_places_empty():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 4, 3))
    show_activations(net, torch.rand(3, 9, 9), ['0', '1'], n=3)
    assert [bool(a.get_title()) for a in plt.gcf().axes] == [True, True, False, True, True, True]
    shown = [a.images[0].get_array().shape[0] if a.images else None for a in plt.gcf().axes]
    assert shown == [7, 7, None, 5, 5, 5]


# ---- pieces
class Red(nn.Module):
    "A filter for red squares."
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 2, 4, stride=4, bias=False), nn.Linear(2, 2)
        with torch.no_grad():
            w = self.conv.weight.zero_()
            w[0] = torch.tensor([1., -1, -1]).view(3, 1, 1)
            w[1, 2] = 1

    def forward(self, x): return self.head(self.conv(x).amax((2, 3)))


@pytest.fixture(scope='module')
def planted():
    "Grey pictures with a red square each, a net that looks for it, and where the squares are."
    x, y = np.full((12, 32, 32, 3), 128, np.uint8), np.arange(12) % 2
    spots = np.random.RandomState(0).randint(0, 8, (12, 2))*4
    for im, (a, b) in zip(x, spots):
        im[a:a + 4, b:b + 4] = (255, 0, 0)
    a, b = spots[5]
    x[5, a:a + 4, b:b + 4, 0] = 200
    data = ImageClassifierData.from_arrays('.', (x, y), (x, y), 4, tfms_from_model(lite0, 32))
    return ConvLearner.from_model(Red(), data), x, spots.tolist()


def test_peaks_find_a_pattern_that_was_planted(planted):
    "The strongest place of each picture, and of the picture just that piece."
    learn, x, spots = planted
    peaks = Peaks(learn, 'conv')
    assert peaks.value.shape == (12, 2)
    assert peaks.place[:, 0].tolist() == [a//4*8 + b//4 for a, b in spots]
    assert peaks.value[:, 0].argmin() == 5
    for i in (0, 5, 11):
        a, b = spots[i]
        square = torch.tensor(x[i, a:a + 4, b:b + 4]).permute(2, 0, 1)/255
        assert torch.allclose(peaks.piece(i, 0), square, atol=.01)


def test_pieces_are_shown(planted):
    Peaks(planted[0], 'conv').show([0], 3)
    assert [a.images[0].get_array().shape for a in plt.gcf().axes] == [(4, 4, 3)]*3


@pytest.mark.parametrize('layer, why', [('head', 'no maps'), ('nothing', 'no layer')])
def test_peaks_of_no_maps(planted, layer, why):
    with pytest.raises(ValueError, match=why):
        Peaks(planted[0], layer)


def test_pieces_of_deep_layers(learn):
    peaks, early = Peaks(learn, '0.model.blocks.2'), Peaks(learn, '0.model.conv_stem')
    k = int(peaks.value.std(0).argmax())
    piece = peaks.piece(0, k)
    assert 3 <= early.piece(0, 0).shape[1] <= 3 + 2 < piece.shape[1] <= 64
    assert piece.min() >= 0
    peaks.show([k, 0])


# ---- heat maps
def grad_cam(features, head, y):
    "Selvaraju's formula, written out."
    a = features.detach().requires_grad_()
    score = log_odds(head(a))
    grad, = torch.autograd.grad(score[range(len(y)), y].sum(), a)
    return (grad.mean((2, 3), keepdim=True)*a).sum(1).relu().detach()


@pytest.mark.parametrize('y', [None, [0, 1, 1, 0]], ids=['its own answers', 'given classes'])
def test_heat_map_is_grad_cam(learn, y):
    x = batch(learn.data, 4)
    heat = heat_map(learn.full, x, y)
    with torch.no_grad():
        maps, said = learn.backbone(x), learn.full(x).argmax(1).tolist()
    want = grad_cam(maps, learn.full[1:], y or said)
    want = F.interpolate(want[:, None], (64, 64), mode='bilinear')[:, 0]
    want = want/want.amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert heat.shape == (4, 64, 64)
    assert torch.allclose(heat, want, atol=1e-3)
    assert heat.min() >= 0
    assert heat.max() <= 1 + 1e-6


def test_heat_where_the_reason_is():
    "A net that was built to look at bright places."
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1., -1]).view(2, 1, 1, 1).expand(2, 3, 1, 1))
        net[4].weight.copy_(torch.eye(2)*5)
    x = torch.zeros(2, 3, 32, 32)
    x[0, :, 4:12, 20:28], x[1, :, 4:12, 20:28] = 3, -3
    x[:, :, 20:, :5] = .1
    heat = heat_map(net, x)
    assert heat[:, 4:12, 20:28].mean() > .9
    assert heat[:, :, :4].max() < .2
    assert heat_map(net, x[:1], [1]).max() == 0, 'nothing speaks for the other class'
    assert net.training is False
    assert all(p.grad is None for p in net.parameters())


def test_odds():
    p = torch.tensor([[.9, .09, .01], [1e-7, .5, .5]]).log()
    assert torch.allclose(log_odds(p), torch.logit(p.double().exp()).float(), atol=1e-4)
    sure = torch.tensor([[60., 0, 0]])
    assert log_odds(sure)[0, 0] == pytest.approx(60 - np.log(2), rel=1e-5), 'also where the probability is 1'
    assert torch.allclose(log_odds(torch.tensor([[2.]])), torch.tensor([[-2., 2]]))


def vit(data): return ConvLearner.pretrained('vit_tiny_patch16_224', data, weights=False, img_size=64)
def one_logit(data): return ConvLearner(create_backbone(lite0), dense_head(1280, 8), data, loss_fn=binary_loss)


@pytest.mark.parametrize('make', [
    lambda data: ConvLearner.from_model(ResNet((64, 64, 3), [4, 8], 2), data),
    one_logit,
    lambda data: ConvLearner.from_model(timm.create_model('resnet18', num_classes=2), data),
    vit,
    lambda data: ConvLearner.pretrained('tf_efficientnet_lite1', data, weights=False),
], ids=['ResNet', 'one logit', 'timm', 'ViT', 'backbone'])
def test_nets_of_every_kind(data, vit_data, make):
    set_seed(0)
    learn = make(vit_data if make is vit else data)
    heat = heat_map(learn.full, batch(learn.data, 3))
    assert heat.shape == (3, 64, 64)
    assert torch.isfinite(heat).all()
    assert heat.amax((1, 2)).max() > 0
    show_heat_maps(learn, [0, 7, 3])


def test_net_without_places(data):
    learn = ConvLearner.from_model(SimpleNet((64, 64, 3), [4], 2), data)
    with pytest.raises(ValueError, match='no place to point at'):
        show_heat_maps(learn, [0])


def test_tokens_of_a_transformer_are_laid_out(vit_data):
    "The map of a ViT is a square, and hot where the tokens are."
    set_seed(0)
    heat = heat_map(vit(vit_data).full, batch(vit_data, 2))
    assert heat.std(1).max() > 0, 'it varies along both sides'
    assert heat.std(2).max() > 0


def test_a_transformer_without_a_backbone(vit_data):
    model = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=2)
    with pytest.raises(ValueError, match=r'transformer.*ConvLearner\.pretrained'):
        heat_map(model, batch(vit_data, 1))


def test_titles_say_what_the_net_says(learn, capsys):
    idxs, names, y = [0, 3, 6, 9], learn.data.classes, learn.data.val_y
    show_heat_maps(learn, idxs, cols=2)
    said = learn.predict().argmax(1)
    titles = [a.get_title() for a in plt.gcf().axes if a.get_title()]
    assert titles == [names[y[i]] if said[i] == y[i] else f'{names[y[i]]},\nsays {names[said[i]]}' for i in idxs]
    capsys.readouterr()
    show_heat_maps(learn, [])
    assert capsys.readouterr().out == 'There are no such pictures.\n'


def test_maps_lie_below_their_pictures(learn):
    "Four pictures, three in a row: two rows of pictures, each with a row of maps below."
    show_heat_maps(learn, [0, 3, 6, 9])
    layers = [len(a.images) for a in plt.gcf().axes]
    assert layers == [1, 1, 1, 2, 2, 2, 1, 0, 0, 2, 0, 0]
    heat = heat_map(learn.full, torch.stack([learn.data.val_ds[i][0] for i in (0, 3, 6, 9)]))
    assert np.allclose(plt.gcf().axes[9].images[1].get_array(), heat[3])


def test_heat_lies_over_a_picture():
    "The hotter, the less of the picture is seen; the scale is the same for each picture."
    ax, heat = plt.subplots()[1], torch.arange(6).view(2, 3)/10
    ax.imshow(np.zeros((20, 30, 3)))
    show_heat(ax, heat)
    _, above = ax.images
    assert np.allclose(above.get_array(), heat)
    assert above.get_clim() == (0, 1)
    assert (np.diff(above.get_alpha().ravel()) > 0).all()
    assert 0 < above.get_alpha().min() < above.get_alpha().max() < 1, 'both are seen everywhere'


@pytest.mark.parametrize('part', [0, .25, 1])
def test_hiding(part):
    x, scores = torch.rand(2, 3, 8, 8) + 1, torch.rand(2, 8, 8)
    out = hide_pixels(x, scores, part)
    gone = (out == 0).all(1)
    assert gone.sum((1, 2)).tolist() == [int(64*part)]*2
    assert torch.equal(out[:, 0][~gone], x[:, 0][~gone])
    if part == .25:
        assert all(s[g].min() > s[~g].max() for s, g in zip(scores, gone))


def test_hiding_that_cannot_be():
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match='part'):
        hide_pixels(x, torch.rand(2, 8, 8), 2)
    with pytest.raises(ValueError, match='need scores of the shape'):
        hide_pixels(x, torch.zeros(2, 1, 8, 8))


# ---- all of them
def test_looking_does_not_change_what_is_learned(data):
    def trained(look):
        set_seed(3)
        learn = ConvLearner.pretrained(lite0, data)
        learn.silent()
        learn.fit(.01, 1)
        if look:
            Peaks(learn, '0.model.blocks.1').show([0, 1], 2)
            show_heat_maps(learn, [0, 1])
            show_activations(learn.backbone, data.val_ds[0][0], ['model.blocks.1'])
            show_filters(learn.backbone, data.val_ds[0][0])
        learn.fit(.01, 1)
        return learn.history[-1]
    assert trained(False) == trained(True)


@pytest.mark.parametrize('call, why', [
    (lambda learn, x: heat_map(learn, x), 'learn.full'),
    (lambda learn, x: activations(learn, x, ['2']), 'learn.full'),
    (lambda learn, x: show_filters(learn, x[0]), 'learn.full'),
    (lambda learn, x: heat_map(learn.full, x[0]), r'x\[None\]'),
    (lambda learn, x: activations(learn.full, x, '0.model.blocks.1'), r"names is a list.*\['0.model.blocks.1'\]"),
    (lambda learn, x: activations(learn.full, x, ['model.blocks.1']), r'Did you mean 0\.model\.blocks\.1'),
    (lambda learn, x: activations(learn.full, x, ['layer9']), r"no layer 'layer9'.*0\.model"),
    (lambda learn, x: heat_map(learn.full, x, [0, 5]), '0 to 1'),
    (lambda learn, x: heat_map(learn.full, x, [0]), 'each of the 2 pictures'),
    (lambda learn, x: show_activations(learn.full, x[0], ['2']), 'no maps'),
    (lambda learn, x: Peaks(learn, '0.model.blocks.1').piece(0, 0, 2), '0 to 1'),
])
def test_messages_for_learners(learn, call, why):
    with pytest.raises(ValueError, match=why):
        call(learn, batch(learn.data, 2))
