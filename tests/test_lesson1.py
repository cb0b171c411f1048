"*Lesson 1*'s own code cells, as they were published, apart from the import lines and PATH."
import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import shared
from safetensors.torch import save_file

matplotlib.use('agg')
NAMES = 'PATH|sz|files|img|data|learn|log_preds|preds|probs|most_uncertain'
CODE = re.compile(rf'({NAMES})\b.*(=|\.|\[|$)|plt\.|plot_val_with_title|!ls|.*plot_val_with_title\(')
PLOTS = 'rand_by_correct', 'rand_by_class', 'most_by_correct', 'plot_val_with_title' # methods in the lesson


def code_of_the_text():
    "The lines of code in the text, in their order."
    text = shared('ancestors/lesson_1.txt').read_text(encoding='utf-8')
    lines = text.translate(str.maketrans('’“”', "'\"\"")).split('\n')
    code = [line for line in lines if CODE.match(line)]
    assert len(code) >= 25 and sum('plot_val_with_title(' in line for line in code) >= 7
    assert code[-3:] == ['learn.lr_find()', 'learn.sched.plot_lr()', 'learn.sched.plot()']
    assert [line for line in code if line.startswith('PATH')] == ['PATH = "data/dogscats/"']
    return [re.sub(r'^#.*?(?=plot_val)', '', line) for line in code] # a comment and its code have run together


@pytest.fixture
def offline_resnet34(sketches, tmp_path, monkeypatch):
    """A folder of data with the sketches in it, and weights of a resnet34 (random ones: here the calls are tested, not
    the result)."""
    from imgcourse.features import create_backbone
    torch.manual_seed(0)
    weights = tmp_path/'own'/'weights'/'resnet34.safetensors'
    weights.parent.mkdir(parents=True)
    save_file(create_backbone('resnet34', False).model.state_dict(), weights)
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path/'own'))
    (tmp_path/'data').mkdir()
    (tmp_path/'data'/'dogscats').symlink_to(sketches)
    monkeypatch.chdir(tmp_path)


def run_the_text(arch=None):
    """The cells in IPython, since `!ls` is no Python; `arch` takes the place of resnet34. Returns names, the result of
    each line, and the number of lines that drew something."""
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    ns = shell.user_ns
    shell.run_cell('from imgcourse.all import *').raise_error()
    if arch:
        ns['resnet34'] = arch
    plots, values = 0, {}
    for line in code_of_the_text():
        if 'plot_val_with_title(' in line and 'plot_val_with_title' not in ns: # what the lesson's visible cell binds
            interp = ns['Interpretation'](ns['data'], ns['log_preds'])
            ns.update({name: getattr(interp, name) for name in PLOTS})
        if 'pretrained(arch' in line:
            ns['arch'] = ns['resnet34'] # the text's second half calls it so
        plt.close('all')
        ran = shell.run_cell(line)
        ran.raise_error()
        values[line] = ran.result
        plots += bool(plt.get_fignums())
    return ns, values, plots


def check(ns, values, plots):
    "What the text goes on to look at."
    n = len(ns['data'].val_y)
    assert ns['sz'] == 224 and len(ns['files']) == 10
    assert all(re.fullmatch(r'cat\.\d+\.jpg', f) for f in ns['files'])
    assert values['data.classes'] == ['cats', 'dogs'] and values['log_preds.shape'] == (n, 2)
    assert values['log_preds[:10]'].dtype == np.float32
    assert ns['preds'].shape == ns['probs'].shape == (n,) and ((0 <= ns['probs']) & (ns['probs'] <= 1)).all()
    assert len(ns['most_uncertain']) == 4
    assert len(ns['learn'].sched.lrs) > 20 and ns['learn'].history == [] and plots >= 9


@pytest.mark.photos
def test_lesson_1_runs_as_it_stands(offline_resnet34):
    ns, values, plots = run_the_text()
    check(ns, values, plots)
    assert values['img.shape'] == (128, 128, 3) and values['img[:4,:4]'].shape == (4, 4, 3)
    assert len(ns['data'].val_y) == 400


@pytest.mark.photos
def test_lesson_1_with_the_net_on_board(dogscats_photos, tmp_path, monkeypatch):
    "On photos. What the text looks at was right, too."
    (tmp_path/'data').mkdir()
    (tmp_path/'data'/'dogscats').symlink_to(dogscats_photos)
    monkeypatch.chdir(tmp_path)
    ns, values, plots = run_the_text('tf_efficientnet_lite0')
    check(ns, values, plots)
    assert len(ns['data'].val_y) == 200 and (ns['preds'] == ns['data'].val_y).mean() >= .97
