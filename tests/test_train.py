"A folder becomes a net, a page and a record: which epoch is kept, what goes on after a kill, what the record says."
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from imgcourse import train
from imgcourse.cli import main
from imgcourse.export import load_learner
from imgcourse.learner import Callback, ConvLearner, MemoryTooSmall, set_seed
from imgcourse.train import train_folder

LEFT = ['model.safetensors', 'report.html', 'result.json', 'train.log']


def result_of(out): return json.loads((out/'result.json').read_text(encoding='utf-8'))


def recognized(model, folder):
    "Of each class, which pictures of the folder valid the file recognizes."
    net = load_learner(model)
    return [net.predict(sorted((folder/'valid'/c).iterdir())).argmax(1) == k for k, c in enumerate(net.classes)]


def test_what_comes_out(few, tmp_path):
    "The record says what the page and the net say."
    model, page, right = train_folder(few, tmp_path/'out', sz=64, epochs=3)
    found, net = result_of(tmp_path/'out'), load_learner(model)
    assert sorted(f.name for f in page.parent.iterdir()) == LEFT, 'what was kept on the way is gone'
    assert found['accuracy'] == right and len(found['history']) == 3
    files = [f for c in net.classes for f in sorted((few/'valid'/c).iterdir())]
    said = net.predict(files).argmax(1)
    assert (said == np.repeat([0, 1], 6)).mean() == right == found['balanced accuracy']
    logp = np.take_along_axis(net.predict(files), np.repeat([0, 1], 6)[:, None], 1)
    assert found['log loss'] == pytest.approx(-logp.mean(), abs=1e-5), 'of the file, not of rounded features'
    assert found['classes'] == {c: {'training': 12, 'validation': 6, 'right': int((said[6*k:6*k + 6] == k).sum())}
                                for k, c in enumerate(net.classes)}
    assert found['settings']['sz'] == 64 and found['settings']['arch'] == 'tf_efficientnet_lite0'
    log = (tmp_path/'out'/'train.log').read_text()
    assert len(re.findall(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d epoch \d, .*accuracy', log, re.M)) == 3
    assert 'No picture is there twice' in page.read_text() and 'Labels in doubt' in page.read_text()


class Spoil(Callback):
    "From some epoch on the weights are nothing."
    order = 1
    def __init__(self, first): self.first = first
    def before_epoch(self, learn):
        if learn.epoch >= self.first:
            for p in learn.head.parameters():
                p.data.zero_()


def spoiled_from(monkeypatch, *epochs):
    "In each stage, from its epoch on, training makes the net worse."
    real, stages = train._stage, iter(epochs)
    def stage(learn, plan, name, n, lr, cbs=()):
        return real(learn, plan, name, n, lr, [*cbs, Spoil(next(stages))])
    monkeypatch.setattr(train, '_stage', stage)


def test_the_best_epoch_is_kept(few, tmp_path, monkeypatch):
    spoiled_from(monkeypatch, 3)
    model, _, right = train_folder(few, tmp_path/'out', sz=64, epochs=6, check=False)
    found = result_of(tmp_path/'out')
    rows = [row['accuracy'] for row in found['history']]
    assert rows[-1] == .5 < max(rows) == rows[found['best epoch']] and found['best epoch'] < 3
    assert np.mean(recognized(model, few)) == right == found['accuracy'] > .5


def test_fine_tuning_never_ends_worse(few, tmp_path, monkeypatch, capsys):
    spoiled_from(monkeypatch, 9, 0)
    model, _, right = train_folder(few, tmp_path/'out', sz=64, epochs=4, finetune=2, check=False)
    found, said = result_of(tmp_path/'out'), capsys.readouterr().out
    rows = [row['accuracy'] for row in found['history']]
    assert 'the net from before is kept' in said
    assert found['best epoch'] < 4 and rows[found['best epoch']] == max(rows)
    assert np.mean(recognized(model, few)) == right > .5


def test_fine_tuning_that_helps_is_kept(few, tmp_path):
    train_folder(few, tmp_path/'out', sz=64, epochs=1, finetune=6, check=False)
    found = result_of(tmp_path/'out')
    rows = [row['accuracy'] for row in found['history']]
    assert found['best epoch'] >= 1 and rows[found['best epoch']] >= rows[0]


def test_early_stopping(few, tmp_path, monkeypatch):
    spoiled_from(monkeypatch, 2)
    train_folder(few, tmp_path/'out', sz=64, epochs=20, patience=3, check=False)
    assert len(result_of(tmp_path/'out')['history']) <= 6


def test_a_training_that_was_stopped_goes_on(few, tmp_path):
    "In the second stage, here; the first is not repeated."
    out, seen = tmp_path/'out', []
    class Stop(Callback):
        def before_epoch(self, learn):
            seen.append(learn.precompute)
            if not learn.precompute and learn.epoch == 1 and len(seen) < 6:
                raise KeyboardInterrupt
    ConvLearner.default_cbs.append(Stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_folder(few, out, sz=32, epochs=3, finetune=3, bs=8, check=False)
        assert not (out/'model.safetensors').exists() and seen == [True]*3 + [False]*2
        seen += [None]
        train_folder(few, out, sz=32, epochs=3, finetune=3, bs=8, check=False)
    finally:
        ConvLearner.default_cbs.remove(Stop)
    assert seen[6:].count(True) == 0 and seen[6:].count(False) in (2, 3)
    assert len(result_of(out)['history']) == 6 and sorted(f.name for f in out.iterdir()) == LEFT


def test_another_plan_is_not_gone_on_with(few, tmp_path, monkeypatch):
    def stop(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(train, 'in_doubt', stop)
        with pytest.raises(KeyboardInterrupt):
            train_folder(few, tmp_path/'out', sz=32, epochs=2)
    with pytest.raises(ValueError, match='begun with another plan: epochs 2, now 3'):
        train_folder(few, tmp_path/'out', sz=32, epochs=3)


def test_other_weights_are_another_plan(few, tmp_path, monkeypatch):
    from imgcourse.features import create_backbone, write_whole
    files = [tmp_path/f'{k}.safetensors' for k in range(2)]
    for k, file in enumerate(files):
        set_seed(k)
        write_whole(create_backbone('test_resnet', False).model.state_dict(), file, {})
    def stop(*args): raise KeyboardInterrupt
    told = {'arch': 'test_resnet', 'sz': 32, 'epochs': 2}
    with monkeypatch.context() as m:
        m.setattr(train, 'in_doubt', stop)
        with pytest.raises(KeyboardInterrupt):
            train_folder(few, tmp_path/'out', weights=str(files[0]), **told)
    with pytest.raises(ValueError, match='another plan: weights that do not learn'):
        train_folder(few, tmp_path/'out', weights=str(files[1]), **told)
    train_folder(few, tmp_path/'out', weights=str(files[0]), **told)


def test_two_trainings_at_once(few, tmp_path):
    "The second is refused, and the first one goes on."
    def second(*args):
        with pytest.raises(ValueError, match='Another training is at work'):
            train_folder(few, tmp_path/'out', sz=32, epochs=2)
    class Meanwhile(Callback):
        def before_fit(self, learn): second()
    ConvLearner.default_cbs.append(Meanwhile)
    try:
        train_folder(few, tmp_path/'out', sz=32, epochs=2, check=False)
    finally:
        ConvLearner.default_cbs.remove(Meanwhile)
    assert sorted(f.name for f in (tmp_path/'out').iterdir()) == LEFT


def test_an_average_takes_nothing_away(few, tmp_path, monkeypatch):
    "It cannot go on with a training that was stopped, and does not remove it."
    def stop(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(train, 'in_doubt', stop)
        with pytest.raises(KeyboardInterrupt):
            train_folder(few, tmp_path/'out', sz=32, epochs=2)
    kept = sorted((tmp_path/'out').iterdir())
    with pytest.raises(ValueError, match='a running average cannot go on'):
        train_folder(few, tmp_path/'out', sz=32, epochs=2, average=True)
    assert sorted((tmp_path/'out').iterdir()) == kept


def test_looking_for_doubts_changes_nothing(few, tmp_path):
    told = {'sz': 32, 'epochs': 2, 'finetune': 2}
    for name, check in (('with', True), ('without', False)):
        train_folder(few, tmp_path/name, check=check, **told)
    assert result_of(tmp_path/'with')['history'] == result_of(tmp_path/'without')['history']


def test_places_that_cannot_be(few, tmp_path):
    cases = [({'folder': few, 'out': few}, 'would lie among the pictures'),
             ({'folder': few/'train', 'valid': few/'valid', 'out': few/'valid'/'net'}, 'would lie among the pictures'),
             ({'folder': few/'train', 'valid': few/'train', 'out': tmp_path/'out'}, 'must be different ones')]
    for told, why in cases:
        with pytest.raises(ValueError, match=why):
            train_folder(sz=32, epochs=1, **told)


def test_a_validation_folder(few, tmp_path):
    shutil.move(few/'valid', tmp_path/'elsewhere')
    train_folder(few/'train', tmp_path/'out', sz=32, epochs=1, valid=tmp_path/'elsewhere')
    assert {c: row['validation'] for c, row in result_of(tmp_path/'out')['classes'].items()} == {'cats': 6, 'dogs': 6}
    train_folder(few/'train', tmp_path/'half', sz=32, epochs=1, valid_pct=.5)
    assert {c: row['validation'] for c, row in result_of(tmp_path/'half')['classes'].items()} == {'cats': 6, 'dogs': 6}


def test_rare_classes(few, tmp_path, capsys):
    "Their own accuracies are shown; with `balance` their mean decides which epoch is kept."
    for f in sorted((few/'valid'/'dogs').iterdir())[2:]:
        f.unlink()
    train_folder(few, tmp_path/'out', sz=64, epochs=3, check=False)
    assert 'balanced_accuracy' in capsys.readouterr().out
    model, _, _ = train_folder(few, tmp_path/'fair', sz=64, epochs=4, check=False, balance=True)
    found = result_of(tmp_path/'fair')
    rows = [row['balanced_accuracy'] for row in found['history']]
    assert rows[found['best epoch']] == max(rows)
    each = [right.mean() for right in recognized(model, few)]
    assert np.mean(each) == pytest.approx(found['balanced accuracy'])


def test_all_recipes_at_once(few, tmp_path):
    model, page, _ = train_folder(few, tmp_path/'out', sz=32, epochs=2, finetune=1, average=True, mix='mixup',
                                  smoothing=.1, balance=True, check=False)
    assert load_learner(model).classes == ['cats', 'dogs']
    assert 'balance, smoothing, average, mix' in page.read_text()


@pytest.mark.parametrize(('settings', 'why'), [
    ({'mix': 'mixup'}, 'give finetune'), ({'smoothing': 1}, 'smoothing'), ({'valid_pct': 0}, 'valid_pct'),
    ({'patience': 0}, 'patience'), ({'tracker': 'nobody'}, 'There is no tracker'), ({'epochs': 0}, 'epochs'),
])
def test_settings_that_cannot_be(few, tmp_path, settings, why):
    "Are refused before anything is done."
    with pytest.raises(ValueError, match=why):
        train_folder(few, tmp_path/'out', sz=32, **settings)
    assert not (tmp_path/'out').exists()


def test_leaks_are_in_the_report(few, tmp_path):
    shutil.copy(few/'train'/'cats'/'cat.1.jpg', few/'valid'/'cats'/'again.jpg')
    _, page, _ = train_folder(few, tmp_path/'out', sz=64, epochs=2)
    text = page.read_text()
    assert 'again.jpg' in text.split('The same picture twice')[1].split('<h2>')[0]
    assert result_of(tmp_path/'out')['copies in both parts'] == 1


def test_a_failing_fine_tuning_does_not_lose_the_head(few, tmp_path, monkeypatch, capsys):
    real, stages = train._stage, iter([False, True])
    def stage(learn, *args):
        if next(stages):
            raise FloatingPointError('no number')
        return real(learn, *args)
    monkeypatch.setattr(train, '_stage', stage)
    model, _, right = train_folder(few, tmp_path/'out', sz=64, epochs=2, finetune=1, check=False)
    assert 'the net from before is kept' in capsys.readouterr().out and load_learner(model) and right > .5


def test_files_of_the_user_stay(few, tmp_path):
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/'best-mine.safetensors').write_text('dear')
    train_folder(few, tmp_path/'out', sz=32, epochs=1, check=False)
    assert (tmp_path/'out'/'best-mine.safetensors').read_text() == 'dear'


def test_batches_as_the_memory_allows_go_on(few, tmp_path, monkeypatch):
    "With the size that was found."
    def stop(*args): raise KeyboardInterrupt
    def small(learn, *args, **options):
        if learn.data.bs > 8:
            raise MemoryTooSmall(learn.data.bs, RuntimeError('CUDA out of memory.'))
        return real(learn, *args, **options)
    real = ConvLearner.fit_one_cycle
    with monkeypatch.context() as m:
        m.setattr(ConvLearner, 'fit_one_cycle', small)
        m.setattr(train, 'in_doubt', stop)
        with pytest.raises(KeyboardInterrupt):
            train_folder(few, tmp_path/'out', sz=32, epochs=2, bs=None)
    train_folder(few, tmp_path/'out', sz=32, epochs=2, bs=None)
    assert 'batches of 8' in (tmp_path/'out'/'report.html').read_text()


# ---- from the command line
def test_the_command_goes_on(few, tmp_path, monkeypatch, capsys):
    "With the folder that is named, or with the last one."
    monkeypatch.chdir(tmp_path)
    def stop(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(train, 'in_doubt', stop)
        assert main(['train', str(few), '--size', '32', '--epochs', '2']) == 130
    assert 'with --out imgcourse-net goes on' in capsys.readouterr().out
    assert main(['train', str(few), '--size', '32', '--epochs', '3', '--resume']) == 2
    assert 'epochs 2, now 3. Give the same options again, or name another folder with --out' in capsys.readouterr().err
    assert main(['train', str(few), '--size', '32', '--epochs', '2', '--resume']) == 0
    said = capsys.readouterr().out
    assert 'it had come to its end' in said and 'imgcourse serve imgcourse-net/model.safetensors' in said
    assert sorted(f.name for f in tmp_path.iterdir() if 'net' in f.name) == ['imgcourse-net']
    with monkeypatch.context() as m: # between the net and the page
        m.setattr(train, 'report', stop)
        assert main(['train', str(few), '--size', '32', '--epochs', '1', '--out', 'x']) == 130
    assert main(['train', str(few), '--size', '32', '--epochs', '1', '--out', 'x']) == 0
    assert main(['train', str(few), '--size', '32', '--epochs', '1', '--out', 'x']) == 2
    assert 'holds a model already' in capsys.readouterr().err
    for more, why in (([], 'No training was stopped here'), (['--out', 'y'], 'y holds no training that was stopped')):
        assert main(['train', str(few), '--resume', *more]) == 2
        assert why in capsys.readouterr().err


@pytest.mark.e2e
def test_a_training_that_is_killed(few, tmp_path, cache):
    "The process dies; the next one goes on, and a log in a pipe has plain lines."
    out, command = tmp_path/'out', [Path(sys.executable).parent/'imgcourse', 'train', few, '--out', tmp_path/'out']
    options = ['--size', '64', '--epochs', '2', '--finetune', '40', '--bs', '4', '--no-check']
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not [*out.glob('run-all*.safetensors')] and process.poll() is None and time.monotonic() < end:
        time.sleep(.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out/'model.safetensors').exists()
    p = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert p.returncode == 0, p.stderr
    assert "Going on with the run 'run-all'" in p.stdout
    assert '\r' not in p.stdout + p.stderr and '█' not in p.stderr
    assert sorted(f.name for f in out.iterdir()) == LEFT
