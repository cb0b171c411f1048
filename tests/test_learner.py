import re
import numpy as np, pytest, torch
import torch.nn.functional as F
from torch import nn
import imgcourse.finetune, imgcourse.checkpoint
from imgcourse.data import ImageClassifierData, lite0, tfms_from_model, transforms_side_on
from imgcourse.learner import Callback, ConvLearner, Learner, accuracy, accuracy_np, make_head, set_seed

TFMS = tfms_from_model(lite0, 64)

@pytest.fixture
def data(few): return ImageClassifierData.from_paths(few, bs=8, tfms=TFMS, test_name='valid')

def small_net(): return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))

# ---- the must-shows on sketches
def test_three_lines_on_sketches(sketches):
    "At least 0.97 in three epochs, in the mean of three seeds."
    data = ImageClassifierData.from_paths(sketches, tfms=tfms_from_model(lite0, 128))
    got = []
    for seed in (1, 2, 3):
        set_seed(seed)
        learn = ConvLearner.pretrained(lite0, data, precompute=True)
        learn.fit(0.01, 3)
        got.append(learn.history[-1]['accuracy'])
    assert np.mean(got) >= .97
    assert accuracy_np(learn.predict(), data.val_y) == pytest.approx(learn.history[-1]['accuracy'])

# ---- the loop
def test_fit_is_the_plain_loop(few):
    "The same weights as a loop written by hand, step by step."
    data = ImageClassifierData.from_paths(few, bs=8, tfms=TFMS)
    torch.manual_seed(0); a = small_net()
    torch.manual_seed(0); b = small_net()
    learn = Learner(a, data)
    torch.manual_seed(1); learn.fit(.1, 2)
    opt = torch.optim.SGD(b.parameters(), lr=.1, momentum=.9)
    torch.manual_seed(1); data.trn_dl.sampler.seed = int(torch.randint(2**62, ()))
    for epoch in range(2):
        data.trn_dl.sampler.set_epoch(epoch)
        losses = []
        for x, y in data.trn_dl:
            loss = F.cross_entropy(b(x), y); loss.backward(); opt.step(); opt.zero_grad(); losses.append(loss.item()*len(y))
        with torch.no_grad(): vl = sum(F.cross_entropy(b(x), y, reduction='sum').item() for x, y in data.val_dl)
    for p, q in zip(a.parameters(), b.parameters()): assert torch.allclose(p.cpu(), q, atol=1e-6)
    assert learn.history[-1]['training loss'] == pytest.approx(sum(losses)/24, rel=1e-4) and learn.history[-1]['validation loss'] == pytest.approx(vl/12, rel=1e-4)

def test_callbacks_are_called_in_order(data):
    seen = []
    class Note(Callback):
        def __getattr__(self, name):
            if name.split('_')[0] in ('before', 'after'): return lambda learn: seen.append(name)
            raise AttributeError(name)
    Learner(small_net(), data).fit(.01, 1, cbs=[Note()])
    assert seen == ['before_fit', 'before_epoch'] + ['before_pass', *['before_batch', 'after_batch']*3, 'after_pass'] + ['before_pass', *['before_batch', 'after_batch']*2, 'after_pass'] + ['after_epoch', 'after_fit']

def test_after_fit_is_called_when_something_breaks(data):
    class Break(Callback):
        ended = False
        def after_batch(self, learn): raise KeyboardInterrupt
        def after_fit(self, learn): self.ended = True
    cb = Break()
    with pytest.raises(KeyboardInterrupt): Learner(small_net(), data).fit(.01, 1, cbs=[cb])
    assert cb.ended

def test_same_seed_same_result(data):
    def run(): set_seed(3); l = ConvLearner.pretrained(lite0, data, precompute=True); l.fit(.01, 2); return l.predict()
    assert np.array_equal(run(), run())

def test_lines_in_a_terminal(data, capsys):
    Learner(small_net(), data).fit(.01, 2)
    lines = capsys.readouterr().out.strip().split('\n')
    assert lines[0].split() == ['epoch', 'training', 'loss', 'validation', 'loss', 'accuracy', 'time'] and len(lines) == 3
    assert all(re.fullmatch(r'\s*%d\s+\d+\.\d{5}\s+\d+\.\d{5}\s+[01]\.\d{5}\s+\d+\.\d\d s' % i, l) for i, l in enumerate(lines[1:]))

def test_metrics_see_the_whole_validation_set(data):
    from torchmetrics.classification import MulticlassF1Score
    sizes = []
    def count(preds, targs): sizes.append(len(targs)); return torch.tensor(0.)
    learn = Learner(small_net(), data, metrics=[count, MulticlassF1Score(num_classes=2)]); learn.fit(.01, 1)
    assert sizes == [12] and set(learn.history[0]) == {'epoch', 'training loss', 'validation loss', 'count', 'MulticlassF1Score'}

@pytest.mark.parametrize('args, message', [((0., 1), 'above 0'), ((-.1, 1), 'above 0'), ((float('nan'), 1), 'above 0'), (([.1, -.2], 1), 'above 0'), (([.1, .2, .3, .4], 1), 'layer groups'), ((float('inf'), 1), 'above 0'), ((.1, 0), 'n_cycle'), ((.1, 1.5), 'n_cycle')])
def test_bad_rates_and_epochs(data, args, message):
    with pytest.raises(ValueError, match=message): Learner(small_net(), data).fit(*args)

# ---- backbone and head
def test_only_the_head_learns(data):
    for precompute in (True, False):
        learn = ConvLearner.pretrained(lite0, data, precompute=precompute)
        before = {k: v.clone() for k, v in learn.full.state_dict().items()}
        learn.fit(.01, 1)
        changed = {k.split('.')[0] for k, v in learn.full.state_dict().items() if not torch.equal(v.cpu(), before[k].cpu())}
        assert changed == {'2'}, 'backbone (statistics of its batch norms included) and pooling stay; the head changes'

def test_precompute_on_and_off_agree(data):
    "Stored features or the whole network: the same predictions, up to the number format."
    learn = ConvLearner.pretrained(lite0, data, precompute=True); learn.fit(.01, 2)
    a = learn.predict(); learn.precompute = False; b = learn.predict()
    assert np.abs(np.exp(a) - np.exp(b)).max() < .03
    with torch.no_grad(): c = learn.full(torch.stack([data.val_ds[i][0] for i in range(12)]).to(next(learn.full.parameters()).device)).cpu()
    assert np.allclose(b, c, atol=1e-3)

def test_augmentation_reaches_the_network(few):
    data = ImageClassifierData.from_paths(few, bs=8, tfms=tfms_from_model(lite0, 64, aug_tfms=transforms_side_on, max_zoom=1.1))
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    batches = lambda: torch.cat([x for x, _ in sorted(((x, y) for x, y in learn.loaders()[0]), key=lambda b: 0)])
    torch.manual_seed(0); a = batches(); torch.manual_seed(0); b = batches()
    assert torch.equal(a, b) and a.ndim == 2
    learn.precompute = False
    torch.manual_seed(0); a = batches(); torch.manual_seed(1); b = batches()
    assert not torch.equal(a, b) and a.shape[1:] == (3, 64, 64)
    learn.fit(.01, 1)

def test_predictions(data):
    learn = ConvLearner.pretrained(lite0, data, precompute=True); learn.fit(.01, 1)
    p, y = learn.predict_with_targs()
    assert p.shape == (12, 2) and p.dtype == np.float32 and np.allclose(np.exp(p).sum(1), 1, atol=1e-5) and np.array_equal(y, data.val_y)
    t, y = learn.predict_with_targs(is_test=True)
    assert np.allclose(t, p, atol=1e-5) and set(y) == {-1}, 'the test folder holds the same pictures'
    assert np.array_equal(learn.predict(is_test=True), t)
    data.test_ds = None
    with pytest.raises(ValueError, match='test_name'): learn.predict(is_test=True)

def test_head():
    head = make_head(20, 5, [16, 8], [.1, .2, .3])
    assert [type(l).__name__ for l in head] == ['BatchNorm1d', 'Dropout', 'Linear', 'ReLU']*2 + ['BatchNorm1d', 'Dropout', 'Linear', 'LogSoftmax']
    assert [l.p for l in head if isinstance(l, nn.Dropout)] == [.1, .2, .3] and [l.out_features for l in head if isinstance(l, nn.Linear)] == [16, 8, 5]
    assert torch.allclose(head(torch.randn(4, 20)).exp().sum(1), torch.ones(4))
    with pytest.raises(ValueError, match='3 numbers'): make_head(20, 5, [16, 8], [.1])

def test_pretrained_refuses_what_does_not_fit(data, few):
    with pytest.raises(ValueError, match='resnet34'): ConvLearner.pretrained('resnet43', data)
    other = ImageClassifierData.from_paths(few, tfms=tfms_from_model('resnet34', 96))
    with pytest.raises(ValueError, match='channel means'): ConvLearner.pretrained(lite0, other)
    for w in (None, '/no/such/file'):
        with pytest.raises(ValueError, match='ps needs'): ConvLearner.pretrained(lite0, data, ps=[.1], weights=w)
    with pytest.raises(ValueError, match='at least two pictures'): ConvLearner.pretrained(lite0, ImageClassifierData.from_paths(few, bs=1, tfms=TFMS))
    with pytest.raises(ValueError, match='name of its own'): ConvLearner.pretrained(lite0, data, metrics=[accuracy, accuracy])

def test_any_module(data):
    learn = ConvLearner.from_model(small_net(), data, opt_fn=torch.optim.Adam)
    learn.fit(.01, 1)
    assert np.allclose(np.exp(learn.predict()).sum(1), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r'must give \(1, 2\)'): ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 7)), data)

def test_accuracy():
    p = np.log(np.array([[.9, .1], [.2, .8], [.6, .4]])); y = np.array([0, 1, 1])
    assert accuracy_np(p, y) == pytest.approx(2/3) == float(accuracy(torch.tensor(p), torch.tensor(y)))

def test_more_than_two_classes(few):
    x = np.random.RandomState(0).randint(0, 256, (60, 32, 32, 3), dtype=np.uint8); y = np.arange(60) % 5
    data = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=TFMS, bs=16)
    learn = ConvLearner.pretrained(lite0, data, precompute=True, xtra_fc=[]); learn.fit(.1, 2)
    assert learn.predict().shape == (60, 5)
