"From a picture to the tensor that a network expects."
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.transforms import v2
from imgcourse import transforms
from imgcourse.transforms import MirroredRotation, arch_name, lite0, tfms_from_model, transforms_top_down

RED = (200, 30, 30)


# ---- architectures
def test_unknown_architecture_names_the_nearest():
    with pytest.raises(ValueError, match='resnet34'):
        tfms_from_model('resnet43', 32)
    with pytest.raises(ValueError, match='no architecture'):
        tfms_from_model(7, 32)
    with pytest.raises(ValueError, match=r'resnet34.a1_in1k'):
        tfms_from_model('resnet34.nope', 32)


def test_model_with_a_fixed_size():
    with pytest.raises(ValueError, match='224 pixels only'):
        tfms_from_model('vit_tiny_patch16_224', 96)


@pytest.mark.parametrize('name', ['resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'resnext50',
                                  'resnext101', 'resnext101_64', 'vgg16', 'vgg19', 'dn121', 'dn169', 'lite0'])
def test_old_names_are_timm_models(name): assert timm.is_model(getattr(transforms, name))


def test_the_names_of_the_texts():
    assert transforms.resnext101_64 == 'resnext101_64x4d' and arch_name(lite0) == 'tf_efficientnet_lite0'


# ---- transforms
@pytest.mark.parametrize('kw, message', [
    ({'sz': 0}, 'sz is'),
    ({'sz': 3.5}, 'sz is'),
    ({'sz': 32, 'max_zoom': .5}, 'max_zoom'),
    ({'sz': 32, 'pad': -1}, 'pad'),
    ({'sz': 32, 'pad': 1.5}, 'pad'),
    ({'sz': 32, 'crop_type': 'none'}, 'crop_type'),
    ({'sz': 32, 'max_zoom': 0}, 'max_zoom'),
    ({'sz': 32, 'pad': 4, 'crop_type': 'center'}, 'pad')])
def test_bad_transforms(kw, message):
    with pytest.raises(ValueError, match=message):
        tfms_from_model('resnet18', **kw)


@pytest.mark.parametrize('crop_type', ['random', 'center', 'squish'])
@pytest.mark.parametrize('size', [(32, 32), (100, 40), (33, 200), (5, 5)])
def test_every_transform_gives_the_size(crop_type, size):
    pad = 0 if crop_type == 'center' else 4
    for tfm in tfms_from_model('resnet18', 32, transforms_top_down, max_zoom=1.2, pad=pad, crop_type=crop_type):
        assert tfm(Image.new('RGB', size)).shape == (3, 32, 32)


@pytest.mark.parametrize('size', [(64, 64), (300, 40), (40, 300), (9, 9)])
def test_turned_pictures_have_no_foreign_corners(size):
    "Of two colors, none but these and what lies between them."
    a = np.zeros((size[1], size[0], 3), np.uint8)
    a[...] = (200, 40, 90)
    a[:size[1]//2] = (40, 200, 90)
    turn = MirroredRotation((25, 25), interpolation=v2.InterpolationMode.BILINEAR)
    b = np.asarray(turn(Image.fromarray(a))).astype(int)
    assert b.shape == a.shape and (b[..., 2] == 90).all() and (np.abs(b[..., 0] + b[..., 1] - 240) <= 2).all()


def test_normalization():
    "The same numbers as by hand."
    tfm = tfms_from_model('resnet18', 32)[1]
    x = tfm(Image.new('RGB', (50, 40), RED))
    want = (torch.tensor(RED)/255 - torch.tensor([.485, .456, .406]))/torch.tensor([.229, .224, .225])
    assert torch.allclose(x[:, 3, 3], want, atol=1e-5)
    assert torch.allclose(tfm.denorm(x)[:, 0, 0]*255, torch.tensor(RED).float(), atol=.01)
