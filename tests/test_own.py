"Lesson 8: classes of one's own, folders of every layout, a net with layers deleted, cleaning up."
import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest
from imgcourse import own
from imgcourse.data import ImageClassifierData
from imgcourse.interpret import Interpretation
from imgcourse.learner import ConvLearner
from imgcourse.ondevice import random_flip
from imgcourse.own import Cleaner, ShortNet, StopAfter, label_suspects, read_folder
from imgcourse.pictures import PictureError
from imgcourse.playground import TrautNet
from imgcourse.sketches import draw_sketch
from imgcourse.sources import get_dataset
from imgcourse.transforms import lite0, tfms_from_model

TFMS = tfms_from_model(lite0, 64)


def data_of(folder): return ImageClassifierData.from_paths(folder, 8, TFMS)


def draw(folder, kind, n, start=0):
    "So many sketches in a folder."
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        draw_sketch(kind, i, 64).save(folder/f'{i}.png')
    return folder


# ---- further classes
def test_added_classes_come_last_and_keep_their_pictures(few, tmp_path):
    draw(tmp_path/'things'/'espresso_cup', 'espresso_cup', 10)
    draw(tmp_path/'things'/'clock', 'clock', 5)
    old = data_of(few)
    data = old.add_classes(tmp_path/'things')
    assert data.classes == ['cats', 'dogs', 'clock', 'espresso_cup']
    assert data.c == 4
    assert (len(data.trn_ds), len(data.val_ds)) == (24 + 4 + 8, 12 + 1 + 2)
    for ds, old_ds in ((data.trn_ds, old.trn_ds), (data.val_ds, old.val_ds)):
        assert list(ds.items)[:len(old_ds)] == list(old_ds.items)
        for file, y in zip(ds.items, ds.y):
            assert Path(file).parent.name == data.classes[y]
    assert not set(data.trn_ds.items) & set(data.val_ds.items)
    assert list(old.add_classes(tmp_path/'things').val_ds.items) == list(data.val_ds.items), 'the same split each time'
    assert data.bs == old.bs
    assert old.classes == ['cats', 'dogs'], 'the old data are as they were'
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit(.01, 1)
    assert learn.predict().shape == (15, 4)


def test_one_class_can_be_added(few, tmp_path):
    draw(tmp_path/'things'/'clock', 'clock', 5)
    assert data_of(few).add_classes(tmp_path/'things').classes == ['cats', 'dogs', 'clock']


def test_classes_that_cannot_be_added(few, tmp_path):
    data = data_of(few)
    draw(tmp_path/'known'/'cats', 'cat', 3)
    with pytest.raises(ValueError, match=r'cats.*there already'):
        data.add_classes(tmp_path/'known')
    draw(tmp_path/'single'/'clock', 'clock', 1)
    with pytest.raises(ValueError, match='single picture'):
        data.add_classes(tmp_path/'single')
    with pytest.raises(FileNotFoundError):
        data.add_classes(tmp_path/'nowhere')
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='at least 1'):
        data.add_classes(tmp_path/'empty')
    draw(tmp_path/'four'/'clock', 'clock', 4)
    with pytest.raises(ValueError, match='from files'):
        data.on_device([random_flip]).add_classes(tmp_path/'four')


def test_classes_with_a_bad_picture(few, tmp_path):
    data = data_of(few)
    (draw(tmp_path/'things'/'clock', 'clock', 4)/'bad.png').write_bytes(b'no picture')
    with pytest.raises(PictureError, match=r'bad\.png'):
        data.add_classes(tmp_path/'things')
    with pytest.warns(UserWarning, match=r'bad\.png'):
        assert data.add_classes(tmp_path/'things', on_error='skip').c == 3


def test_own_classes_are_sketches_also_with_the_full_sets(cache, monkeypatch):
    monkeypatch.setenv('IMGCOURSE_FULL', '1')
    folders = (get_dataset('own_classes')/'train').iterdir()
    assert sorted(f.name for f in folders) == ['church_window', 'clock', 'espresso_cup']
    with pytest.raises(ValueError, match='nothing to download'):
        get_dataset('own_classes', full=True)


# ---- a folder
def test_a_class_called_train(tmp_path):
    "Trains and ships; a folder `train` of class folders is something else, also where `valid` is missing."
    for kind in ('train', 'ship'):
        draw(tmp_path/'toys'/kind, kind, 5)
    data = read_folder(tmp_path/'toys', 4, TFMS)
    assert data.classes == ['ship', 'train']
    assert len(data.trn_ds) + len(data.val_ds) == 10
    (tmp_path/'toys'/'ship').rename(tmp_path/'toys'/'valid')
    with pytest.raises(ValueError, match='needs a folder for each class'):
        read_folder(tmp_path/'toys', 4, TFMS)


@pytest.mark.parametrize('name', ['valid', 'val', 'test'])
def test_names_of_the_validation_folder(few, name):
    (few/'valid').rename(few/name)
    data = read_folder(few, 4, TFMS)
    assert (len(data.trn_ds), len(data.val_ds)) == (24, 12)


# ---- a net with layers deleted
def test_short_net_is_a_part_of_trauts():
    short, full = (sum(p.numel() for p in net((64, 64, 3), 2).parameters()) for net in (ShortNet, TrautNet))
    assert 0 < short < full


# ---- as much time for each
def test_training_ends_after_the_epoch_in_which_its_time_is_over(few, monkeypatch):
    "Here a minute for each look at the clock; the next training has as much time again."
    monkeypatch.setattr(own, 'time', SimpleNamespace(perf_counter=iter(range(0, 6000, 60)).__next__))
    learn = ConvLearner.pretrained(lite0, data_of(few), precompute=True)
    learn.silent()
    stop = StopAfter(150)
    learn.fit(.01, 9, cbs=stop)
    assert len(learn.history) == 3
    assert 'accuracy' in learn.history[-1], 'the last epoch is whole'
    learn.fit(.01, 9, cbs=stop)
    assert len(learn.history) == 6
    learn.fit(.01, 2, cbs=stop)
    assert len(learn.history) == 8, 'it was ready before'


@pytest.mark.parametrize('seconds', [0, -1, '10'])
def test_no_time_at_all(seconds):
    with pytest.raises(ValueError, match=r'seconds is the time for training.*above 0'):
        StopAfter(seconds)


# ---- cleaning up
@pytest.fixture
def cleaner(few):
    data, p = data_of(few), np.full((12, 2), [.9, .1])
    p[[1, 4]] = [.2, .8]
    p[6:] = p[6:, ::-1]
    p[9] = [.99, .01]
    found = Cleaner(data, Interpretation(data, np.log(p)).top_losses(4))
    worst = [Path(data.val_ds.name(i)).name for i in (9, 1, 4)]
    assert [Path(f).name for f in found.rows.file][:3] == worst
    return found


def tree(folder): return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob('*') if f.is_file()}


def test_cleaning_changes_a_list_and_files_only_when_told(cleaner, few, tmp_path):
    before, files = tree(few), list(cleaner.rows.file)
    one, two = (Path(f).name for f in files[:2])
    cleaner.choice |= {files[0]: 'cats', files[1]: 'delete', files[2]: 'cats'} # the third is a cat already
    assert cleaner.changes().values.tolist() == [[files[0], 'dogs', 'cats'], [files[1], 'cats', 'delete']]
    assert tree(few) == before
    moves = cleaner.apply(tmp_path/'removed')
    assert moves == [(Path(files[0]), few/'valid'/'cats'/one), (Path(files[1]), tmp_path/'removed'/'cats'/two)]
    moved = before.pop(f'valid/dogs/{one}')
    removed = before.pop(f'valid/cats/{two}')
    assert tree(few) == before | {f'valid/cats/{one}': moved}
    assert (tmp_path/'removed'/'cats'/two).read_bytes() == removed
    assert len(cleaner.changes()) == 0


def test_cleaning_that_cannot_be(cleaner, few, tmp_path):
    files, before = list(cleaner.rows.file), tree(few)
    cleaner.choice[files[0]] = 'wolves'
    with pytest.raises(ValueError, match=r'wolves.*keep'):
        cleaner.apply(tmp_path/'removed')
    cleaner.choice |= {files[0]: 'cats', files[1]: 'delete'}
    in_the_way = few/'valid'/'cats'/Path(files[0]).name
    in_the_way.write_bytes(b'dear')
    with pytest.raises(FileExistsError, match='rename'):
        cleaner.apply(tmp_path/'removed')
    in_the_way.unlink()
    assert tree(few) == before
    assert not (tmp_path/'removed').exists(), 'nothing was moved'


def test_a_class_that_is_named_as_what_becomes_of_a_picture(few):
    "Else a picture that is to go into that class would be removed."
    for part in ('train', 'valid'):
        (few/part/'cats').rename(few/part/'delete')
    with pytest.raises(ValueError, match="named 'delete', which says here"):
        Cleaner(data_of(few), pd.DataFrame({'file': []}))


def test_pictures_in_arrays_are_not_cleaned_up(few):
    arrays = data_of(few).on_device([random_flip])
    with pytest.raises(ValueError, match='arrays'):
        Cleaner(arrays, pd.DataFrame({'file': []}))
    with pytest.raises(ValueError, match='arrays'):
        label_suspects(arrays, learn_from)


def learn_from(data):
    learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    learn.fit(.01, 4)
    return learn


def test_wrong_labels_come_first(tmp_path):
    "Twenty clocks and twenty cups, four with the other's label; no net has learned from a picture that it judges."
    for kind in ('clock', 'espresso_cup'):
        draw(tmp_path/'train'/kind, kind, 20)
        draw(tmp_path/'valid'/kind, kind, 2, start=20)
    data, wrong, judged = data_of(tmp_path), {3, 11, 25, 36}, []
    y = data.trn_y.copy()
    y[list(wrong)] = 1 - y[list(wrong)]
    data = ImageClassifierData(tmp_path, (data.trn_ds.items, y), (data.val_ds.items, data.val_y), data.classes, TFMS, 8)
    def train(part):
        assert not set(part.trn_ds.items) & set(part.val_ds.items)
        judged.extend(part.val_ds.items)
        return learn_from(part)
    np.random.seed(0)
    order = label_suspects(data, train, folds=4)
    assert sorted(judged) == sorted(data.trn_ds.items)
    assert sorted(order) == list(range(40))
    assert wrong <= set(order[:8].tolist())


@pytest.mark.parametrize('folds', [1, 25, 2.5])
def test_parts_that_cannot_be(few, folds):
    with pytest.raises(ValueError, match='folds'):
        label_suspects(data_of(few), learn_from, folds)


def test_cleaner_in_jupyterlab(cleaner, monkeypatch):
    shown = []
    monkeypatch.setattr(own, 'in_notebook', lambda: True)
    monkeypatch.setattr('IPython.display.display', shown.append)
    monkeypatch.setattr('matplotlib.pyplot.show', lambda: None)
    cleaner.show()
    lists = shown[0].children
    assert len(lists) == 4
    assert lists[0].options == ('keep', 'delete', 'cats', 'dogs')
    lists[0].value = 'delete'
    assert cleaner.choice[cleaner.rows.file.iloc[0]] == 'delete'
    assert len(cleaner.changes()) == 1


# ---- collecting pictures
@pytest.fixture
def collector(tmp_path, monkeypatch):
    "The field, the button and the line of words that JupyterLab shows."
    shown = []
    monkeypatch.setattr(own, 'in_notebook', lambda: True)
    monkeypatch.setattr(own, 'show_widget', lambda box, otherwise: shown.append(box))
    own.collect_pictures(tmp_path/'mine')
    return shown[0].children


def upload(button, name, content):
    button.value = ({'name': name, 'type': '', 'size': len(content), 'content': memoryview(content),
                     'last_modified': datetime.now(UTC)},)


def as_jpeg(seed):
    data = io.BytesIO()
    draw_sketch('cat', seed, 64).save(data, 'jpeg')
    return data.getvalue()


def test_pictures_are_collected(collector, tmp_path):
    "Into the folder of their class; one of the same name takes no other's place."
    name, button, said = collector
    name.value = 'mug'
    upload(button, 'IMG_1.JPG', as_jpeg(1))
    upload(button, 'IMG_1.JPG', as_jpeg(2))
    assert said.value == '1 more; mug: 2'
    files = sorted((tmp_path/'mine'/'mug').iterdir())
    assert [f.name for f in files] == ['IMG_1-1.jpg', 'IMG_1.jpg']
    assert [f.read_bytes() for f in files] == [as_jpeg(2), as_jpeg(1)]


@pytest.mark.parametrize('name', ['', '..', 'a/b', '.hidden'])
def test_a_class_that_can_be_no_folder(collector, tmp_path, name):
    collector[0].value = name
    upload(collector[1], 'a.jpg', as_jpeg(1))
    assert 'name that can be a folder' in collector[2].value and not list(tmp_path.rglob('*.jpg'))


def test_what_is_no_picture_is_not_kept(collector, tmp_path):
    collector[0].value = 'mug'
    upload(collector[1], 'a.jpg', b'no picture')
    assert 'a.jpg' in collector[2].value and not list(tmp_path.rglob('*.jpg'))


def test_collecting_by_hand(tmp_path, capsys):
    own.collect_pictures(tmp_path)
    assert 'a folder of its own' in capsys.readouterr().out
