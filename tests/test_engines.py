"Engines for frozen nets: they say what the plain net says, and the fastest is taken."
import gc
import logging
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import pytest
import torch
from torch import nn
import imgcourse.breeds
import imgcourse.engines
import imgcourse.features
import imgcourse.learner
from imgcourse.data import ImageClassifierData
from imgcourse.engines import Frozen, engine_for
from imgcourse.export import untouched
from imgcourse.features import ConcatPool, create_backbone, features
from imgcourse.learner import Callback, ConvLearner, set_seed
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on

TFMS = tfms_from_model(lite0, 64)
X = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
ENGINES = ['torch-float32', 'torch-bfloat16', 'onnxruntime-float32', 'openvino-float32', 'openvino-bfloat16']


@pytest.fixture(scope='module')
def net():
    return nn.Sequential(create_backbone(lite0), ConcatPool()).eval()


@pytest.fixture
def engine(monkeypatch):
    "From now on this one computes, whatever a race would say."
    def choose(name):
        if name.startswith('openvino'):
            pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
        for module in (imgcourse.features, imgcourse.learner):
            monkeypatch.setattr(module, 'engine_for', lambda net, x, n, exact=False: name)
    return choose


def rms(x): return float(torch.as_tensor(x).square().mean().sqrt())


@pytest.mark.parametrize('name', ENGINES)
def test_engine_says_what_the_net_says(net, sketches, engine, name):
    "Relative error, in batches of all sizes; 16 bits have two or three digits."
    engine(name)
    data = ImageClassifierData.from_paths(sketches, tfms=TFMS)
    x = next(iter(data.val_dl))[0]
    with torch.inference_mode():
        want, fast = net(x), Frozen(net, name)
        within = .1 if 'bfloat16' in name else 1e-4
        for n in (1, 7, 32, 50):
            got = fast(x[:n])
            assert got.dtype == torch.float32 and got.shape == want[:n].shape
            assert rms(got - want[:n]) < within*rms(want[:n])
        assert fast.engine


@pytest.mark.photos
@pytest.mark.parametrize('name', ENGINES)
def test_heads_are_as_good_on_photos(dogscats_photos, own_cache, engine, name):
    engine(name)
    data = ImageClassifierData.from_paths(dogscats_photos, tfms=tfms_from_model(lite0, 160))
    right = []
    for seed in (1, 2, 3):
        set_seed(seed)
        learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
        learn.fit_one_cycle(3, .01)
        right.append(learn.history[-1]['accuracy'])
    print(name, right)
    assert np.mean(right) > .97


# ---- the race
def test_the_winner_is_remembered(net, own_cache, monkeypatch):
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: torch.float32)
    first = engine_for(net, X, 10**6)
    assert first in ('torch-float32', 'onnxruntime-float32', 'openvino-float32')
    assert [f.read_text() for f in (own_cache/'engines').iterdir()] == [first]
    monkeypatch.setattr(imgcourse.engines, '_seconds', lambda *args: pytest.fail('they raced again'))
    assert engine_for(net, X, 10**6) == engine_for(net, X, 3) == first


def test_for_a_few_pictures_nobody_races(net, own_cache, monkeypatch):
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: torch.float32)
    monkeypatch.setattr(imgcourse.engines, '_seconds', lambda *args: pytest.fail('they raced'))
    assert engine_for(net, X, 20) == 'torch-float32'
    assert not (own_cache/'engines').exists()


def test_nets_that_are_hooked_on_do_not_race(own_cache, monkeypatch):
    monkeypatch.setattr(imgcourse.engines, '_seconds', lambda *args: pytest.fail('they raced'))
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()).eval()
    net[0].register_forward_hook(lambda layer, args, out: None)
    assert engine_for(net, X, 10**6).startswith('torch')
    assert not (own_cache/'engines').exists()


def test_where_there_is_little_to_do_torch_is_tried_once(net, own_cache, monkeypatch):
    tried = []
    monkeypatch.setattr(imgcourse.engines, '_of_torch', {})
    monkeypatch.setattr(imgcourse.engines, '_seconds', lambda net, x, name: tried.append(name) or .001)
    names = [engine_for(net, X, n) for n in (100, 200)]
    assert names[0] == names[1] and len(tried) == 1 and tried[0].startswith('torch')


def test_a_note_that_the_disk_has_spoiled(net, own_cache):
    "They race again."
    assert engine_for(net, X, 10**6)
    note, = (own_cache/'engines').iterdir()
    good = note.read_text()
    note.write_bytes(b'\xff\xfe')
    engine_for(net, X, 10**6)
    assert note.read_text().split('-')[0] in ('torch', 'onnxruntime', 'openvino') and '-' in good


def test_a_cache_that_cannot_be_written(net, own_cache):
    own_cache.mkdir(exist_ok=True)
    (own_cache/'engines').write_text('a file, where a folder should be')
    assert engine_for(net, X, 10**6)


class Odd(nn.Module): # ONNX knows no such thing
    "ONNX knows nothing of it."
    def forward(self, x):
        return torch.from_numpy(np.fft.fft2(x.numpy()).real.astype(np.float32)).flatten(1)[:, :9]


def test_what_cannot_be_exported_is_computed_by_torch(own_cache, monkeypatch, caplog, recwarn):
    "Without a word but in the log."
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: torch.float32)
    with caplog.at_level(logging.INFO, 'imgcourse.engines'):
        assert engine_for(Odd(), X, 10**7) == 'torch-float32'
    assert 'onnxruntime-float32 does not compute this net' in caplog.text
    assert not len(recwarn)


@pytest.mark.parametrize('name', ['onnxruntime-float32', 'openvino-float32'])
@pytest.mark.parametrize('n', [1, 3])
def test_what_a_trace_takes_for_a_constant_is_computed_by_torch(name, n):
    if name.startswith('openvino'):
        pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
    x, net = torch.rand(2*n, 3, 64, 64), Odd()
    with torch.inference_mode():
        fast = Frozen(net, name)
        assert torch.equal(fast(x[:n]), net(x[:n])) and torch.equal(fast(x[n:]), net(x[n:])) and not fast.engine


def test_an_engine_that_is_wrong_is_out(own_cache, monkeypatch, caplog):
    net = create_backbone(lite0).pooled.eval()
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: torch.float32)
    monkeypatch.setattr(imgcourse.engines._Maker, 'onnxruntime', lambda self, dtype: lambda x: net(x) + .1)
    monkeypatch.setattr(imgcourse.engines._Maker, 'openvino', lambda self, dtype: lambda x: net(x)*2)
    with caplog.at_level(logging.INFO, 'imgcourse.engines'):
        assert engine_for(net, X, 10**6) == 'torch-float32'
    assert 'its numbers are off by' in caplog.text


def test_each_engine_has_a_store_of_its_own(sketches, own_cache, engine):
    data = ImageClassifierData.from_paths(sketches, tfms=TFMS)
    found = []
    for name in ('torch-float32', 'onnxruntime-float32', 'torch-float32'):
        engine(name)
        found.append(features(create_backbone(lite0), data.val_ds)[:])
    assert len(list(own_cache.glob('features/*'))) == 2
    assert np.array_equal(found[0], found[2]) and np.allclose(found[0], found[1], atol=1e-2)


# ---- a frozen net, as long as it is that
def change_a_weight(net):
    with torch.no_grad():
        net[0].weight.mul_(2)


def hook_on(net): net[1].register_forward_hook(lambda layer, args, out: out + 1)


@pytest.mark.parametrize('name', ['torch-float32', 'onnxruntime-float32', 'openvino-float32'])
@pytest.mark.parametrize('change', [change_a_weight, hook_on, lambda net: net[1].train(),
                                    lambda net: net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()})])
def test_what_is_no_longer_frozen_computes_itself(change, name):
    if name.startswith('openvino'):
        pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten()).eval()
    x = torch.rand(40, 3, 8, 8)
    with torch.no_grad():
        fast = Frozen(net, name)
        assert torch.allclose(fast(x), net(x), atol=.1) and fast.engine
        change(net)
        assert torch.equal(fast(x), net(x))
        assert torch.allclose(Frozen(net, name)(x), net(x), atol=1e-3) # the engine of before does not


@pytest.fixture
def made(monkeypatch):
    "The names of the engines that are made from now on."
    names, make = [], imgcourse.engines.checked_engine

    def note(net, x, name):
        names.append(name)
        return make(net, x, name)
    monkeypatch.setattr(imgcourse.engines, 'checked_engine', note)
    return names


@pytest.mark.parametrize('name', ENGINES)
def test_the_same_net_keeps_its_engine(name, sketches, own_cache, engine, made):
    engine(name)
    data, backbone = ImageClassifierData.from_paths(sketches, tfms=TFMS), create_backbone(lite0)
    features(backbone, data.val_ds)
    features(backbone, data.fix_ds)
    assert made == [name]
    larger = ImageClassifierData.from_paths(sketches, tfms=tfms_from_model(lite0, 96))
    features(backbone, larger.val_ds)
    assert made == [name]*2


@pytest.mark.parametrize('name', ENGINES)
def test_an_engine_follows_the_free_cores(name, made, monkeypatch):
    "Also in the middle of its work; torch's threads follow by themselves."
    if name.startswith('openvino'):
        pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
    net, threads, x = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()).eval(), [2], torch.rand(5, 3, 8, 8)
    monkeypatch.setattr(imgcourse.engines, 'steady_threads', lambda: threads[0])
    with torch.inference_mode():
        fast = Frozen(net, name)
        first = fast(x)
        threads[0] = 1
        assert torch.allclose(fast(x), first, atol=1e-2) and torch.allclose(Frozen(net, name)(x), first, atol=1e-2)
    assert made == [name]*(1 if name.startswith('torch') else 2)


def test_a_net_that_is_no_longer_used_leaves_nothing(own_cache):
    backbone = create_backbone(lite0)
    with torch.inference_mode():
        assert Frozen(backbone.pooled.eval(), 'onnxruntime-float32')(X).shape == (1, 2560)
    gone = weakref.ref(backbone)
    del backbone
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize('name', ENGINES)
def test_several_threads_ask_at_once(name, net):
    if name.startswith('openvino'):
        pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
    pictures = torch.rand(60, 4, 3, 64, 64)
    with torch.inference_mode():
        alone = [Frozen(net, name)(x) for x in pictures]

    @torch.inference_mode()
    def ask(x):
        return Frozen(net, name)(x)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(alone, pool.map(ask, pictures)))


CTRL_C = """
import faulthandler, gc, signal, torch
from torch import nn
from imgcourse.engines import Frozen
faulthandler.enable()
signal.signal(signal.SIGINT, lambda *args: print('a signal came'))
nets = [nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()).eval() for _ in range(2)]
with torch.inference_mode():
    first, second = [Frozen(net, 'openvino-float32') for net in nets]
    for fast in (first, second):
        fast(torch.rand(2, 3, 8, 8))
        assert fast.engine
nets.clear()
del first, fast
gc.collect()
del second
gc.collect()
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_after_two_engines():
    "One engine after the other is thrown away; the process still takes signals, as it does in a notebook."
    pytest.importorskip('openvino', reason='an extra: pip install imgcourse[fast]')
    p = subprocess.run([sys.executable, '-c', CTRL_C], capture_output=True, text=True)
    assert p.stdout == 'a signal came\n' and p.returncode == 0, p.stderr


def test_pictures_of_another_size(net):
    x = torch.rand(3, 3, 96, 80)
    with torch.inference_mode():
        fast = Frozen(net, 'onnxruntime-float32')
        fast(X)
        assert torch.equal(fast(x), net(x))


def test_a_hook_that_is_there_before_is_called():
    net, seen = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()).eval(), []
    net[0].register_forward_hook(lambda layer, args, out: seen.append(len(out)))
    with torch.no_grad():
        Frozen(net, 'torch-float32')(torch.rand(40, 3, 8, 8))
    assert seen == [40]


class Strange(nn.Module):
    "Batch norm that has no averages."
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x): return self.norm(input=self.conv(x))


@pytest.mark.parametrize('name', ENGINES[:3])
def test_a_net_that_no_engine_takes_computes_itself(name):
    net, x = Strange().eval(), torch.rand(40, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(Frozen(net, name)(x), net(x))


def plain(self, full, n): return self.full if full else self.model


def test_features_and_predictions_by_it(sketches, own_cache, engine, monkeypatch):
    "And both passes of a training; `accumulate` counts as before."
    engine('onnxruntime-float32')
    calls, real = [], imgcourse.engines.checked_engine
    def counted(net, x, name):
        fast = real(net, x, name)
        return lambda x: calls.append(len(x)) or fast(x)
    monkeypatch.setattr(imgcourse.engines, 'checked_engine', counted)
    data = ImageClassifierData.from_paths(sketches, tfms=TFMS)
    learn = ConvLearner.pretrained(lite0, data, accumulate=4).silent()
    steps = []
    class Steps(Callback):
        def before_step(self, learn): steps.append(learn.i)
    learn.fit(.01, cbs=Steps())
    assert len(steps) == -(-len(data.trn_dl)//4)
    assert sum(calls) == len(data.trn_ds) + len(data.val_ds), 'each picture once'
    learn.predict()
    assert sum(calls) == len(data.trn_ds) + 2*len(data.val_ds)


def test_learners_use_it(sketches, own_cache, engine, monkeypatch):
    "`predict`, `TTA` and a training on augmented pictures say the same with it as without, but for rounding."
    engine('onnxruntime-float32')
    tfms = tfms_from_model(lite0, 64, aug_tfms=transforms_side_on)
    data = ImageClassifierData.from_paths(sketches, tfms=tfms)
    def run():
        set_seed(1)
        learn = ConvLearner.pretrained(lite0, data, ps=0, xtra_fc=[]).silent()
        learn.fit(.01)
        return np.exp(np.concatenate([learn.predict()[None], learn.TTA(n_aug=1)[0]]))
    fast = run()
    monkeypatch.setattr(ConvLearner, 'asked', plain)
    assert np.abs(fast - run()).mean() < 1e-4


def test_many_pictures_are_asked_in_float32(sketches, own_cache, monkeypatch):
    "Also where a processor has 16 bits."
    monkeypatch.setattr(imgcourse.engines, 'fast_dtype', lambda device: torch.bfloat16)
    made, real = [], imgcourse.engines.checked_engine
    def noted(net, x, name): return made.append(name) or real(net, x, name)
    monkeypatch.setattr(imgcourse.engines, 'checked_engine', noted)
    net = untouched()
    files = [str(f) for f in list((sketches/'train'/'cats').iterdir())[:260]]
    assert np.allclose(net.predict(files)[:3], net.predict(files[:3]), atol=1e-4)
    learn = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(sketches, tfms=TFMS)).silent()
    learn.predict()
    assert made and all(name.endswith('float32') for name in made)


EXPORT_FAILS = """
import os, sys
import torch
from torch import nn
from imgcourse.engines import engine_for

class Odd(nn.Module): # ONNX knows no such thing
    def forward(self, x): return torch.linalg.matrix_exp(x[..., :4, :4]).sum((1, 2, 3))[:, None]

layer = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
net = nn.Sequential(*[layer for _ in range(300)], Odd()).eval()
print('before', flush=True)
kept = os.dup(1)
os.dup2(os.pipe()[1], 1) # nobody reads there
name = engine_for(net, torch.zeros(1, 3, 16, 16), 10**6, exact=True)
os.dup2(kept, 1)
print(name)
"""


@pytest.mark.skipif(os.name != 'posix', reason='pipes of POSIX')
def test_an_export_that_fails_does_not_wait_for_a_reader(own_cache):
    "As in a notebook: what C++ prints is read by a thread that cannot run meanwhile."
    done = subprocess.run([sys.executable, '-c', EXPORT_FAILS], capture_output=True, text=True, timeout=100)
    assert done.stdout.split('\n')[0] == 'before' and done.stdout.split('\n')[1].startswith('torch-'), done.stderr
