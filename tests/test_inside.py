"Lesson 9: kernels, filters, activations, pieces, heat maps."
import re
from base64 import b64encode
import matplotlib.pyplot as plt, numpy as np, pytest, timm, torch
import torch.nn.functional as F
from PIL import Image
from scipy.signal import correlate2d
from torch import nn
import imgcourse.finetune, imgcourse.inside as inside
from imgcourse.data import ImageClassifierData, lite0, tfms_from_model
from imgcourse.features import create_backbone
from imgcourse.finetune import binary_loss, dense_head
from imgcourse.inside import KernelGrid, Peaks, activations, conv_layers, heat_map, hide_pixels, kernels, last_maps, log_odds, show_activations, show_filters, show_heat_maps, slide
from imgcourse.learner import ConvLearner, set_seed
from imgcourse.nets import ResNet, SimpleNet
from imgcourse.sketches import draw_sketch

@pytest.fixture
def learn(few):
    set_seed(1); l = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, 8, tfms_from_model(lite0, 64)), precompute=True); l.cbs = l.cbs[:1]; l.fit(.01, 2)
    yield l
    plt.close('all')

# ---- kernels
@pytest.mark.parametrize('name', kernels)
def test_kernels_against_scipy(name):
    x = torch.rand(9, 7)
    got = slide(x, kernels[name])
    assert got.shape == (7, 5) and np.allclose(got, correlate2d(x.numpy(), np.array(kernels[name]), 'valid'), atol=1e-5)

def test_kernels_ask_what_they_are_called():
    x = torch.zeros(6, 6); x[:3] = 1
    assert slide(x, kernels['top edges']).max() == 3 and slide(x, kernels['left edges']).abs().max() == 0 and slide(x, kernels['outline']).mean().abs() < 1e-6
    assert torch.equal(slide(x, kernels['nothing']), x[1:-1, 1:-1])
    with pytest.raises(ValueError, match='3 × 3 numbers here, not 2 × 2'): slide(x, [[1, 2], [3, 4]])

def test_grid_in_jupyterlab(monkeypatch):
    "A changed number changes the picture; without widgets there is a still one."
    shown, stills, figures = [], [], []
    class Handle:
        def update(self, html): stills.append(html.data)
    monkeypatch.setattr('IPython.display.display', lambda x, **k: shown.append(x) or Handle())
    grid, draw = KernelGrid(draw_sketch('cat', 1, 32)), KernelGrid.figure
    monkeypatch.setattr(inside, 'in_notebook', lambda: False); grid.show()
    assert len(shown) == 1 and isinstance(shown[0], plt.Figure)
    monkeypatch.setattr(KernelGrid, 'figure', lambda self: figures.append(draw(self)) or figures[-1])
    monkeypatch.setattr(inside, 'in_notebook', lambda: True); grid.show()
    (picture, style), cells, known = (c.children if hasattr(c, 'children') else c for c in shown[-1].children)
    assert known.value == 'outline' and not bytes(picture.value) and [c.value for c in cells] == np.ravel(kernels['outline']).tolist()
    cells[5].value = 7.
    assert grid.kernel[1, 2] == 7 and known.value is None and len(figures) == 2 and len(stills) == 1 and np.allclose(figures[1].axes[2].images[0].get_array(), slide(grid.picture, grid.kernel))
    assert b64encode(picture.value).decode() in stills[0] and re.search('class="(.*?)"', stills[0])[1] in style.value, 'the still is the same, and hidden as long as the widget lives'
    known.value = 'blur'
    assert np.allclose(grid.kernel, 1/9) and np.allclose([c.value for c in cells], 1/9) and len(figures) == 3, 'drawn once'
    assert kernels['outline'][1] == [-1, 8, -1], 'the known ones stay'

def test_grids_that_cannot_be():
    with pytest.raises(ValueError, match="no kernel 'edge'.*top edges"): KernelGrid(draw_sketch('cat', 1), 'edge')
    with pytest.raises(ValueError, match='3 × 3'): KernelGrid(draw_sketch('cat', 1), [[1, 2, 3]])

# ---- layers
def test_activations_are_what_the_layers_say(learn):
    x = torch.stack([learn.data.val_ds[i][0] for i in range(3)])
    before = learn.full.training
    got = activations(learn.full, x, ['0.model.blocks.1', '2'])
    with torch.no_grad(): assert torch.allclose(got['2'], learn.full.eval()(x), atol=1e-6)
    assert got['0.model.blocks.1'].shape == (3, 24, 16, 16) and not got['2'].requires_grad
    assert not any(m._forward_hooks for m in learn.full.modules()), 'no hook is left behind'
    with pytest.raises(ValueError, match="no layer 'layer9'.*0.model"): activations(learn.full, x, ['layer9'])
    with pytest.raises(RuntimeError): activations(learn.full, torch.zeros(1, 5, 64, 64), ['2'])
    assert not any(m._forward_hooks for m in learn.full.modules())

def test_filters(learn):
    assert list(conv_layers(learn.backbone))[0] == 'model.conv_stem'
    show_filters(learn.backbone, 4)
    w = conv_layers(learn.backbone)['model.conv_stem'].weight[2]
    drawn = np.asarray(plt.gcf().axes[2].images[0].get_array())
    assert drawn.min() == 0 and drawn.max() == pytest.approx(1) and np.corrcoef(drawn.ravel(), w.permute(1, 2, 0).detach().numpy().ravel())[0, 1] > .999
    for model in (SimpleNet((8, 8, 3), [4], 2), nn.Conv2d(1, 4, 3)):
        with pytest.raises(ValueError, match='three channels'): show_filters(model)

def test_strongest_maps_come_first(learn):
    x = learn.data.val_ds[0][0]
    show_activations(learn.backbone, x, ['model.blocks.1', 'model.blocks.6'], n=3)
    out = activations(learn.backbone, x[None], ['model.blocks.1'])['model.blocks.1'][0].amax((1, 2))
    assert [int(a.get_title()) for a in plt.gcf().axes[:3]] == out.argsort(descending=True)[:3].tolist()

# ---- pieces
def test_peaks_find_a_pattern_that_was_planted(few):
    "A filter for red squares: the strongest place of each picture, and of the picture just that piece."
    class Red(nn.Module):
        def __init__(self):
            super().__init__(); self.conv = nn.Conv2d(3, 2, 4, stride=4, bias=False); self.head = nn.Linear(2, 2)
            with torch.no_grad(): self.conv.weight.zero_(); self.conv.weight[0, 0] = 1; self.conv.weight[0, 1:] = -1; self.conv.weight[1, 2] = 1
        def forward(self, x): return self.head(self.conv(x).amax((2, 3)))
    rng = np.random.RandomState(0)
    x, y = np.full((12, 32, 32, 3), 128, np.uint8), np.arange(12) % 2
    spots = rng.randint(0, 8, (12, 2))*4
    for im, (a, b) in zip(x, spots): im[a:a + 4, b:b + 4] = (255, 0, 0)
    x[5, spots[5, 0]:spots[5, 0] + 4, spots[5, 1]:spots[5, 1] + 4, 0] = 200
    data = ImageClassifierData.from_arrays('.', (x, y), (x, y), 4, tfms_from_model(lite0, 32))
    learn = ConvLearner.from_model(Red(), data)
    peaks = Peaks(learn, 'conv')
    assert peaks.value.shape == (12, 2) and peaks.place[:, 0].tolist() == [a//4*8 + b//4 for a, b in spots.tolist()]
    assert peaks.value[:, 0].argmin() == 5
    for i in (0, 5, 11): assert torch.allclose(peaks.piece(i, 0), torch.tensor(x[i, spots[i, 0]:spots[i, 0] + 4, spots[i, 1]:spots[i, 1] + 4]).permute(2, 0, 1)/255, atol=.01)
    peaks.show([0], 3); drawn = [a.images[0].get_array().shape for a in plt.gcf().axes]
    assert drawn == [(4, 4, 3)]*3; plt.close('all')
    with pytest.raises(ValueError, match='no maps'): Peaks(learn, 'head')
    with pytest.raises(ValueError, match='no layer'): Peaks(learn, 'nothing')

def test_pieces_of_deep_layers(learn):
    peaks = Peaks(learn, '0.model.blocks.2')
    early = Peaks(learn, '0.model.conv_stem')
    k = int(peaks.value.std(0).argmax())
    assert 3 <= early.piece(0, 0).shape[1] <= 3 + 2 < peaks.piece(0, k).shape[1] <= 64 and peaks.piece(0, k).min() >= 0
    peaks.show([k, 0])

# ---- heat maps
def grad_cam(features, head, y):
    "Selvaraju's formula, written out."
    a = features.detach().requires_grad_(); score = log_odds(head(a))
    grad, = torch.autograd.grad(score[range(len(y)), y].sum(), a)
    return (grad.mean((2, 3), keepdim=True)*a).sum(1).relu().detach()

def test_heat_map_is_grad_cam(learn):
    x = torch.stack([learn.data.val_ds[i][0] for i in range(4)])
    for y in (None, torch.tensor([0, 1, 1, 0])):
        heat = heat_map(learn.full, x, y)
        with torch.no_grad(): maps, said = learn.backbone(x), learn.full(x).argmax(1)
        want = F.interpolate(grad_cam(maps, learn.full[1:], (said if y is None else y).tolist())[:, None], (64, 64), mode='bilinear')[:, 0]
        want = want/want.amax((1, 2), keepdim=True).clamp_min(1e-12)
        assert heat.shape == (4, 64, 64) and torch.allclose(heat, want, atol=1e-3) and heat.min() >= 0 and heat.max() <= 1 + 1e-6

def test_heat_where_the_reason_is(few):
    "A net that was built to look at bright places."
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad(): net[0].weight.copy_(torch.tensor([1., -1]).view(2, 1, 1, 1).expand(2, 3, 1, 1)); net[4].weight.copy_(torch.eye(2)*5)
    x = torch.zeros(2, 3, 32, 32); x[0, :, 4:12, 20:28] = 3; x[1, :, 4:12, 20:28] = -3; x[:, :, 20:, :5] = .1
    heat = heat_map(net, x)
    assert heat[:, 4:12, 20:28].mean() > .9 and heat[:, :, :4].max() < .2
    other = heat_map(net, x[:1], [1])
    assert other.max() == 0, 'nothing speaks for the other class'
    assert net.training is False and all(p.grad is None for p in net.parameters())

def test_odds():
    p = torch.tensor([[.9, .09, .01], [1e-7, .5, .5]]).log()
    assert torch.allclose(log_odds(p), torch.logit(p.double().exp()).float(), atol=1e-4)
    sure = torch.tensor([[60., 0, 0]])
    assert log_odds(sure)[0, 0] == pytest.approx(60 - np.log(2), rel=1e-5), 'also where the probability is 1'
    assert torch.allclose(log_odds(torch.tensor([[2.]])), torch.tensor([[-2., 2]]))

@pytest.mark.parametrize('make', [lambda data: ConvLearner.from_model(ResNet((64, 64, 3), [4, 8], 2), data), lambda data: ConvLearner(create_backbone(lite0), dense_head(1280, 8), data, loss_fn=binary_loss),
    lambda data: ConvLearner.from_model(timm.create_model('resnet18', num_classes=2), data), lambda data: ConvLearner.pretrained('vit_tiny_patch16_224', data, weights=False, img_size=64), lambda data: ConvLearner.pretrained('tf_efficientnet_lite1', data, weights=False)])
def test_nets_of_every_kind(few, make):
    set_seed(0)
    data = ImageClassifierData.from_paths(few, 8, tfms_from_model(lite0, 64)) if 'vit' not in str(make.__code__.co_consts) else ImageClassifierData.from_paths(few, 8, tuple(type(t)(t.steps.transforms, 64, (.5,)*3, (.5,)*3) for t in tfms_from_model(lite0, 64)))
    learn = make(data)
    heat = heat_map(learn.full, torch.stack([data.val_ds[i][0] for i in range(3)]))
    assert heat.shape == (3, 64, 64) and torch.isfinite(heat).all() and heat.amax((1, 2)).max() > 0
    show_heat_maps(learn, [0, 7, 3]); plt.close('all')

def test_net_without_places(few):
    learn = ConvLearner.from_model(SimpleNet((64, 64, 3), [4], 2), ImageClassifierData.from_paths(few, 8, tfms_from_model(lite0, 64)))
    with pytest.raises(ValueError, match='no place to point at'): show_heat_maps(learn, [0])

def test_titles_say_what_the_net_says(learn):
    idxs = [0, 3, 6, 9]
    show_heat_maps(learn, idxs, cols=3)
    said = learn.predict().argmax(1)
    titles = [a.get_title() for a in plt.gcf().axes if a.get_title()]
    names = learn.data.classes
    assert titles == [names[said[i]] if said[i] == learn.data.val_y[i] else f'{names[learn.data.val_y[i]]},\nsays {names[said[i]]}' for i in idxs]
    show_heat_maps(learn, [])

def test_hiding():
    x, scores = torch.rand(2, 3, 8, 8) + 1, torch.rand(2, 8, 8)
    for part in (0, .25, 1):
        out = hide_pixels(x, scores, part)
        gone = (out == 0).all(1)
        assert gone.sum((1, 2)).tolist() == [int(64*part)]*2 and torch.equal(out[:, 0][~gone], x[:, 0][~gone])
        if part == .25: assert all(s[g].min() > s[~g].max() for s, g in zip(scores, gone))
    with pytest.raises(ValueError, match='part'): hide_pixels(x, scores, 2)

# ---- what a review found
def test_tokens_of_a_transformer_are_laid_out(few):
    "The map of a ViT is a square, and hot where the tokens are."
    data = ImageClassifierData.from_paths(few, 8, tuple(type(t)(t.steps.transforms, 64, (.5,)*3, (.5,)*3) for t in tfms_from_model(lite0, 64)))
    set_seed(0); learn = ConvLearner.pretrained('vit_tiny_patch16_224', data, weights=False, img_size=64)
    heat = heat_map(learn.full, torch.stack([data.val_ds[i][0] for i in range(2)]))
    assert heat.std(1).max() > 0 and heat.std(2).max() > 0, 'it varies along both sides'
    raw = ConvLearner.from_model(timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=2), data)
    with pytest.raises(ValueError, match='transformer.*ConvLearner.pretrained'): heat_map(raw.full, data.val_ds[0][0][None])

def test_looking_does_not_change_what_is_learnt(few):
    def trained(look):
        set_seed(3); learn = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, 8, tfms_from_model(lite0, 64))); learn.cbs = learn.cbs[:1]
        learn.fit(.01, 1)
        if look: Peaks(learn, '0.model.blocks.1').show([0, 1], 2); show_heat_maps(learn, [0, 1]); show_activations(learn.backbone, learn.data.val_ds[0][0], ['model.blocks.1']); plt.close('all')
        learn.fit(.01, 1)
        return learn.history[-1]
    assert trained(False) == trained(True)

def test_rows_are_in_the_order_that_was_asked_for(learn):
    show_activations(learn.backbone, learn.data.val_ds[0][0], ['model.blocks.6', 'model.blocks.1', 'model.blocks.6'], n=2)
    shapes = [a.images[0].get_array().shape for a in plt.gcf().axes]
    assert shapes == [(2, 2)]*2 + [(16, 16)]*2 + [(2, 2)]*2

@pytest.mark.parametrize('call, why', [
    (lambda l, x: heat_map(l, x), 'learn.full'), (lambda l, x: activations(l, x, ['2']), 'learn.full'), (lambda l, x: show_filters(l), 'learn.full'),
    (lambda l, x: heat_map(l.full, x[0]), r'x\[None\]'), (lambda l, x: activations(l.full, x, '0.model.blocks.1'), r"names is a list.*\['0.model.blocks.1'\]"), (lambda l, x: activations(l.full, x, ['model.blocks.1']), 'Did you mean 0.model.blocks.1'),
    (lambda l, x: heat_map(l.full, x, [0, 5]), '0 to 1'), (lambda l, x: heat_map(l.full, x, [0]), 'each of the 2 pictures'), (lambda l, x: show_activations(l.full, x[0], ['2']), 'no maps'),
    (lambda l, x: slide(x[0], 'blur'), 'grey picture'), (lambda l, x: slide(torch.zeros(5, 5), 'blurr'), "no kernel 'blurr'"), (lambda l, x: slide(torch.zeros(5, 5), [['a']*3]*3), 'three numbers'), (lambda l, x: slide(torch.zeros(2, 5), 'blur'), 'at least 3'),
    (lambda l, x: KernelGrid('cat.jpg'), 'Pillow picture'), (lambda l, x: hide_pixels(x, torch.zeros(2, 1, 64, 64)), 'need scores of the shape'), (lambda l, x: Peaks(l, '0.model.blocks.1').piece(0, 0, 2), '0 to 1')])
def test_messages_for_learners(learn, call, why):
    with pytest.raises(ValueError, match=why): call(learn, torch.stack([learn.data.val_ds[i][0] for i in range(2)]))
