"What learns, how fast, and what batch norm does meanwhile."
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from imgcourse.all import ConvLearner, set_seed
from imgcourse.data import ImageClassifierData
from imgcourse.features import create_backbone
from imgcourse.finetune import binary_loss, dense_head, split_layers, spread_rates
from imgcourse.transforms import lite0, tfms_from_model, transforms_shear_zoom

TFMS = tfms_from_model(lite0, 64)
TIMMS = ['resnet18', 'mobilenetv2_100', 'mobilenetv3_small_050', 'vgg11_bn', 'densenet121', 'convnext_atto',
         'swin_tiny_patch4_window7_224', 'vit_tiny_patch16_224', 'efficientnet_b0', 'regnetx_002', lite0]


@pytest.fixture
def data(same_few):
    return ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)


def learner(data, **kwargs):
    set_seed(1)
    return ConvLearner.pretrained(lite0, data, **kwargs).silent()


def three_classes():
    x, y = np.zeros((6, 64, 64, 3), np.uint8), np.arange(6) % 3
    return ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=TFMS)


def state(learn): return {k: v.detach().cpu().clone() for k, v in learn.full.state_dict().items()}
def changed(learn, before): return {k for k, v in state(learn).items() if not torch.equal(v, before[k])}


# ---- layer groups
@pytest.mark.parametrize('arch', TIMMS)
def test_layer_groups_of_timm_models(arch):
    model = create_backbone(arch, False).model
    groups = split_layers(model)
    names = [n for g in groups for n in g]
    params = dict(model.named_parameters())
    assert sorted(names) == sorted(params) and len(set(names)) == len(names) and len(groups) >= 4
    assert all(any(p.ndim > 1 for p in g.values()) for g in groups), 'no group of norms alone'
    assert {next(iter(params)), 'cls_token'} & set(groups[0])


def learns(learn): return [any(p.requires_grad for p in g.values()) for g in learn.layer_groups]


def test_freezing(data):
    learn = learner(data, precompute=True)
    assert learns(learn) == [False]*8 + [True] and learn.precompute
    learn.freeze_to(-2)
    assert learns(learn) == [False]*7 + [True]*2 and not learn.precompute
    learn.freeze_to(2)
    assert learns(learn) == [False]*2 + [True]*7
    learn.unfreeze()
    assert all(learns(learn))
    learn.freeze()
    assert learns(learn) == [False]*8 + [True] and not learn.precompute
    assert list(learn.show_groups()['learns']) == learns(learn)


def test_groups_that_are_not_there(data):
    learn = learner(data)
    for i in (9, -10, 99, 1.5, None):
        with pytest.raises(ValueError, match='9 layer groups'):
            learn.freeze_to(i)
    assert learns(learn) == [False]*8 + [True]


def test_only_what_is_unfrozen_changes(data):
    learn = learner(data)
    learn.freeze_to(-2)
    before = state(learn)
    learn.fit(1e-2, 1)
    got = changed(learn, before)
    assert all(k.startswith(('0.model.blocks.6', '0.model.conv_head', '0.model.bn2', '2.')) for k in got)
    assert any('blocks.6' in k and 'running_mean' in k for k in got)


def test_precompute_with_an_unfrozen_backbone_is_refused(data):
    learn = learner(data, precompute=True)
    learn.unfreeze()
    learn.precompute = True
    with pytest.raises(ValueError, match='precompute'):
        learn.fit(.01, 1)
    learn.freeze()
    learn.fit(.01, 1)


def test_features_follow_a_fine_tuned_backbone(data):
    learn = learner(data)
    learn.unfreeze()
    learn.fit(1e-2, 2)
    learn.freeze()
    whole = learn.predict()
    learn.precompute = True
    assert np.abs(np.exp(whole) - np.exp(learn.predict())).mean() < .03


def test_everything_frozen(data):
    learn = learner(data)
    learn.head.requires_grad_(False)
    with pytest.raises(ValueError, match='frozen'):
        learn.fit(.01, 1)


# ---- rates
def test_rates():
    assert spread_rates(.1, 3) == [.1]*3
    assert spread_rates([.1, .2], 2) == [.1, .2] == spread_rates(np.array([.1, .2]), 2)
    assert spread_rates([1, 2, 3], 6) == [1, 1, 1, 2, 2, 3]
    assert spread_rates([1, 2, 3], 4) == [1, 1, 2, 3]
    assert spread_rates([1, 2, 3], 3) == [1, 2, 3]


def test_slices_of_rates():
    assert spread_rates(slice(1e-4, 1e-2), 1) == [1e-2]
    assert np.allclose(spread_rates(slice(1e-4, 1e-2), 5), np.geomspace(1e-4, 1e-2, 5))
    assert np.allclose(spread_rates(slice(.1), 3), [.01, .01, .1])


@pytest.fixture(scope='module')
def untrained(same_few):
    return learner(ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS))


@pytest.mark.parametrize('lrs', [
    [.1, .2], [.1]*8, [.1]*10, [], -.1, 0, [.1, .1, -.1], [.1, 0, .1], slice(None), slice(-1, .1), slice(.1, .01),
    slice(0, .1), slice(.1, float('inf')), 'high', None, [.1, 'x', .1], {.1, .2, .3}, {.1: 1, .2: 2, .3: 3}, True,
    [True]*9])
def test_bad_rates(untrained, lrs):
    before = state(untrained)
    with pytest.raises(ValueError):
        untrained.fit(lrs, 1)
    assert not changed(untrained, before)


def test_groups_get_their_rates(data):
    learn, rates = learner(data), [1e-5, 1e-4, 1e-2]
    learn.unfreeze()
    learn.fit(rates, 1, cycle_len=1, wds=.01)
    first = learn.sched.lrs[0]
    assert sorted(set(first)) == pytest.approx(rates) and len(first) == 18, 'each group in two: with and without decay'
    learn.freeze_to(-2)
    learn.fit(rates, 1)
    assert learn.sched.lrs[0] == pytest.approx([1e-4, 1e-2])
    learn.freeze()
    learn.precompute = True
    learn.fit(rates, 1)
    assert learn.sched.lrs[0] == pytest.approx([1e-2])
    with pytest.raises(ValueError, match='wds'):
        learn.fit(1e-2, 1, wds=[.1, .1])
    learn.fit_one_cycle(1, slice(1e-4, 1e-2))


def test_decay_of_each_group(data):
    "One for each layer group, also for those that are frozen."
    learn = learner(data, precompute=True)
    learn.fit(1e-2, 1, wds=[.1]*8 + [.3])
    assert sorted({g['weight_decay'] for g in learn.opt.param_groups}) == [0, .3]


# ---- batch norm
def averages(learn):
    return [m.running_mean.cpu().clone() for m in learn.backbone.modules() if isinstance(m, nn.BatchNorm2d)]


def test_batch_norm_while_frozen(data):
    learn = learner(data)
    before = averages(learn)
    def stayed(): return [torch.equal(new, old) for new, old in zip(averages(learn), before)]
    learn.fit(.01, 1)
    assert all(stayed())
    learn.unfreeze()
    learn.bn_freeze(True)
    learn.fit(.001, 1)
    assert all(stayed()), 'bn_freeze keeps the averages in layers that learn'
    learn.lr_find(num_it=20)
    learn.bn_freeze(False)
    learn.fit(.001, 1)
    assert not any(stayed())


def test_the_heads_norms_always_adapt(data):
    learn = learner(data)
    learn.bn_freeze(True)
    before = learn.head[0].running_mean.clone()
    learn.fit(.01, 1)
    assert not torch.equal(learn.head[0].running_mean.cpu(), before)


def test_a_frozen_part_of_any_module(data):
    part = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.Dropout(.5))
    learn = ConvLearner.from_model(nn.Sequential(part, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), data)
    learn.freeze()
    before = state(learn)
    learn.fit(.1, 1)
    assert changed(learn, before) == {'3.weight', '3.bias'} and len(learn.layer_groups) == 2
    learn.unfreeze()
    learn.fit([.01, .1], 1)
    assert '0.1.running_mean' in changed(learn, before)


# ---- other data
def test_growing_pictures(data, same_few):
    learn = learner(data, precompute=True)
    learn.fit(.01, 1)
    learn.unfreeze()
    learn.set_data(ImageClassifierData.from_paths(same_few, bs=6, tfms=tfms_from_model(lite0, 96)))
    learn.fit(1e-3, 1)
    assert next(iter(learn.loaders()[0]))[0].shape == (6, 3, 96, 96)
    learn.freeze()
    learn.precompute = True
    learn.fit(.01, 1)
    assert learn.predict().shape == (12, 2)


def test_data_that_do_not_fit(untrained, same_few):
    other = ImageClassifierData.from_paths(same_few, tfms=tfms_from_model('resnet34', 64))
    single = ImageClassifierData.from_paths(same_few, bs=1, tfms=TFMS)
    kept = untrained.data
    for bad, message in ((three_classes(), 'classes'), (other, 'means'), (single, 'two pictures')):
        with pytest.raises(ValueError, match=message):
            untrained.set_data(bad)
        assert untrained.data is kept


# ---- one output
def test_loss_of_one_output():
    z, y = torch.randn(9, 1), torch.randint(0, 2, (9,))
    assert torch.allclose(binary_loss(z, y), F.cross_entropy(torch.cat([torch.zeros_like(z), z], 1), y))
    assert torch.isfinite(binary_loss(torch.tensor([[1e4], [-1e4]]), torch.tensor([0, 1])))


def test_one_output(data):
    set_seed(0)
    backbone = create_backbone(lite0)
    head = dense_head(backbone.model.num_features)
    learn = ConvLearner(backbone, head, data, True, opt_fn=torch.optim.RMSprop, loss_fn=binary_loss)
    learn.fit(.001, 5)
    p, y = learn.predict_with_targs()
    last = learn.history[-1]
    assert p.shape == (12, 2) and np.allclose(np.exp(p).sum(1), 1, atol=1e-5)
    assert last['accuracy'] == pytest.approx((p.argmax(1) == y).mean()) and last['accuracy'] > .7
    assert last['validation loss'] == pytest.approx(-p[range(12), y].mean(), rel=1e-3)


def one_output(): return nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 1))


def test_one_output_needs_its_loss(data):
    with pytest.raises(ValueError, match='binary_loss'):
        ConvLearner.from_model(one_output(), data)
    learn = ConvLearner.from_model(one_output(), data, loss_fn=binary_loss)
    learn.fit(1e-4, 1)
    assert learn.predict().shape == (12, 2)
    with pytest.raises(ValueError, match=r'\(1, 3\)'):
        ConvLearner.from_model(one_output(), three_classes(), loss_fn=binary_loss)


def test_shear_and_zoom(same_few):
    tfms = tfms_from_model(lite0, 64, aug_tfms=transforms_shear_zoom, crop_type='center')
    x, _ = next(iter(ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms).trn_dl))
    assert x.shape == (8, 3, 64, 64)
