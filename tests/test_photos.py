"Real pictures, those in `../shared/data`."
import tarfile, time
import numpy as np, pytest
from conftest import shared, weights_of
import imgcourse.checkpoint, imgcourse.deploy, imgcourse.finetune
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
    got = accuracies('mobilenetv2_100', data, (1, 2, 3), **weights_of('mobilenetv2_100'))
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

@pytest.mark.slow
@pytest.mark.parametrize('arch', [lite0, 'mobilenetv2_100'])
def test_added_classes_on_photos(dogscats_photos, tmp_path, arch):
    "Caltech-101 and, as in lesson 8, classes of one's own: cats and dogs, 50 photos of each to learn from and 50 to check with."
    with tarfile.open(shared('data/caltech101.tgz')) as t: t.extractall(tmp_path, filter='data')
    data = ImageClassifierData.from_paths(tmp_path/'caltech101', val_name='test', tfms=tfms_from_model(arch, 224)).add_classes(dogscats_photos/'valid', valid_pct=.5)
    set_seed(42); learn = ConvLearner.pretrained(arch, data, precompute=True, **weights_of(arch))
    learn.fit_one_cycle(10, .02)
    right = learn.predict().argmax(1) == data.val_y
    print(arch, f'all {right.mean():.3f}, the classes from before {right[:1007].mean():.3f}, those added {right[1007:].mean():.3f}')
    assert data.c == 104 and len(right) == 1107 and right[:1007].mean() >= .88 and right[1007:].mean() >= .9

RATES = 30.**(np.arange(-3, 4)/3)

def near_the_best(arch, data):
    "Mean validation loss after one epoch at seven multiples of the suggested rate, over three seeds."
    losses, suggested = [], []
    for seed in (1, 2, 3):
        def learner(): set_seed(seed); l = ConvLearner.pretrained(arch, data, precompute=True, **weights_of(arch)); l.cbs = l.cbs[:1]; return l
        learn = learner(); learn.lr_find(); lr = learn.sched.suggest().valley; suggested.append(round(lr, 4))
        row = []
        for r in lr*RATES:
            learn = learner()
            try: learn.fit(float(r), 1); row.append(learn.history[-1]['validation loss'])
            except FloatingPointError: row.append(np.inf)
        losses.append(row)
    means = np.mean(losses, 0)
    print(arch, suggested, means)
    return means[3] <= max(1.1*means.min(), means.min() + .02)

@pytest.mark.parametrize('arch', [lite0, pytest.param('mobilenetv2_100', marks=pytest.mark.slow)])
def test_the_suggested_rate_trains(dogscats_photos, arch):
    assert near_the_best(arch, ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model(arch, 224)))

@pytest.mark.slow
@pytest.mark.parametrize('arch, name, sz', [(lite0, 'caltech101', 224), ('mobilenetv2_100', 'caltech101', 224), ('mobilenetv2_100', 'cifar10', 64)])
def test_the_suggested_rate_trains_on(tmp_path, arch, name, sz):
    with tarfile.open(shared(f'data/{name}.tgz')) as t: t.extractall(tmp_path, filter='data')
    assert near_the_best(arch, ImageClassifierData.from_paths(tmp_path/name, val_name='test', tfms=tfms_from_model(arch, sz)))

@pytest.mark.slow
@pytest.mark.parametrize('arch', [lite0, 'mobilenetv2_100'])
def test_fine_tuning_stage_by_stage(dogscats_photos, arch):
    "The table of lesson 4: frozen at 128, unfrozen at 160, unfrozen at 224."
    def get(sz): return ImageClassifierData.from_paths(dogscats_photos, bs=32, tfms=tfms_from_model(arch, sz, aug_tfms=transforms_side_on, max_zoom=1.1))
    for seed in (1, 2, 3):
        set_seed(seed)
        learn = ConvLearner.pretrained(arch, get(128), precompute=True, **weights_of(arch)); learn.cbs = learn.cbs[:1]
        seconds = []
        def fit(*args): start = time.perf_counter(); learn.fit(*args, cycle_len=1); seconds.append(time.perf_counter() - start)
        fit(3e-3, 3)
        learn.unfreeze(); learn.bn_freeze(True)
        for sz in (160, 224): learn.set_data(get(sz)); fit([1e-5, 1e-4, 1e-3], 2)
        stages = [learn.history[i] for i in (2, 4, 6)]
        print(arch, seed, *(f'{h["accuracy"]:.3f} {h["validation loss"]:.3f} {s:.0f} s;' for h, s in zip(stages, seconds)))
        assert stages[2]['accuracy'] >= max(stages[0]['accuracy'], .975)
