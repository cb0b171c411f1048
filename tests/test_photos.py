"Real pictures, those in `../shared/data`."
import tarfile
import numpy as np, pytest
from conftest import shared
import imgcourse.checkpoint, imgcourse.finetune
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData, lite0, tfms_from_model, transforms_side_on
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

@pytest.mark.parametrize('sz, least', [(160, .97), (224, .98)])
def test_net_on_board_on_photos(dogscats_photos, sz, least):
    "Three lines, frozen, mean of three seeds."
    got = accuracies(lite0, ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model(lite0, sz)), (1, 2, 3))
    print(sz, got); assert np.mean(got) >= least

def test_train_and_predict_on_photos(dogscats_photos, tmp_path, capsys):
    "The command at its defaults, on the training photos alone; then it is asked about each of the others."
    assert main(['train', str(dogscats_photos/'train'), '--out', str(tmp_path/'net')]) == 0
    capsys.readouterr()
    right = 0
    for kind in ('cats', 'dogs'):
        assert main(['predict', str(tmp_path/'net'/'model.safetensors'), str(dogscats_photos/'valid'/kind), '--top', '1']) == 0
        right += capsys.readouterr().out.count(f'  {kind}\n')
    print(right); assert right >= .97*200

@pytest.mark.slow
def test_net_on_board_on_102_classes(tmp_path):
    "Caltech-101, frozen, 224 pixels."
    with tarfile.open(shared('data/caltech101.tgz')) as t: t.extractall(tmp_path, filter='data')
    data = ImageClassifierData.from_paths(tmp_path/'caltech101', val_name='test', tfms=tfms_from_model(lite0, 224))
    set_seed(42); learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit_one_cycle(10, .02)
    print(learn.history[-1]); assert data.c == 102 and learn.history[-1]['accuracy'] >= .88

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
