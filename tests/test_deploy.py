"Lesson 8: classes of one's own, nets in files, the command line."
import json, os, pickle, re, shutil, struct, subprocess, sys
from functools import partial
from pathlib import Path
import numpy as np, onnxruntime, pytest, timm, torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
import imgcourse.deploy as deploy
import imgcourse.finetune
from conftest import shared
from imgcourse.board import PlainNet, TrautNet
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData, PictureError, PictureTransform, as_picture, lite0, tfms_from_model, transforms_side_on
from imgcourse.deploy import Comparison, ShortNet, build, describe, load_learner, read_folder, report, train_folder, untouched
from imgcourse.features import WeightsError, create_backbone
from imgcourse.finetune import binary_loss, dense_head
from imgcourse.learner import ConvLearner, Learner, set_seed
from imgcourse.nets import ConvNet2, FastNet, KerasNet, ResNet, SimpleNet
from imgcourse.sketches import draw_sketch

def data_of(folder, sz=64, bs=8, **kw): return ImageClassifierData.from_paths(folder, bs, tfms_from_model(lite0, sz, **kw))
def files_of(data): return [data.val_ds.name(i) for i in range(len(data.val_ds))]

@pytest.fixture
def things(tmp_path):
    "Class folders of sketches: a function of their names and numbers."
    def make(name='things', **classes):
        for kind, n in classes.items():
            (tmp_path/name/kind).mkdir(parents=True, exist_ok=True)
            for i in range(n): draw_sketch(kind, i, 64).save(tmp_path/name/kind/f'{i}.png')
        return tmp_path/name
    return make

@pytest.fixture
def learn(few):
    set_seed(1); l = ConvLearner.pretrained(lite0, data_of(few), precompute=True); l.cbs = l.cbs[:1]; l.fit(.01, 2)
    return l

# ---- classes of one's own
def test_added_classes_come_last_and_keep_their_pictures(few, things):
    old, own = data_of(few), things(espresso_cup=10, clock=5)
    data = old.add_classes(own)
    assert data.classes == ['cats', 'dogs', 'clock', 'espresso_cup'] and data.c == 4
    assert (len(data.trn_ds), len(data.val_ds)) == (24 + 4 + 8, 12 + 1 + 2)
    for ds, old_ds in ((data.trn_ds, old.trn_ds), (data.val_ds, old.val_ds)):
        assert list(ds.items)[:len(old_ds)] == list(old_ds.items)
        for f, y in zip(ds.items, ds.y): assert Path(f).parent.name == data.classes[y]
    assert not set(data.trn_ds.items) & set(data.val_ds.items) and data.bs == old.bs and old.classes == ['cats', 'dogs'], 'the old data are as they were'
    assert list(old.add_classes(own).val_ds.items) == list(data.val_ds.items), 'the same split each time'
    learn = ConvLearner.pretrained(lite0, data, precompute=True); learn.fit(.01, 1)
    assert learn.predict().shape == (15, 4)

def test_one_class_can_be_added(few, things): assert data_of(few).add_classes(things(clock=5)).classes == ['cats', 'dogs', 'clock']

def test_classes_that_cannot_be_added(few, things, tmp_path):
    data = data_of(few)
    with pytest.raises(ValueError, match='cats.*there already'): (tmp_path/'a'/'cats').mkdir(parents=True); [draw_sketch('cat', i, 64).save(tmp_path/'a'/'cats'/f'{i}.png') for i in range(3)]; data.add_classes(tmp_path/'a')
    with pytest.raises(ValueError, match='single picture'): data.add_classes(things('b', clock=1))
    with pytest.raises(FileNotFoundError): data.add_classes(tmp_path/'nowhere')
    with pytest.raises(ValueError, match='at least 1'): (tmp_path/'empty').mkdir(); data.add_classes(tmp_path/'empty')
    (things('c', clock=4)/'clock'/'bad.png').write_bytes(b'no picture')
    with pytest.raises(PictureError, match='bad.png'): data.add_classes(tmp_path/'c')
    with pytest.warns(UserWarning, match='bad.png'): assert data.add_classes(tmp_path/'c', on_error='skip').c == 3
    with pytest.raises(ValueError, match='from files'): data.on_device().add_classes(things('d', clock=4))

# ---- out and in
def nets(data):
    "Learners of every kind that can be exported."
    flat = data.on_device()
    yield 'head', ConvLearner.pretrained(lite0, data, xtra_fc=[32, 16], ps=[.1, .2, .3])
    yield 'no extra layer', ConvLearner.pretrained(lite0, data, xtra_fc=[], ps=[.1])
    yield 'arguments', ConvLearner.pretrained('tf_efficientnet_lite1', data, weights=False, pad_type='')
    yield 'one logit', ConvLearner(create_backbone(lite0), dense_head(1280, 16), data, loss_fn=binary_loss)
    for net in (SimpleNet((64, 64, 3), [8], 2), ConvNet2((64, 64, 3), layers=[4, 8], n_classes=2), ResNet((64, 64, 3), [4, 8], 2), FastNet((64, 64, 3), [8, 16], 2), PlainNet((64, 64, 3), [4, 4, 8], 2), TrautNet((64, 64, 3), 2), ShortNet((64, 64, 3), 2)):
        yield type(net).__name__, ConvLearner.from_model(net, flat)
    yield 'layers', ConvLearner.from_model(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), data)
    yield 'KerasNet', ConvLearner.from_model(KerasNet((64, 64, 3), nn.Flatten(), nn.Linear(64*64*3, 2), nn.LogSoftmax(1)), flat)
    yield 'timm', ConvLearner.from_model(timm.create_model('resnet18', num_classes=2), data)

def test_every_kind_of_net_goes_out_and_in(few, tmp_path):
    for name, learn in nets(data_of(few)):
        for m in learn.full.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm): nn.init.normal_(m.running_mean, std=.1); nn.init.uniform_(m.running_var, .5, 2)
        net = load_learner(learn.export(tmp_path/'net.safetensors'))
        want, files = learn.predict(), files_of(learn.data)
        assert np.allclose(net.predict(files), want, rtol=1e-4, atol=1e-4), name
        assert net.classes == ['cats', 'dogs'] and net.tfm.steps.transforms[-1].size == (64, 64), name
        if name in ('head', 'one logit', 'ResNet', 'TrautNet', 'layers'):
            file = learn.export(tmp_path/'net.onnx')
            pixels = np.stack([np.asarray(net.tfm.steps(as_picture(f, net.tfm.min_side))) for f in files])
            session = onnxruntime.InferenceSession(file)
            within = 1e-3 if name in ('head', 'one logit') else 1e-5 # fifty layers add up their rounding
            for n in (1, len(files)): assert np.allclose(session.run(None, {'pixels': pixels[:n]})[0], net.logits(files[:n]), rtol=within, atol=within), name
            noted = session.get_modelmeta().custom_metadata_map
            assert json.loads(noted['classes']) == ['cats', 'dogs'] and json.loads(noted['transform'])['mean'] == list(net.tfm.mean)

def test_another_process_and_number_of_threads(learn, tmp_path):
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    files = files_of(learn.data)
    want = net.logits(files)
    for threads in (1, 2, 3):
        code = f'import json, sys, torch; torch.set_num_threads({threads}); from imgcourse.deploy import load_learner; print(json.dumps(load_learner(sys.argv[1]).logits(sys.argv[2:]).tolist()))'
        got = subprocess.run([sys.executable, '-c', code, str(tmp_path/'net.safetensors'), *files], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        assert np.allclose(json.loads(got), want, rtol=1e-5, atol=1e-5)

def test_the_learner_goes_on_after_an_export(learn, tmp_path):
    before = {k: v.clone() for k, v in learn.full.state_dict().items()}
    a = load_learner(learn.export(tmp_path/'a.safetensors')); want = a.logits(files_of(learn.data)); learn.export(tmp_path/'a.onnx')
    assert all(torch.equal(before[k], v) for k, v in learn.full.state_dict().items())
    assert [p.requires_grad for p in learn.head.parameters()] == [True]*len([*learn.head.parameters()])
    learn.fit(.01, 1)
    assert torch.equal(a.logits(files_of(learn.data)), want), 'the file is not changed by it'

def test_pictures_of_every_kind(learn, tmp_path):
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    im = draw_sketch('cat', 7, 200); im.save(tmp_path/'im.png')
    turned = im.rotate(90, expand=True); exif = turned.getexif(); exif[0x112] = 6; turned.save(tmp_path/'turned.png', exif=exif)
    want = net.logits([tmp_path/'im.png'])
    for p in (str(tmp_path/'im.png'), im, np.asarray(im), im.convert('RGBA'), tmp_path/'turned.png', Image.open(tmp_path/'turned.png')): assert torch.allclose(net.logits([p]), want, atol=1e-5), p
    assert net.logits([im.convert('L'), im]).shape == (2, 2) and net.logits([]).shape == (0, 2) and net.predict([]).shape == (0, 2)
    top = net.top(im, 5)
    assert list(top) == ['class', 'probability'] and len(top) == 2 and top.probability.sum() == pytest.approx(1, abs=1e-5) and top.probability.is_monotonic_decreasing
    with pytest.raises(ValueError, match='list of pictures'): net.predict(tmp_path/'im.png')
    with pytest.raises(PictureError, match='no such file'): net.predict([tmp_path/'nothing.png'])

def test_names_of_files(learn, tmp_path):
    with pytest.raises(ValueError, match='safetensors or .onnx'): learn.export(tmp_path/'net.pkl')
    assert learn.export(tmp_path/'new'/'deep'/'net.safetensors').is_file()
    umask = os.umask(0); os.umask(umask)
    assert (tmp_path/'new'/'deep'/'net.safetensors').stat().st_mode & 0o777 == 0o666 & ~umask, 'others may read it'
    assert [f.name for f in (tmp_path/'new'/'deep').iterdir()] == ['net.safetensors']

class OwnNet(nn.Module):
    def __init__(self): super().__init__(); self.layer = nn.Linear(64*64*3, 2)
    def forward(self, x): return self.layer(x.flatten(1))

class OwnLinear(nn.Linear):
    def forward(self, x): return super().forward(x) + 1
OwnLinear.__name__ = 'Linear'

class OwnKeras(KerasNet):
    def __init__(self, in_shape, n): super().__init__(in_shape, nn.Flatten(), nn.Linear(in_shape[0]*in_shape[1]*3, n), nn.LogSoftmax(1))

def test_what_cannot_be_described_is_refused(few, tmp_path):
    data = data_of(few)
    for model, why in ((OwnNet(), 'OwnNet'), (nn.Sequential(nn.Flatten(), OwnLinear(64*64*3, 2)), 'something else')):
        learn = ConvLearner.from_model(model, data)
        with pytest.raises(ValueError, match=why): learn.export(tmp_path/'net.safetensors')
    assert not list(tmp_path.glob('*.safetensors')), 'nothing is written'
    learn = ConvLearner.from_model(OwnNet(), data)
    out, = onnxruntime.InferenceSession(learn.export(tmp_path/'net.onnx')).run(None, {'pixels': np.zeros((1, 64, 64, 3), np.uint8)})
    assert out.shape == (1, 2)
    own = ImageClassifierData.from_paths(few, 8, (lambda im: torch.zeros(3, 64, 64),)*2)
    with pytest.raises(ValueError, match='transform'): ConvLearner.from_model(OwnNet(), own).export(tmp_path/'x.safetensors')
    step = ImageClassifierData.from_paths(few, 8, (PictureTransform([lambda im: im.resize((64, 64))], 64, (0, 0, 0), (1, 1, 1)),)*2)
    with pytest.raises(ValueError, match='lambda'): ConvLearner.from_model(TrautNet((64, 64, 3), 2), step).export(tmp_path/'x.safetensors')
    assert not (tmp_path/'x.safetensors').exists()

def test_a_net_of_ones_own_in_Keras_style(few, tmp_path):
    learn = ConvLearner.from_model(OwnKeras((64, 64, 3), 2), data_of(few))
    file = learn.export(tmp_path/'own.safetensors')
    assert np.allclose(load_learner(file).predict(files_of(learn.data)), learn.predict(), atol=1e-5)
    p = subprocess.run([sys.executable, '-c', f'from imgcourse.deploy import load_learner; load_learner({str(file)!r})'], capture_output=True, text=True)
    assert p.returncode == 1 and "no layer 'OwnKeras'" in p.stderr and 'must be defined' in p.stderr

# ---- files that are refused
def test_every_changed_byte_is_noticed(few, tmp_path):
    set_seed(0); learn = ConvLearner.from_model(SimpleNet((64, 64, 3), [2], 2), data_of(few)); learn.cbs = []
    file = learn.export(tmp_path/'net.safetensors')
    whole, files = file.read_bytes(), files_of(learn.data)[:1]
    want, head = load_learner(file).logits(files), struct.unpack('<Q', whole[:8])[0] + 8
    spots = [*range(head), *np.random.RandomState(0).randint(head, len(whole), 60)]
    bad = tmp_path/'bad.safetensors'
    for i in spots:
        for flip in (1, 32):
            changed = bytearray(whole); changed[i] ^= flip
            bad.write_bytes(changed)
            try: got = load_learner(bad).logits(files)
            except WeightsError: continue
            assert torch.equal(got, want), (i, flip, whole[max(i - 20, 0):i + 20]) # white space between the parts of the header

def rewrite(file, to, **changes):
    tensors, about = deploy.read_whole(file)
    deploy.write_whole(tensors, to, {**about, **changes})
    return to

class Bomb:
    def __reduce__(self): return Path.touch, (Path('exploded'),)

def test_other_files_are_refused(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = learn.export('net.safetensors')
    def refused(name, why):
        with pytest.raises(WeightsError, match=why) as e: load_learner(name)
        assert len(str(e.value)) < 500 and '\n' not in str(e.value)
    refused('nothing.safetensors', 'no file')
    refused(rewrite(file, Path('newer.safetensors'), imgcourse=2, **{'written by': '9.9'}), r'format 2 \(written by imgcourse 9\.9\).*reads format 1')
    save_file({'x': torch.ones(1)}, 'foreign.safetensors'); refused('foreign.safetensors', 'not written by learn.export')
    learn.save('kept'); refused(f'{learn.models_path}/kept.safetensors', 'not written by learn.export')
    for name, obj in (('pickle', lambda f: f.write_bytes(pickle.dumps(Bomb()))), ('torch', lambda f: torch.save({'x': Bomb()}, f))):
        obj(Path(f'{name}.safetensors')); refused(f'{name}.safetensors', 'can hold programs')
    for name, net in (('code', '__import__("pathlib").Path("exploded").touch()'), ('call', 'Linear(in_features=print("x"), out_features=2)'), ('unknown', ['system("touch exploded")']), ('checkpoint', 'create_model("resnet18", checkpoint_path="torch.safetensors")'),
                      ('backbone', "Backbone('resnet18', checkpoint_path='torch.safetensors')"), ('hub', 'create_model("hf_hub:someone/net")'), ('other', 'SimpleNet((64, 64, 3), [2], 2)'), ('shape', [*describe(learn.full)[:2], [*describe(learn.full)[2][:-2], 'Linear(in_features=512, out_features=3, bias=True)', 'LogSoftmax(dim=1)']])):
        refused(rewrite(file, Path(f'{name}.safetensors'), net=net), 'belong to another model' if name in ('other', 'shape') else 'cannot be built')
    assert not Path('exploded').exists()

def test_an_older_file_stays_when_the_new_one_fails(learn, tmp_path, monkeypatch):
    file = learn.export(tmp_path/'net.safetensors'); old = file.read_bytes()
    with monkeypatch.context() as m:
        m.setattr('imgcourse.checkpoint.os.fsync', lambda fd: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
        with pytest.raises(OSError): learn.export(file)
    assert file.read_bytes() == old
    learn.full[2].append(OwnNet())
    with pytest.raises(ValueError): learn.export(file)
    assert file.read_bytes() == old

def test_descriptions_come_back():
    for text in ('Linear(in_features=4, out_features=2, bias=True)', 'MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)', 'GELU(approximate=\'none\')', 'ResNet((32, 32, 3), [10, 20], n_classes=10)'):
        assert describe(build(text)) == text

# ---- untouched nets
def test_untouched_nets_have_names_for_their_outputs(tmp_path):
    model = timm.create_model('resnet18'); save_file(model.state_dict(), tmp_path/'r.safetensors')
    net = untouched('resnet18', tmp_path/'r.safetensors')
    assert len(net.classes) == 1000 and 'tabby' in net.classes[281]
    im = draw_sketch('dog', 3, 256)
    timms = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    with torch.no_grad(): assert torch.allclose(net.logits([im]), model.eval()(timms(im)[None]), atol=1e-4), 'pictures are prepared as timm does it'
    with pytest.raises(ValueError, match='There is no architecture'): untouched('resnet1800')

def test_untouched_net_on_photos(dogscats_photos):
    "ImageNet's names for cats and dogs."
    net = untouched('mobilenetv2_100', shared('weights/mobilenetv2_100.safetensors'), pad_type='same')
    dogs = range(151, 269)
    for kind, of_kind in (('dogs', dogs), ('cats', range(281, 286))):
        files = sorted((dogscats_photos/'valid'/kind).iterdir())[:50]
        best = net.predict(files).argsort(1)[:, -5:]
        assert np.mean([any(k in of_kind for k in row) for row in best]) > .85

# ---- comparison
def test_comparison(few):
    data = data_of(few); n = len(data.val_ds); y = data.val_y
    good = np.log(np.where(np.arange(2) == y[:, None], .9, .1)); flat = np.log(np.full((n, 2), .5) + np.array([1e-6, -1e-6])); bad = good[:, ::-1].copy(); bad[3] = good[3]
    both = Comparison(data, {'good': good, 'flat': flat, 'bad': bad})
    t = both.table()
    assert t.accuracy.tolist() == pytest.approx([1, (y == 0).mean(), 1/n]) and t.loc['good', 'log loss'] == pytest.approx(-np.log(.9)) and t.sureness.tolist() == pytest.approx([.9, .5, .9], abs=1e-4)
    assert both.pick(right=['good', 'bad']).tolist() == [3]
    assert set(both.pick(right=['good'], wrong=['flat'], n=99)) == set(np.flatnonzero(y == 1)) and len(both.pick(right=['good'], n=2)) == 2
    assert len(both.pick(wrong=['good'])) == 0
    with pytest.raises(ValueError, match="no net 'best'; there are good"): both.pick(right=['best'])
    with pytest.raises(ValueError, match='Say which'): both.pick()
    import matplotlib.pyplot as plt
    both.plot_scores([0, 3]); fig = plt.gcf()
    labels = [t.get_text() for t in fig.axes[1].get_yticklabels()]
    assert labels == [f'{data.classes[k]} {p:.2f}' for k, p in ((y[0], .9), (1 - y[0], .1))]; plt.close('all')

# ---- the command line
def run(*argv, cwd=None): return subprocess.run([Path(sys.executable).parent/'imgcourse', *map(str, argv)], capture_output=True, text=True, cwd=cwd, env={**os.environ, 'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9'})

def test_train_and_predict_in_the_terminal(few, tmp_path):
    p = run('train', few, '--size', 64, '--epochs', 2, cwd=tmp_path)
    assert p.returncode == 0, p.stderr
    model, page = tmp_path/'imgcourse-net'/'model.safetensors', tmp_path/'imgcourse-net'/'report.html'
    assert model.is_file() and page.is_file() and 'imgcourse-net/report.html' in p.stdout and re.search(r'\d+\.\d% of the validation pictures', p.stdout)
    p = run('predict', model, few/'valid'/'cats', few/'valid'/'dogs'/'dog.1.jpg', '--top', 1)
    lines = p.stdout.splitlines()
    assert p.returncode == 0 and len(lines) == 2*7 and all(re.fullmatch(r'  [01]\.\d{3}  (cats|dogs)', l) for l in lines[1::2]) and lines[-2].endswith('dog.1.jpg')
    probs = load_learner(model).top(few/'valid'/'dogs'/'dog.1.jpg', 1)
    assert lines[-1] == f'  {probs.probability[0]:.3f}  {probs["class"][0]}'
    (tmp_path/'no.jpg').write_bytes(b'text')
    p = run('predict', model, tmp_path/'no.jpg', few/'valid'/'dogs'/'dog.1.jpg')
    assert p.returncode == 2 and 'no.jpg' in p.stderr and 'Traceback' not in p.stderr and 'dog.1.jpg\n' in p.stdout, 'the others are answered'
    assert run('train', few, '--size', 64, '--epochs', 1, '--finetune', 1, cwd=tmp_path).returncode == 0 and (tmp_path/'imgcourse-net-2'/'model.safetensors').is_file(), 'nothing is written over'

def test_a_class_called_train(tmp_path):
    "Trains and ships; a folder `train` of class folders is something else, also where `valid` is missing."
    for c in ('train', 'ship'): (tmp_path/'toys'/c).mkdir(parents=True); [draw_sketch(c, i, 32).save(tmp_path/'toys'/c/f'{i}.png') for i in range(5)]
    data = read_folder(tmp_path/'toys', 4, tfms_from_model(lite0, 32))
    assert data.classes == ['ship', 'train'] and len(data.trn_ds) + len(data.val_ds) == 10
    (tmp_path/'toys'/'ship').rename(tmp_path/'toys'/'valid')
    with pytest.raises(ValueError, match='needs a folder for each class'): read_folder(tmp_path/'toys', 4, tfms_from_model(lite0, 32))

def bad(tmp_path, name):
    f = tmp_path/name
    def pics(sub, n, kind='cat'): (f/sub).mkdir(parents=True, exist_ok=True); [draw_sketch(kind, i, 32).save(f/sub/f'{i}.png') for i in range(n)]
    if name == 'a file': f.write_text('x')
    if name == 'empty': f.mkdir()
    if name == 'pictures without classes': pics('.', 5)
    if name == 'one class': pics('cats', 5)
    if name == 'empty class': pics('cats', 5); (f/'dogs').mkdir()
    if name == 'single picture': pics('cats', 5); pics('dogs', 1)
    if name == 'damaged': pics('cats', 12); pics('dogs', 5); [(f/'cats'/f'{i}.png').write_bytes(b'') for i in range(9)]
    if name == 'no validation': pics('train/cats', 5); pics('train/dogs', 5)
    if name == 'other classes': [pics(f'{s}/{c}', 4) for s, c in (('train', 'cats'), ('train', 'dogs'), ('valid', 'cats'), ('valid', 'wolves'))]
    return f

@pytest.mark.parametrize('name, why', [('nowhere', 'There is no folder'), ('a file', 'There is no folder'), ('empty', 'at least 2'), ('pictures without classes', 'did you mean the folder above'), ('one class', r"it has \['cats'\]"), ('empty class', 'no pictures in the class folder dogs'),
    ('single picture', 'a single picture'), ('damaged', '9 of 17 pictures cannot be read.*--on-error skip'), ('no validation', 'no folder valid'), ('other classes', 'must hold the same classes')])
def test_bad_folders_in_one_line(tmp_path, monkeypatch, capfd, name, why):
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(bad(tmp_path, name)), '--size', '32', '--epochs', '1']) == 2
    err = capfd.readouterr().err
    line = [l for l in err.split('\r')[-1].splitlines() if l.strip()]
    assert len(line) == 1 and line[0].startswith('imgcourse: ') and re.search(why, line[0]) and name.split()[0] in line[0] or name == 'other classes', err
    assert not list(tmp_path.glob('imgcourse-net*')), 'nothing is left behind'

def test_wrong_settings_in_one_line(few, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for argv, why in ((['--arch', 'resnet18000'], 'no architecture'), (['--epochs', '0'], 'epochs'), (['--size', '3'], 'at least 8'), (['--bs', '0'], 'bs'), (['--weights', 'none.safetensors'], 'no weights file'), (['--out', str(few/'train'/'cats'/'cat.1.jpg')], 'cat.1.jpg')):
        assert main(['train', str(few), *argv]) == 2
        err = capfd.readouterr().err.split('\r')[-1]
        assert re.search(why, err) and len(err.strip().splitlines()) == 1, err
    (tmp_path/'old').mkdir(); (tmp_path/'old'/'model.safetensors').write_text('dear')
    assert main(['train', str(few), '--out', 'old']) == 2 and 'holds a model already' in capfd.readouterr().err and (tmp_path/'old'/'model.safetensors').read_text() == 'dear'
    assert main(['predict', 'nothing.safetensors', 'x.jpg']) == 2 and 'no file' in capfd.readouterr().err
    for argv in (['train'], ['predict'], ['train', str(few), '--epochs', 'many']):
        with pytest.raises(SystemExit) as e: main(argv)
        assert e.value.code == 2

def test_damaged_pictures_can_be_left_out(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(bad(tmp_path, 'damaged')), '--size', '32', '--epochs', '1', '--on-error', 'skip']) == 0
    assert 'note: 9 of 17' in capfd.readouterr().err

def test_every_layout_of_a_folder(few, tmp_path):
    for name in ('val', 'test'):
        (few/'valid' if (few/'valid').exists() else few/'val').rename(few/name)
        model, page, acc = train_folder(few, tmp_path/name, sz=64, epochs=1)
        assert load_learner(model).classes == ['cats', 'dogs'] and 0 <= acc <= 1
    model, _, _ = train_folder(few/'train', tmp_path/'one', sz=64, epochs=1)
    assert '20 to learn from, 4 to check with' in (tmp_path/'one'/'report.html').read_text()

# ---- the report
def test_report_stands_alone(learn, tmp_path):
    page = report(learn, tmp_path/'r.html', {'note': '<b>bold</b> & more'}).read_text(encoding='utf-8')
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and '<script' not in page and 'url(' not in page and '@import' not in page
    assert '&lt;b&gt;bold&lt;/b&gt; &amp; more' in page
    preds = learn.predict().argmax(1); right = int((preds == learn.data.val_y).sum())
    assert f'({right} of 12 right)' in page and '24 to learn from, 12 to check with, 2 classes' in page
    assert all(re.search(r'alt="[^"]+"', i) for i in re.findall('<img[^>]*>', page)) and len(re.findall('<img', page)) >= 3
    wrong = [Path(learn.data.val_ds.name(i)).name for i in np.flatnonzero(preds != learn.data.val_y)]
    worst = page.split('Largest losses')[1]
    assert all(w in worst for w in wrong) and len(re.findall('<figure>', worst)) == len(wrong)

def test_report_of_names_that_are_no_html(things, tmp_path):
    folder = things(cat=8, dog=8); (folder/'cat').rename(folder/'a <script>alert(1)< $x$'); (folder/'dog').rename(folder/'Größe & "Maß"')
    _, page, _ = train_folder(folder, tmp_path/'out', sz=32, epochs=1)
    text = page.read_text(encoding='utf-8')
    assert '<script' not in text and 'Größe &amp;' in text

def test_report_of_many_classes(tmp_path):
    from imgcourse.sketches import make_sketches
    path = make_sketches('cifar100', tmp_path/'c', n_train=2, n_valid=1)
    learn = ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(path, 32, tfms_from_model(lite0, 32), val_name='test'), precompute=True)
    learn.fit(.01, 1)
    assert report(learn, tmp_path/'r.html').stat().st_size < 3e6

# ---- photos
def test_two_hundred_photos_in_the_terminal(dogscats_photos, tmp_path):
    for c in ('cats', 'dogs'):
        (tmp_path/'few'/c).mkdir(parents=True)
        for f in sorted((dogscats_photos/'train'/c).iterdir())[:100]: shutil.copy(f, tmp_path/'few'/c)
    p = run('train', tmp_path/'few', '--out', tmp_path/'out')
    assert p.returncode == 0 and (tmp_path/'out'/'report.html').is_file()
    net = load_learner(tmp_path/'out'/'model.safetensors')
    right = np.mean([net.predict(sorted((dogscats_photos/'valid'/c).iterdir())).argmax(1) == k for k, c in enumerate(('cats', 'dogs'))])
    print(right); assert right >= .8, 'on photos that it has not seen'

# ---- cleaning up
@pytest.fixture
def cleaner(few):
    data = data_of(few)
    p = np.full((12, 2), [.9, .1]); p[[1, 4]] = [.2, .8]; p[6:] = p[6:, ::-1]; p[9] = [.99, .01]
    c = deploy.Cleaner(deploy.Interpretation(data, np.log(p)), 4)
    assert [Path(f).name for f in c.rows.file][:3] == [Path(data.val_ds.name(i)).name for i in (9, 1, 4)]
    return c

def tree(folder): return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob('*') if f.is_file()}

def test_cleaning_changes_a_list_and_files_only_when_told(cleaner, few, tmp_path):
    before, files = tree(few), list(cleaner.rows.file)
    cleaner.choice |= {files[0]: 'cats', files[1]: 'delete', files[2]: 'cats'} # the third is a cat already
    assert cleaner.changes().values.tolist() == [[files[0], 'dogs', 'cats'], [files[1], 'cats', 'delete']] and tree(few) == before
    moves = cleaner.apply(tmp_path/'removed')
    names = [Path(f).name for f in files]
    assert moves == [(Path(files[0]), few/'valid'/'cats'/names[0]), (Path(files[1]), tmp_path/'removed'/'cats'/names[1])]
    after = tree(few)
    assert after == {k: v for k, v in before.items() if k not in (f'valid/dogs/{names[0]}', f'valid/cats/{names[1]}')} | {f'valid/cats/{names[0]}': before[f'valid/dogs/{names[0]}']}
    assert (tmp_path/'removed'/'cats'/names[1]).read_bytes() == before[f'valid/cats/{names[1]}'] and len(cleaner.changes()) == 0

def test_cleaning_that_cannot_be(cleaner, few, tmp_path):
    files = list(cleaner.rows.file); before = tree(few)
    cleaner.choice[files[0]] = 'wolves'
    with pytest.raises(ValueError, match='wolves.*keep'): cleaner.apply(tmp_path/'removed')
    cleaner.choice |= {files[0]: 'cats', files[1]: 'delete'}
    (few/'valid'/'cats'/Path(files[0]).name).write_bytes(b'dear')
    with pytest.raises(FileExistsError, match='rename'): cleaner.apply(tmp_path/'removed')
    (few/'valid'/'cats'/Path(files[0]).name).unlink()
    assert tree(few) == before and not (tmp_path/'removed').exists(), 'nothing was moved'
    with pytest.raises(ValueError, match='arrays'): deploy.Cleaner(deploy.Interpretation(data_of(few).on_device(), np.log(np.full((12, 2), .5))))

def test_cleaner_in_jupyterlab(cleaner, monkeypatch):
    shown = []
    monkeypatch.setattr(deploy, 'in_notebook', lambda: True); monkeypatch.setattr('IPython.display.display', lambda w: shown.append(w)); monkeypatch.setattr('matplotlib.pyplot.show', lambda: None)
    cleaner.show()
    lists = shown[0].children
    assert len(lists) == 4 and lists[0].options == ('keep', 'delete', 'cats', 'dogs')
    lists[0].value = 'delete'
    assert cleaner.choice[cleaner.rows.file.iloc[0]] == 'delete' and len(cleaner.changes()) == 1

# ---- what a review found
def test_names_of_any_kind_do_not_lose_a_training(things, tmp_path, monkeypatch, capfd):
    folder = things(cat=6, dog=6, clock=6)
    odd = [os.fsdecode(b) for b in (b'x\xff', b'bad\xfe')] if sys.platform == 'linux' else ['x', 'bad'] # names that are no text
    for old, new in (('cat', r'$\frac$'), ('dog', '$^$'), ('clock', odd[0])): (folder/old).rename(folder/new)
    folder = folder.rename(tmp_path/odd[1])
    model, page, _ = train_folder(folder, tmp_path/'out', sz=32, epochs=1)
    assert r'$\frac$' in page.read_text(encoding='utf-8') and load_learner(model).classes[0] == r'$\frac$'
    data = ImageClassifierData.from_folder(folder, tfms=tfms_from_model(lite0, 32))
    Comparison(data, {'$\\frac$': np.log(np.full((3, 3), 1/3))}).plot_scores([0, 1, 2])
    import matplotlib.pyplot as plt
    plt.gcf().canvas.draw(); plt.close('all')

class Darker(PictureTransform):
    def finish(self, ims): return super().finish(ims)*.1

class Mirror(nn.Module):
    def forward(self, im): return im.resize((64, 64)).transpose(Image.FLIP_LEFT_RIGHT)
    def __repr__(self): return 'Resize(size=[64, 64])'

def test_transforms_that_the_words_do_not_say_are_refused(few, tmp_path):
    for tfm in (Darker(tfms_from_model(lite0, 64)[1].steps.transforms, 64, (.5,)*3, (.2,)*3), PictureTransform([Mirror()], 64, (.5,)*3, (.2,)*3)):
        learn = ConvLearner.from_model(TrautNet((64, 64, 3), 2), ImageClassifierData.from_paths(few, 8, (tfm, tfm)))
        for name in ('x.safetensors', 'x.onnx'):
            with pytest.raises(ValueError, match='how pictures are prepared'): learn.export(tmp_path/name)

def test_of_several_nets_of_one_name_the_last_counts(few, tmp_path):
    data, made = data_of(few), []
    for act in (nn.ReLU, nn.Tanh):
        class Again(KerasNet):
            def __init__(self, in_shape, n, act=act): super().__init__(in_shape, nn.Flatten(), nn.Linear(64*64*3, 4), act(), nn.Linear(4, n), nn.LogSoftmax(1))
        made.append(ConvLearner.from_model(Again((64, 64, 3), 2), data))
    file = made[1].export(tmp_path/'a.safetensors')
    assert np.allclose(load_learner(file).predict(files_of(data)), made[1].predict(), atol=1e-5)
    with pytest.raises(ValueError): made[0].export(tmp_path/'b.safetensors')

def test_untouched_nets_that_squeeze():
    tfm = untouched('dm_nfnet_f0', weights=False).tfm
    im = draw_sketch('dog', 3, 256).crop((0, 0, 256, 120))
    timms = timm.data.create_transform(**timm.data.resolve_data_config({}, model=timm.create_model('dm_nfnet_f0')), is_training=False)
    assert torch.allclose(tfm(im), timms(im), atol=.02)

@pytest.mark.parametrize('change', [dict(net=''), dict(net='-'*100000 + '1'), dict(net='GroupNorm(num_groups=0, num_channels=2)'), dict(net="create_model('resnet18', act_layer='nope')"), dict(net='Lambda(lambd="print")'), dict(net=None),
    dict(transform=None), dict(transform={}), dict(transform={'steps': ['Resize()'], 'min_side': 64, 'mean': [0]*3, 'std': [1]*3}), dict(transform={'steps': ['Linear(2, 2)'], 'min_side': 64, 'mean': [0]*3, 'std': [1]*3}), dict(classes=['cats']), dict(classes=['a', 'b', 'c']), dict(classes=None)],
    ids=lambda c: str(c)[:40])
def test_strange_headers_are_refused_in_a_line(learn, tmp_path, change):
    file = rewrite(learn.export(tmp_path/'net.safetensors'), tmp_path/'strange.safetensors', **change)
    with pytest.raises(WeightsError, match='strange.safetensors') as e: load_learner(file)
    assert '\n' not in str(e.value) and len(str(e.value)) < 600

def test_half_precision_weights(learn, tmp_path):
    learn.full.bfloat16()
    net = load_learner(learn.export(tmp_path/'net.safetensors')); learn.export(tmp_path/'net.onnx')
    assert net.logits(files_of(learn.data)).dtype == torch.float32

def test_arrays_that_are_no_pictures(learn, tmp_path):
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    for bad in (np.full((9, 9, 3), 2.), np.zeros((9, 9, 2), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3), int)):
        with pytest.raises(ValueError, match='(?i)picture'): net.predict([bad])
    with pytest.raises(ValueError, match='list of pictures'): net.predict(np.zeros((9, 9, 3), np.uint8))
    assert net.predict(np.zeros((2, 9, 9, 3), np.uint8)).shape == (2, 2)

def test_results_do_not_lie_among_the_pictures(few, monkeypatch, capfd):
    monkeypatch.chdir(few/'train')
    assert main(['train', '.', '--size', '32', '--epochs', '1']) == 2 and 'name another folder' in capfd.readouterr().err and not (few/'train'/'imgcourse-net').exists()

def test_more_wrong_settings(few, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path); (tmp_path/'afile').write_text('x'); (tmp_path/'o'/'report.html').mkdir(parents=True); (tmp_path/'none').mkdir()
    for argv, why in ((['train', str(few), '--size', '60000'], 'at most 2048'), (['train', str(few), '--out', 'afile'], 'is a file'), (['train', str(few), '--out', 'o'], 'is a folder')):
        assert main(argv) == 2 and why in capfd.readouterr().err
    set_seed(1); learn = ConvLearner.pretrained(lite0, data_of(few), precompute=True); learn.export('m.safetensors')
    assert main(['predict', 'm.safetensors', 'none']) == 2 and 'no pictures' in capfd.readouterr().err
    (few/'valid'/'cats'/'notes.txt').write_text('x')
    assert main(['predict', 'm.safetensors', str(few/'valid'/'cats')]) == 0
    assert re.fullmatch(r'imgcourse: note: .*\.txt.*passed over\n', capfd.readouterr().err.split('\r')[-1])

def test_own_classes_are_sketches_also_with_the_full_sets(cache, monkeypatch):
    from imgcourse.data import get_dataset
    monkeypatch.setenv('IMGCOURSE_FULL', '1')
    assert sorted(f.name for f in (get_dataset('own_classes')/'train').iterdir()) == ['church_window', 'clock', 'espresso_cup']
    with pytest.raises(ValueError, match='nothing to download'): get_dataset('own_classes', full=True)
