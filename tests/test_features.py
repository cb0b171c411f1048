import os, signal, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from imgcourse.data import ImageClassifierData, lite0, tfms_from_model
from imgcourse.features import Backbone, ConcatPool, FeatureStore, WeightsError, create_backbone, features, fold_batchnorm

TFMS = tfms_from_model(lite0, 64)

@pytest.fixture
def data(few): return ImageClassifierData.from_paths(few, tfms=TFMS)

@pytest.fixture
def computed(monkeypatch):
    "How many pictures went through a network, call by call."
    import imgcourse.features as f
    counts, real = [], f._compute
    monkeypatch.setattr(f, '_compute', lambda backbone, probe, dtype, ds, *args: counts.append(len(ds)) or real(backbone, probe, dtype, ds, *args))
    return counts

# ---- networks
@pytest.mark.parametrize('arch', ['resnet18', 'densenet121', 'resnetv2_50', 'mobilenetv2_100', 'mobilenetv3_small_050', 'efficientnet_b0', 'convnext_atto', 'regnetx_002', lite0])
def test_folded_network_gives_the_same_answer(arch):
    torch.manual_seed(0)
    backbone = create_backbone(arch, False)
    for m in backbone.modules():
        if isinstance(m, nn.BatchNorm2d): m.running_mean.normal_(0, .1); m.running_var.uniform_(.5, 2); m.weight.data.uniform_(.5, 2); m.bias.data.normal_(0, .1)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad(): want, got = backbone(x), fold_batchnorm(backbone, x)(x)
    assert (got - want).abs().max() <= 2e-3*want.abs().max() and want.std() > 0

@pytest.mark.parametrize('bias', [True, False])
def test_folding_is_not_done_where_it_would_be_wrong(bias):
    "The convolution's output also goes round the batch norm."
    class Shortcut(nn.Module):
        def __init__(self): super().__init__(); self.conv, self.bn = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)
        def forward(self, x): x = self.conv(x); return x + self.bn(x)
    net = Shortcut().eval(); net.bn.running_var.fill_(9.); x = torch.randn(2, 3, 8, 8)
    with torch.no_grad(): assert torch.allclose(fold_batchnorm(net, x)(x), net(x))

@pytest.mark.parametrize('arch, channels', [('resnet18', 512), ('vit_tiny_patch16_224', 192), ('swin_tiny_patch4_window7_224', 768), ('mobilenetv2_100', 1280)])
def test_backbones_of_all_kinds_pool_to_twice_their_channels(arch, channels):
    out = ConcatPool()(create_backbone(arch, False)(torch.randn(1, 3, 224, 224)))
    assert out.shape == (1, 2*channels) and (out[:, channels:] >= out[:, :channels]).all()

# ---- weights
def test_weights_from_a_file(tmp_path):
    torch.manual_seed(1); a = create_backbone('resnet18', False)
    extra = {'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(1000)}
    save_file({k: v.half() if v.is_floating_point() else v for k, v in a.model.state_dict().items()} | extra, tmp_path/'w.safetensors')
    b, x = create_backbone('resnet18', tmp_path/'w.safetensors'), torch.randn(1, 3, 64, 64)
    with torch.no_grad(): assert torch.allclose(a(x), b(x), atol=2e-2) and next(b.parameters()).dtype == torch.float32

@pytest.mark.parametrize('spoil, message', [
    (lambda sd: {k: v for k, v in sd.items() if k != 'bn1.weight'}, r'1 missing \(bn1.weight\)'),
    (lambda sd: sd | {'layer9.weight': torch.zeros(1)}, r'1 not in the model \(layer9.weight\)'),
    (lambda sd: sd | {'conv1.weight': torch.zeros(64, 1, 7, 7)}, r'1 of another shape \(conv1.weight\)')])
def test_weights_that_do_not_fit(tmp_path, spoil, message):
    save_file(spoil(create_backbone('resnet18', False).model.state_dict()), tmp_path/'w.safetensors')
    with pytest.raises(WeightsError, match='another model.*' + message): create_backbone('resnet18', tmp_path/'w.safetensors')

def test_other_files_are_not_opened(tmp_path):
    "A pickle would run its program; the program here would leave a file."
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'gotcha'),)
    torch.save({'x': Evil()}, tmp_path/'w.pth')
    with pytest.raises(WeightsError, match='not a whole safetensors file'): create_backbone('resnet18', tmp_path/'w.pth')
    assert not (tmp_path/'gotcha').exists()
    with pytest.raises(WeightsError, match='no weights file'): create_backbone('resnet18', tmp_path/'none.safetensors')

def test_weights_that_cannot_be_fetched(monkeypatch):
    "The message says how to give a file. (The hub here is a port on which nobody listens.)"
    code = """
import huggingface_hub.constants as c
from imgcourse.features import create_backbone
try: create_backbone('resnet18')
except ValueError as e: print(e)
"""
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path), 'HF_ENDPOINT': 'http://127.0.0.1:9', 'HF_HOME': os.environ['IMGCOURSE_CACHE'] + '/hf', 'TORCH_HOME': os.environ['IMGCOURSE_CACHE'] + '/hf'}
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, timeout=120).stdout
    assert "weights='resnet18.safetensors'" in out and 'weights=False' in out

def test_own_weights_folder(tmp_path, monkeypatch):
    (tmp_path/'weights').mkdir()
    torch.manual_seed(3); a = create_backbone('resnet18', False)
    save_file(a.model.state_dict(), tmp_path/'weights'/'resnet18.safetensors')
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path))
    assert torch.equal(create_backbone('resnet18').model.conv1.weight, a.model.conv1.weight)

# ---- the store
def test_features_are_those_of_the_backbone(data, own_cache):
    "The stored rows are the pooled maps of each picture, up to the rounding of the fast number format."
    backbone = create_backbone(lite0)
    got = features(backbone, data.fix_ds)
    with torch.no_grad(): want = torch.cat([ConcatPool()(backbone(x)) for x, _ in data.fix_dl]).numpy()
    assert got[:].shape == (24, 2560) and np.abs(got[:] - want).max() < .05*np.abs(want).max()
    assert np.corrcoef(got[:].ravel(), want.ravel())[0, 1] > .999 and np.array_equal(got[[3, 1]], got[:][[3, 1]])

def test_each_picture_is_computed_once(few, own_cache, computed):
    backbone = create_backbone(lite0)
    for _ in range(2):
        data = ImageClassifierData.from_paths(few, tfms=TFMS)
        features(backbone, data.fix_ds), features(backbone, data.val_ds)
    assert computed == [24, 12]
    features(backbone, ImageClassifierData.from_folder(few/'train', tfms=TFMS).val_ds)
    assert computed == [24, 12], 'another split finds what is there'
    features(create_backbone(lite0, False), data.val_ds); assert computed[2:] == [12], 'other weights, other features'
    features(backbone, ImageClassifierData.from_paths(few, tfms=tfms_from_model(lite0, 48)).val_ds); assert computed[3:] == [12], 'another size'

def test_one_changed_picture(few, own_cache, computed):
    backbone = create_backbone(lite0)
    def both(): d = ImageClassifierData.from_paths(few, tfms=TFMS); return features(backbone, d.fix_ds)[:].copy()
    before = both(); f = few/'train'/'dogs'/'dog.10.jpg'
    Image.open(f).rotate(90).save(f, quality=95)
    after = both()
    assert computed == [24, 1] and list((before != after).any(1)).count(True) == 1
    import shutil; shutil.rmtree(own_cache)
    assert np.array_equal(both(), after), 'the one picture has the same features to the bit as if all were computed together'

def test_arrays_have_features_too(own_cache, computed):
    x, y = np.random.RandomState(0).randint(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2
    x[7] = x[3]
    data = ImageClassifierData.from_arrays('.', (x, y), (x[:20], y[:20]), tfms=TFMS)
    backbone = create_backbone(lite0, False)
    f = features(backbone, data.fix_ds); features(backbone, data.val_ds)
    assert len(f) == 40 and np.array_equal(f[7], f[3]) and computed == [39]

def test_damage_is_found_and_mended(data, own_cache, computed):
    backbone = create_backbone(lite0); want = features(backbone, data.fix_ds)[:].copy()
    rows, = own_cache.glob('features/*/rows'); b = bytearray(rows.read_bytes())
    for spoil in (lambda b: b[:-5], lambda b: b[:2560*4*20] + b'\xff' + b[2560*4*20 + 1:], lambda b: b''):
        rows.write_bytes(spoil(bytes(b)))
        assert np.array_equal(features(backbone, data.fix_ds)[:], want)
    assert computed == [24, 8, 8, 24]
    index, = own_cache.glob('features/*/index'); index.write_bytes(index.read_bytes()[:-10])
    assert np.array_equal(features(backbone, data.fix_ds)[:], want) and computed[4:] == [8]
    index.write_bytes(b'\xff\xfe nonsense\n')
    assert np.array_equal(features(backbone, data.fix_ds)[:], want) and computed[5:] == [24]

SCRIPT = """
import sys, time
from imgcourse.data import *
from imgcourse.features import *
import imgcourse.features as f
append = FeatureStore.append
def slow(self, keys, rows): append(self, keys, rows); print('batch', flush=True); time.sleep(float(sys.argv[2]))
FeatureStore.append = slow
data = ImageClassifierData.from_paths(sys.argv[1], tfms=tfms_from_model(lite0, 64))
features(create_backbone(lite0), data.fix_ds)
"""

def test_killed_in_the_middle(sketches, tmp_path, monkeypatch):
    "A process killed after some batches is followed by one that computes the rest, and all is the same to the bit."
    env = lambda c: {**os.environ, 'PYTHONPATH': ':'.join(sys.path), 'IMGCOURSE_CACHE': str(tmp_path/c)}
    run = lambda c, pause: subprocess.Popen([sys.executable, '-c', SCRIPT, str(sketches), str(pause)], stdout=subprocess.PIPE, env=env(c))
    n_all = len(run('unbroken', 0).communicate()[0].split())
    n_killed = 0
    for stop_after in (3, 10):
        p = run('killed', .02)
        for _ in range(stop_after): assert p.stdout.readline() == b'batch\n'
        p.send_signal(signal.SIGKILL); p.wait(); n_killed += stop_after + len(p.stdout.read().split())
    n_rest = len(run('killed', 0).communicate()[0].split())
    assert n_all == 50 and n_all - n_killed - 2 <= n_rest <= n_all - n_killed
    for name in ('rows', 'index'):
        (a,), (b,) = ((tmp_path/c).glob(f'features/*/{name}') for c in ('unbroken', 'killed'))
        assert a.read_bytes() == b.read_bytes() and len(a.read_bytes()) > 1000

def test_two_processes_at_once(sketches, tmp_path):
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path), 'IMGCOURSE_CACHE': str(tmp_path)}
    ps = [subprocess.Popen([sys.executable, '-c', SCRIPT, str(sketches), '0.002'], stdout=subprocess.PIPE, env=env) for _ in range(2)]
    out = [p.communicate()[0].decode() for p in ps]
    assert sum(o.count('batch\n') for o in out) == 50 and sum('Another process' in o for o in out) == 1 and all(p.returncode == 0 for p in ps)

def test_a_kill_at_any_byte_of_a_write(tmp_path):
    "However much of the last write has reached the disk, what was there before is whole, and writing goes on."
    rng = np.random.RandomState(0); a, b = rng.randn(2, 3, 4).astype(np.float32)
    store = FeatureStore(tmp_path/'s', 4).read(); store.append(['x', 'y', 'z'], a)
    old = {f: (tmp_path/'s'/f).read_bytes() for f in ('rows', 'index')}
    store.append(['p', 'q', 'r'], b)
    new = {f: (tmp_path/'s'/f).read_bytes() for f in ('rows', 'index')}
    states = [(new['rows'][:n], old['index']) for n in range(len(old['rows']), len(new['rows']) + 1)] + [(new['rows'], new['index'][:n]) for n in range(len(old['index']), len(new['index']))]
    states += [(old['rows'], new['index']), (new['rows'], old['index'] + b'\n')]
    for rows, index in states:
        (tmp_path/'s'/'rows').write_bytes(rows); (tmp_path/'s'/'index').write_bytes(index)
        s = FeatureStore(tmp_path/'s', 4).read()
        assert list(s.row) == ['x', 'y', 'z'] and np.array_equal(s.rows[:3], a)
        s.append(['p', 'q', 'r'], b)
        s = FeatureStore(tmp_path/'s', 4).read()
        assert list(s.row) == ['x', 'y', 'z', 'p', 'q', 'r'] and np.array_equal(s.rows[3:], b)

def test_transforms_that_look_alike_have_stores_of_their_own(few, own_cache):
    from torchvision.transforms import v2
    from imgcourse.data import PictureTransform
    backbone = create_backbone(lite0, False)
    def feats(f): t = PictureTransform([v2.Lambda(f), v2.Resize((64, 64))], 64, (.5,)*3, (.5,)*3); return features(backbone, ImageClassifierData.from_paths(few, tfms=(t, t)).val_ds)[:].copy()
    assert not np.array_equal(feats(lambda im: im), feats(lambda im: im.rotate(90)))

def test_augmented_pictures_are_refused(data):
    with pytest.raises(ValueError, match='fix_ds'): features(create_backbone(lite0, False), data.trn_ds)

def test_a_network_in_training_mode_is_not_changed(data):
    import timm
    backbone = Backbone(timm.create_model(lite0, num_classes=0)).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    features(backbone, data.val_ds)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())

def test_changed_weights_are_noticed(data):
    from imgcourse.learner import ConvLearner
    learn = ConvLearner.pretrained(lite0, data, precompute=True); a = learn.predict()
    with torch.no_grad(): learn.backbone.model.conv_stem.weight.mul_(-1)
    assert not np.array_equal(a, learn.predict())

def peak_memory(n):
    p = subprocess.run([sys.executable, Path(__file__).parent/'bench'/'memory.py', str(n)], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    print(n, p.stdout); return int(p.stdout.split()[1])

@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads /proc')
@pytest.mark.parametrize('n', [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_hardly_grows_with_the_pictures(n):
    "At most 1 kB for each picture, from the table to the last feature."
    assert peak_memory(n) - peak_memory(2000) <= 1000*(n - 2000)
