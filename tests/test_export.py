"A net in a file: out and in, what a file cannot tell, files from strangers, ONNX; nets as they came."
import json, os, pickle, struct, subprocess, sys
from copy import deepcopy
from pathlib import Path
import numpy as np, onnxruntime, pytest, timm, torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2
from conftest import shared
from imgcourse.data import ImageClassifierData
from imgcourse.export import Classifier, build_net, keras_nets, load_learner, net_config, tfm_config, untouched
from imgcourse.features import WeightsError, create_backbone, read_whole, write_whole
from imgcourse.finetune import binary_loss, dense_head
from imgcourse.learner import ConvLearner, set_seed
from imgcourse.nets import ConvNet2, FastNet, KerasNet, ResNet, SimpleNet
from imgcourse.ondevice import BatchTransform
from imgcourse.own import ShortNet
from imgcourse.pictures import PictureError, as_picture
from imgcourse.playground import PlainNet, TrautNet
from imgcourse.sketches import draw_sketch
from imgcourse.transforms import PictureTransform, lite0, tfms_from_model

IN = (64, 64, 3)
TFMS = tfms_from_model(lite0, 64)


def sketch_data(sketches, tfm=TFMS[1]):
    "12 + 6 sketches of each class; no test changes them."
    def part(split, n):
        files = [f for c in ('cats', 'dogs') for f in sorted((sketches/split/c).iterdir())[:n]]
        return files, np.repeat([0, 1], n)
    return ImageClassifierData(sketches, part('train', 12), part('valid', 6), ['cats', 'dogs'], (tfm, tfm), 8)


def files_of(data): return [data.val_ds.name(i) for i in range(len(data.val_ds))]


@pytest.fixture(scope='module')
def data(sketches): return sketch_data(sketches)


@pytest.fixture(scope='module')
def flat(data): return data.on_device()


@pytest.fixture(scope='module')
def learn(data):
    "A trained learner; no test changes it."
    set_seed(1)
    found = ConvLearner.pretrained(lite0, data, precompute=True)
    found.silent()
    found.fit(.01, 2)
    return found


@pytest.fixture(scope='module')
def file(learn, tmp_path_factory): return learn.export(tmp_path_factory.mktemp('exported')/'net.safetensors')


@pytest.fixture(scope='module')
def net(file): return load_learner(file)


def untrained(data):
    "With timm's smallest net."
    return ConvLearner.pretrained('test_resnet', data, weights=False)


# ---- out and in
class OwnNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64*64*3, 2)

    def forward(self, x): return self.layer(x.flatten(1))


class OwnKeras(KerasNet):
    def __init__(self, in_shape, n):
        width = in_shape[0]*in_shape[1]*in_shape[2]
        super().__init__(in_shape, nn.Flatten(), nn.Linear(width, n), nn.LogSoftmax(1))


def layers():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.SiLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def keras(net): return lambda data, flat: ConvLearner.from_model(net(), flat)


TOLD = {
    'head': lambda data, flat: ConvLearner.pretrained(lite0, data, xtra_fc=[32, 16], ps=[.1, .2, .3]),
    'no extra layer': lambda data, flat: ConvLearner.pretrained(lite0, data, xtra_fc=[], ps=[.1]),
    'arguments': lambda data, flat: ConvLearner.pretrained('tf_efficientnet_lite1', data, weights=False, pad_type=''),
    'one logit': lambda data, flat: ConvLearner(create_backbone(lite0), dense_head(1280, 16), data,
                                                loss_fn=binary_loss),
    'SimpleNet': keras(lambda: SimpleNet(IN, [8], 2)),
    'ConvNet2': keras(lambda: ConvNet2(IN, layers=[4, 8], n_classes=2)),
    'ResNet': keras(lambda: ResNet(IN, [4, 8], 2)),
    'FastNet': keras(lambda: FastNet(IN, [8, 16], 2)),
    'PlainNet': keras(lambda: PlainNet(IN, [4, 4, 8], 2)),
    'TrautNet': keras(lambda: TrautNet(IN, 2)),
    'ShortNet': keras(lambda: ShortNet(IN, 2)),
    'a class of ones own': keras(lambda: OwnKeras(IN, 2)),
    'timm': lambda data, flat: ConvLearner.from_model(timm.create_model('resnet18', num_classes=2), data),
}
UNTOLD = {
    'layers': lambda data, flat: ConvLearner.from_model(layers(), data),
    'KerasNet': keras(lambda: KerasNet(IN, nn.Flatten(), nn.Linear(64*64*3, 2), nn.LogSoftmax(1))),
    'OwnNet': lambda data, flat: ConvLearner.from_model(OwnNet(), data),
    'own head': lambda data, flat: ConvLearner(create_backbone(lite0, False), nn.Linear(2560, 2), data),
}


def as_if_trained(learn):
    "Batch norms have running averages that no new net has."
    for m in learn.full.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(m.running_mean, std=.1)
            nn.init.uniform_(m.running_var, .5, 2)
    return learn


@pytest.mark.parametrize('kind', TOLD)
def test_every_kind_of_net_goes_out_and_in(data, flat, tmp_path, kind):
    learn = as_if_trained(TOLD[kind](data, flat))
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    assert np.allclose(net.predict(files_of(data)), learn.predict(), rtol=1e-4, atol=1e-4)
    assert net.classes == ['cats', 'dogs']
    assert net.tfm.config == TFMS[1].config


@pytest.mark.parametrize('kind', ['head', 'one logit', 'ResNet', 'TrautNet', 'layers', 'KerasNet'])
def test_onnx_says_the_same(data, flat, tmp_path, kind):
    learn = as_if_trained((TOLD | UNTOLD)[kind](data, flat))
    net, files = Classifier(deepcopy(learn.full), data.classes, TFMS[1]), files_of(data)
    session = onnxruntime.InferenceSession(learn.export(tmp_path/'net.onnx'))
    pixels = np.stack([net.tfm.sized(as_picture(f, net.tfm.min_side)).permute(1, 2, 0).numpy() for f in files])
    within = 1e-3 if kind in ('head', 'one logit') else 1e-5 # fifty layers add up their rounding
    for n in (1, len(files)):
        got, = session.run(None, {'pixels': pixels[:n]})
        assert np.allclose(got, net.logits(files[:n]), rtol=within, atol=within)
    noted = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert noted['classes'] == ['cats', 'dogs']
    assert noted['transform'] == tfm_config(TFMS[1])
    assert noted['transform']['mean'] == list(net.tfm.mean)


@pytest.mark.e2e
@pytest.mark.parametrize('threads', [1, 2, 3])
def test_another_process_and_number_of_threads(data, file, net, threads):
    files = files_of(data)
    code = (f'import json, sys, torch; torch.set_num_threads({threads}); from imgcourse.export import load_learner; '
            'print(json.dumps(load_learner(sys.argv[1]).logits(sys.argv[2:]).tolist()))')
    got = subprocess.run([sys.executable, '-c', code, str(file), *files], capture_output=True, text=True, check=True)
    assert np.allclose(json.loads(got.stdout), net.logits(files), rtol=1e-5, atol=1e-5)


def test_the_learner_goes_on_after_an_export(data, tmp_path):
    learn = untrained(data)
    before = {k: v.clone() for k, v in learn.full.state_dict().items()}
    net = load_learner(learn.export(tmp_path/'a.safetensors'))
    want = net.logits(files_of(data))
    learn.export(tmp_path/'a.onnx')
    assert all(torch.equal(before[k], v) for k, v in learn.full.state_dict().items())
    assert all(p.requires_grad for p in learn.head.parameters())
    learn.fit(.01, 1)
    assert torch.equal(net.logits(files_of(data)), want), 'the net that was read is not changed by it'


@pytest.mark.parametrize('kind', ['path', 'name', 'picture', 'array', 'transparent', 'turned file', 'turned picture'])
def test_pictures_of_every_kind(net, tmp_path, kind):
    im = draw_sketch('cat', 7, 200)
    im.save(tmp_path/'im.png')
    turned = im.rotate(90, expand=True)
    exif = turned.getexif()
    exif[0x112] = 6
    turned.save(tmp_path/'turned.png', exif=exif)
    picture = {'path': tmp_path/'im.png', 'name': str(tmp_path/'im.png'), 'picture': im, 'array': np.asarray(im),
               'transparent': im.convert('RGBA'), 'turned file': tmp_path/'turned.png',
               'turned picture': Image.open(tmp_path/'turned.png')}[kind]
    assert torch.allclose(net.logits([picture]), net.logits([im]), atol=1e-5)


def test_shapes_of_answers(net):
    im = draw_sketch('cat', 7, 200)
    assert net.logits([im.convert('L'), im]).shape == (2, 2)
    assert net.logits([]).shape == net.predict([]).shape == (0, 2)
    assert net.predict(np.zeros((2, 9, 9, 3), np.uint8)).shape == (2, 2)
    top = net.top(im, 5)
    assert list(top) == ['class', 'probability']
    assert len(top) == 2
    assert top.probability.sum() == pytest.approx(1, abs=1e-5)
    assert top.probability.is_monotonic_decreasing


def test_what_is_no_list_of_pictures(net, tmp_path):
    draw_sketch('cat', 7, 64).save(tmp_path/'im.png')
    for one in (tmp_path/'im.png', np.zeros((9, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match='list of pictures'):
            net.predict(one)
    with pytest.raises(PictureError, match='no such file'):
        net.predict([tmp_path/'nothing.png'])


@pytest.mark.parametrize('array', [np.full((9, 9, 3), 2.), np.zeros((9, 9, 2), np.uint8),
                                   np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3), int)],
                         ids=['too bright', 'two channels', 'no height', 'integers'])
def test_arrays_that_are_no_pictures(net, array):
    with pytest.raises(ValueError, match=r'(?i)picture'):
        net.predict([array])


def test_names_of_files(learn, tmp_path):
    with pytest.raises(ValueError, match=r'safetensors or \.onnx'):
        learn.export(tmp_path/'net.pkl')
    file = learn.export(tmp_path/'new'/'deep'/'net.safetensors')
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask, 'others may read it'
    assert [f.name for f in file.parent.iterdir()] == ['net.safetensors']


def test_half_precision_weights(data, tmp_path):
    learn = untrained(data)
    learn.full.bfloat16()
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    learn.export(tmp_path/'net.onnx')
    assert net.logits(files_of(data)).dtype == torch.float32


# ---- what a file can tell
def test_what_the_header_says(file):
    about = read_whole(file)[1]
    assert set(about) == {'imgcourse', 'written by', 'classes', 'transform', 'net'}
    assert about['imgcourse'] == 2
    assert about['net'] == {'kind': 'ConvLearner', 'arch': lite0, 'model_args': {},
                            'head': ['make_head', 2560, 2, [512], [.25, .5]], 'shape': [64, 64]}
    assert about['transform'] == {'mean': [.5]*3, 'std': [.5]*3, 'side': 64, 'size': 64, 'squish': False,
                                  'interpolation': 'bicubic'}


@pytest.mark.parametrize('kind, config', [
    ('one logit', {'kind': 'ConvLearner', 'arch': lite0, 'model_args': {}, 'head': ['dense_head', 1280, 16]}),
    ('arguments', {'kind': 'ConvLearner', 'arch': 'tf_efficientnet_lite1', 'model_args': {'pad_type': ''},
                   'head': ['make_head', 2560, 2, [512], [.25, .5]]}),
    ('ConvNet2', {'kind': 'KerasNet', 'name': 'ConvNet2', 'args': [[64, 64, 3]],
                  'kwargs': {'layers': [4, 8], 'n_classes': 2}}),
    ('timm', {'kind': 'timm', 'arch': 'resnet18', 'num_classes': 2})])
def test_configs(data, flat, kind, config):
    learn = TOLD[kind](data, flat)
    assert net_config(learn) == {**config, 'shape': [64, 64]}
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (build_net(config), learn.full)]
    assert shapes[0] == shapes[1]


def test_nets_of_the_course_are_known():
    assert {'SimpleNet', 'ConvNet2', 'ResNet', 'FastNet', 'PlainNet', 'TrautNet', 'ShortNet'} <= keras_nets().keys()
    assert 'KerasNet' not in keras_nets()


def test_nets_of_ones_own_are_known():
    class Heir(OwnKeras):
        pass
    assert keras_nets()['OwnKeras'] is OwnKeras
    assert keras_nets()['Heir'] is Heir


def test_a_net_of_ones_own_must_be_defined_where_it_is_loaded(flat, tmp_path):
    file = ConvLearner.from_model(OwnKeras(IN, 2), flat).export(tmp_path/'own.safetensors')
    config = read_whole(file)[1]['net']
    file = rewrite(file, tmp_path/'strange.safetensors', net={**config, 'name': 'NobodysNet'})
    with pytest.raises(WeightsError, match=r"no net 'NobodysNet'.*must be defined"):
        load_learner(file)


@pytest.mark.e2e
def test_a_net_of_ones_own_in_another_process(flat, tmp_path):
    file = ConvLearner.from_model(OwnKeras(IN, 2), flat).export(tmp_path/'own.safetensors')
    code = f'from imgcourse.export import load_learner; load_learner({str(file)!r})'
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert p.returncode == 1
    assert "no net 'OwnKeras'" in p.stderr
    assert 'must be defined' in p.stderr


def test_of_several_nets_of_one_name_the_last_counts(flat, tmp_path):
    def make(act):
        class Again(KerasNet):
            def __init__(self, in_shape, n):
                super().__init__(in_shape, nn.Flatten(), nn.Linear(64*64*3, 4), act(), nn.Linear(4, n),
                                 nn.LogSoftmax(1))
        return ConvLearner.from_model(Again(IN, 2), flat)
    first, last = make(nn.ReLU), make(nn.Tanh)
    file = last.export(tmp_path/'a.safetensors')
    assert np.allclose(load_learner(file).predict(files_of(flat)), last.predict(), atol=1e-5)
    with pytest.raises(ValueError, match='something else'):
        first.export(tmp_path/'b.safetensors')


class Counting(KerasNet):
    "Computes with numbers while it is built, as nets with stochastic depth do."
    def __init__(self, in_shape, n):
        rates = [x.item() for x in torch.linspace(0, .2, 3)]
        super().__init__(in_shape, nn.Flatten(), nn.Dropout(rates[1]), nn.Linear(64*64*3, n), nn.LogSoftmax(1))


def test_a_net_that_computes_while_it_is_built(flat, tmp_path):
    learn = ConvLearner.from_model(Counting(IN, 2), flat)
    file = learn.export(tmp_path/'a.safetensors')
    assert np.allclose(load_learner(file).predict(files_of(flat)), learn.predict(), atol=1e-5)


class Wasteful(KerasNet):
    "Makes a large layer and throws it away."
    def __init__(self, in_shape, n):
        nn.Linear(64*64*3, 1000)
        super().__init__(in_shape, nn.Flatten(), nn.Linear(64*64*3, n), nn.LogSoftmax(1))


def test_what_could_not_be_loaded_is_not_exported(flat, tmp_path):
    "The learner hears of it while the net is there."
    with pytest.raises(ValueError, match='more weights than it holds'):
        ConvLearner.from_model(Wasteful(IN, 2), flat).export(tmp_path/'a.safetensors')
    assert not list(tmp_path.iterdir())


# ---- what it cannot tell
@pytest.mark.parametrize('kind, why', [('layers', r'\(Sequential\) is built'), ('KerasNet', r'\(KerasNet\) is built'),
                                       ('OwnNet', r'\(OwnNet\) is built'), ('own head', 'a head of your own')])
def test_nets_that_cannot_be_told_are_refused(data, flat, tmp_path, kind, why):
    learn = UNTOLD[kind](data, flat)
    with pytest.raises(ValueError, match=why) as e:
        learn.export(tmp_path/'net.safetensors')
    assert all(way in str(e.value) for way in ('.onnx', 'learn.save', 'subclass of KerasNet'))
    assert not list(tmp_path.iterdir()), 'nothing is written'


def changed(kind):
    "Nets that are not, or not any more, what their config says."
    if kind == 'timm with arguments':
        return timm.create_model('resnet18', num_classes=2, act_layer='gelu')
    net = SimpleNet(IN, [8], 2)
    if kind == 'another activation':
        net[2] = nn.Tanh()
    if kind == 'a further layer':
        net.append(nn.Linear(2, 2))
    if kind == 'a tensor in its arguments':
        net.made_by = (IN, torch.tensor([8]), 2), {}
    return net


@pytest.mark.parametrize('kind, why', [('timm with arguments', 'something else'),
                                       ('another activation', 'something else'),
                                       ('a further layer', 'could not say how.*5.weight'),
                                       ('a tensor in its arguments', 'could not say how.*Tensor')])
def test_nets_that_are_not_what_they_say(data, tmp_path, kind, why):
    learn = ConvLearner.from_model(changed(kind), data)
    with pytest.raises(ValueError, match=f'(?s){why}.*learn.save'):
        learn.export(tmp_path/'net.safetensors')
    assert not list(tmp_path.iterdir())


def test_arguments_that_are_no_plain_values(data, tmp_path):
    learn = ConvLearner.pretrained(lite0, data, weights=False, act_layer=nn.GELU)
    with pytest.raises(ValueError, match=r'could not say how.*not JSON serializable'):
        learn.export(tmp_path/'net.safetensors')


def test_an_older_file_stays_when_the_new_one_fails(data, tmp_path, monkeypatch):
    learn = untrained(data)
    file = learn.export(tmp_path/'net.safetensors')
    old = file.read_bytes()
    def full(fd): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match='No space'):
            learn.export(file)
    assert file.read_bytes() == old
    learn.head.append(OwnNet())
    with pytest.raises(ValueError, match='could not say how'):
        learn.export(file)
    assert file.read_bytes() == old


# ---- transforms
def learner_with(sketches, tfm, net=TrautNet): return ConvLearner.from_model(net(IN, 2), sketch_data(sketches, tfm))


class Darker(PictureTransform):
    def finish(self, ims): return super().finish(ims)*.1


class Mirror(nn.Module):
    def forward(self, im): return im.resize((64, 64)).transpose(Image.FLIP_LEFT_RIGHT)
    def __repr__(self): return 'Resize(size=[64, 64])'


PLAIN = (0, 0, 0), (1, 1, 1)


def test_squeezed_pictures(sketches, tmp_path):
    learn = learner_with(sketches, tfms_from_model(lite0, 64, crop_type='squish')[1])
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    wide = draw_sketch('dog', 3, 256).crop((0, 0, 256, 120))
    assert net.tfm.config['squish']
    assert torch.allclose(net.tfm(wide), learn.data.val_ds.tfm(wide))


@pytest.mark.parametrize('on_device', [False, True])
def test_small_pictures_that_stay_as_they_are(tmp_path, on_device):
    "As in lessons 6 and 7: no steps at all."
    x, y = np.random.RandomState(0).randint(0, 256, (8, 32, 32, 3), dtype=np.uint8), np.arange(8) % 2
    tfm = PictureTransform([], 32, *PLAIN)
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), 4, (tfm, tfm))
    if on_device:
        data = data.on_device()
        assert isinstance(data.val_ds.tfm, BatchTransform)
    learn = ConvLearner.from_model(SimpleNet((32, 32, 3), [8], 2), data)
    net = load_learner(learn.export(tmp_path/'net.safetensors'))
    assert np.allclose(net.predict(x), learn.predict(), atol=1e-5)
    got, = onnxruntime.InferenceSession(learn.export(tmp_path/'net.onnx')).run(None, {'pixels': x})
    assert np.allclose(got, net.logits(x), atol=1e-5)
    with pytest.raises(ValueError, match='trained with pictures of 32×32 pixels and cannot take 32×48'):
        net.predict(np.zeros((3, 32, 48, 3), np.uint8))


@pytest.mark.parametrize('tfm', [PictureTransform([], 32, *PLAIN), PictureTransform([], 20, *PLAIN)],
                         ids=['shorter side', 'less than that'])
@pytest.mark.parametrize('on_device', [False, True])
def test_pictures_that_are_no_squares(tmp_path, tfm, on_device):
    "A net with a fixed shape is tried with pictures of that shape."
    x, y = np.random.RandomState(0).randint(0, 256, (8, 32, 48, 3), dtype=np.uint8), np.arange(8) % 2
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), 4, (tfm, tfm))
    learn = ConvLearner.from_model(SimpleNet((32, 48, 3), [8], 2), data.on_device() if on_device else data)
    file = learn.export(tmp_path/'net.safetensors')
    net = load_learner(file)
    assert read_whole(file)[1]['net']['shape'] == [32, 48]
    assert np.allclose(net.predict(x), learn.predict(), atol=1e-5)
    for onnx in (learn.export(tmp_path/'a.onnx'), net.to_onnx(tmp_path/'b.onnx')):
        got, = onnxruntime.InferenceSession(onnx).run(None, {'pixels': x})
        assert np.allclose(got, net.logits(x), atol=1e-5)


@pytest.mark.parametrize('step', [lambda im: im.resize((64, 64)), Mirror(), v2.Resize((64, 64))],
                         ids=['function', 'disguised', 'torchvision'])
def test_steps_of_ones_own(sketches, tmp_path, step):
    "No safetensors file; but ONNX, which then says nothing of how pictures get their size."
    learn = learner_with(sketches, PictureTransform([step], 64, *PLAIN))
    with pytest.raises(ValueError, match=r'how pictures are prepared by steps of your own.*\.onnx'):
        learn.export(tmp_path/'x.safetensors')
    assert not (tmp_path/'x.safetensors').exists()
    session = onnxruntime.InferenceSession(learn.export(tmp_path/'x.onnx'))
    assert session.get_modelmeta().custom_metadata_map['transform'] == 'null'
    pixels = np.stack([np.asarray(step(as_picture(f, 64))) for f in files_of(learn.data)])
    got, = session.run(None, {'pixels': pixels})
    assert np.allclose(got, learn.predict(), atol=1e-4)


def altered():
    tfm = tfms_from_model(lite0, 64)[1]
    tfm.steps.transforms.append(v2.RandomHorizontalFlip(1))
    return tfm


DARKER = Darker(TFMS[1].steps.transforms, 64, (.5,)*3, (.2,)*3)


@pytest.mark.parametrize('tfm, name', [
    (DARKER, 'x.safetensors'), (DARKER, 'x.onnx'), (altered(), 'x.safetensors'),
    (lambda im: torch.zeros(3, 64, 64), 'x.safetensors'), (lambda im: torch.zeros(3, 64, 64), 'x.onnx')],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_transforms_that_are_not_what_they_say(sketches, tmp_path, tfm, name):
    learn = learner_with(sketches, tfm)
    with pytest.raises(ValueError, match='how pictures are prepared'):
        learn.export(tmp_path/name)
    assert not list(tmp_path.iterdir())


def test_onnx_does_not_repeat_what_is_not_true(sketches, tmp_path):
    "The steps of this transform are others than its config says."
    session = onnxruntime.InferenceSession(learner_with(sketches, altered()).export(tmp_path/'x.onnx'))
    assert session.get_modelmeta().custom_metadata_map['transform'] == 'null'


# ---- files that are refused
def rewrite(file, to, **changes):
    tensors, about = read_whole(file)
    write_whole(tensors, to, {**about, **changes})
    return to


class Bomb:
    def __reduce__(self): return Path.touch, (Path('exploded'),)


def refused(file, why):
    "In one line."
    with pytest.raises(WeightsError, match=why) as e:
        load_learner(file)
    assert len(str(e.value)) < 600
    assert '\n' not in str(e.value)
    assert str(file) in str(e.value)
    assert not Path('exploded').exists()


def test_no_file(tmp_path): refused(tmp_path/'nothing.safetensors', 'no file')


@pytest.mark.parametrize('number, version', [(1, '0.1.0'), (3, '9.9')])
def test_files_of_another_format(file, tmp_path, number, version):
    to = rewrite(file, tmp_path/'other.safetensors', imgcourse=number, **{'written by': version})
    refused(to, rf'format {number} \(written by imgcourse {version}\).*reads format 2\. Export the net anew')


def test_weights_alone(learn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file({'x': torch.ones(1)}, 'foreign.safetensors')
    refused('foreign.safetensors', r'not written by learn\.export')
    refused(learn.save('kept'), r'not written by learn\.export')


@pytest.mark.parametrize('kind', ['pickle', 'torch'])
def test_pickles_are_not_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    if kind == 'pickle':
        Path('bomb.safetensors').write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({'x': Bomb()}, 'bomb.safetensors')
    refused('bomb.safetensors', 'can hold programs')


def conv_net(model_args=None, head=('make_head', 2560, 2), arch=lite0):
    return {'kind': 'ConvLearner', 'arch': arch, 'model_args': model_args or {}, 'head': head}


def keras_net(name, *args): return {'kind': 'KerasNet', 'name': name, 'args': args, 'kwargs': {}}
def timm_net(arch, num_classes=2, **more): return {'kind': 'timm', 'arch': arch, 'num_classes': num_classes, **more}


@pytest.mark.parametrize('net, why', [
    ('__import__("pathlib").Path("exploded").touch()', 'cannot be built'),
    (['system', 'touch exploded'], 'cannot be built'),
    (None, 'cannot be built'),
    ({}, 'cannot be built'),
    ({'kind': 'system', 'args': ['touch exploded']}, "no kind of net 'system'"),
    ({'kind': ['timm']}, 'cannot be built'),
    (conv_net({'checkpoint_path': 'torch.safetensors'}), 'must not name others: checkpoint_path'),
    (conv_net({'pretrained': True}), 'must not name others: pretrained'),
    (conv_net({'pretrained_cfg_overlay': {'file': 'torch.safetensors'}}), 'must not name others'),
    (conv_net({'cache_dir': '/tmp'}), 'must not name others: cache_dir'),
    (conv_net({'act_layer': 'nope'}), 'cannot be built'),
    (conv_net(['pad_type']), 'cannot be built'),
    (conv_net({'weights': 'torch.safetensors'}), 'cannot be built'),
    (conv_net(head=['system', 'touch exploded']), "no head 'system'"),
    (conv_net(head=[]), 'cannot be built'),
    (conv_net(head=['make_head', 2560, 3]), 'belong to another model'),
    (conv_net(arch='hf_hub:someone/net'), 'no architecture'),
    (keras_net('system', 'touch exploded'), "no net 'system'"),
    (keras_net('KerasNet', [64, 64, 3]), "no net 'KerasNet'"),
    (keras_net(['SimpleNet']), 'cannot be built'),
    (keras_net('SimpleNet'), 'cannot be built'),
    (keras_net('SimpleNet', [64, 64, 3], [-1], 2), 'cannot be built'),
    (keras_net('SimpleNet', [64, 64, 3], [2], 2), 'belong to another model'),
    (timm_net('hf_hub:someone/net'), 'no architecture'),
    (timm_net(['resnet18']), 'no architecture'),
    (timm_net('resnet18', 'two'), 'cannot be built'),
    (timm_net('resnet18', checkpoint_path='torch.safetensors'), 'cannot be built')], ids=lambda v: str(v)[:60])
def test_strange_nets_are_refused_in_a_line(file, tmp_path, monkeypatch, net, why):
    monkeypatch.chdir(tmp_path)
    torch.save({'x': Bomb()}, 'torch.safetensors')
    refused(rewrite(file, tmp_path/'strange.safetensors', net=net), why)


def transform(**changes): return {'transform': {**tfm_config(TFMS[1]), **changes}}


@pytest.mark.parametrize('change', [
    {'transform': None}, {'transform': {}}, {'transform': []}, transform(steps=['Resize()']), transform(side='x'),
    transform(size=-1), transform(interpolation='nope'), transform(std=[0]*3), transform(mean=None),
    {'classes': ['cats']}, {'classes': ['a', 'b', 'c']}, {'classes': None}], ids=lambda c: str(c)[:60])
def test_strange_headers_are_refused_in_a_line(file, tmp_path, change):
    refused(rewrite(file, tmp_path/'strange.safetensors', **change), 'cannot be built')


@pytest.mark.parametrize('n', [200, pytest.param(10**6, marks=pytest.mark.slow)], ids=['random', 'all'])
def test_every_changed_byte_is_noticed(data, tmp_path, n):
    "So many bytes of the header, and sixty of the weights."
    set_seed(0)
    learn = ConvLearner.from_model(SimpleNet(IN, [2], 2), data)
    file, files, random = learn.export(tmp_path/'net.safetensors'), files_of(data)[:1], np.random.RandomState(0)
    whole, want = file.read_bytes(), load_learner(file).logits(files)
    head = struct.unpack('<Q', whole[:8])[0] + 8
    bad = tmp_path/'bad.safetensors'
    for i in [*random.permutation(head)[:n], *random.randint(head, len(whole), 60)]:
        for flip in (1, 32):
            broken = bytearray(whole)
            broken[i] ^= flip
            bad.write_bytes(broken)
            try:
                got = load_learner(bad).logits(files)
            except WeightsError:
                continue
            # white space between the parts of the header
            assert torch.equal(got, want), (i, flip, whole[max(i - 20, 0):i + 20])


# ---- untouched nets
def test_untouched_nets_have_names_for_their_outputs(tmp_path):
    model = timm.create_model('resnet18')
    save_file(model.state_dict(), tmp_path/'r.safetensors')
    net = untouched('resnet18', tmp_path/'r.safetensors')
    assert len(net.classes) == 1000
    assert 'tabby' in net.classes[281]
    im = draw_sketch('dog', 3, 256)
    timms = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    with torch.no_grad():
        want = model.eval()(timms(im)[None])
    assert torch.allclose(net.logits([im]), want, atol=1e-4), 'pictures are prepared as timm does it'


def test_untouched_nets_that_squeeze():
    tfm = untouched('dm_nfnet_f0', weights=False).tfm
    im = draw_sketch('dog', 3, 256).crop((0, 0, 256, 120))
    config = timm.data.resolve_data_config({}, model=timm.create_model('dm_nfnet_f0'))
    timms = timm.data.create_transform(**config, is_training=False)
    assert torch.allclose(tfm(im), timms(im), atol=.02)
    assert tfm_config(tfm)['squish']


def test_untouched_nets_that_there_are_not():
    with pytest.raises(ValueError, match='There is no architecture'):
        untouched('resnet1800')


@pytest.mark.photos
def test_untouched_net_on_photos(dogscats_photos):
    "ImageNet's names for cats and dogs."
    net = untouched('mobilenetv2_100', shared('weights/mobilenetv2_100.safetensors'), pad_type='same')
    for kind, of_kind in (('dogs', range(151, 269)), ('cats', range(281, 286))):
        files = sorted((dogscats_photos/'valid'/kind).iterdir())[:50]
        best = net.predict(files).argsort(1)[:, -5:]
        assert np.mean([any(k in of_kind for k in row) for row in best]) > .85
