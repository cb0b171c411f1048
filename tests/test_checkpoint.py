"""Files are whole or refused; a run that was stopped ends as if it had not been; NaN and Ctrl-C lose nothing; several
processes agree."""
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from conftest import copy_few
from imgcourse.all import ConvLearner, Learner, set_seed
from imgcourse.checkpoint import Checkpoint, Clip, StopAtNaN, random_state, set_random_state
from imgcourse.data import ImageClassifierData
from imgcourse.features import OPTIMIZER, WeightsError, create_backbone, read_whole, write_whole
from imgcourse.learner import Callback
from imgcourse.schedule import EarlyStopping, SaveBest
from imgcourse.transforms import tfms_from_model, transforms_side_on

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
def data(same_few):
    return ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)


def learner(data, seed=1, precompute=True, **kwargs):
    set_seed(seed)
    return ConvLearner.pretrained(SMALL, data, precompute, weights=WEIGHTS, **kwargs).silent()


@pytest.fixture(scope='module')
def untrained(same_few):
    "For what is refused; no test may train it."
    data = ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)
    return ConvLearner.pretrained(SMALL, data, True, weights=False).silent()


def small_net():
    layers = nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Dropout(.3), nn.Linear(8, 2))


def state(learn): return {k: v.detach().cpu().clone() for k, v in learn.full.state_dict().items()}
def same(one, other): return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
def finite(tensors): return all(torch.isfinite(t).all() for t in tensors.values())


class Before(Callback):
    "What happens before each batch of an epoch's training."
    def __init__(self, epoch, what): self.epoch, self.what = epoch, what
    def before_batch(self, learn):
        if learn.training and learn.epoch == self.epoch:
            self.what(learn)


class After(Callback):
    "What happens after one batch of the training."
    def __init__(self, epoch, batch, what): self.place, self.what = (epoch, batch), what
    def after_batch(self, learn):
        if learn.training and (learn.epoch, learn.i) == self.place:
            self.what(learn)


class Stopped(Exception):
    "What stops a training here."


def stop(learn): raise Stopped
def poison(learn): learn.x = learn.x*float('nan')


# ---- kill -9
def train(folder, models, seed, kind, out, resume=True):
    "Five epochs: augmented pictures, dropout, batch norm, momentum or Adam, rates that change."
    set_seed(seed)
    tfms = tfms_from_model(SMALL, 64, aug_tfms=transforms_side_on, max_zoom=1.2)
    data = ImageClassifierData.from_paths(folder, bs=8, tfms=tfms)
    opt_fn = torch.optim.AdamW if kind == 'one cycle' else partial(torch.optim.SGD, momentum=.9)
    learn = ConvLearner.pretrained(SMALL, data, weights=folder.parent/WEIGHTS, opt_fn=opt_fn).silent()
    learn.models_path = models
    learn.freeze_to(-2)
    cbs = [Checkpoint(part=.8)] if resume else []
    if kind == 'one cycle':
        learn.accumulate = 2
        learn.fit_one_cycle(5, slice(1e-4, 3e-3), cbs=[Clip(1.), *cbs])
    else:
        learn.fit([1e-4, 1e-3, 1e-2], 2, cycle_len=1, cycle_mult=4, cbs=cbs)
    save_file({k: v.contiguous() for k, v in learn.full.state_dict().items()}, f'{out}.new')
    Path(f'{out}.json').write_text(json.dumps(learn.history))
    os.replace(f'{out}.new', out)


FORK = multiprocessing.get_context('spawn' if sys.platform == 'win32' else 'forkserver')


def start(*args):
    "A process that trains."
    process = FORK.Process(target=train, args=args)
    process.start()
    return process


def finish(process):
    process.join()
    assert process.exitcode == 0


def first_checkpoint(process, models):
    while not list(models.glob('run.?.safetensors')):
        assert process.exitcode is None
        time.sleep(.002)
    return time.monotonic()


def kill_after(pause, folder, models, seed, kind, out):
    "So many seconds after its first checkpoint; sooner, if the training was done by then."
    while True:
        process = start(folder, models, seed, kind, out)
        first_checkpoint(process, models)
        time.sleep(pause)
        process.kill()
        process.join()
        if not out.exists():
            break
        out.unlink()
        shutil.rmtree(models)
        pause /= 2
    assert process.exitcode == -signal.SIGKILL


def places(models):
    return {(about['epoch'], about['batch']) for about in whole_slots(models, 'run')}


def whole_slots(models, name):
    "What is noted in a run's checkpoints."
    return [read_whole(file)[1]['training'] for file in models.glob(f'{name}.?.safetensors')]


@pytest.mark.e2e
@pytest.mark.parametrize('kind', ['restarts', 'one cycle'])
def test_killed_at_random_moments(sketches, tmp_path, kind):
    """Ten kills in all, within epochs, between them, while files are written: each resumed run ends with the weights of
    the unbroken one, bit for bit."""
    FORK.set_forkserver_preload(['imgcourse.all'])
    folder = copy_few(sketches, tmp_path/'d', 24, 6)
    finish(start(folder, tmp_path/'none', 7, kind, tmp_path/'unbroken', False))
    timed = start(folder, tmp_path/'timed', 7, kind, tmp_path/'timed.out')
    begun = first_checkpoint(timed, tmp_path/'timed')
    finish(timed)
    seconds = time.monotonic() - begun
    want, history = load_file(tmp_path/'unbroken'), (tmp_path/'unbroken.json').read_text()
    assert same(load_file(tmp_path/'timed.out'), want), 'checkpoints change nothing'
    rng, seen = random.Random(kind), set()
    for i in range(5):
        out, models = tmp_path/f'{i}.out', tmp_path/f'models {i}'
        kill_after(rng.uniform(0, .9)*seconds, folder, models, 7, kind, out)
        seen |= places(models)
        finish(start(folder, models, 100 + i, kind, out)) # another seed: all chance must come from the checkpoint
        assert same(load_file(out), want) and Path(f'{out}.json').read_text() == history, f'kill {i}'
    assert len(seen) >= 3, 'the kills came at different places'


# ---- stopping and going on
def flip(content, i, bits=1): return content[:i] + bytes([content[i] ^ bits]) + content[i + 1:]


def spoil(file, how):
    content = file.read_bytes()
    if how == 'gone':
        file.unlink()
    elif how == 'half':
        file.write_bytes(content[:len(content)//2])
    elif how == 'flipped':
        file.write_bytes(flip(content, len(content) - 20, 4))
    elif how == 'empty':
        file.write_bytes(b'')


@pytest.mark.parametrize('how', ['gone', 'half', 'flipped', 'empty'])
def test_a_checkpoint_that_the_disk_has_spoiled(data, how):
    "The run goes on from the other, says so, and ends the same."
    want = learner(data)
    want.fit(.01, 3)
    with pytest.raises(Stopped):
        learner(data).fit(.01, 3, cbs=[Checkpoint(part=1), After(1, 1, stop)])
    files = sorted(Path('models').glob('run.*'), key=lambda f: f.stat().st_mtime_ns)
    assert [f.suffix for f in files] == ['.safetensors']*2
    spoil(files[-1], how)
    again = learner(data, seed=5)
    with pytest.warns(UserWarning, match=f'{files[-1]}.*passed over') if how != 'gone' else nullcontext():
        again.fit(.01, 3, resume=True)
    assert same(state(again), state(want)) and again.history == want.history


def test_a_finished_run_is_not_repeated(data, capsys):
    first = learner(data)
    first.fit(.01, 2, resume='mine')
    after = torch.rand(1)
    second = learner(data, seed=9)
    second.fit(.01, 2, resume='mine')
    assert "'mine': it had come to its end" in capsys.readouterr().out
    assert same(state(first), state(second)) and first.history == second.history
    assert torch.equal(torch.rand(1), after), 'what comes after it draws the same random numbers'


def test_a_run_that_was_ended_early_is_not_gone_on_with(data):
    "It was at its end."
    class Worse(Callback):
        order = 15
        def after_epoch(self, learn): learn.history[-1]['validation loss'] = learn.epoch
    class Never(Callback):
        def before_pass(self, learn): raise Stopped
    first, second = learner(data), learner(data, seed=9)
    first.fit(.01, 5, cbs=[Worse(), EarlyStopping(2)], resume=True)
    second.fit(.01, 5, cbs=[Worse(), EarlyStopping(2), Never()], resume=True)
    assert same(state(first), state(second)) and len(second.history) == 3 and first.history == second.history


def test_saving_after_a_finished_run_was_loaded(data):
    first = learner(data)
    first.fit(.01, 2, resume=True)
    second = learner(data, seed=3)
    second.fit(.01, 2, resume=True)
    second.save_state('final')
    assert len(second.sched.lrs) == 6 and same(state(first), state(second))
    second.sched.plot_lr()


def test_early_stopping_and_resuming(data):
    class Script(Callback):
        order = 15
        def after_epoch(self, learn): learn.history[-1]['validation loss'] = [3, 2, 2.5, 2.6, 2.7][learn.epoch]
    def run(*cbs, seed=1, **kwargs):
        learn = learner(data, seed=seed)
        learn.fit(.01, 5, cbs=[Script(), EarlyStopping(2), *cbs], **kwargs)
        return learn
    want = run()
    with pytest.raises(Stopped):
        run(Checkpoint(part=1), Before(3, stop))
    got = run(seed=4, resume=True)
    assert same(state(got), state(want))
    assert got.history == want.history and len(want.history) == 4


def test_plain_learner_resumes(data):
    def run(seed, *cbs, **kwargs):
        set_seed(seed)
        learn = Learner(small_net(), data, opt_fn=torch.optim.RMSprop).silent()
        learn.fit(.01, 3, use_clr=(5, 3), cycle_len=1, cbs=cbs, **kwargs)
        return learn
    with pytest.raises(Stopped):
        run(1, Checkpoint(part=1), Before(2, stop))
    assert same(state(run(3, resume=True)), state(run(1)))


def test_gradients_of_an_interrupted_group_are_forgotten(data):
    want = learner(data)
    want.accumulate = 2
    want.fit(.01, 2)
    learn = learner(data)
    learn.accumulate = 2
    with pytest.raises(Stopped):
        learn.fit(.01, 2, cbs=[Checkpoint(part=1), After(1, 0, stop)])
    learn.fit(.01, 2, resume=True)
    assert same(state(learn), state(want))


def test_ctrl_c_keeps_what_was_learned(data, ctrl_c):
    want = learner(data)
    want.fit(.01, 3)
    learn = learner(data)
    before = state(learn)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(.01, 3, cbs=[After(1, 1, lambda learn: ctrl_c()), Checkpoint(part=1)])
    assert len(learn.history) == 1 and not same(state(learn), before) and np.isfinite(learn.predict()).all()
    learn.fit(.01, 3, resume=True)
    assert same(state(learn), state(want)) and learn.history == want.history


@pytest.mark.parametrize('part', [0, 1.5, 'x'])
def test_bad_parts(part):
    with pytest.raises(ValueError, match='part is a part of the time'):
        Checkpoint(part=part)


# ---- another plan
class Mixed(Callback):
    "One that changes the training, and says how."
    def __init__(self, strength): self.plan = {'mixed': strength}


def refuses_plan(learn, message, *args, **kwargs):
    before = state(learn)
    with pytest.raises(ValueError, match=f'another plan.*{message}.*resume='):
        learn.fit(*args, resume=True, **kwargs)
    assert same(state(learn), before) and learn.history == []


@pytest.mark.parametrize('args, message', [
    (dict(lrs=.02), 'learning rates'), (dict(n_cycle=3), 'epochs'), (dict(wds=.1), 'weight decay'),
    (dict(cycle_len=1), 'schedule')])
def test_another_plan_is_refused(data, args, message):
    learner(data).fit(.01, 2, resume=True)
    refuses_plan(learner(data, seed=2), message, **dict(lrs=.01, n_cycle=2) | args)


def test_another_optimizer_or_head_is_refused(data):
    learner(data).fit(.01, 2, resume=True)
    refuses_plan(learner(data, opt_fn=torch.optim.Adam), 'SGD.*Adam', .01, 2)
    refuses_plan(learner(data, xtra_fc=[64]), 'number of weights', .01, 2)


def test_plans_differ_in_cycles_and_pictures(data, same_few):
    learner(data).fit(.01, 4, cycle_len=1, resume=True)
    refuses_plan(learner(data), 'other schedule', .01, 2, cycle_len=2)
    larger = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms_from_model(SMALL, 96))
    refuses_plan(learner(larger), 'transforms', .01, 4, cycle_len=1)
    learn = learner(data)
    learn.accumulate = 2
    refuses_plan(learn, 'accumulate', .01, 4, cycle_len=1)


def test_plans_differ_in_what_is_learned_and_how(sketches, same_few):
    "Else it would be checked with pictures that it has learned from, or another loss would be believed to be used."
    folder = same_few/'train'
    def data(seed): return ImageClassifierData.from_folder(folder, seed=seed, bs=8, tfms=TFMS)
    learner(data(1)).fit(.01, 4, resume=True)
    refuses_plan(learner(data(2)), 'pictures, or another split of them', .01, 4)
    refuses_plan(learner(data(1), loss_fn=F.multi_margin_loss), 'loss cross_entropy, now multi_margin_loss', .01, 4)
    refuses_plan(learner(data(1), precision='bf16'), 'precision', .01, 4)
    without = partial(torch.optim.SGD, momentum=0.)
    refuses_plan(learner(data(1), opt_fn=without), 'options of the optimizer', .01, 4)
    learner(data(1)).fit(.01, 4, resume=True)


def test_the_plan_of_a_callback_is_part_of_it(data):
    "Whether it is there at all, and what it says."
    first = learner(data)
    first.fit(.01, 2, cbs=Mixed(.2), resume=True)
    refuses_plan(learner(data), 'schedule', .01, 2)
    refuses_plan(learner(data, cbs=Mixed(.3)), 'schedule', .01, 2)
    second = learner(data, seed=2, cbs=Mixed(.2))
    second.fit(.01, 2, resume=True)
    assert same(state(first), state(second)) and first.history == second.history


# ---- names
OUTSIDE = ['../x', '/tmp/x', 'a/../../x', '..', '', 'a//b', 'C:\\x', '..\\x', 'x\0y', '.', 'a/./b', 'a\nb', '\x1b[31m',
           5, None, ['a']]


@pytest.mark.parametrize('name', OUTSIDE)
def test_names_stay_in_their_folder(untrained, tmp_path, name):
    before = sorted(tmp_path.rglob('*'))
    for do in (untrained.save, untrained.load, Checkpoint, SaveBest):
        with pytest.raises(ValueError, match=r'name is the name of a file in learn.models_path.*, not'):
            do(name)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_name_in_a_folder_of_the_folder(data):
    learn = learner(data)
    assert learn.save('dogs/best') == Path('models/dogs/best.safetensors')
    learn.load('dogs/best')


@pytest.mark.parametrize('resume', [5, ['a'], '', None, '../run', 1.])
def test_what_is_no_name_of_a_run(untrained, resume):
    before = state(untrained)
    with pytest.raises(ValueError, match='resume is the name of a file'):
        untrained.fit(.01, resume=resume)
    with pytest.raises(ValueError, match='resume is the name of a file'):
        untrained.fit_one_cycle(1, .01, resume=resume)
    assert same(state(untrained), before)


@pytest.mark.parametrize('save', ['save', 'save_state'])
def test_a_run_does_not_write_over_other_files(data, save):
    learn = learner(data)
    learn.fit(.01, 1)
    file = getattr(learn, save)('run.0')
    content = file.read_bytes()
    with pytest.raises(ValueError, match=r"run.0.safetensors is no checkpoint of a run.*resume='other'"):
        learn.fit(.01, 1, resume=True)
    with pytest.raises(ValueError, match='best_save_name'):
        learn.fit(.01, 1, resume='mine', best_save_name='mine.1')
    assert file.read_bytes() == content


# ---- save and load
@pytest.fixture
def saved(data):
    "A learner after an epoch, and its weights in models/saved.safetensors."
    learn = learner(data)
    learn.fit(.01, 1)
    learn.save('saved')
    return learn


def momentum(learn): return [kept['momentum_buffer'] for kept in learn.opt.state_dict()['state'].values()]


def test_save_and_load(data, saved):
    "The weights, and nothing of the training."
    assert same(load_file('models/saved.safetensors'), state(saved))
    assert [f.name for f in Path('models').iterdir()] == ['saved.safetensors']
    other = learner(data, seed=2)
    other.load('saved.safetensors')
    assert np.array_equal(saved.predict(), other.predict())
    assert same(state(saved), state(other)) and other.history == []


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere a folder cannot be brought to the disk')
def test_a_power_failure_leaves_the_old_or_the_new(saved, disk):
    saved.save('one')
    saved.save_state('two')
    saved.export('three.safetensors')
    assert disk.named() == ['one.safetensors', 'two.safetensors', 'three.safetensors']


def test_weights_of_a_head_fit_the_whole_net(data, saved):
    whole = learner(data, precompute=False)
    whole.load('saved')
    assert np.abs(np.exp(whole.predict()) - np.exp(saved.predict())).max() < .03


def test_save_and_load_the_state(data):
    learn = learner(data)
    learn.fit(.01, 2)
    assert learn.save_state('kept') == Path('models/kept.safetensors')
    assert [f.name for f in Path('models').iterdir()] == ['kept.safetensors']
    after = torch.rand(1)
    other = learner(data, seed=2)
    other.fit(.01, 1)
    other.load_state('kept')
    assert torch.equal(torch.rand(1), after)
    assert same(state(learn), state(other)) and other.history == learn.history
    assert all(torch.equal(one, two) for one, two in zip(momentum(learn), momentum(other), strict=True))
    plain = learner(data, seed=3)
    plain.load('kept')
    assert same(state(learn), state(plain)) and plain.history == []


def test_a_state_for_a_learner_that_was_not_trained(data):
    "History and random numbers; there is no optimizer yet."
    learn = learner(data)
    learn.fit(.01, 1)
    learn.save_state('kept')
    other = learner(data, seed=2)
    other.load_state('kept')
    assert same(state(learn), state(other)) and other.history == learn.history and not hasattr(other, 'opt')


def test_no_state_without_a_training(data):
    learn = learner(data)
    learn.lr_find(num_it=20)
    with pytest.raises(ValueError, match='There was no training'):
        learn.save_state('kept')
    assert not Path('models').exists()


def test_a_state_that_is_not_there(saved):
    before = state(saved)
    with pytest.raises(WeightsError, match='no state'):
        saved.load_state('saved')
    with pytest.raises(WeightsError, match='There is no file'):
        saved.load_state('nothing')
    assert same(state(saved), before)


def test_a_state_does_not_belong_to_later_weights(saved):
    saved.save_state('saved')
    saved.fit(.01, 1)
    saved.save('saved')
    with pytest.raises(WeightsError, match='no state'):
        saved.load_state('saved')


def test_a_state_of_other_layers(data):
    learn = learner(data, precompute=False)
    learn.fit(.01, 1)
    learn.save_state('kept')
    other = learner(data, seed=2, precompute=False)
    other.unfreeze()
    other.fit(1e-4, 1)
    before = state(other)
    with pytest.raises(WeightsError, match='other layers'):
        other.load_state('kept')
    assert same(state(other), before)


def test_a_state_of_another_optimizer(data):
    learn = learner(data)
    learn.fit(.01, 1)
    learn.save_state('kept')
    other = learner(data, seed=2, opt_fn=torch.optim.Adam)
    other.fit(.01, 1)
    before = state(other)
    with pytest.raises(WeightsError, match=r'optimizer SGD, and this training has Adam'):
        other.load_state('kept')
    assert same(state(other), before)


@pytest.mark.parametrize('part, value', [
    ('optimizer', None), ('groups', []), ('groups', [{}]), ('groups', [1]), ('groups', None), ('plain', None),
    ('plain', {'x.step': 1}), ('plain', {'0': 1}), ('callbacks', [1]), ('callbacks', {'BnFreeze 0': 3}),
    ('history', {}), ('history', [1]), ('seed', '1'), ('random', {}), ('random', None),
    ('random', {'python': [3, [1], None], 'numpy': [], 'torch': []}), ('epoch', '1'), ('number', None), ('plan', [])])
def test_states_that_somebody_made_up(data, part, value):
    "Checksum and all."
    learn = learner(data)
    learn.fit(.01, 1, resume='mine')
    for file in Path('models').glob('mine.*'):
        tensors, about = read_whole(file)
        about['training'][part] = value
        write_whole(tensors, file, about)
    before = state(learn)
    with pytest.raises(ValueError, match=r'mine\.[01]\.safetensors (is no checkpoint of a run|belongs to)'):
        learn.fit(.01, 1, resume='mine')
    if part not in ('epoch', 'number', 'plan'): # these are no part of a state that is kept between trainings
        drawn = torch.get_rng_state()
        with pytest.raises(WeightsError, match=r'mine\.1\.safetensors .*(holds no state|other layers)'):
            learn.load_state('mine.1')
        assert torch.equal(torch.get_rng_state(), drawn)
    assert same(state(learn), before)


def test_states_with_a_part_missing_or_of_another_shape(data):
    learn = learner(data)
    learn.fit(.01, 1)
    learn.save_state('mine')
    file = Path('models/mine.safetensors')
    tensors, about = read_whole(file)
    shape = {k: v[:1] if k.startswith(OPTIMIZER) and v.dim() else v for k, v in tensors.items()}
    options, rate = deepcopy(about), deepcopy(about)
    for group in options['training']['groups']:
        del group['lr']
    rate['training']['groups'][0]['lr'] = 'fast'
    before = state(learn)
    for t, a, why in ((shape, about, 'another shape'), (tensors, options, 'lacks options'),
                      (tensors, rate, 'a learning rate that is no number')):
        write_whole(t, file, a)
        with pytest.raises(WeightsError, match=f'mine.safetensors .*{why}'):
            learn.load_state('mine')
        assert same(state(learn), before)


def test_what_a_state_says_of_callbacks_changes_no_more_than_they_keep(data):
    learn = learner(data)
    learn.fit(.01, 1, cbs=SaveBest('best'), resume='mine')
    for file in Path('models').glob('mine.*'):
        tensors, about = read_whole(file)
        about['training']['callbacks'] = {name: {**kept, 'after_epoch': 1, 'name': '../x'}
                                          for name, kept in about['training']['callbacks'].items()}
        write_whole(tensors, file, about)
    best = SaveBest('best')
    learner(data).fit(.01, 1, cbs=best, resume='mine')
    assert best.name == 'best' and callable(best.after_epoch)


def test_names_that_differ_by_a_part(data, saved):
    "One does not write over the other."
    saved.save('best.state')
    other = learner(data, seed=2)
    other.save('best')
    back = learner(data, seed=3)
    back.load('best.state')
    assert same(state(back), state(saved))
    back.load('best')
    assert same(state(back), state(other))


def refuses_weights(learn, name, message):
    before, history = state(learn), [*learn.history]
    with pytest.raises(WeightsError, match=message):
        learn.load(name)
    assert same(state(learn), before) and learn.history == history


def test_weights_of_other_classes_are_refused(data, saved, same_few):
    x, y = np.random.RandomState(0).randint(0, 256, (30, 64, 64, 3), dtype=np.uint8), np.arange(30) % 3
    three = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=TFMS)
    refuses_weights(learner(three), 'saved', "classes .'cats', 'dogs'. in the file, .'0', '1', '2'. here")
    parts = (data.trn_ds.items, data.trn_y), (data.val_ds.items, data.val_y)
    swapped = ImageClassifierData(same_few, *parts, ['dogs', 'cats'], TFMS, 8)
    refuses_weights(learner(swapped), 'saved', "classes .'cats', 'dogs'. in the file, .'dogs', 'cats'. here")


def test_weights_of_another_net_are_refused(data, saved, same_few):
    others = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms_from_model('resnet10t', 64))
    other = ConvLearner.pretrained('resnet10t', others, weights=False)
    refuses_weights(other, 'saved', 'architecture test_resnet.*resnet10t.* here')
    refuses_weights(learner(data, xtra_fc=[64]), 'saved', r'of another shape \(2\.')
    refuses_weights(learner(data, xtra_fc=[]), 'saved', 'not in the model')


@pytest.mark.parametrize('damage, message', [
    (lambda whole: whole[:len(whole)//2], 'not a whole'),
    (lambda whole: b'', 'not a whole'),
    (lambda whole: b'hello world, this is no model', 'not a whole'),
    (lambda whole: flip(whole, len(whole) - 9), 'checksum'),
    (lambda whole: flip(whole, whole.index(b'about') + 20), 'checksum|not a whole')],
    ids=['half', 'empty', 'text', 'flipped', 'header'])
def test_damaged_weights_are_refused(saved, damage, message):
    whole = Path('models/saved.safetensors').read_bytes()
    Path('models/damaged.safetensors').write_bytes(damage(whole))
    refuses_weights(saved, 'damaged', message)


def test_weights_that_are_not_there(saved):
    refuses_weights(saved, 'nothing', 'There is no')


class Bomb:
    def __reduce__(self): return Path('exploded').touch, ()


def test_pickles_are_not_opened(saved):
    Path('models/pickle.safetensors').write_bytes(pickle.dumps(Bomb()))
    torch.save({'x': Bomb()}, 'models/torch.safetensors')
    for name in ('pickle', 'torch'):
        refuses_weights(saved, name, 'can hold programs')
    assert not Path('exploded').exists()


def test_an_older_file_stays_when_writing_fails(tmp_path, monkeypatch):
    file = tmp_path/'f.safetensors'
    write_whole({'x': torch.ones(3)}, file, {'n': 1})
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('imgcourse.files.os.fsync', full)
    with pytest.raises(OSError, match=r'No space .*nothing has changed.*f\.safetensors'):
        write_whole({'x': torch.zeros(3)}, file, {'n': 2})
    assert not [f for f in os.listdir(tmp_path) if f.startswith('.')]
    tensors, about = read_whole(file)
    assert about == {'n': 1} and tensors['x'].sum() == 3


def test_random_state():
    def draw():
        return random.random(), random.gauss(0, 1), np.random.randn(3).tolist(), torch.randn(3).tolist()
    kept = json.loads(json.dumps(random_state()))
    want = draw()
    set_random_state(kept)
    assert draw() == want


# ---- losses that are not numbers
def test_nan_puts_the_first_weights_back(data):
    "Where the first pass already goes wrong."
    learn = learner(data)
    learn.fit(.01, 1)
    before = state(learn)
    with pytest.raises(FloatingPointError, match=r'lr_find.*clip.*cbs=Clip\(1\.\)'):
        learn.fit(1e15, 3)
    assert same(state(learn), before) and finite(state(learn))


def test_nan_puts_the_last_good_weights_back(data):
    good = []
    class Note(Callback):
        order = 4
        def after_epoch(self, learn): good.append(state(learn))
    learn = learner(data)
    with pytest.raises(FloatingPointError, match='epoch 2'):
        learn.fit(.01, 4, cbs=[Before(2, poison), Note()])
    assert same(state(learn), good[1]) and len(learn.history) == 2 and np.isfinite(learn.predict()).all()


def test_nan_after_resuming(data):
    "The last good weights are those of the checkpoint, not those of the fresh learner."
    with pytest.raises(Stopped):
        learner(data).fit(.01, 3, cbs=[Checkpoint(part=1), Before(1, stop)])
    learn = learner(data, seed=3)
    fresh = state(learn)
    with pytest.raises(FloatingPointError):
        learn.fit(.01, 3, resume=True, cbs=Before(1, poison))
    assert not same(state(learn), fresh)


def test_no_checkpoint_of_weights_that_are_not_numbers(data):
    with pytest.raises(FloatingPointError):
        learner(data).fit(1e15, 3, cbs=Checkpoint('wild', part=1))
    files = [*Path('models').glob('wild.?.safetensors')]
    assert whole_slots(Path('models'), 'wild')
    assert all(finite(read_whole(file)[0]) for file in files)


def test_a_validation_loss_that_is_no_number(same_few):
    learn = learner(ImageClassifierData.from_paths(same_few, bs=24, tfms=TFMS))
    before = state(learn)
    with pytest.raises(FloatingPointError):
        learn.fit(1e35, 1)
    assert same(state(learn), before)


def test_the_guard_comes_with_the_module():
    "Also by way of lesson 3."
    code = '''
import sys
from imgcourse.learner import Learner
def names(): return [kind.__name__ for kind in Learner.default_cbs]
assert names() == ['Metrics', 'Progress', 'FreeCores'] and 'imgcourse.checkpoint' not in sys.modules
import imgcourse.schedule
assert names() == ['Metrics', 'Progress', 'FreeCores', 'StopAtNaN']
assert Learner.default_cbs[-1] is imgcourse.checkpoint.StopAtNaN
'''
    subprocess.run([sys.executable, '-c', code], check=True)


def test_another_guard_takes_its_place(data):
    class Lenient(StopAtNaN):
        def stop(self, learn): self.asked = True
    guard = Lenient()
    learn = learner(data, cbs=guard)
    assert [cb for cb in learn.cbs if isinstance(cb, StopAtNaN)] == [guard]
    learn.fit(1e15, 1)
    assert guard.asked and len(learn.history) == 1


# ---- precision, accumulation, clipping
def linear(data, **kwargs):
    "A head of a single layer."
    learn = learner(data, **kwargs)
    learn.head = learn.full[2] = nn.Sequential(nn.Linear(192, 2), nn.LogSoftmax(1))
    set_seed(1)
    learn.head[0].reset_parameters()
    return learn


def test_accumulated_batches_are_one_large_batch(same_few):
    ends = []
    for bs, n in ((12, 1), (4, 3)):
        learn = linear(ImageClassifierData.from_paths(same_few, bs=bs, tfms=TFMS))
        learn.accumulate = n
        set_seed(2)
        learn.fit(.01, 2)
        ends.append(learn.head[0].weight.detach().cpu())
        assert len(learn.sched.lrs) == 4
    assert torch.allclose(*ends, atol=1e-6)


class Steps(Callback):
    "How far all weights together go at each step."
    def __init__(self): self.lengths = []
    def now(self, learn): return nn.utils.parameters_to_vector(learn.head.parameters()).detach().clone()
    def before_step(self, learn): self.start = self.now(learn)
    def after_batch(self, learn):
        if learn.training:
            self.lengths.append((self.now(learn) - self.start).norm().item())


def test_clipping(data):
    "With SGD without momentum no step is longer than rate times clip."
    def longest(*cbs):
        steps = Steps()
        linear(data, opt_fn=torch.optim.SGD).fit(.1, 1, cbs=[steps, *cbs])
        return max(steps.lengths)
    assert longest(Clip(.01)) <= .1*.01*1.001 and longest() > .002


def test_half_length_numbers(data):
    learn, seen = learner(data, precompute=False), set()
    learn.unfreeze()
    learn.head[2].register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    learn.precision = 'bf16'
    learn.fit(1e-3, 1)
    assert torch.bfloat16 in seen
    assert {p.dtype for p in learn.full.parameters()} == {torch.float32} and learn.preds.dtype == torch.float32
    seen.clear()
    learn.predict()
    assert seen == {torch.float32}, 'nothing of it stays after the training'
    for precision in ('no', None):
        learn.precision = precision
        learn.fit(1e-3, 1)


@pytest.mark.parametrize('name, value', [
    ('precision', 'fp7'), ('precision', 16), ('accumulate', 0), ('accumulate', 1.5)])
def test_bad_settings(untrained, monkeypatch, name, value):
    monkeypatch.setattr(untrained, name, value)
    with pytest.raises(ValueError, match=name):
        untrained.fit(.01, 1)


@pytest.mark.parametrize('length', [0, -1, 'x'])
def test_bad_clips(length):
    with pytest.raises(ValueError, match='length of the gradient'):
        Clip(length)


# ---- two processes
SCRIPT = '''
import json, sys
import imgcourse.features as f
from accelerate import PartialState
from imgcourse.all import *
real, counts = f._compute, []
def count(net, ds, *args):
    counts.append(len(ds))
    return real(net, ds, *args)
f._compute = count
set_seed(3)
tfms = tfms_from_model('test_resnet', 64, aug_tfms=transforms_side_on)
data = ImageClassifierData.from_paths(sys.argv[1], bs=16, tfms=tfms)
head = nn.Sequential(nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 2), nn.LogSoftmax(1))
learn = ConvLearner(create_backbone('test_resnet', False), head, data, True)
learn.fit(.03, 3, cycle_len=1, best_save_name='best')
learn.precompute = False # augmented pictures: the same ones, whichever process takes them
learn.fit(.01, 1)
learn.lr_find(num_it=20)
learn.save(sys.argv[2])
losses = [[h[f'{which} loss'] for h in learn.history] for which in ('training', 'validation')]
losses.append([float(loss) for loss in learn.sched.losses[:10]])
state = PartialState()
print('figures', json.dumps([state.process_index, state.num_processes, counts, losses]), flush=True)
'''


def run_script(folder, name, *launch):
    "What each process says: its number, how many there are, how many features it made, the losses."
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path), 'ACCELERATE_USE_CPU': '1', 'CUDA_VISIBLE_DEVICES': '',
           'IMGCOURSE_CACHE': str(folder.parent/f'cache {name}')}
    script = folder.parent/'s.py'
    script.write_text(SCRIPT)
    process = subprocess.run([sys.executable, *launch, script, folder, name], env=env, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    lines = sorted(line for line in process.stdout.split('\n') if line.startswith('figures'))
    return [json.loads(line.removeprefix('figures ')) for line in lines]


@pytest.mark.e2e
def test_two_processes_are_one(sketches, tmp_path):
    "The same weights up to 1e-5, the same losses; each process makes half of the features."
    folder = copy_few(sketches, tmp_path/'d', 32, 9)
    one, = run_script(folder, 'one')
    two = run_script(folder, 'two', '-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes=2',
                     '--main_process_port=0')
    assert one[:3] == [0, 1, [64, 18]] and [t[:3] for t in two] == [[0, 2, [32, 9]], [1, 2, [32, 9]]]
    for _, _, _, losses in two:
        for got, want in zip(losses, one[3], strict=True):
            assert np.allclose(got, want, atol=1e-4), 'losses of training, validation and the range test'
    first, second = load_file('models/one.safetensors'), load_file('models/two.safetensors')
    assert all(torch.allclose(first[k], second[k], atol=1e-5) for k in first)
    assert Path('models/best.safetensors').exists()
