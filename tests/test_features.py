import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.utils
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

import imgcourse.engines
import imgcourse.features
from imgcourse.data import ImageClassifierData
from imgcourse.engines import fold_batchnorm
from imgcourse.features import (Backbone, ConcatPool, FeatureStore, WeightsError, create_backbone, features,
                                load_weights, read_whole, set_weights, write_whole)
from imgcourse.learner import ConvLearner
from imgcourse.transforms import PictureTransform, lite0, tfms_from_model

TFMS = tfms_from_model(lite0, 64)


@pytest.fixture(scope='module')
def backbone():
    "The net on board; no test changes it."
    return create_backbone(lite0)


@pytest.fixture
def data(few):
    return ImageClassifierData.from_paths(few, tfms=TFMS)


@pytest.fixture
def computed(monkeypatch):
    "How many pictures went through a network, call by call."
    counts, real = [], imgcourse.features._compute
    def counting(*args):
        counts.append(len(inspect.signature(real).bind(*args).arguments['ds']))
        return real(*args)
    monkeypatch.setattr(imgcourse.features, '_compute', counting)
    return counts


# ---- networks
ARCHS = ['resnet18', 'densenet121', 'resnetv2_50', 'mobilenetv2_100', 'mobilenetv3_small_050', 'efficientnet_b0',
         'convnext_atto', 'regnetx_002', lite0]


@pytest.mark.parametrize('arch', ARCHS)
def test_folded_network_gives_the_same_answer(arch):
    torch.manual_seed(0)
    net = create_backbone(arch, False)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, .1)
            m.running_var.uniform_(.5, 2)
            m.weight.data.uniform_(.5, 2)
            m.bias.data.normal_(0, .1)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        want, got = net(x), fold_batchnorm(net, x)(x)
    assert (got - want).abs().max() <= 2e-3*want.abs().max()
    assert want.std() > 0


@pytest.mark.parametrize('bias', [True, False])
def test_folding_is_not_done_where_it_would_be_wrong(bias):
    "The convolution's output also goes round the batch norm."
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)
        def forward(self, x):
            x = self.conv(x)
            return x + self.bn(x)
    net = Shortcut().eval()
    net.bn.running_var.fill_(9.)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(fold_batchnorm(net, x)(x), net(x))


@pytest.mark.parametrize('arch, channels', [
    ('resnet18', 512), ('vit_tiny_patch16_224', 192), ('swin_tiny_patch4_window7_224', 768), ('mobilenetv2_100', 1280)])
def test_backbones_of_all_kinds_pool_to_twice_their_channels(arch, channels):
    out = ConcatPool()(create_backbone(arch, False)(torch.randn(1, 3, 224, 224)))
    assert out.shape == (1, 2*channels)
    assert (out[:, channels:] >= out[:, :channels]).all()


def test_a_backbone_knows_what_it_was_made_from():
    net = create_backbone(timm.models.mobilenetv2_050, False, drop_rate=.1, pad_type='same')
    assert (net.arch, net.model_args) == ('mobilenetv2_050', {'drop_rate': .1, 'pad_type': 'same'})
    assert net.made_by == "mobilenetv2_050 {'drop_rate': 0.1, 'pad_type': 'same'}"
    assert net.made_by in repr(net), 'the name of the store of its features hangs on it'
    again = create_backbone(net.arch, False, **net.model_args)
    assert again.made_by == net.made_by
    assert Backbone(net.model).made_by == ''


# ---- weights
@pytest.fixture(scope='module')
def resnet():
    torch.manual_seed(1)
    return create_backbone('resnet18', False)


def test_weights_from_a_file(resnet, tmp_path):
    weights = {k: v.half() if v.is_floating_point() else v for k, v in resnet.model.state_dict().items()}
    extra = {'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(1000)}
    save_file(weights | extra, tmp_path/'w.safetensors')
    net, x = create_backbone('resnet18', tmp_path/'w.safetensors'), torch.randn(1, 3, 64, 64)
    assert next(net.parameters()).dtype == torch.float32
    with torch.no_grad():
        assert torch.allclose(resnet(x), net(x), atol=2e-2)


@pytest.mark.parametrize('lost, more, message', [
    (['bn1.weight'], {}, r'1 missing \(bn1.weight\)'),
    ([], {'layer9.weight': torch.zeros(1)}, r'1 not in the model \(layer9.weight\)'),
    ([], {'conv1.weight': torch.zeros(64, 1, 7, 7)}, r'1 of another shape \(conv1.weight\)'),
    (['bn1.weight', 'bn1.bias', 'conv1.weight', 'layer1.0.conv1.weight'], {'layer9.weight': torch.zeros(1)},
     r'4 missing \(bn1.bias, bn1.weight, conv1.weight, …\); 1 not in the model \(layer9.weight\)$'),
])
def test_weights_that_do_not_fit(resnet, tmp_path, lost, more, message):
    weights = {k: v for k, v in resnet.model.state_dict().items() if k not in lost} | more
    save_file(weights, tmp_path/'w.safetensors')
    with pytest.raises(WeightsError, match='another model.*' + message):
        create_backbone('resnet18', tmp_path/'w.safetensors')


def test_nothing_is_changed_by_weights_that_do_not_fit(resnet):
    net = create_backbone('resnet18', False).model
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(WeightsError, match='in a letter belong to another model'):
        set_weights(net, resnet.model.state_dict() | {'more.weight': torch.zeros(1)}, 'a letter')
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_weights_file_with_a_checksum_that_does_not_agree(resnet, tmp_path):
    file = tmp_path/'w.safetensors'
    write_whole(resnet.model.state_dict(), file, {})
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match='damaged'):
        load_weights(create_backbone('resnet18', False).model, file)


def test_other_files_are_not_opened(tmp_path):
    "A pickle would run its program; the program here would leave a file."
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path/'gotcha'),)
    torch.save({'x': Evil()}, tmp_path/'w.pth')
    with pytest.raises(WeightsError, match='not a whole safetensors file'):
        create_backbone('resnet18', tmp_path/'w.pth')
    assert not (tmp_path/'gotcha').exists()
    with pytest.raises(WeightsError, match='no weights file'):
        create_backbone('resnet18', tmp_path/'none.safetensors')


@pytest.mark.parametrize('kind', ['F8_E4M3', 'F4'])
def test_numbers_that_are_no_weights(tmp_path, kind):
    "torch knows numbers of 8 and 4 bits, and cannot compute with them."
    net = timm.create_model('test_resnet', num_classes=0)
    save_file(net.state_dict(), tmp_path/'w.safetensors')
    content = (tmp_path/'w.safetensors').read_bytes()
    n = int.from_bytes(content[:8], 'little')
    about = json.loads(content[8:8 + n])
    first = next(k for k, v in about.items() if v.get('dtype') == 'F32' and len(v['shape']) == 4)
    times = {'F8_E4M3': 4, 'F4': 8}[kind]
    about[first] |= {'dtype': kind, 'shape': [*about[first]['shape'][:-1], about[first]['shape'][-1]*times]}
    head = json.dumps(about).encode()
    (tmp_path/'w.safetensors').write_bytes(len(head).to_bytes(8, 'little') + head + content[8 + n:])
    with pytest.raises(WeightsError, match=r'w.safetensors'):
        create_backbone('test_resnet', tmp_path/'w.safetensors')
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(WeightsError, match='of another kind of numbers'):
        set_weights(model, {k: v.to(torch.float8_e4m3fn) for k, v in model.state_dict().items()}, 'w.safetensors')


def test_a_file_that_changes_after_it_was_read(tmp_path):
    "What was read, and found whole, stays as it was."
    write_whole({'x': torch.arange(9.)}, tmp_path/'w.safetensors', {})
    tensors, _ = read_whole(tmp_path/'w.safetensors')
    with open(tmp_path/'w.safetensors', 'r+b') as f:
        content = f.read()
        f.seek(0)
        f.write(bytes(len(content)))
    assert tensors['x'].tolist() == [*range(9)]


def test_weights_that_cannot_be_fetched(tmp_path, monkeypatch):
    "The message says how to give a file. (The hub here is a port on which nobody listens.)"
    nobody = 'http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}'
    monkeypatch.setattr(huggingface_hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE', nobody)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path/'hub'))
    monkeypatch.setattr(huggingface_hub.utils._http.time, 'sleep', lambda seconds: None) # it tries again and again
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'torch'))
    with pytest.raises(WeightsError, match=r"weights='resnet18.safetensors'.*weights=False"):
        create_backbone('resnet18')


def test_own_weights_folder(resnet, tmp_path, monkeypatch):
    (tmp_path/'weights').mkdir()
    save_file(resnet.model.state_dict(), tmp_path/'weights'/'resnet18.safetensors')
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path))
    assert torch.equal(create_backbone('resnet18').model.conv1.weight, resnet.model.conv1.weight)


# ---- the store
@pytest.mark.parametrize('dtype, largest, alike', [(torch.float32, .002, .99999), (torch.bfloat16, .25, .99)])
def test_features_are_those_of_the_backbone(backbone, data, own_cache, monkeypatch, dtype, largest, alike):
    "The stored rows are the pooled maps of each picture, up to the rounding of the number format."
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: dtype)
    got = features(backbone, data.fix_ds)
    with torch.no_grad():
        want = torch.cat([ConcatPool()(backbone(x)) for x, _ in data.fix_dl]).numpy()
    assert got[:].shape == (24, 2560)
    assert np.abs(got[:] - want).max() < largest*np.abs(want).max()
    assert np.corrcoef(got[:].ravel(), want.ravel())[0, 1] > alike
    assert np.array_equal(got[[3, 1]], got[:][[3, 1]])


def test_each_picture_is_computed_once(backbone, few, own_cache, computed):
    for _ in range(2):
        data = ImageClassifierData.from_paths(few, tfms=TFMS)
        features(backbone, data.fix_ds)
        features(backbone, data.val_ds)
    assert computed == [24, 12]
    features(backbone, ImageClassifierData.from_folder(few/'train', tfms=TFMS).val_ds)
    assert computed == [24, 12], 'another split finds what is there'
    features(create_backbone(lite0, False), data.val_ds)
    assert computed[2:] == [12], 'other weights, other features'
    features(backbone, ImageClassifierData.from_paths(few, tfms=tfms_from_model(lite0, 48)).val_ds)
    assert computed[3:] == [12], 'another size'


def test_one_changed_picture(backbone, few, own_cache, computed):
    def all_features():
        return features(backbone, ImageClassifierData.from_paths(few, tfms=TFMS).fix_ds)[:].copy()
    before = all_features()
    file = few/'train'/'dogs'/'dog.10.jpg'
    Image.open(file).rotate(90).save(file, quality=95)
    after = all_features()
    assert computed == [24, 1]
    assert (before != after).any(1).sum() == 1
    shutil.rmtree(own_cache)
    alike = 'the one picture has the same features to the bit as if all were computed together'
    assert np.array_equal(all_features(), after), alike


def test_arrays_have_features_too(own_cache, computed):
    x, y = np.random.RandomState(0).randint(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2
    x[7] = x[3]
    data = ImageClassifierData.from_arrays('.', (x, y), (x[:20], y[:20]), tfms=TFMS)
    net = create_backbone(lite0, False)
    feats = features(net, data.fix_ds)
    features(net, data.val_ds)
    assert len(feats) == 40
    assert np.array_equal(feats[7], feats[3])
    assert computed == [39]


def test_damage_is_found_and_mended(backbone, data, own_cache, computed):
    want = features(backbone, data.fix_ds)[:].copy()
    rows, = own_cache.glob('features/*/rows')
    index, = own_cache.glob('features/*/index')
    content, row_20 = rows.read_bytes(), 2560*4*20
    changed = content[:row_20] + b'\xff' + content[row_20 + 1:]
    at_the_begin = b'\xff' + content[1:]
    for damaged, n_lost in ((content[:-5], 8), (at_the_begin, 16), (b'', 24), (changed, 8)):
        rows.write_bytes(damaged)
        assert np.array_equal(features(backbone, data.fix_ds)[:], want)
        assert computed[-1] == n_lost
    for damaged, n_lost in ((index.read_bytes()[:-10], 8), (b'\xff\xfe nonsense\n', 24)):
        index.write_bytes(damaged)
        assert np.array_equal(features(backbone, data.fix_ds)[:], want)
        assert computed[-1] == n_lost
    assert len(computed) == 7


@pytest.mark.parametrize('lost', ['index', 'rows', 'both', 'folder', 'replaced'])
def test_a_cache_that_is_emptied_meanwhile(tmp_path, lost):
    "It can be deleted at any time, and by another program; rows of zeros were given out as features then."
    a, b = np.random.RandomState(0).randn(2, 40, 4).astype(np.float32)
    store = FeatureStore(tmp_path/'s', 4)
    store.read().append([f'a{k}' for k in range(40)], a)
    if lost in ('folder', 'replaced'):
        shutil.rmtree(tmp_path/'s')
    for name in ('index', 'rows'):
        if lost in (name, 'both'):
            (tmp_path/'s'/name).unlink()
    if lost == 'replaced':
        FeatureStore(tmp_path/'s', 4).read().append([f'c{k}' for k in range(90)], np.zeros((90, 4), np.float32))
    store.read().append([f'b{k}' for k in range(40)], b)
    for known in (store.read(), FeatureStore(tmp_path/'s', 4).read()):
        assert not [k for k in known.row if k.startswith('a')]
        assert np.array_equal(known.rows[[known.row[f'b{k}'] for k in range(40)]], b)


SCRIPT = """
import sys, time
import imgcourse.features
from imgcourse.data import ImageClassifierData
from imgcourse.features import FeatureStore, create_backbone, features
imgcourse.features._pause = 0
imgcourse.features.engine_for = lambda *args: 'torch-float32' # a race of two may end in two ways
from imgcourse.transforms import lite0, tfms_from_model
append = FeatureStore.append
def slow(self, keys, rows):
    append(self, keys, rows)
    print('batch', flush=True)
    time.sleep(float(sys.argv[2]))
FeatureStore.append = slow
data = ImageClassifierData.from_paths(sys.argv[1], tfms=tfms_from_model(lite0, 64))
features(create_backbone(lite0), data.fix_ds)
"""


def start(sketches, cache, pause):
    "Another process that computes the features of 800 sketches, and prints a line after each of 25 batches."
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'IMGCOURSE_CACHE': str(cache)}
    argv = [sys.executable, '-c', SCRIPT, str(sketches), str(pause)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, text=True)


@pytest.mark.e2e
def test_killed_in_the_middle(sketches, tmp_path):
    "A process killed after some batches is followed by one that computes the rest, and all is the same to the bit."
    n_all = len(start(sketches, tmp_path/'unbroken', 0).communicate()[0].split())
    n_killed = 0
    for stop_after in (3, 10):
        process = start(sketches, tmp_path/'killed', .02)
        for _ in range(stop_after):
            assert process.stdout.readline() == 'batch\n'
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_killed += stop_after + len(process.stdout.read().split())
    n_rest = len(start(sketches, tmp_path/'killed', 0).communicate()[0].split())
    assert n_all == 25
    assert n_all - n_killed - 2 <= n_rest <= n_all - n_killed
    for name in ('rows', 'index'):
        (unbroken,), (killed,) = ((tmp_path/c).glob(f'features/*/{name}') for c in ('unbroken', 'killed'))
        assert unbroken.read_bytes() == killed.read_bytes()
        assert unbroken.stat().st_size > 1000


@pytest.mark.e2e
def test_two_processes_at_once(sketches, tmp_path):
    processes = [start(sketches, tmp_path, .06) for _ in range(2)]
    printed = [p.communicate()[0] for p in processes]
    assert all(p.returncode == 0 for p in processes)
    assert sum(text.count('batch\n') for text in printed) == 25
    assert sum('Another process computes' in text for text in printed) == 1


def states_after_a_kill(old, new):
    "Each content `(rows, index)` that the files may have, `old` before and `new` after a write."
    for n in range(len(old['rows']), len(new['rows']) + 1):
        yield new['rows'][:n], old['index']
    for n in range(len(old['index']), len(new['index'])):
        yield new['rows'], new['index'][:n]
    yield old['rows'], new['index']
    yield new['rows'], old['index'] + b'\n'


def test_a_kill_at_any_byte_of_a_write(tmp_path):
    "However much of the last write has reached the disk, what was there before is whole, and writing goes on."
    first, second = np.random.RandomState(0).randn(2, 3, 4).astype(np.float32)
    def content():
        return {name: (tmp_path/name).read_bytes() for name in ('rows', 'index')}
    store = FeatureStore(tmp_path, 4).read()
    store.append(['x', 'y', 'z'], first)
    old = content()
    store.append(['p', 'q', 'r'], second)
    for rows, index in states_after_a_kill(old, content()):
        (tmp_path/'rows').write_bytes(rows)
        (tmp_path/'index').write_bytes(index)
        store = FeatureStore(tmp_path, 4).read()
        assert list(store.row) == ['x', 'y', 'z']
        assert np.array_equal(store.rows[:3], first)
        store.append(['p', 'q', 'r'], second)
        store = FeatureStore(tmp_path, 4).read()
        assert list(store.row) == ['x', 'y', 'z', 'p', 'q', 'r']
        assert np.array_equal(store.rows[3:], second)


def test_transforms_that_look_alike_have_stores_of_their_own(few, own_cache):
    net = create_backbone(lite0, False)
    def with_step(step):
        tfm = PictureTransform([v2.Lambda(step), v2.Resize((64, 64))], 64, (.5,)*3, (.5,)*3)
        return features(net, ImageClassifierData.from_paths(few, tfms=(tfm, tfm)).val_ds)[:].copy()
    assert not np.array_equal(with_step(lambda im: im), with_step(lambda im: im.rotate(90)))


def test_augmented_pictures_are_refused(backbone, data):
    with pytest.raises(ValueError, match='fix_ds'):
        features(backbone, data.trn_ds)


def test_a_network_in_training_mode_is_not_changed(data):
    net = Backbone(timm.create_model(lite0, num_classes=0)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    features(net, data.val_ds)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_changed_weights_are_noticed(data):
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    before = learn.predict()
    with torch.no_grad():
        learn.backbone.model.conv_stem.weight.mul_(-1)
    assert not np.array_equal(before, learn.predict())


def peak_memory(n):
    script = Path(__file__).parent/'bench'/'memory.py'
    process = subprocess.run([sys.executable, script, str(n)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    print(n, process.stdout)
    return int(process.stdout.split()[1])


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads /proc')
@pytest.mark.parametrize('n', [pytest.param(20_000, marks=pytest.mark.e2e),
                               pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_hardly_grows_with_the_pictures(n):
    "At most 1 kB for each picture, from the table to the last feature."
    assert peak_memory(n) - peak_memory(2000) <= 1000*(n - 2000)
