"Real pictures, those in `../shared/data`."
import tarfile
import numpy as np, pytest
from conftest import shared
import imgcourse.checkpoint, imgcourse.finetune
from imgcourse.data import ImageClassifierData, tfms_from_model, transforms_side_on
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
    trained, random = accuracies('sketchnet', data, range(1, 6)), accuracies('sketchnet', data, range(1, 6), weights=False)
    print(trained, random); assert np.mean(trained) >= .84 and np.mean(trained) - np.mean(random) >= .15

RATES = 30.**(np.arange(-3, 4)/3)

def near_the_best(data, **kw):
    "Mean validation loss after one epoch at seven multiples of the suggested rate, over three seeds."
    losses = []
    for seed in (1, 2, 3):
        def learner(): set_seed(seed); l = ConvLearner.pretrained('mobilenetv2_100', data, precompute=True, pad_type='same', **kw); l.cbs = l.cbs[:1]; return l
        learn = learner(); learn.lr_find(); lr = learn.sched.suggest().valley
        row = []
        for r in lr*RATES:
            learn = learner()
            try: learn.fit(float(r), 1); row.append(learn.history[-1]['validation loss'])
            except FloatingPointError: row.append(np.inf)
        losses.append(row)
    means = np.mean(losses, 0)
    print(means)
    return means[3] <= max(1.1*means.min(), means.min() + .02)

def test_the_suggested_rate_trains(dogscats_photos):
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model('mobilenetv2_100', 224))
    assert near_the_best(data, weights=shared('weights/mobilenetv2_100.safetensors'))

@pytest.mark.slow
@pytest.mark.parametrize('name, sz', [('caltech101', 224), ('cifar10', 64)])
def test_the_suggested_rate_trains_on(tmp_path, name, sz):
    with tarfile.open(shared(f'data/{name}.tgz')) as t: t.extractall(tmp_path, filter='data')
    data = ImageClassifierData.from_paths(tmp_path/name, val_name='test', tfms=tfms_from_model('mobilenetv2_100', sz))
    assert near_the_best(data, weights=shared('weights/mobilenetv2_100.safetensors'))

@pytest.mark.slow
def test_fine_tuning_stage_by_stage(dogscats_photos):
    "The table of lesson 4: frozen at 128, unfrozen at 160, unfrozen at 224."
    def get(sz): return ImageClassifierData.from_paths(dogscats_photos, bs=32, tfms=tfms_from_model('mobilenetv2_100', sz, aug_tfms=transforms_side_on, max_zoom=1.1))
    set_seed(1)
    learn = ConvLearner.pretrained('mobilenetv2_100', get(128), precompute=True, weights=shared('weights/mobilenetv2_100.safetensors'), pad_type='same')
    learn.fit(3e-3, 3, cycle_len=1)
    learn.unfreeze(); learn.bn_freeze(True)
    for sz in (160, 224): learn.set_data(get(sz)); learn.fit([1e-5, 1e-4, 1e-3], 2, cycle_len=1)
    first, last = learn.history[2]['accuracy'], learn.history[-1]['accuracy']
    assert last >= max(first, .975)
