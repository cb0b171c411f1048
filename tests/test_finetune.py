"What learns, how fast, and what batch norm does meanwhile."
import numpy as np, pytest, torch
import torch.nn.functional as F
from torch import nn

from imgcourse.data import ImageClassifierData
from imgcourse.transforms import lite0, tfms_from_model, transforms_shear_zoom
from imgcourse.features import create_backbone
from imgcourse.finetune import binary_loss, dense_head, split_layers, spread_rates
from imgcourse.learner import ConvLearner, set_seed

TFMS = tfms_from_model(lite0, 64)

@pytest.fixture
def data(few): return ImageClassifierData.from_paths(few, bs=8, tfms=TFMS)

def learner(data, **kw): set_seed(1); return ConvLearner.pretrained(lite0, data, **kw).silent()
def state(learn): return {k: v.detach().cpu().clone() for k, v in learn.full.state_dict().items()}
def changed(learn, before): return {k for k, v in state(learn).items() if not torch.equal(v, before[k])}

@pytest.mark.parametrize('arch', ['resnet18', 'mobilenetv2_100', 'mobilenetv3_small_050', 'vgg11_bn', 'densenet121', 'convnext_atto', 'swin_tiny_patch4_window7_224', 'vit_tiny_patch16_224', 'efficientnet_b0', 'regnetx_002', lite0])
def test_layer_groups_of_timm_models(arch):
    model = create_backbone(arch, False).model
    groups = split_layers(model)
    names = [n for g in groups for n in g]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters()) and len(set(names)) == len(names) and len(groups) >= 4
    assert all(any(p.ndim > 1 for p in g.values()) for g in groups), 'no group of norms alone'
    assert any(n in groups[0] for n in [next(iter(dict(model.named_parameters()))), 'cls_token'])

def test_freezing(data):
    learn = learner(data, precompute=True)
    n = len(learn.layer_groups)
    def learns(): return [any(p.requires_grad for p in g.values()) for g in learn.layer_groups]
    assert n == 9 and learns() == [False]*8 + [True] and learn.precompute
    learn.freeze_to(-2); assert learns() == [False]*7 + [True]*2 and not learn.precompute
    learn.freeze_to(2); assert learns() == [False]*2 + [True]*7
    learn.unfreeze(); assert all(learns())
    learn.freeze(); assert learns() == [False]*8 + [True] and not learn.precompute
    for i in (9, -10, 99, 1.5, None):
        with pytest.raises(ValueError, match='9 layer groups'): learn.freeze_to(i)
    assert learns() == [False]*8 + [True]
    assert list(learn.show_groups()['learns']) == learns()

def test_only_what_is_unfrozen_changes(data):
    learn = learner(data); learn.freeze_to(-2); before = state(learn)
    learn.fit(1e-2, 1)
    got = changed(learn, before)
    assert got and all(k.startswith(('0.model.blocks.6', '0.model.conv_head', '0.model.bn2', '2.')) for k in got) and any('blocks.6' in k and 'running_mean' in k for k in got)

def test_precompute_with_an_unfrozen_backbone_is_refused(data):
    learn = learner(data, precompute=True); learn.unfreeze(); learn.precompute = True
    with pytest.raises(ValueError, match='precompute'): learn.fit(.01, 1)
    learn.freeze(); learn.fit(.01, 1)

def test_features_follow_a_fine_tuned_backbone(data):
    learn = learner(data); learn.unfreeze(); learn.fit(1e-2, 2); learn.freeze()
    a = learn.predict(); learn.precompute = True
    assert np.abs(np.exp(a) - np.exp(learn.predict())).max() < .03

def test_rates():
    assert spread_rates(.1, 3) == [.1]*3 and spread_rates([.1, .2], 2) == [.1, .2]
    assert spread_rates([1, 2, 3], 6) == [1, 1, 1, 2, 2, 3] and spread_rates([1, 2, 3], 4) == [1, 1, 2, 3] and spread_rates([1, 2, 3], 3) == [1, 2, 3]
    assert spread_rates(slice(1e-4, 1e-2), 1) == [1e-2]
    assert np.allclose(spread_rates(slice(1e-4, 1e-2), 5), np.geomspace(1e-4, 1e-2, 5)) and np.allclose(spread_rates(slice(.1), 3), [.01, .01, .1]) and spread_rates(np.array([.1, .2]), 2) == [.1, .2]

@pytest.mark.parametrize('lrs', [[.1, .2], [.1]*8, [.1]*10, [], -.1, 0, [.1, .1, -.1], [.1, 0, .1], slice(None), slice(-1, .1), slice(.1, .01), slice(0, .1), slice(.1, float('inf')), 'high', None, [.1, 'x', .1], {.1, .2, .3}, {.1: 1, .2: 2, .3: 3}, True, [True]*9])
def test_bad_rates(data, lrs):
    learn = learner(data); before = state(learn)
    with pytest.raises(ValueError): learn.fit(lrs, 1)
    assert not changed(learn, before)

def test_groups_get_their_rates(data):
    learn = learner(data); learn.unfreeze()
    learn.fit([1e-5, 1e-4, 1e-2], 1, cycle_len=1, wds=.01)
    first = learn.sched.lrs[0]
    assert sorted(set(first)) == pytest.approx([1e-5, 1e-4, 1e-2]) and len(first) == 18, 'each group in two: with and without decay'
    learn.freeze_to(-2); learn.fit([1e-5, 1e-4, 1e-2], 1)
    assert learn.sched.lrs[0] == pytest.approx([1e-4, 1e-2])
    learn.freeze(); learn.precompute = True; learn.fit([1e-5, 1e-4, 1e-2], 1)
    assert learn.sched.lrs[0] == pytest.approx([1e-2])
    with pytest.raises(ValueError, match='wds'): learn.fit(1e-2, 1, wds=[.1, .1])
    learn.fit_one_cycle(1, slice(1e-4, 1e-2))

def test_everything_frozen(data):
    learn = learner(data)
    for p in learn.head.parameters(): p.requires_grad_(False)
    with pytest.raises(ValueError, match='frozen'): learn.fit(.01, 1)

def norms(learn): return [m for m in learn.backbone.modules() if isinstance(m, nn.BatchNorm2d)]

def test_batch_norm_while_frozen(data):
    learn = learner(data); before = [m.running_mean.clone() for m in norms(learn)]
    learn.fit(.01, 1)
    assert all(torch.equal(m.running_mean.cpu(), b) for m, b in zip(norms(learn), before))
    learn.unfreeze(); learn.bn_freeze(True); learn.fit(.001, 1)
    assert all(torch.equal(m.running_mean.cpu(), b) for m, b in zip(norms(learn), before)), 'bn_freeze keeps the averages in layers that learn'
    learn.bn_freeze(False); learn.fit(.001, 1)
    assert not any(torch.equal(m.running_mean.cpu(), b) for m, b in zip(norms(learn), before))
    assert all(m.training for m in learn.head.modules() if isinstance(m, nn.Dropout)) or not learn.training

def test_the_heads_norms_always_adapt(data):
    learn = learner(data); learn.bn_freeze(True); before = learn.head[0].running_mean.clone()
    learn.fit(.01, 1)
    assert not torch.equal(learn.head[0].running_mean.cpu(), before)

def test_a_frozen_part_of_any_module(data):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.Dropout(.5)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    learn = ConvLearner.from_model(model, data); learn.freeze(); before = state(learn)
    learn.fit(.1, 1)
    assert changed(learn, before) == {'3.weight', '3.bias'} and len(learn.layer_groups) == 2
    learn.unfreeze(); learn.fit([.01, .1], 1); assert '0.1.running_mean' in changed(learn, before)

def test_growing_pictures(data, few):
    learn = learner(data, precompute=True); learn.fit(.01, 1); learn.unfreeze()
    larger = ImageClassifierData.from_paths(few, bs=6, tfms=tfms_from_model(lite0, 96))
    learn.set_data(larger); learn.fit(1e-3, 1)
    assert next(iter(learn.loaders()[0]))[0].shape == (6, 3, 96, 96)
    learn.freeze(); learn.precompute = True; learn.fit(.01, 1); assert learn.predict().shape == (12, 2)
    x = np.zeros((6, 32, 32, 3), np.uint8)
    for bad, message in ((ImageClassifierData.from_arrays('.', (x, np.arange(6) % 3), (x, np.arange(6) % 3), tfms=TFMS), 'classes'), (ImageClassifierData.from_paths(few, tfms=tfms_from_model('resnet34', 64)), 'means'), (ImageClassifierData.from_paths(few, bs=1, tfms=TFMS), 'two pictures')):
        with pytest.raises(ValueError, match=message): learn.set_data(bad)
        assert learn.data is larger

def test_one_output(data):
    z, y = torch.randn(9, 1), torch.randint(0, 2, (9,))
    assert torch.allclose(binary_loss(z, y), F.cross_entropy(torch.cat([torch.zeros_like(z), z], 1), y))
    assert torch.isfinite(binary_loss(torch.tensor([[1e4], [-1e4]]), torch.tensor([0, 1])))
    set_seed(0); backbone = create_backbone(lite0)
    learn = ConvLearner(backbone, dense_head(backbone.model.num_features), data, True, opt_fn=torch.optim.RMSprop, loss_fn=binary_loss)
    learn.fit(.001, 5)
    p, y = learn.predict_with_targs()
    assert p.shape == (12, 2) and np.allclose(np.exp(p).sum(1), 1, atol=1e-5) and learn.history[-1]['accuracy'] == pytest.approx((p.argmax(1) == y).mean())
    assert learn.history[-1]['validation loss'] == pytest.approx(-p[range(12), y].mean(), rel=1e-3) and learn.history[-1]['accuracy'] > .7

def test_one_output_needs_its_loss(data, few):
    net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 1))
    with pytest.raises(ValueError, match='binary_loss'): ConvLearner.from_model(net(), data)
    learn = ConvLearner.from_model(net(), data, loss_fn=binary_loss); learn.fit(1e-4, 1); assert learn.predict().shape == (12, 2)
    x = np.zeros((6, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r'\(1, 3\)'): ConvLearner.from_model(net(), ImageClassifierData.from_arrays('.', (x, np.arange(6) % 3), (x, np.arange(6) % 3), tfms=TFMS), loss_fn=binary_loss)

def test_shear_and_zoom(few):
    d = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64, aug_tfms=transforms_shear_zoom, crop_type='center'))
    x, _ = next(iter(d.trn_dl)); assert x.shape == (8, 3, 64, 64)
