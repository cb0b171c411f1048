"Files are whole or refused; a run that was stopped ends as if it had not been; NaN and Ctrl-C lose nothing; several processes agree."
import json, multiprocessing, os, pickle, random, re, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest, torch
from safetensors.torch import load_file, save_file
from torch import nn
from imgcourse.checkpoint import Checkpoint, Clip, _read_state, random_state, set_random_state
from imgcourse.data import ImageClassifierData
from imgcourse.transforms import lite0, tfms_from_model, transforms_side_on
from imgcourse.features import WeightsError, create_backbone, read_whole, write_whole
from imgcourse.learner import Callback, ConvLearner, Learner, set_seed
from imgcourse.schedule import EarlyStopping

SMALL = 'test_resnet' # timm's smallest, with random weights: many trainings, and none needs to be good
WEIGHTS = 'small.safetensors' # in the folder of the test
TFMS = tfms_from_model(SMALL, 64)

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        save_file(create_backbone(SMALL, False).model.state_dict(), WEIGHTS)

@pytest.fixture
def data(few): return ImageClassifierData.from_paths(few, bs=8, tfms=TFMS)

def learner(data, seed=1, precompute=True, **kw): set_seed(seed); return ConvLearner.pretrained(SMALL, data, precompute, weights=WEIGHTS, **kw).silent()
def small_net(): return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.3), nn.Linear(8, 2))
def state(learn): return {k: v.detach().cpu().clone() for k, v in learn.full.state_dict().items()}
def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

def copy_sketches(sketches, to, n_train, n_valid):
    "So many of each class."
    for split, n in (('train', n_train), ('valid', n_valid)):
        for c in ('cats', 'dogs'):
            (to/split/c).mkdir(parents=True)
            for f in sorted((sketches/split/c).iterdir())[:n]: shutil.copy(f, to/split/c/f.name)
    return to

# ---- kill -9
def train(folder, models, seed, kind, out, resume=True):
    "Five epochs: augmented pictures, dropout, batch norm, momentum or Adam, rates that change."
    set_seed(seed)
    data = ImageClassifierData.from_paths(folder, bs=8, tfms=tfms_from_model(SMALL, 64, aug_tfms=transforms_side_on, max_zoom=1.2))
    learn = ConvLearner.pretrained(SMALL, data, weights=folder.parent/WEIGHTS, opt_fn=torch.optim.AdamW if kind == 'one cycle' else lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=.9))
    learn.silent().models_path = Path(models)
    learn.freeze_to(-2)
    cbs = [Checkpoint(part=.8)] if resume else []
    if kind == 'one cycle': learn.accumulate = 2; learn.fit_one_cycle(5, slice(1e-4, 3e-3), cbs=[Clip(1.), *cbs])
    else: learn.fit([1e-4, 1e-3, 1e-2], 2, cycle_len=1, cycle_mult=4, cbs=cbs)
    save_file({k: v.contiguous() for k, v in learn.full.state_dict().items()}, f'{out}.new'); Path(f'{out}.json').write_text(json.dumps(learn.history)); os.replace(f'{out}.new', out)

@pytest.mark.parametrize('kind', ['restarts', 'one cycle'])
def test_killed_at_random_moments(sketches, tmp_path, kind):
    "Ten kills in all, within epochs, between them, while files are written: each resumed run ends with the weights of the unbroken one, bit for bit."
    folder = copy_sketches(sketches, tmp_path/'d', 24, 6)
    ctx = multiprocessing.get_context('forkserver'); ctx.set_forkserver_preload(['imgcourse.all'])
    def start(*args): p = ctx.Process(target=train, args=(folder, *args)); p.start(); return p
    def first_checkpoint(p, models):
        while not list(models.glob('run.?.state.safetensors')): assert p.exitcode is None; time.sleep(.002)
        return time.monotonic()
    p = start(tmp_path/'none', 7, kind, tmp_path/'unbroken', False); p.join(); assert p.exitcode == 0
    p = start(tmp_path/'timed', 7, kind, tmp_path/'timed.out'); begun = first_checkpoint(p, tmp_path/'timed'); p.join(); seconds = time.monotonic() - begun
    want, history = load_file(tmp_path/'unbroken'), (tmp_path/'unbroken.json').read_text()
    assert same(load_file(tmp_path/'timed.out'), want), 'checkpoints change nothing'
    rng, places = random.Random(kind), set()
    for i in range(5):
        out, models = tmp_path/f'{i}.out', tmp_path/f'models {i}'
        pause = rng.uniform(0, .9)*seconds
        while True:
            p = start(models, 7, kind, out); first_checkpoint(p, models)
            time.sleep(pause); p.kill(); p.join()
            if not out.exists(): break
            out.unlink(), shutil.rmtree(models); pause /= 2   # it was faster than the one that was timed
        assert p.exitcode == -signal.SIGKILL
        places |= {(s[1]['epoch'], s[1]['batch']) for f in models.glob('run.?.safetensors') if (s := _read_state(f))}
        p = start(models, 100 + i, kind, out); p.join(); assert p.exitcode == 0   # another seed: all chance must come from the checkpoint
        assert same(load_file(out), want) and Path(f'{out}.json').read_text() == history, f'kill {i}'
    assert len(places) >= 3, 'the kills came at different places'

def test_each_moment_of_writing(data, tmp_path, monkeypatch):
    "Whatever of the last checkpoint has reached the disk, the run goes on, and ends the same."
    want = learner(data); want.fit(.01, 3)
    class Stop(Exception): pass
    class StopAt(Callback):
        order = 9
        def after_batch(self, learn):
            if learn.training and (learn.epoch, learn.i) == (1, 1): raise Stop
    def broken():
        shutil.rmtree('models', ignore_errors=True)
        with pytest.raises(Stop): learner(data).fit(.01, 3, cbs=[Checkpoint(part=1), StopAt()])
        files = sorted(Path('models').glob('run.*'), key=lambda f: f.stat().st_mtime_ns)
        assert len(files) == 4
        return files
    def spoil(file, how):
        if how == 'gone': file.unlink()
        elif how == 'half': file.write_bytes(file.read_bytes()[:file.stat().st_size//2])
        elif how == 'flipped': b = bytearray(file.read_bytes()); b[-20] ^= 4; file.write_bytes(b)
        elif how == 'empty': file.write_bytes(b'')
    for which, how in ((-1, 'gone'), (-1, 'half'), (-2, 'flipped'), (-2, 'empty'), (-2, 'gone')):
        spoil(broken()[which], how)
        again = learner(data, seed=5); again.fit(.01, 3, resume=True)
        assert same(state(again), state(want)) and again.history == want.history, (which, how)

def test_a_finished_run_is_not_repeated(data, capsys):
    a = learner(data); a.fit(.01, 2, resume='mine'); after = torch.rand(1)
    b = learner(data, seed=9); b.fit(.01, 2, resume='mine')
    assert same(state(a), state(b)) and a.history == b.history and "'mine': all 2 epochs are done" in capsys.readouterr().out
    assert torch.equal(torch.rand(1), after), 'what comes after it draws the same random numbers'

def test_another_plan_is_refused(data, few):
    a = learner(data); a.fit(.01, 2, resume=True)
    for change, message in ((lambda: dict(lrs=.02, n_cycle=2), 'learning rates'), (lambda: dict(lrs=.01, n_cycle=3), 'epochs'), (lambda: dict(lrs=.01, n_cycle=2, wds=.1), 'weight decay'), (lambda: dict(lrs=.01, n_cycle=2, cycle_len=1), 'schedule')):
        b = learner(data, seed=2); before = state(b)
        with pytest.raises(ValueError, match=f'another plan.*{message}.*resume='): b.fit(**change(), resume=True)
        assert same(state(b), before) and b.history == []
    b = learner(data, opt_fn=torch.optim.Adam)
    with pytest.raises(ValueError, match='SGD.*Adam'): b.fit(.01, 2, resume=True)
    b = learner(data, xtra_fc=[64]); before = state(b)
    with pytest.raises(ValueError): b.fit(.01, 2, resume=True)
    assert same(state(b), before)

def test_early_stopping_and_resuming(data):
    class Script(Callback):
        order = 15
        def after_epoch(self, learn): learn.history[-1]['validation loss'] = [3, 2, 2.5, 2.6, 2.7][learn.epoch]
    def run(cbs, seed=1, **kw): l = learner(data, seed=seed); l.fit(.01, 5, cbs=[Script(), EarlyStopping(2), *cbs], **kw); return l
    want = run([])
    class Stop(Callback):
        def before_batch(self, learn):
            if learn.epoch == 3 and learn.training: raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): run([Checkpoint(part=1), Stop()])
    got = run([], seed=4, resume=True)
    assert same(state(got), state(want)) and got.history == want.history and len(want.history) == 4

def test_plain_learner_resumes(data):
    def run(seed, cbs=(), **kw): set_seed(seed); l = Learner(small_net(), data, opt_fn=torch.optim.RMSprop); l.cbs = l.cbs[:1]; l.fit(.01, 3, use_clr=(5, 3), cycle_len=1, cbs=cbs, **kw); return l
    class Stop(Callback):
        def before_batch(self, learn):
            if learn.epoch == 2: raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): run(1, [Checkpoint(part=1), Stop()])
    assert same(state(run(3, resume=True)), state(run(1)))

# ---- save and load
def test_save_and_load(data):
    a = learner(data)
    with pytest.raises(ValueError, match='no training'): a.save_state('a')
    a.fit(.01, 2); file = a.save_state('a')
    assert file == Path('models/a.safetensors') and file.exists() and Path('models/a.state.safetensors').exists() and same(load_file(file), state(a))
    b = learner(data, seed=2); b.load('a.safetensors')
    assert np.array_equal(a.predict(), b.predict()) and same(state(a), state(b)) and b.history == []
    b.fit(.01, 1); b.load_state('a')
    assert b.history == a.history and all(torch.equal(x['momentum_buffer'], y['momentum_buffer']) for x, y in zip(a.opt.state_dict()['state'].values(), b.opt.state_dict()['state'].values()))
    save_file({'x': torch.ones(1)}, 'models/a.state.safetensors')
    with pytest.raises(WeightsError, match='no state'): b.load_state('a')
    b.save('b')
    with pytest.raises(WeightsError, match='no state'): b.load_state('b')
    plain = learner(data, precompute=False); plain.load('a'); assert np.abs(np.exp(plain.predict()) - np.exp(a.predict())).max() < .03

class Bomb:
    def __reduce__(self): return (Path('exploded').touch, ())

def test_what_does_not_belong_is_refused(data, few):
    a = learner(data); a.fit(.01, 1); a.save('a'); whole = Path('models/a.safetensors').read_bytes()
    x = np.random.RandomState(0).randint(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    three = ImageClassifierData.from_arrays('.', (x, np.arange(30) % 3), (x, np.arange(30) % 3), tfms=TFMS)
    swapped = ImageClassifierData(few, (data.trn_ds.items, data.trn_y), (data.val_ds.items, data.val_y), ['dogs', 'cats'], TFMS, 8)
    def refused(learn, name, message):
        before, history = state(learn), list(learn.history)
        with pytest.raises(WeightsError, match=message): learn.load(name)
        assert same(state(learn), before) and learn.history == history
    refused(learner(three), 'a', "classes .'cats', 'dogs'. in the file, .'0', '1', '2'. here")
    refused(learner(swapped), 'a', "classes .'cats', 'dogs'. in the file, .'dogs', 'cats'. here")
    set_seed(0); refused(ConvLearner.pretrained('resnet10t', ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model('resnet10t', 64)), weights=False), 'a', 'architecture test_resnet.*resnet10t.* here')
    refused(learner(data, xtra_fc=[64]), 'a', r'of another shape \(2\.')
    refused(learner(data, xtra_fc=[]), 'a', 'not in the model')
    refused(a, 'nothing', 'There is no')
    for name, content, message in (('half', whole[:len(whole)//2], 'not a whole'), ('empty', b'', 'not a whole'), ('text', b'hello world, this is no model', 'not a whole'), ('flipped', whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], 'checksum')):
        Path(f'models/{name}.safetensors').write_bytes(content); refused(a, name, message)
    i = whole.index(b'about'); Path('models/header.safetensors').write_bytes(whole[:i + 20] + bytes([whole[i + 20] ^ 1]) + whole[i + 21:]); refused(a, 'header', 'checksum|not a whole')
    Path('models/pickle.safetensors').write_bytes(pickle.dumps(Bomb())); refused(a, 'pickle', 'can hold programs')
    torch.save({'x': Bomb()}, 'models/torch.safetensors'); refused(a, 'torch', 'can hold programs')
    assert not Path('exploded').exists()

def test_an_older_file_stays_when_writing_fails(tmp_path, monkeypatch):
    write_whole({'x': torch.ones(3)}, tmp_path/'f.safetensors', {'n': 1})
    def full(fd): os.ftruncate(fd, 9); raise OSError(28, 'No space left on device')
    monkeypatch.setattr('imgcourse.features.os.fsync', full)
    with pytest.raises(OSError): write_whole({'x': torch.zeros(3)}, tmp_path/'f.safetensors', {'n': 2})
    t, about = read_whole(tmp_path/'f.safetensors'); assert about == {'n': 1} and t['x'].sum() == 3

def test_random_state():
    s = json.loads(json.dumps(random_state())); a = random.random(), random.gauss(0, 1), np.random.randn(3).tolist(), torch.randn(3).tolist()
    set_random_state(s); assert (random.random(), random.gauss(0, 1), np.random.randn(3).tolist(), torch.randn(3).tolist()) == a

# ---- losses that are no numbers, Ctrl-C
def test_nan_puts_the_last_good_weights_back(data):
    learn = learner(data); learn.fit(.01, 1); before = state(learn)
    with pytest.raises(FloatingPointError, match='lr_find.*clip'): learn.fit(1e15, 3)
    after = state(learn)
    assert all(torch.isfinite(v).all() for v in after.values()) and same(after, before), 'the first pass already went wrong'
    class Poison(Callback):
        def before_batch(self, learn):
            if learn.epoch == 2 and learn.training: learn.x = learn.x*float('nan')
    learn.history.clear()
    good = []
    class Note(Callback):
        order = 4
        def after_epoch(self, learn): good.append(state(learn))
    with pytest.raises(FloatingPointError, match='epoch 2'): learn.fit(.01, 4, cbs=[Poison(), Note()])
    assert same(state(learn), good[1]) and len(learn.history) == 2 and np.isfinite(learn.predict()).all()

def test_ctrl_c_keeps_what_was_learnt(data, ctrl_c):
    class Interrupt(Callback):
        def after_batch(self, learn):
            if learn.epoch == 1 and learn.i == 1: ctrl_c()
    want = learner(data); want.fit(.01, 3)
    learn = learner(data); before = state(learn)
    with pytest.raises(KeyboardInterrupt): learn.fit(.01, 3, cbs=[Interrupt(), Checkpoint(part=1)])
    assert len(learn.history) == 1 and not same(state(learn), before) and np.isfinite(learn.predict()).all()
    learn.fit(.01, 3, resume=True)
    assert same(state(learn), state(want)) and learn.history == want.history

# ---- precision, accumulation, clipping
def linear(data): l = learner(data); l.head = nn.Sequential(nn.Linear(192, 2), nn.LogSoftmax(1)); set_seed(1); l.head[0].reset_parameters(); l.full[2] = l.head; return l

def test_accumulated_batches_are_one_large_batch(few):
    ends = []
    for bs, n in ((12, 1), (4, 3)):
        l = linear(ImageClassifierData.from_paths(few, bs=bs, tfms=TFMS)); l.accumulate = n
        set_seed(2); l.fit(.01, 2); ends.append(l.head[0].weight.detach().cpu())
        assert len(l.sched.lrs) == 4
    assert torch.allclose(*ends, atol=1e-6)

def test_clipping(data):
    "With SGD without momentum no step is longer than rate times clip."
    steps = []
    class Length(Callback):
        def before_batch(self, learn): self.w = learn.head[0].weight.detach().clone(), learn.head[0].bias.detach().clone()
        def after_batch(self, learn):
            if learn.training: steps.append(sum(((a - b.detach())**2).sum().item() for a, b in zip(self.w, (learn.head[0].weight, learn.head[0].bias)))**.5)
    for clip in (None, .01):
        l = linear(data); l.opt_fn = torch.optim.SGD; l.fit(.1, 1, cbs=[Length(), *([Clip(clip)] if clip else [])])
    assert max(steps[3:]) <= .1*.01*1.001 and max(steps[:3]) > .002

def test_half_length_numbers(data):
    l = learner(data, precompute=False); l.unfreeze(); l.precision = 'bf16'; seen = []
    hook = l.head[2].register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    l.fit(1e-3, 1); hook.remove()
    assert torch.bfloat16 in seen and all(p.dtype == torch.float32 for p in l.full.parameters()) and l.preds.dtype == torch.float32
    seen.clear(); hook = l.head[2].register_forward_hook(lambda m, i, o: seen.append(o.dtype)); l.predict(); hook.remove()
    assert set(seen) == {torch.float32}, 'nothing of it stays after the training'
    l.precision = 'no'; l.fit(1e-3, 1); l.precision = None; l.fit(1e-3, 1)

@pytest.mark.parametrize('name, value', [('precision', 'fp7'), ('precision', 16), ('accumulate', 0), ('accumulate', 1.5)])
def test_bad_settings(data, name, value):
    l = learner(data); setattr(l, name, value)
    with pytest.raises(ValueError, match=name): l.fit(.01, 1)

@pytest.mark.parametrize('length', [0, -1, 'x'])
def test_bad_clips(length):
    with pytest.raises(ValueError, match='length of the gradient'): Clip(length)

# ---- two processes
SCRIPT = """
import sys
import imgcourse.features as f
from imgcourse.all import *
real, counts = f._compute, []
f._compute = lambda backbone, probe, dtype, ds, *args: counts.append(len(ds)) or real(backbone, probe, dtype, ds, *args)
set_seed(3)
data = ImageClassifierData.from_paths(sys.argv[1], bs=16, tfms=tfms_from_model('test_resnet', 64, aug_tfms=transforms_side_on))
backbone = create_backbone('test_resnet', False)
def learner(precompute): return ConvLearner(backbone, nn.Sequential(nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 2), nn.LogSoftmax(1)), data, precompute)
learn = learner(True)
learn.fit(.03, 3, cycle_len=1, best_save_name='best')
learn.precompute = False            # augmented pictures: the same ones, whichever process takes them
learn.fit(.01, 1)
learn.lr_find(num_it=20)
learn.save(sys.argv[2])
from accelerate import PartialState
print('counts', PartialState().process_index, PartialState().num_processes, counts, [round(h['training loss'], 5) for h in learn.history], [round(h['validation loss'], 5) for h in learn.history], [round(float(l), 5) for l in learn.sched.losses[:10]], flush=True)
"""

def test_two_processes_are_one(sketches, tmp_path):
    "The same weights up to 1e-5, the same losses; each process makes half of the features."
    copy_sketches(sketches, tmp_path/'d', 32, 9)
    (tmp_path/'s.py').write_text(SCRIPT)
    def run(name, *launch):
        env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path), 'ACCELERATE_USE_CPU': '1', 'CUDA_VISIBLE_DEVICES': '', 'IMGCOURSE_CACHE': str(tmp_path/f'cache {name}')}
        p = subprocess.run([sys.executable, *launch, str(tmp_path/'s.py'), str(tmp_path/'d'), name], env=env, capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        return [[json.loads(v) for v in re.findall(r'\[.*?\]', l)] + l.split()[1:3] for l in sorted(p.stdout.split('\n')) if l.startswith('counts')]
    one, = run('one')
    two = run('two', '-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes=2', '--main_process_port=0')
    assert one[0] == [64, 18] and [t[0] for t in two] == [[32, 9]]*2 and [t[4:] for t in two] == [['0', '2'], ['1', '2']]
    for t in two: assert all(np.allclose(t[i], one[i], atol=1e-4) for i in (1, 2, 3)), 'losses of training, validation and the range test'
    a, b = load_file('models/one.safetensors'), load_file('models/two.safetensors')
    assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a) and Path('models/best.safetensors').exists()

# ---- what a reviewer found
def test_lr_find_with_accumulation(few):
    "On features that say something about the pictures: from random ones, the first losses may well be the lowest."
    set_seed(1)
    l = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64)), precompute=True)
    l.accumulate = 2
    l.lr_find(num_it=20, stop_div=False)
    assert len(l.sched.lrs) == 20 and len(l.sched.suggest()) == 3

def test_saving_after_a_finished_run_was_loaded(data):
    a = learner(data); a.fit(.01, 2, resume=True)
    b = learner(data, seed=3); b.fit(.01, 2, resume=True); b.save('final')
    assert len(b.sched.lrs) == 6 and same(state(a), state(b)); b.sched.plot_lr()

def test_gradients_of_an_interrupted_group_are_forgotten(data):
    want = learner(data); want.accumulate = 2; want.fit(.01, 2)
    class Interrupt(Callback):
        def after_batch(self, learn):
            if (learn.epoch, learn.i) == (1, 0): raise KeyboardInterrupt
    l = learner(data); l.accumulate = 2
    with pytest.raises(KeyboardInterrupt): l.fit(.01, 2, cbs=[Checkpoint(part=1), Interrupt()])
    l.fit(.01, 2, resume=True)
    assert same(state(l), state(want))

def test_nan_after_resuming(data):
    "The last good weights are those of the checkpoint, not those of the fresh learner; and no checkpoint holds weights that are no numbers."
    class At(Callback):
        def __init__(self, what): self.what = what
        def before_batch(self, learn):
            if learn.epoch == 1 and learn.training: self.what(learn)
    def stop(learn): raise ZeroDivisionError
    def poison(learn): learn.x = learn.x*float('nan')
    fresh, l = learner(data, seed=3), learner(data)
    with pytest.raises(ZeroDivisionError): l.fit(.01, 3, cbs=[Checkpoint(part=1), At(stop)])
    l = learner(data, seed=3)
    with pytest.raises(FloatingPointError): l.fit(.01, 3, resume=True, cbs=[At(poison)])
    assert not same(state(l), state(fresh))
    l = learner(data); 
    with pytest.raises(FloatingPointError): l.fit(1e15, 3, cbs=[Checkpoint('wild', part=1)])
    found = [s for f in Path('models').glob('wild.?.safetensors') if (s := _read_state(f))]
    assert found and all(torch.isfinite(t).all() for f in Path('models').glob('wild.?.safetensors') for t in read_whole(f)[0].values() if t.is_floating_point())

def test_a_validation_loss_that_is_no_number(few):
    l = learner(ImageClassifierData.from_paths(few, bs=24, tfms=TFMS)); before = state(l)
    with pytest.raises(FloatingPointError): l.fit(1e35, 1)
    assert same(state(l), before)

def test_plans_differ_in_cycles_and_pictures(data, few):
    learner(data).fit(.01, 4, cycle_len=1, resume=True)
    with pytest.raises(ValueError, match='another schedule'): learner(data).fit(.01, 2, cycle_len=2, resume=True)
    larger = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(SMALL, 96))
    with pytest.raises(ValueError, match='transforms'): learner(larger).fit(.01, 4, cycle_len=1, resume=True)
    l = learner(data); l.accumulate = 2
    with pytest.raises(ValueError, match='accumulate'): l.fit(.01, 4, cycle_len=1, resume=True)

def test_a_state_of_other_layers(data):
    a = learner(data, precompute=False); a.fit(.01, 1); a.save_state('a')
    b = learner(data, seed=2, precompute=False); b.unfreeze(); b.fit(1e-4, 1); before = state(b)
    with pytest.raises(WeightsError, match='other layers'): b.load_state('a')
    assert same(state(b), before)
