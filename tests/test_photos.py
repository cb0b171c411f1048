"Real photos: the 1,100 of `../shared/data/dogscats.tgz`."
import numpy as np
from conftest import shared
from imgcourse.data import ImageClassifierData, tfms_from_model
from imgcourse.learner import ConvLearner, set_seed

def accuracies(arch, data, seeds, **kw):
    out = []
    for seed in seeds:
        set_seed(seed)
        learn = ConvLearner.pretrained(arch, data, precompute=True, **kw)
        learn.fit(0.01, 3)
        out.append(learn.history[-1]['accuracy'])
    return out

def test_three_lines_on_photos(dogscats_photos):
    "A MobileNetV2 with ImageNet weights: at least 0.975."
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model('mobilenetv2_100', 224))
    assert (len(data.trn_ds), len(data.val_ds)) == (900, 200)
    got = accuracies('mobilenetv2_100', data, (1, 2, 3), weights=shared('weights/mobilenetv2_100.safetensors'), pad_type='same')
    print(got); assert np.mean(got) >= .975

def test_embedded_net_on_photos(dogscats_photos):
    "At its own size, frozen: at least 0.84, and 0.15 above the same net with random weights."
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model('sketchnet', 128))
    trained, random = accuracies('sketchnet', data, (1, 2, 3)), accuracies('sketchnet', data, (1, 2, 3), weights=False)
    print(trained, random); assert np.mean(trained) >= .84 and np.mean(trained) - np.mean(random) >= .15
