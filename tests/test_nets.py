import inspect, re
from functools import partial
import numpy as np, pytest, timm, torch
import torch.nn.functional as F
from torch import nn
from conftest import shared
import imgcourse.breeds, imgcourse.finetune, imgcourse.nets as nets
from imgcourse.checkpoint import Checkpoint
from imgcourse.data import ArrayDataset, ImageClassifierData, PictureTransform, Shuffle, get_dataset, lite0, tfms_from_model
from imgcourse.learner import Callback, ConvLearner, Learner, accuracy_np, set_seed
from imgcourse.nets import (ConvLayer, ConvNet, ConvNet2, FastNet, KerasNet, ResLayer, ResNet, SimpleNet, alternating_flip, classifier, cutout, layer_rows, random_crop, random_flip,
    random_shift, summary)

IN, PLAIN = (32, 32, 3), PictureTransform([], 32, (0, 0, 0), (1, 1, 1))
FOUR = {'SimpleNet': lambda: SimpleNet(IN, [40], 10), 'ConvNet': lambda: ConvNet(IN, [20, 40, 80], 10), 'ConvNet2': lambda: ConvNet2(IN, [10, 20, 40, 80, 160], 10), 'ResNet': lambda: ResNet(IN, [10, 20, 40, 80, 160], 10)}

def gen(seed=0): return torch.Generator().manual_seed(seed)

def pictures(n=60, sz=32, seed=0):
    "Noise; the class, of three, is the channel that is brightest."
    rng = np.random.RandomState(seed); y = rng.permutation(np.arange(n) % 3)
    x = rng.randint(0, 160, (n, sz, sz, 3)); x[np.arange(n), :, :, y] += 60
    return x.astype(np.uint8), y

def small_data(aug=(), n=60, bs=16, sz=32, on_device=True, tfm=PLAIN):
    data = ImageClassifierData.from_arrays('.', pictures(n, sz), pictures(30, sz, 1), bs, (tfm, tfm))
    return data.on_device(aug) if on_device else data

def lines_of(text):
    "The rows of a table as Keras prints it: name, type (perhaps cut off), shape, parameters, names of the layers before it."
    rows, total = [], []
    for l in text.splitlines():
        if m := re.match(r'(\w+) \((\w+)\)?\s+(\(None[^)]*\))\s+([\d,]+)\s*(\w+)?', l): rows.append([m[1], m[2], m[3], int(m[4].replace(',', '')), [re.sub(r'\[.*', '', m[5])] if m[5] else []])
        elif m := re.match(r'\s{20,}(\w+)', l): rows[-1][4].append(m[1])
        elif m := re.match(r'(\w+) \((\w+)\)\s+(\(None[^)]*\))\s+0\s*$', l): rows.append([m[1], m[2], m[3], 0, []])
        elif 'params' in l: total.append(l.strip())
    return rows, total

# ---- the tables
@pytest.mark.parametrize('name', FOUR)
def test_tables_are_those_of_the_text(name, capsys):
    "Line by line: type, shape, parameters, connections, totals."
    text = shared('ancestors/keras_convnets.txt').read_text()
    number = list(FOUR).index(name) + 1
    theirs, their_total = lines_of(text[text.index(f'input_{number} (InputLayer)'):].split('model.fit_generator')[0])
    FOUR[name]().summary()
    ours, total = lines_of(capsys.readouterr().out)
    assert len(theirs) > 5 and total == their_total
    assert [(r[2], r[3]) for r in ours] == [(r[2], r[3]) for r in theirs]
    for o, t in zip(ours, theirs): assert o[1].startswith(t[1]), 'a type, which the text may cut off'
    if name == 'ResNet':
        same = {t[0]: o[0] for o, t in zip(ours, theirs)}
        assert [o[4] for o in ours[1:]] == [[same[n] for n in t[4]] for t in theirs[1:]]

@pytest.mark.parametrize('name, total, frozen', [('SimpleNet', 123_330, 0), ('ConvNet', 37_490, 0), ('ConvNet2', 156_570, 600), ('ResNet', 771_690, 1_800)])
def test_totals(name, total, frozen, capsys):
    model = FOUR[name]()
    assert sum(r.params for r in layer_rows(model, IN)) == total
    model.summary()
    out = capsys.readouterr().out
    assert f'Total params: {total:,}\nTrainable params: {total - frozen:,}\nNon-trainable params: {frozen:,}' in out

def test_summary_changes_nothing(capsys):
    model = FOUR['ResNet'](); model[2].eval()
    before, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    model.summary()
    assert modes == [m.training for m in model.modules()] and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())

def test_summary_of_any_model(capsys):
    "Sums that are no layers, frozen layers, a layer that is used twice, parameters beside layers."
    model = timm.create_model('resnet18', num_classes=5); model.conv1.requires_grad_(False)
    summary(model, (64, 48, 3))
    out = capsys.readouterr().out
    stats = sum(b.numel() for n, b in model.named_buffers() if 'running' in n)
    assert f'Total params: {sum(p.numel() for p in model.parameters()) + stats:,}' in out and f'Non-trainable params: {model.conv1.weight.numel() + stats:,}' in out
    assert '(None, 32, 24, 64)' in out, 'height before width, channels last'
    class Odd(nn.Module):
        def __init__(self): super().__init__(); self.fc, self.shift = nn.Linear(4, 4), nn.Parameter(torch.zeros(7))
        def forward(self, x): return self.fc(self.fc(x.mean((2, 3)).repeat(1, 2)[:, :4]))
    rows = layer_rows(Odd(), (8, 8, 3))
    assert [r.params for r in rows] == [0, 20, 0, 7] and rows[1].inputs == [''] and rows[2].inputs == ['dense_1']
    vit = timm.create_model('vit_tiny_patch16_224', img_size=32)
    assert (None, 5, 192) in [r.shape for r in layer_rows(vit, (32, 32, 3))], 'tokens before their width'
    summary(FOUR['ConvNet']().to(torch.bfloat16), IN), summary(nn.Sequential(nn.Flatten()), IN)

def test_learner_summary(capsys):
    data = small_data()
    ConvLearner.from_model(SimpleNet(IN, [8], 3), data).summary()
    assert f'Total params: {3072*8 + 8 + 8*3 + 3:,}' in capsys.readouterr().out
    ConvLearner.pretrained(lite0, ImageClassifierData.from_arrays('.', pictures(sz=64), pictures(30, 64, 1), 16, tfms_from_model(lite0, 64)), weights=False).summary()
    assert '(None, 64, 64, 3)' in capsys.readouterr().out

@pytest.mark.parametrize('make, message', [(lambda: SimpleNet((3, 32, 32), [40], 10), r'height, width, channels'), (lambda: ConvNet(IN, [], 10), 'list of sizes'), (lambda: ResNet(IN, 20, 10), 'list of sizes'),
    (lambda: ConvNet(IN, [8, 8, 8, 8, 8], 10), r'\(32, 32, 3\).*do not fit'), (lambda: SimpleNet((32, 32), [40], 10), 'height, width, channels')])
def test_nets_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message): make()

# ---- the layers
@pytest.mark.parametrize('sz, stride, pads', [(8, 2, (0, 1)), (9, 2, (1, 1)), (8, 1, (1, 1))])
def test_same_padding_is_keras_s(sz, stride, pads):
    "With an even side and stride 2 the rim lies on the right and at the bottom."
    layer, x = ConvLayer(2, 3, stride=stride), torch.randn(1, 2, sz, sz)
    want = F.conv2d(F.pad(x, pads*2), layer.conv.weight, stride=stride)
    assert torch.allclose(layer.conv(x), want, atol=1e-6) and layer.conv.bias is None

def test_relu_comes_before_batch_norm_and_the_sum_after_it():
    layer, x = ResLayer(4).eval(), torch.randn(2, 4, 6, 6)
    layer.norm.running_mean.fill_(.3); layer.norm.weight.data.fill_(2)
    assert isinstance(layer, ConvLayer)
    assert torch.allclose(layer(x), x + 2*(layer.conv(x).relu() - .3)/(1 + 1e-3)**.5, atol=1e-5)

def test_the_penalty_is_on_the_kernels_of_the_blocks():
    torch.manual_seed(0)
    model = ResNet(IN, [4, 8], 3, l2=.1, p=0).eval()
    x, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    kernels = [m.conv.weight for m in model.modules() if isinstance(m, ConvLayer)]
    assert len(kernels) == 3
    assert torch.allclose(model.loss(model(x), y), F.nll_loss(model(x), y) + .1*sum((k**2).sum() for k in kernels))
    assert ResNet(IN, [4, 8], 3)[2].l2 == 1e-6 and ConvNet2(IN, [4, 8], 3)[2].l2 == 0

def test_one_step_is_adam_on_cross_entropy_and_penalty():
    "What from_model trains is what a plain loop trains."
    data = small_data(n=16)
    torch.manual_seed(0); model = ResNet(IN, [4, 8], 3, l2=.01, p=0)
    torch.manual_seed(0); twin = ResNet(IN, [4, 8], 3, l2=.01, p=0)
    ConvLearner.from_model(model, data).fit(.01, 1)
    opt, (x, y) = torch.optim.Adam(twin.parameters(), lr=.01), (t.cpu() for t in next(iter(data.fix_dl)))
    kernels = [m.conv.weight for m in twin.modules() if isinstance(m, ConvLayer)]
    (F.cross_entropy(twin.train()(x), y) + .01*sum((k**2).sum() for k in kernels)).backward(); opt.step()
    for a, b in zip(model.parameters(), twin.parameters()): assert torch.allclose(a.cpu(), b, atol=2e-4)

# ---- training in Keras's style
def test_lines_of_keras(capsys):
    data = small_data(n=50, bs=16)
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), data)
    learn.fit(1e-9, 2)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == 'Epoch 1/2' and out[2] == 'Epoch 2/2' and len(out) == 4
    m = re.fullmatch(r'4/4 - [\d.]+s \d+ms/step - loss: ([\d.]+) - acc: ([\d.]+) - val_loss: ([\d.]+) - val_acc: ([\d.]+)', out[3])
    row = learn.history[-1]
    assert [float(g) for g in m.groups()] == pytest.approx([row['training loss'], row['training accuracy'], row['validation loss'], row['accuracy']], abs=1e-4)
    assert row['training accuracy'] == pytest.approx(accuracy_np(*learn.predict_dl(data.fix_dl))), 'at a rate of nearly nothing'

@pytest.mark.parametrize('n', [17, 40])
def test_training_accuracy_of_pictures_that_were_seen(n):
    "A last batch of one is left out; the accuracy is that of the others."
    data = small_data(n=n, bs=16)
    model = KerasNet(IN, nn.AdaptiveAvgPool2d(1), nn.Flatten(), Bright(), nn.LogSoftmax(1))
    learn = ConvLearner.from_model(model, data); learn.fit(1e-9, 1)
    assert learn.history[0]['training accuracy'] == 1, 'this net is always right'

class Bright(nn.Linear):
    "The channel's brightness is the score."
    def __init__(self): super().__init__(3, 3); self.weight.data, self.bias.data = 50*torch.eye(3), torch.zeros(3)

def test_one_output_for_two_classes(capsys):
    x, y = pictures(60); y2, (vx, vy) = (y > 0).astype(int), pictures(30, seed=1)
    data = ImageClassifierData.from_arrays('.', (x, y2), (vx, (vy > 0).astype(int)), 16, (PLAIN, PLAIN)).on_device()
    net = KerasNet(IN, nn.Flatten(), nn.Linear(3072, 1))
    with pytest.raises(ValueError, match='loss_fn=binary_loss'): ConvLearner.from_model(net, data)
    learn = ConvLearner.from_model(net, data, loss_fn=imgcourse.finetune.binary_loss); learn.fit(1e-9, 1)
    assert learn.history[0]['training accuracy'] == pytest.approx(accuracy_np(*learn.predict_dl(data.fix_dl)), abs=.04)

@pytest.mark.parametrize('make, message', [(lambda: SimpleNet((64, 64, 3), [8], 3), r'made for pictures of \(64, 64, 3\).*\(32, 32, 3\)'), (lambda: ConvNet((32, 32, 1), [8], 3), 'grey ones get three channels'),
    (lambda: SimpleNet(IN, [8], 4), r'must give \(1, 3\)')])
def test_nets_that_do_not_fit_the_data(make, message):
    with pytest.raises(ValueError, match=message): ConvLearner.from_model(make(), small_data())

def test_a_part_of_a_net():
    net = SimpleNet(IN, [8], 3)
    assert net[:-1](torch.rand(2, 3, 32, 32)).shape == (2, 3) and net[1].out_features == 8 and len(net[1:3]) == 2

def test_what_is_said_counts_more_than_what_the_net_brings(capsys):
    learn = ConvLearner.from_model(SimpleNet(IN, [8], 3), small_data(), opt_fn=torch.optim.SGD, loss_fn=F.nll_loss)
    learn.fit(.01, 1)
    assert type(learn.opt.optimizer) is torch.optim.SGD and learn.loss_fn is F.nll_loss
    plain = ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)), small_data())
    capsys.readouterr(); plain.fit(.01, 1)
    assert 'validation loss' in capsys.readouterr().out, 'other models get the table of lesson 2'

def test_fast_net_fits_a_page():
    parts = (nets.NormLayer, nets.NormRes, nets.Scale, FastNet, alternating_flip, random_crop, cutout)
    assert sum(len(inspect.getsource(p).splitlines()) for p in parts) < 100

def test_fast_net_smooths_labels():
    model = FastNet(IN, [4, 8], 3)
    x, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    assert torch.allclose(model.loss(model(x), y), F.cross_entropy(model(x), y, label_smoothing=.1))

def test_convolutions_see_what_a_linear_model_does_not(capsys):
    "Sketches of CIFAR-10's classes: they are hard for a linear model on the pixels, and easy for a convnet."
    data = ImageClassifierData.from_paths(get_dataset('cifar10'), 32, (PLAIN, PLAIN), val_name='test').on_device([alternating_flip, random_crop, cutout])
    set_seed(0)
    linear = ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), data); linear.fit(.003, 6)
    fast = ConvLearner.from_model(FastNet(IN, [8, 16, 32, 64], 10), data); fast.fit_one_cycle(5, .05)
    assert linear.history[-1]['accuracy'] < .5 and fast.history[-1]['accuracy'] > .8

# ---- pictures on the device
def test_on_device_gives_the_same_batches():
    tfm = tfms_from_model(lite0, 24)[1]
    plain, held = small_data(on_device=False, tfm=tfm), small_data(tfm=tfm)
    for a, b in ((plain.val_dl, held.val_dl), (plain.fix_dl, held.fix_dl)):
        for (x, y), (x2, y2) in zip(a, b, strict=True): assert torch.allclose(x, x2.cpu(), atol=1e-5) and torch.equal(y, y2.cpu())
    assert held.classes == plain.classes and len(held.trn_ds) == 60 and held.val_ds.items.dtype == torch.uint8
    x, y = held.val_ds[7]
    assert torch.allclose(x, plain.val_ds[7][0], atol=1e-5) and y == plain.val_ds[7][1]

def test_on_device_shuffles_and_keeps_the_pairs():
    data = small_data()
    seen = [(x.mean((2, 3)).argmax(1), y) for _ in range(2) for x, y in data.trn_dl]
    labels = torch.cat([y for _, y in seen])
    assert torch.equal(torch.cat([c for c, _ in seen]), labels) and not torch.equal(labels[:60], labels[60:])
    assert torch.equal(labels[:60].bincount(), torch.tensor([20, 20, 20]))

def test_on_device_serves_the_rest_of_the_course(capsys):
    "Pictures, keys, test pictures, predictions, TTA, stored features."
    tfm, x = tfms_from_model(lite0, 32)[1], pictures(5, seed=3)[0]
    plain = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (tfm, tfm), test=x)
    held = plain.on_device([random_flip])
    assert np.array_equal(np.asarray(held.val_ds.picture(2)), pictures(30, 32, 1)[0][2]) and held.val_ds.key(2) == plain.val_ds.key(2)
    torch.manual_seed(0); a = ConvLearner.pretrained(lite0, plain, precompute=True)
    torch.manual_seed(0); b = ConvLearner.pretrained(lite0, held, precompute=True)
    assert np.allclose(a.predict(), b.predict(), atol=1e-3) and b.predict(is_test=True).shape == (5, 3)
    a.precompute = b.precompute = False
    assert np.allclose(a.predict(), b.predict(), atol=1e-4)
    views, y = b.TTA(n_aug=3)
    assert views.shape == (4, 30, 3) and np.array_equal(y, held.val_y) and len({v.tobytes() for v in views}) > 2
    b.lr_find(num_it=20); assert len(b.sched.lrs) > 5
    held.show_batch(2)

def test_on_device_keeps_names(tmp_path):
    "Those of files, which submissions and lists of losses show."
    from PIL import Image
    for split in ('train', 'valid', 'test'):
        for i, (x, y) in enumerate(zip(*pictures(12))):
            (tmp_path/split/str(y)).mkdir(parents=True, exist_ok=True); Image.fromarray(x).save(tmp_path/split/str(y)/f'{split}{i}.png')
    plain = ImageClassifierData.from_paths(tmp_path, tfms=(PLAIN, PLAIN), test_name='test'); held = plain.on_device()
    for name in ('trn_ds', 'val_ds', 'test_ds'): assert [getattr(held, name).name(i) for i in range(12)] == [getattr(plain, name).name(i) for i in range(12)]

def test_on_device_warns_of_lost_augmentation():
    tfms = tfms_from_model(lite0, 24, max_zoom=1.2)
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, tfms)
    with pytest.warns(UserWarning, match='random_flip'): data.on_device()

@pytest.mark.parametrize('aug', [random_flip, [lambda x: x], [nn.Identity()], [lambda x, i, e, g: x.mean(0)]])
def test_on_device_checks_the_augmentation(aug):
    with pytest.raises(ValueError, match='list of functions'): small_data(aug)

def test_on_device_needs_one_size(tmp_path):
    from PIL import Image
    for split in ('train', 'valid'):
        for y in 'ab':
            (tmp_path/split/y).mkdir(parents=True)
            for i in range(3): Image.new('RGB', (32, 30 + i)).save(tmp_path/split/y/f'{i}.png')
    with pytest.raises(ValueError, match='one size.*tfms_from_model'): ImageClassifierData.from_paths(tmp_path, tfms=(PLAIN, PLAIN)).on_device()

def test_on_device_leaves_random_numbers_alone():
    data = small_data(on_device=False)
    torch.manual_seed(1); a = torch.rand(1)
    torch.manual_seed(1); data.on_device([random_flip, lambda x, idxs, epoch, g: x + torch.rand(())])
    assert torch.equal(torch.rand(1), a)

def test_on_device_needs_a_transform_that_can_be_undone():
    data = ImageClassifierData.from_arrays('.', pictures(), pictures(30, 32, 1), 16, (lambda im: torch.zeros(3, 8, 8),)*2)
    with pytest.raises(ValueError, match='PictureTransform'): data.on_device()

def test_resumed_on_device_to_the_bit(tmp_path, capsys):
    "Augmented batches, the flip that alternates included, are those of the unbroken run."
    class Cut(Callback):
        def after_batch(self, learn):
            if learn.epoch == 1 and learn.training and learn.i == 2: raise ZeroDivisionError
    def learner(seed):
        set_seed(seed)
        learn = ConvLearner.from_model(FastNet(IN, [4, 8], 3), small_data([alternating_flip, random_crop, cutout, random_shift]))
        learn.models_path = tmp_path
        return learn
    whole = learner(1); whole.fit_one_cycle(3, .1)
    with pytest.raises(ZeroDivisionError): learner(1).fit_one_cycle(3, .1, cbs=[Checkpoint(part=1), Cut()])
    again = learner(2); again.fit_one_cycle(3, .1, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values()))
    assert whole.history == again.history
    done = learner(3); done.fit_one_cycle(3, .1, resume=True)
    assert done.history == whole.history and 'training accuracy' in done.history[-1]

def test_not_resumed_with_pictures_of_another_size(tmp_path, capsys):
    def fit(sz): learn = ConvLearner.from_model(ConvNet((sz, sz, 3), [4], 3), small_data(sz=sz)); learn.models_path = tmp_path; learn.fit(.01, 1, resume=True)
    fit(32)
    with pytest.raises(ValueError, match='another plan'): fit(16)

# ---- augmentation
X, IDXS = torch.rand(40, 3, 20, 16, generator=gen(5)), torch.arange(40)

@pytest.mark.parametrize('f', [random_shift, random_flip, alternating_flip, random_crop, cutout], ids=lambda f: f.__name__)
def test_augmentation_is_repeatable_and_leaves_the_source(f):
    before = X.clone()
    a, b = f(X, IDXS, 0, gen(1)), f(X, IDXS, 0, gen(1))
    assert torch.equal(a, b) and torch.equal(X, before) and a.shape == X.shape and a.dtype == X.dtype and not torch.equal(a, X)

def test_shift_moves_by_a_tenth_at_most():
    "A bright column of a picture 40 pixels wide comes to rest within 4 pixels of where it was, on either side, and the edge fills the rest."
    x = torch.zeros(200, 3, 8, 40); x[..., 20] = 1; x[..., 0] = .5
    y = random_shift(x, torch.arange(200), 0, gen())
    place = (y[:, 0, 4, 10:31]*torch.arange(10, 31)).sum(1)/y[:, 0, 4, 10:31].sum(1)
    assert 16 <= place.min() < 17 and 23 < place.max() <= 24
    assert (y[place > 22][:, :, :, 0] == .5).all()

def test_flips():
    y = random_flip(X, IDXS, 0, gen())
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(y, X)])
    assert all(torch.equal(a, b) for a, b, m in zip(y, X, mirrored) if not m) and 10 < mirrored.sum() < 30

def test_alternating_flip_shows_both_ways_in_two_epochs():
    x, idxs = torch.rand(1000, 3, 4, 4), torch.arange(1000)
    first, second, third = (alternating_flip(x, idxs, e, None) for e in range(3))
    assert torch.equal(first.flip(-1), second) and torch.equal(first, third)
    assert 400 < (first == x).all((1, 2, 3)).sum() < 600
    some = torch.tensor([5, 17, 900])
    assert torch.equal(alternating_flip(x[some], some, 0, None), first[some]), 'it is the picture that counts, not its place in the batch'

def test_alternating_flip_follows_the_epochs_of_a_training(capsys):
    seen = {}
    class Look(Callback):
        def before_batch(self, learn):
            if learn.training: seen.setdefault(learn.epoch, []).append(learn.x.clone())
    data = small_data([alternating_flip])
    ConvLearner.from_model(SimpleNet(IN, [4], 3), data, cbs=[Look()]).fit(.01, 2)
    def of(epoch): return {x.numpy().tobytes() for x in torch.cat(seen[epoch]).contiguous()}
    assert of(1) == {x.flip(-1).contiguous().numpy().tobytes() for x in torch.cat(seen[0])} and not of(0) & of(1)

def test_alternating_flip_of_single_epochs():
    "Trainings of one epoch each begin at either side by chance; test-time views show both."
    data = small_data([alternating_flip]); learn = ConvLearner.from_model(SimpleNet(IN, [4], 3), data); learn.cbs = learn.cbs[:1]
    seen = set()
    class Look(Callback):
        def before_batch(self, learn):
            if learn.training: seen.update(x.numpy().tobytes() for x in learn.x.contiguous())
    set_seed(0)
    for _ in range(8): learn.fit(.01, 1, cbs=[Look()])
    assert len(seen) == 120

def test_crop_takes_windows_of_the_mirrored_picture():
    wide = F.pad(X, (2,)*4, 'reflect'); y = random_crop(X, IDXS, 0, gen())
    windows = [[(i, j) for i in range(5) for j in range(5) if torch.equal(y[k], wide[k, :, i:i + 20, j:j + 16])] for k in range(40)]
    assert all(len(w) == 1 for w in windows) and len({w[0] for w in windows}) > 10

def test_cutout_erases_one_square():
    y = cutout(X + 1, IDXS, 0, gen(), size=6)
    for a, b in zip(y, X + 1):
        hole = (a == 0).all(0)
        rows, cols = hole.any(1).nonzero()[:, 0], hole.any(0).nonzero()[:, 0]
        assert torch.equal(a[:, ~hole], b[:, ~hole]) and hole.sum() == len(rows)*len(cols) and 9 <= hole.sum() <= 36

# ---- real pictures
@pytest.mark.slow
@pytest.mark.parametrize('name, low', [('SimpleNet', .17), ('ConvNet', .48), ('ConvNet2', .66)])
def test_real_cifar10(name, low, tmp_path, capsys):
    "Ten epochs with the text's settings, in the mean of two seeds."
    import tarfile
    with tarfile.open(shared('data/cifar10.tgz')) as t: t.extractall(tmp_path, filter='data')
    data = ImageClassifierData.from_paths(tmp_path/'cifar10', 256, (PLAIN, PLAIN), val_name='test').on_device([random_shift, random_flip])
    scores = []
    for seed in (1, 2):
        set_seed(seed); learn = ConvLearner.from_model(FOUR[name](), data); learn.fit(.01, 10); scores.append(learn.history[-1]['accuracy'])
    assert np.mean(scores) >= low
