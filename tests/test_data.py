"`ImageClassifierData`: what it holds, its loaders and its pictures."
from pathlib import Path
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from imgcourse.data import ImageClassifierData
from imgcourse.transforms import tfms_from_model

TFMS = tfms_from_model('resnet18', 32)


@pytest.fixture
def plots():
    "Those of a test are closed after it."
    plt.close('all')
    yield plt
    plt.close('all')


def test_order_and_labels(few):
    data = ImageClassifierData.from_paths(few, tfms=TFMS, test_name='valid')
    assert data.classes == ['cats', 'dogs'] and data.c == 2 and list(data.val_y) == [0]*6 + [1]*6
    assert [Path(f).parent.name for f in data.val_ds.items] == ['cats']*6 + ['dogs']*6
    assert len(data.test_ds) == 12 and set(data.test_ds.y) == {-1}
    assert data.class_counts().loc['dogs'].to_dict() == {'train': 12, 'valid': 6}
    assert any('Mädchens Katze' in data.trn_ds.name(i) for i in range(24))


def test_a_batch_holds_what_the_data_set_gives(few):
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    x, y = next(iter(data.val_dl))
    assert x.shape == (12, 3, 32, 32) and x.dtype == torch.float32 and y.tolist() == data.val_y.tolist()
    for i in (0, 7):
        assert torch.equal(x[i], data.val_ds[i][0])


def test_which_pictures_and_transforms_the_loaders_have(few):
    "Augmented or not; without test pictures there are no loaders of them."
    data = ImageClassifierData.from_paths(few, tfms=TFMS, test_name='valid')
    augmented = {n: (dl.dataset.tfm is TFMS[0], len(dl.dataset), type(dl.sampler).__name__)
                 for n, dl in vars(data).items() if n.endswith('_dl')}
    assert augmented == {
        'trn_dl': (True, 24, 'Shuffle'), 'fix_dl': (False, 24, 'SequentialSampler'),
        'aug_dl': (True, 12, 'InOrder'), 'val_dl': (False, 12, 'SequentialSampler'),
        'test_aug_dl': (True, 12, 'InOrder'), 'test_dl': (False, 12, 'SequentialSampler')}
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    assert data.test_ds is data.test_aug_ds is data.test_dl is data.test_aug_dl is None


def test_last_batch_of_one_is_not_trained_on(few):
    data = ImageClassifierData.from_paths(few, bs=23, tfms=TFMS)
    assert [len(y) for _, y in data.trn_dl] == [23] and [len(y) for _, y in data.fix_dl] == [23, 1]


@pytest.mark.parametrize('kw, message', [
    ({'tfms': None}, 'tfms_from_model'), ({'tfms': TFMS, 'bs': 0}, 'bs is'), ({'tfms': TFMS, 'bs': 2.5}, 'bs is')])
def test_bad_options_before_any_reading(kw, message):
    with pytest.raises(ValueError, match=message):
        ImageClassifierData.from_paths('there is no such folder', **kw)


def test_own_transforms(few, plots):
    "Any function from a picture to a tensor will do."
    def to_tensor(im): return torch.from_numpy(np.array(im.resize((16, 16)))).permute(2, 0, 1)/255
    data = ImageClassifierData.from_paths(few, tfms=(to_tensor, to_tensor))
    assert next(iter(data.trn_dl))[0].shape == (24, 3, 16, 16)
    data.show_batch()


def test_repr(sketches):
    data = ImageClassifierData.from_paths(sketches, tfms=TFMS)
    assert repr(data) == '800 training and 400 validation pictures of 2 classes: cats, dogs'


def test_show_batch(few, plots):
    "Other pictures each time; they are shown as they are, not normalized, each with its class."
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    shown = []
    for _ in range(2):
        data.show_batch(n=5, cols=3)
        axs = [a for a in plots.gcf().axes if a.images]
        pixels = np.stack([a.images[0].get_array() for a in axs])
        assert len(axs) == 5 and {a.get_title() for a in axs} <= {'cats', 'dogs'}
        assert pixels.shape == (5, 32, 32, 3) and 0 <= pixels.min() < pixels.max() <= 1
        shown.append(pixels)
    assert not np.array_equal(*shown)
    with pytest.raises(ValueError, match='n is the number of pictures'):
        data.show_batch(n=0)


def test_show_batch_leaves_random_numbers_alone(few, plots):
    "To look at pictures does not change what is drawn later."
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    def draw(look):
        torch.manual_seed(0)
        np.random.seed(0)
        if look:
            data.show_batch()
        return *torch.rand(3).tolist(), np.random.rand()
    assert draw(look=True) == draw(look=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_show_batch_leaves_random_numbers_of_a_gpu_alone(few, plots):
    data = ImageClassifierData.from_paths(few, tfms=TFMS, num_workers=0)
    def draw(look):
        torch.manual_seed(0)
        if look:
            data.show_batch()
        return torch.rand(3, device='cuda').tolist()
    assert draw(look=True) == draw(look=False)


def test_check_class(few):
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    assert data.check_class(1) == 1
    with pytest.raises(ValueError, match=r"0: 'cats', 1: 'dogs'.*there is no 2$"):
        data.check_class(2)
