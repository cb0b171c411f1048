"Order and chance; splits, tables and arrays."
import os
import platform
import random
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from imgcourse import pictures
from imgcourse.batches import (ArrayDataset, Shuffle, get_cv_idxs, keep_random_state, read_labels, read_table,
                               split_folder)
from imgcourse.data import ImageClassifierData
from imgcourse.own import read_folder
from imgcourse.transforms import tfms_from_model, transforms_side_on

TFMS = tfms_from_model('resnet18', 32)


# ---- order and chance
def test_augmentation_varies_and_repeats_with_the_seed(few):
    trn = tfms_from_model('resnet18', 32, aug_tfms=transforms_side_on, max_zoom=1.2)
    data = ImageClassifierData.from_paths(few, tfms=trn)
    def batch(seed):
        torch.manual_seed(seed)
        return torch.cat([x for x, _ in data.aug_dl])
    assert torch.equal(batch(1), batch(1)) and not torch.equal(batch(1), batch(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(data.fix_dl, data.fix_dl))


def test_workers_give_the_same(few):
    a, b = (ImageClassifierData.from_paths(few, tfms=TFMS, bs=8, num_workers=n) for n in (0, 2))
    for (x, y), (x2, y2) in zip(a.val_dl, b.val_dl, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


def own_step(im):
    "Draws from all three sources, and takes its time."
    shift = int(20*random.random()), int(20*np.random.rand())
    return im.rotate(float(90*torch.rand(1)), translate=shift)


@pytest.mark.parametrize('own', [own_step, v2.GaussianNoise(), v2.RandomChoice([v2.Identity(), v2.RandomInvert(1)])],
                         ids=['own', 'draws while it computes', 'choice'])
def test_augmentation_hangs_on_the_seed_alone(few, own):
    "Not on threads, batches, processes, or what else has drawn."
    aug = [v2.ToImage(), v2.ToDtype(torch.float32), own, v2.ToDtype(torch.uint8), v2.ToPILImage()] \
        if isinstance(own, v2.GaussianNoise) else [*transforms_side_on, own]
    tfms = tfms_from_model('resnet18', 32, aug_tfms=aug, max_zoom=1.2)
    def pictures(bs, num_workers):
        torch.manual_seed(5)
        data = ImageClassifierData.from_paths(few, bs, tfms, num_workers=num_workers)
        return torch.cat([x for x, _ in data.aug_dl])
    want = pictures(12, 0)
    for bs, num_workers in ((12, 0), (5, 0), (12, 2)):
        assert torch.equal(pictures(bs, num_workers), want)


def test_steps_that_end_with_floats_are_refused(few):
    "They would come out black."
    aug = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise()]
    data = ImageClassifierData.from_paths(few, tfms=tfms_from_model('resnet18', 32, aug_tfms=aug))
    with pytest.raises(ValueError, match='end with bytes'):
        next(iter(data.trn_dl))


def test_after_an_error_no_thread_draws_any_more(few):
    def slow_and_bad(im):
        time.sleep(.05)
        raise KeyError('bad')
    data = ImageClassifierData.from_paths(few, tfms=tfms_from_model('resnet18', 32, aug_tfms=[slow_and_bad]))
    idxs = list(Shuffle(12))
    with keep_random_state():
        want = draw()
    with pytest.raises(KeyError):
        data.aug_ds.__getitems__(idxs)
    time.sleep(.2)
    assert draw() == want


def draw(): return random.random(), np.random.rand(), torch.rand(1).item()


def test_random_numbers_are_those_that_would_have_come():
    "Also where the work within ends with an error."
    with keep_random_state():
        want = draw()
    with pytest.raises(KeyError), keep_random_state():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        raise KeyError
    assert draw() == want


@pytest.fixture
def forked(monkeypatch):
    "The GPUs whose random numbers torch was asked to keep, of a machine that seems to have three."
    asked, real = [], torch.random.fork_rng
    def fork_rng(devices):
        asked.append(list(devices))
        return real(())
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    monkeypatch.setattr(torch.random, 'fork_rng', fork_rng)
    return asked


def test_random_numbers_of_all_gpus_are_kept(forked):
    with keep_random_state():
        pass
    with keep_random_state(gpus=[1]):
        pass
    assert forked == [[0, 1, 2], [1]]


def test_augmentation_leaves_gpus_alone(forked):
    "It happens in processes that must not touch one."
    x = np.zeros((6, 8, 8, 3), np.uint8)
    for tfm in (tfms_from_model('resnet18', 32)[0], lambda im: torch.rand(3)):
        ArrayDataset(x, np.zeros(6, np.int64), tfm, augmented=True).__getitems__(list(Shuffle(6)))
    assert forked == [[], []]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_random_numbers_of_a_real_gpu_are_kept():
    torch.manual_seed(0)
    want = torch.rand(3, device='cuda')
    torch.manual_seed(0)
    with keep_random_state():
        torch.seed()
        torch.rand(3, device='cuda')
    assert torch.equal(torch.rand(3, device='cuda'), want)


# ---- splits
def test_from_folder_splits_each_class(few):
    a, b, c = (ImageClassifierData.from_folder(few/'train', valid_pct=.25, seed=s, tfms=TFMS) for s in (1, 1, 2))
    assert a.class_counts().values.tolist() == [[9, 3], [9, 3]]
    assert a.val_ds.items == b.val_ds.items != c.val_ds.items and not set(a.val_ds.items) & set(a.trn_ds.items)


def leave_one(folder):
    for f in list(folder.iterdir())[1:]:
        f.unlink()


def test_bad_splits_of_a_folder(few):
    leave_one(few/'train'/'cats')
    with pytest.raises(ValueError, match='single picture'):
        ImageClassifierData.from_folder(few/'train', tfms=TFMS)
    for part in (20, '.2'):
        with pytest.raises(ValueError, match='valid_pct is the part'):
            ImageClassifierData.from_folder(few/'train', valid_pct=part, tfms=TFMS)


def test_unreadable_pictures_leave_too_few_to_split(few):
    for folder in (few/'train').iterdir():
        for f in list(folder.iterdir())[1:]:
            f.write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'), pytest.raises(ValueError, match='2 training and 0 validation'):
        ImageClassifierData.from_folder(few/'train', tfms=TFMS, on_error='skip')


def test_from_folder_split_is_stable(few):
    "A picture that is added changes the split by one at most."
    before = set(ImageClassifierData.from_folder(few/'train', valid_pct=.25, tfms=TFMS).val_ds.items)
    (few/'valid'/'cats'/'cat.0.jpg').rename(few/'train'/'cats'/'added.jpg')
    after = set(ImageClassifierData.from_folder(few/'train', valid_pct=.25, tfms=TFMS).val_ds.items)
    assert len(before - after) <= 1 and len(after - before) <= 1


def test_a_folder_with_one_class_can_be_split_for_classes_that_are_added(few):
    (few/'one').mkdir()
    (few/'train'/'cats').rename(few/'one'/'cats')
    trn, val, classes = split_folder(few/'one', valid_pct=.25, least=1)
    assert (len(trn[0]), len(val[0]), classes) == (9, 3, ['cats'])
    with pytest.raises(ValueError, match='at least 2'):
        split_folder(few/'one', valid_pct=.25)


def test_the_same_pictures_cannot_check_what_they_taught(few):
    with pytest.raises(ValueError, match='different ones'):
        ImageClassifierData.from_paths(few, tfms=TFMS, val_name='train')


def test_cv_idxs():
    folds = [get_cv_idxs(103, cv_idx=i, val_pct=.1) for i in range(10)]
    assert len(np.unique(np.concatenate(folds))) == 100 and all(len(f) == 10 for f in folds)
    assert (get_cv_idxs(50) == get_cv_idxs(50)).all() and (get_cv_idxs(50) != get_cv_idxs(50, seed=1)).any()


@pytest.mark.parametrize('kw, message', [
    ({'cv_idx': 10, 'val_pct': .1}, 'whole number from 0 to 9, not 10'), ({'cv_idx': -1}, 'cv_idx is the fold'),
    ({'cv_idx': '1'}, 'cv_idx is the fold'), ({'val_pct': 0}, 'above 0 and below 1, not 0'),
    ({'val_pct': 1}, 'val_pct is the part'), ({'val_pct': '.1'}, 'val_pct is the part'),
    ({'val_pct': .001}, '0.001 of 103 rows leaves 0 for validation')])
def test_bad_cv_idxs(kw, message):
    with pytest.raises(ValueError, match=message):
        get_cv_idxs(103, **kw)


# ---- tables
@pytest.fixture
def table(few, tmp_path):
    "A table of the training pictures, and a function that writes it, or another, and makes data of it."
    files = sorted((few/'train').rglob('*.jpg'))
    df = pd.DataFrame({'id': [f'{f.parent.name}/{f.stem}' for f in files], 'breed': [f.parent.name for f in files]})
    def write(df=df, **kw):
        df.to_csv(tmp_path/'labels.csv', index=False)
        return ImageClassifierData.from_csv(few, 'train', tmp_path/'labels.csv', tfms=TFMS, suffix='.jpg', **kw)
    return df, write


@pytest.fixture
def rewritten(table, few, tmp_path):
    "A function that makes data of the table `labels.csv`, changed as bytes."
    table[1]()
    def make(change, suffix='.jpg', **kw):
        (tmp_path/'new.csv').write_bytes(change((tmp_path/'labels.csv').read_bytes()))
        return ImageClassifierData.from_csv(few, 'train', tmp_path/'new.csv', tfms=TFMS, suffix=suffix, **kw)
    return make


def at_row(df, row, **values):
    "The table with other values in one row."
    return df.assign(**{name: df[name].where(df.index != row, v) for name, v in values.items()})


def test_from_csv(table):
    df, write = table
    data = write(val_idxs=[0, 23], test_name='valid')
    assert [Path(f).stem for f in data.val_ds.items] == [df.id[i].split('/')[1] for i in (0, 23)]
    assert list(data.val_y) == [0, 1] and data.classes == ['cats', 'dogs']
    assert len(data.trn_ds) == 22 and len(data.test_ds) == 12
    assert len(write().val_ds) == 4


@pytest.mark.parametrize('spoil, message', [
    (lambda df: df[['id']], r"only \['id'\]"),
    (lambda df: at_row(df, 5, breed=' '), "column 'breed' is empty or holds a line break in row 7$"),
    (lambda df: at_row(df, 5, id='cats/nobody'), 'no file for id .*nobody.jpg.* row 7$'),
    (lambda df: pd.concat([df, df.iloc[[3]]]), 'duplicate id in rows 5, 26$'),
    (lambda df: pd.concat([df, df.iloc[[3]].assign(id=lambda d: './' + d.id)]), 'duplicate id in rows 5, 26$'),
    (lambda df: df.assign(breed='cat'), 'at least two classes')])
def test_bad_tables(table, spoil, message):
    df, write = table
    with pytest.raises(ValueError, match=message):
        write(spoil(df), val_idxs=[0, 23])


def test_one_picture_by_two_names(few, monkeypatch):
    "Also where the pictures lie in the folder that one is in."
    monkeypatch.chdir(few/'train'/'cats')
    Path('t.csv').write_text('id,label\ncat.1,a\n./cat.1,b\n')
    with pytest.raises(ValueError, match=r'duplicate id in rows 2, 3$'):
        read_labels('t.csv', '.', '.jpg')


@pytest.mark.parametrize('change, message', [
    (lambda t: b'', 'no table'),
    (lambda t: t.decode().encode('utf-16'), 'no table.*UTF-8'),
    (lambda t: t.split(b'\n', 1)[1], 'row 1 must be a header'),
    (lambda t: t.replace(b'\n', b'\n\n', 3).replace(b'dogs\n', b'dogs,3\n', 1), 'not 2 fields in row 17$'),
    (lambda t: t.split(b'\n')[0], 'header but no rows')])
def test_broken_csv_files(rewritten, change, message):
    with pytest.raises(ValueError, match=message):
        rewritten(change)


def test_labels_are_stripped_and_rows_counted_with_blank_lines(rewritten):
    assert rewritten(lambda t: t.replace(b',cats\n', b', cats \n\n')).classes == ['cats', 'dogs']


@pytest.mark.parametrize('change', [
    lambda t: b'\xef\xbb\xbf' + t,
    lambda t: t.replace(b'\n', b'\r\n'),
    lambda t: t.rstrip(b'\n'),
    lambda t: t.replace(b',', b' , '),
    lambda t: t.replace(b'cats\n', b'"cats"\n'),
    lambda t: b'\n' + t + b'\n\n',
    lambda t: b'\xef\xbb\xbf' + t.replace(b'\n', b'\r\n').rstrip(b'\r\n'),
], ids=['BOM', 'Windows', 'no last newline', 'spaces', 'quotes', 'blank lines', 'all of Windows'])
def test_tables_as_programs_write_them(table, rewritten, change):
    want = table[1](val_idxs=[0, 23])
    data = rewritten(change, val_idxs=[0, 23])
    assert data.trn_ds.items == want.trn_ds.items
    assert data.classes == ['cats', 'dogs'] and (data.trn_y == want.trn_y).all()


def test_quoted_commas(table, few):
    df, write = table
    (few/'train'/f'{df.id[1]}.jpg').rename(few/'train'/'one, two "and" three.jpg')
    df = at_row(df, 1, id='one, two "and" three')
    data = write(df.assign(breed=df.breed.replace('cats', 'cat, domestic')), val_idxs=[0, 23])
    assert data.classes == ['cat, domestic', 'dogs']
    assert Path(data.trn_ds.items[0]).name == 'one, two "and" three.jpg'


@pytest.mark.parametrize('change, message', [
    (lambda t: t.replace(b'cats\n', b'"cats\n', 1), 'line 25'),
    (lambda t: t.replace(b'cats\n', b'"c"ats\n', 1), 'line 2'),
    (lambda t: t.replace(b'cats\n', b'"cats\n', 1).replace(b'dogs\n', b'dogs"\n', 1), 'line break in row 2'),
    (lambda t: t.replace(b'cats\n', b'ca\0ts\n', 1), 'line break in row 2$'),
    (lambda t: b'id,breed\n', 'header but no rows'),
    (lambda t: b'', 'it is empty'),
    (lambda t: b'\n\n', 'it is empty')])
def test_stray_quotes_and_empty_tables(rewritten, change, message):
    "Nothing is swallowed."
    with pytest.raises(ValueError, match=message):
        rewritten(change)


def test_one_message_names_all_bad_rows_of_a_kind(rewritten):
    "Of the kinds, that comes first which makes the rest doubtful; of many rows, the first twenty are named."
    def spoil(t):
        rows = t.split(b'\n')
        rows[1:5] = [b'x,', rows[2] + b',3', rows[3], rows[4] + b',4']
        return b'\n'.join(rows)
    with pytest.raises(ValueError, match=r'not 2 fields in rows 3, 5$'):
        rewritten(spoil)
    with pytest.raises(ValueError, match=r"column 'breed' is empty .* in rows 2, .*, 21 and 4 more$"):
        rewritten(lambda t: t.replace(b',cats', b',').replace(b',dogs', b', '))


def test_a_table_with_many_columns_and_a_row_that_is_much_too_long(rewritten):
    with pytest.warns(UserWarning, match='is passed over'):
        data = rewritten(lambda t: t.replace(b'\n', b',0'*300 + b'\n'))
    assert data.classes == ['cats', 'dogs']
    with pytest.raises(ValueError, match=r'not 2 fields in row 26$'):
        rewritten(lambda t: t + b','*100_000 + b'\n')


def test_a_table_of_a_hundred_thousand_rows(tmp_path, monkeypatch):
    "In the order of the rows."
    (tmp_path/'new.csv').write_text('id,breed\n' + ''.join(f'{i},{i % 7}\n' for i in range(100_000)))
    real = os.path.isfile
    monkeypatch.setattr(os.path, 'isfile', lambda p: str(p)[-5:-4].isdigit() or real(p))
    files, labels = read_labels(tmp_path/'new.csv', tmp_path, '.jpg')
    assert files == [f'{tmp_path}/{i}.jpg' for i in range(100_000)] and labels[:8] == [*'01234560']
    monkeypatch.setattr(os.path, 'isfile', lambda p: str(p).endswith('0.jpg') or real(p))
    with pytest.raises(ValueError, match=r'no file for id \(.*/1.jpg\) in rows 3, 4, .*, 24 and 89980 more$'):
        read_labels(tmp_path/'new.csv', tmp_path, '.jpg')


def test_ids_with_and_without_suffix(table):
    df, write = table
    want = write(val_idxs=[0, 23]).trn_ds.items
    with_suffix = df.id + '.jpg'
    assert write(df.assign(id=with_suffix), val_idxs=[0, 23]).trn_ds.items == want
    assert write(df.assign(id=df.id.where(df.index % 2 == 0, with_suffix)), val_idxs=[0, 23]).trn_ds.items == want
    with pytest.raises(ValueError, match='duplicate id in rows 2, 26'):
        write(pd.concat([df, df.assign(id=with_suffix).iloc[[0]]]), val_idxs=[0, 23])


def test_a_missing_suffix_is_named(rewritten):
    with pytest.raises(ValueError, match=r"there is one with suffix='.jpg'"):
        rewritten(lambda t: t, suffix='')
    with pytest.raises(ValueError, match='there is one without the suffix'):
        rewritten(lambda t: t.replace(b',', b'.jpg,'), suffix='.JPG')


def test_unknown_columns(table):
    df, write = table
    with pytest.warns(UserWarning, match="'id' and labels from 'breed'; 'weight', 'age' is passed over"):
        data = write(df.assign(weight=3, age=2), val_idxs=[0, 23])
    assert data.classes == ['cats', 'dogs']
    df = df.assign(weight=range(24))[['weight', 'id', 'breed']]
    with pytest.raises(ValueError, match=r'first column must hold the ids.*weight, id, breed'):
        write(df, val_idxs=[0, 23])


def test_labels_that_are_numbers(table):
    df, write = table
    data = write(df.assign(breed=np.arange(24) % 12), val_idxs=[0, 23])
    assert data.classes == [str(k) for k in range(12)] and data.val_y.tolist() == [0, 11]
    halves = df.assign(breed=[f'{k % 12}.5' for k in range(24)])
    assert write(halves, val_idxs=[0]).classes[:3] == ['0.5', '1.5', '10.5']


def test_a_class_with_one_picture(table):
    "It is learned from; asked for in validation, it is named."
    df, write = table
    for row in range(24):
        data = write(at_row(df, row, breed='fox'))
        assert data.classes.index('fox') in data.trn_y and 3 <= len(data.val_ds) <= 4
    with pytest.raises(ValueError, match='classes fox'):
        write(at_row(df, 5, breed='fox'), val_idxs=[5, 20])


def test_complaints_come_before_pictures_are_read(table, few, monkeypatch):
    "(`check_pictures` reads each before a data set is made.)"
    monkeypatch.setattr(pictures, 'read_picture', lambda *args, **kw: pytest.fail('a picture was read'))
    for idxs in (range(12, 24), [99]):
        with pytest.raises(ValueError):
            table[1](val_idxs=idxs)
    leave_one(few/'train'/'cats')
    with pytest.raises(ValueError, match='single'):
        ImageClassifierData.from_folder(few/'train', tfms=TFMS)


@pytest.mark.parametrize('idxs', [[], [24], [-1], list(range(24)), [[1]], [0, 1, 2.5], [True, False]])
def test_bad_val_idxs(table, idxs):
    with pytest.raises(ValueError, match='row numbers 0 to 23'):
        table[1](val_idxs=idxs)


def test_a_mask_of_rows(table): assert table[1](val_idxs=np.arange(24) % 6 == 5).val_y.tolist() == [0, 0, 1, 1]


def test_validation_class_without_training_pictures(table):
    with pytest.raises(ValueError, match='classes dogs'):
        table[1](val_idxs=range(12, 24))


def test_csv_rows_stay_right_when_pictures_are_skipped(table, few):
    df, write = table
    (few/'train'/f'{df.id[2]}.jpg').write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'):
        data = write(val_idxs=[2, 4, 20], on_error='skip')
    assert [Path(f).stem for f in data.val_ds.items] == [df.id[i].split('/')[1] for i in (4, 20)]
    assert len(data.trn_ds) == 21


def test_no_picture_to_learn_from_can_be_read(table, few):
    for f in (few/'train'/'dogs').iterdir():
        f.write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'), pytest.raises(pictures.PictureError, match=r'classes dogs$'):
        table[1](val_idxs=[0, 23], on_error='skip')


def test_what_stands_behind_the_door(table, few, tmp_path):
    "`read_table` gives what `from_csv` makes data of."
    data = table[1](val_idxs=[0, 23], test_name='valid')
    trn, val, classes, test = read_table(few, 'train', tmp_path/'labels.csv', [0, 23], '.jpg', 'valid', 'raise')
    assert trn[0] == data.trn_ds.items and (trn[1] == data.trn_y).all() and val[0] == data.val_ds.items
    assert classes == data.classes and test == data.test_ds.items


# ---- arrays
def test_from_arrays():
    x, y = np.random.RandomState(0).randint(0, 256, (10, 20, 20, 3), dtype=np.uint8), np.arange(10) % 2
    a = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=TFMS, test=x)
    b = ImageClassifierData.from_arrays('.', (x/255, y), (x/255., y), tfms=TFMS)
    assert torch.equal(next(iter(a.val_dl))[0], next(iter(b.val_dl))[0])
    assert a.classes == ['0', '1'] and len(a.test_ds) == 10
    gray = x[..., :1]
    data = ImageClassifierData.from_arrays('.', (gray, y), (gray, y), tfms=TFMS, classes=['a', 'b'])
    assert next(iter(data.val_dl))[0].shape == (10, 3, 32, 32) and data.val_ds.key(0) != data.val_ds.key(1)


@pytest.mark.parametrize('x, y, message', [
    (np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], 'axis of channels'),
    (np.zeros((4, 8, 8, 2), np.uint8), [0, 1, 0, 1], '1 or 3'),
    (np.full((4, 8, 8, 3), 2.), [0, 1, 0, 1], 'between 0 and 1'),
    (np.full((4, 8, 8, 3), np.nan), [0, 1, 0, 1], 'between 0 and 1'),
    (np.zeros((4, 8, 8, 3), int), [0, 1, 0, 1], 'uint8'),
    (np.zeros((4, 8, 8, 3)), [0, 1, 0], '4 pictures need 4'),
    (np.zeros((4, 8, 8, 3)), [0., 1, 0, 1], 'integers'),
    (np.zeros((4, 8, 8, 3)), [0, 0, 0, 0], 'two classes'),
    (np.zeros((4, 8, 8, 3)), [-1, 0, 1, 1], 'run from 0')])
def test_bad_arrays(x, y, message):
    with pytest.raises(ValueError, match=message):
        ImageClassifierData.from_arrays('.', (x, np.array(y)), (x, np.array(y)), tfms=TFMS)


def test_a_picture_of_an_array(): # gray ones become red, green and blue
    x = np.stack([np.full((8, 8, 1), 7, np.uint8)])
    im = ArrayDataset(x, np.zeros(1, np.int64), TFMS[1]).picture(0)
    assert isinstance(im, Image.Image) and im.mode == 'RGB' and im.getpixel((0, 0)) == (7, 7, 7)


# ---- memory
PAGE_FAULTS = '''
import resource, torch
import imgcourse.batches
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(2**24)
before = faults()
for _ in range(20):
    torch.ones(2**24)
print(faults() - before)
'''


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='memory is kept where the C library is glibc')
def test_memory_is_kept_for_the_next_batch():
    "Twenty times 64 MB: new pages are needed for one or two at most, unless the user has decided otherwise."
    def faults(**env):
        env = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')} | env
        return int(subprocess.run([sys.executable, '-c', PAGE_FAULTS], env=env, capture_output=True, check=True).stdout)
    assert faults() < 50_000 < 200_000 < faults(MALLOC_TRIM_THRESHOLD_='131072')


# ---- what may be a mistake is said before the training
def said(few, read=None):
    "What is said when data are made."
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        data = read(few) if read else ImageClassifierData.from_paths(few, tfms=TFMS)
    assert all(len(str(x.message).splitlines()) == 1 for x in w)
    return [str(x.message) for x in w], data


def test_nothing_is_said_of_good_data(few): assert said(few)[0] == []


def test_the_same_picture_in_both_parts(few):
    first, second, *_ = sorted((few/'train'/'cats').iterdir())
    for f in (first, second):
        shutil.copy(f, few/'valid'/'cats'/f'copy of {f.name}')
    line, = said(few)[0]
    assert line.startswith('2 pictures are in training and in validation (') and first.name in line and 'copy' in line


def test_the_same_picture_in_two_classes(few):
    shutil.copy(few/'train'/'cats'/'cat.1.jpg', few/'train'/'dogs'/'dog.99.jpg')
    line, = said(few)[0]
    assert line.startswith('1 picture is in two classes (') and 'cat.1.jpg' in line and 'dog.99.jpg' in line
    from_folder = said(few/'train', lambda f: ImageClassifierData.from_folder(f, tfms=TFMS))[0]
    assert any('in two classes' in line for line in from_folder)


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere these are one folder')
@pytest.mark.parametrize('a, b', [('Cats', 'cats'), ('caf\u00e9', 'cafe\u0301'), ('cats ', 'cats')])
def test_classes_that_look_alike(few, a, b):
    for split in ('train', 'valid'):
        for old, new in (('cats', 'x'), ('dogs', a), ('x', b)):
            (few/split/old).rename(few/split/new)
    line, = said(few)[0]
    assert 'look alike' in line and ascii(a) in line and ascii(b) in line


def test_classes_of_very_different_sizes(few):
    for k, f in enumerate(sorted((few/'train'/'cats').iterdir())):
        if k:
            f.unlink()
    assert said(few)[0] == []
    for k in range(12):
        Image.effect_noise((40, 40), 50 + k).convert('RGB').save(few/'train'/'dogs'/f'more {k}.jpg')
    line, = said(few)[0]
    assert line.startswith('There are 24 training pictures of dogs and 1 of cats')


def test_labels_that_are_not_there(few):
    files = sorted((few/'train').rglob('*.jpg'))
    labels = ['nan', 'nan', *(f.parent.name for f in files[2:])]
    rows = '\n'.join(f'{f.relative_to(few)},{label}' for f, label in zip(files, labels))
    (few/'labels.csv').write_text(f'id,label\n{rows}\n', encoding='utf-8')
    read = lambda f: ImageClassifierData.from_csv(f, '.', f/'labels.csv', tfms=TFMS, val_idxs=[5, 15])
    line, = said(few, read)[0]
    assert line == "2 pictures have the label 'nan': was it missing when the table was written?"


@pytest.mark.parametrize('trn, val', [
    ('Train', 'Valid'), ('training', 'validation'), ('TRAIN', 'val'), ('train', 'Test'), ('train2017', 'val2017'),
    ('train_images', 'val_images'), ('Training Set', 'Validation Set'), ('01_train', '02_dev'), ('trainset', 'testset'),
])
def test_folders_named_almost_train_and_valid(few, trn, val):
    "They are no classes; where a folder is read however it is split, they are what they are meant to be."
    (few/'train').rename(few/'x')
    (few/'x').rename(few/trn)
    (few/'valid').rename(few/val)
    with pytest.raises(ValueError, match=f"look like folders for .*trn_name='{trn}', val_name='{val}'"):
        ImageClassifierData.from_folder(few, tfms=TFMS)
    data = read_folder(few, 8, TFMS)
    assert data.classes == ['cats', 'dogs'] and len(data.trn_ds) == 24 and len(data.val_ds) == 12


def test_train_and_valid_beside_other_folders(few):
    shutil.copytree(few/'valid'/'cats', few/'labels')
    read = lambda f: ImageClassifierData.from_folder(f, tfms=TFMS)
    assert any('holds train and valid beside other folders' in line for line in said(few, read)[0])


def test_a_class_number_beyond_all_pictures():
    "A list of so many names would fill the memory."
    x, y = np.zeros((8, 16, 16, 3), np.uint8), np.array([0, 1]*4)
    with pytest.raises(ValueError, match='class number 1000000000000 is far above the number of pictures'):
        ImageClassifierData.from_arrays('.', (x, np.array([0, 10**12]*4)), (x, y), tfms=TFMS)


def test_a_class_that_is_a_number_of_5000_digits(few):
    files = sorted((few/'train').rglob('*.jpg'))
    rows = '\n'.join(f'{f.relative_to(few)},{"9"*5000 if k % 2 else "8"}' for k, f in enumerate(files))
    (few/'labels.csv').write_text(f'id,label\n{rows}\n', encoding='utf-8')
    data = ImageClassifierData.from_csv(few, '.', few/'labels.csv', tfms=TFMS, val_idxs=[4, 5])
    assert data.classes == ['8', '9'*5000]


@pytest.mark.skipif(sys.platform != 'linux', reason='of Linux, and of containers there')
def test_processes_for_which_there_is_too_little_shared_memory(few, tmp_path, monkeypatch):
    "Threads do it, and a line says so; else PyTorch would wait for ever."
    def loaders():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            data = ImageClassifierData.from_paths(few, tfms=TFMS, bs=8, num_workers=2)
        return data, [str(w.message) for w in told]
    data, said = loaders()
    assert data.trn_dl.num_workers == 2 and said == []
    monkeypatch.setattr('imgcourse.batches._shared', str(tmp_path/'nothing'))
    before = torch.get_rng_state()
    data, (words,) = loaders()
    assert data.trn_dl.num_workers == 0 and 'has 0 MB' in words and '--shm-size' in words
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(len(x) for x, _ in data.trn_dl) == 24
