import os
import re
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imgcourse import sketches as module
from imgcourse.sketches import contact_sheet, draw_breed, draw_sketch, drawings, drawn_by, make_sketches, sketchsets


def thumb(im): return np.asarray(im.resize((4, 4), Image.BOX)).mean(2)


# the pictures cat/1 and dog/1 as 4 by 4 gray tiles
FINGERPRINTS = {
    'cat': [[111, 112, 96, 90], [111, 112, 103, 91], [105, 104, 111, 87], [107, 94, 77, 80]],
    'dog': [[76, 62, 51, 46], [101, 91, 87, 78], [92, 86, 103, 58], [137, 73, 80, 70]],
}


@pytest.mark.parametrize('kind', FINGERPRINTS)
def test_known_pictures(kind):
    "Coarse fingerprints, so that drawing is the same on every machine; the tolerance is for other versions of Pillow."
    assert np.abs(thumb(draw_sketch(kind, 1)) - FINGERPRINTS[kind]).max() < 4


def test_same_in_another_process(tmp_path):
    file = tmp_path/'x.png'
    code = f"from imgcourse.sketches import draw_sketch; draw_sketch('dog', 'x').save({str(file)!r})"
    env = {'PYTHONHASHSEED': '7', 'PYTHONPATH': ':'.join(sys.path)}
    subprocess.run([sys.executable, '-c', code], check=True, env=env)
    assert np.array_equal(np.asarray(Image.open(file)), np.asarray(draw_sketch('dog', 'x')))


def test_all_different():
    seen = {draw_sketch(kind, i, 64).tobytes() for kind in ('cat', 'dog') for i in range(50)}
    assert len(seen) == 100


def test_names_of_a_folder(tmp_path):
    path = make_sketches('dogscats', tmp_path/'a', n_train=3, n_valid=2)
    dogs = sorted(str(f.relative_to(path)) for f in path.rglob('*.jpg') if 'dog' in f.name)
    assert dogs == [f'train/dogs/dog.{i}.jpg' for i in range(3)] + [f'valid/dogs/dog.{i}.jpg' for i in range(2)]


def test_a_larger_folder_begins_with_the_same_pictures(tmp_path):
    path = make_sketches('dogscats', tmp_path/'a', n_train=3, n_valid=2)
    bigger = make_sketches('dogscats', tmp_path/'b', n_train=4, n_valid=2)
    for f in path.rglob('*.jpg'):
        assert f.read_bytes() == (bigger/f.relative_to(path)).read_bytes()


def test_split_and_seed_make_other_pictures(tmp_path):
    path = make_sketches('dogscats', tmp_path/'a', n_train=1, n_valid=1)
    other = make_sketches('dogscats', tmp_path/'c', seed=7, n_train=1, n_valid=1)
    files = path/'train'/'cats'/'cat.0.jpg', path/'valid'/'cats'/'cat.0.jpg', other/'train'/'cats'/'cat.0.jpg'
    assert len({f.read_bytes() for f in files}) == 3


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match='dogscats'):
        make_sketches('horses', tmp_path/'x')
    with pytest.raises(ValueError, match=r'cat, dog, plain_black_bulldog … \(242 in'):
        draw_sketch('unicorn', 1)
    with pytest.raises(FileExistsError, match='delete'):
        make_sketches('dogscats', tmp_path)
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([])


# ---- breeds
@pytest.fixture(scope='module')
def breeds(cache):
    from imgcourse.sources import get_dataset
    return get_dataset('dogbreeds')


def table_of(file):
    "A file of labels: id -> breed."
    return dict(line.split(',') for line in file.read_text().split('\n')[1:-1])


def test_tables_of_breeds(breeds):
    "The competition's layout: ids that tell nothing, and a label for each."
    labels, answers = table_of(breeds/'labels.csv'), table_of(breeds/'test_labels.csv')
    for split, table, each in (('train', labels, 25), ('test', answers, 5)):
        assert {f.stem for f in (breeds/split).iterdir()} == set(table)
        assert all(re.fullmatch('[0-9a-f]{32}', name) for name in table)
        assert Counter(table.values()) == {b: each for b in module.breeds}
    assert not set(labels) & set(answers)
    assert len({f.read_bytes() for f in (breeds/'train').iterdir()}) == 3000


def test_no_breed_is_missing_in_validation(breeds):
    from imgcourse.batches import get_cv_idxs
    rows = list(table_of(breeds/'labels.csv').values())
    assert {rows[i] for i in get_cv_idxs(3000, val_pct=.1)} == set(module.breeds)


def test_no_cue_alone_makes_a_breed():
    "120 breeds; whoever knows two of shape, color and marking still has several to choose from, or none but by luck."
    breeds = module.breeds.values()
    assert len(breeds) == len(set(breeds)) == 120
    for cue, least in ((0, 13), (1, 24), (2, 20)):
        assert min(Counter(b[cue] for b in breeds).values()) >= least
    assert set(Counter(b[1:] for b in breeds).values()) == {4}


def test_breeds_need_a_network(breeds):
    "A linear model on pixels stays below 0.2, features of the net on board give more than twice that of the pixels."
    from imgcourse.data import ImageClassifierData
    from imgcourse.features import create_backbone, features
    from imgcourse.transforms import lite0, tfms_from_model
    tfms = tfms_from_model(lite0, 80)
    data = ImageClassifierData.from_csv(breeds, 'train', breeds/'labels.csv', suffix='.jpg', tfms=tfms)

    def pixels(ds):
        small = [ds.picture(i).resize((32, 32), Image.BOX) for i in range(len(ds))]
        return np.stack([np.asarray(im).ravel() for im in small])

    def score(x, vx):
        scores = []
        for c in (1e-4, 1e-3):
            linear = LogisticRegression(C=c, max_iter=1000)
            model = make_pipeline(StandardScaler(), PCA(200, random_state=0), linear).fit(x, data.trn_y)
            scores.append(model.score(vx, data.val_y))
        return max(scores)

    net = create_backbone(lite0)
    on_pixels = score(pixels(data.fix_ds), pixels(data.val_ds))
    on_features = score(features(net, data.fix_ds)[:], features(net, data.val_ds)[:])
    print(on_pixels, on_features)
    assert on_pixels < .2
    assert on_features > 2*on_pixels


def test_a_dog_of_ones_own():
    "The background, seen here in a corner, is the seed's; the breed is not."
    dog = np.asarray(draw_breed('pug', 'brown', 'plain', 4))
    assert dog.shape == (128, 128, 3)
    assert np.asarray(draw_breed('pug', 'brown', 'plain', 4, 64)).shape == (64, 64, 3)
    assert np.array_equal(dog, draw_breed('pug', 'brown', 'plain', 4))
    for shape in set(module.shapes) - {'pug'}:
        other = np.asarray(draw_breed(shape, 'brown', 'plain', 4))
        assert np.array_equal(other[:16, :16], dog[:16, :16])
        assert (other != dog).any(axis=2).mean() > .05
    assert not np.array_equal(np.asarray(draw_breed('pug', 'brown', 'plain', 5))[:16, :16], dog[:16, :16])


def test_every_breed_can_be_drawn():
    ways = set(module.breeds.values())
    assert {shape for shape, _, _ in ways} == set(module.shapes)
    assert len({draw_breed(*way, 1, 32).tobytes() for way in ways}) == 120


@pytest.mark.parametrize('way, message', [
    (('wolf', 'brown', 'plain'), "no 'wolf'; there are bulldog, spitz"),
    (('pug', 'blue', 'plain'), "no 'blue'; there are black, grey"),
    (('pug', 'brown', 'dotted'), "no 'dotted'; there are plain, bibbed"),
    (('brown', 'pug', 'plain'), "no 'brown'; there are bulldog, spitz"),
])
def test_dogs_that_there_are_not(way, message):
    with pytest.raises(ValueError, match=message):
        draw_breed(*way, 1)


# ---- folders are whole
def start_drawing(folder, **kwargs):
    "A process that draws `dogscats` and has got as far as `make_sketches`."
    code = ("from imgcourse.sketches import make_sketches; print('go', flush=True); "
            f"make_sketches('dogscats', {str(folder)!r})")
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, env=env, **kwargs)
    process.stdout.readline()
    return process


@pytest.mark.e2e
def test_killed_while_drawing(tmp_path):
    process = start_drawing(tmp_path/'set')
    while not list(tmp_path.rglob('*.jpg')):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not (tmp_path/'set').exists()


def hear_ctrl_c(): signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.e2e
def test_interrupted_while_drawing(tmp_path):
    "Ctrl-C goes to all processes of a terminal; only the first one speaks, and nothing half-made stays."
    process = start_drawing(
        tmp_path/'set', stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_ctrl_c)
    while len(list(tmp_path.rglob('*.jpg'))) < 40:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    chained = err.count('During handling of the above exception') # of Pillow's own, if it was in the middle of one
    assert err.count('Traceback') - chained == 1
    assert err.strip().endswith('KeyboardInterrupt')
    assert not list(tmp_path.rglob('*.jpg'))


def test_pixels_are_not_enough(sketches):
    "A linear model on raw pixels stays below 0.75, whatever its regularization."
    def load(split):
        files = sorted((sketches/split).rglob('*.jpg'))
        small = [Image.open(f).resize((32, 32), Image.BOX) for f in files]
        return np.stack([np.asarray(im).ravel() for im in small]), [f.parent.name for f in files]

    (x, y), (vx, vy) = load('train'), load('valid')
    assert len(y) == 2*sketchsets['dogscats'].n_train
    scores = []
    for c in (1e-5, 1e-4, 1e-3, 1e-2):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(x, y)
        scores.append(model.score(vx, vy))
    assert .5 < max(scores) < .75


# ---- the small pictures of lessons 6 and 7
def test_hundred_classes_are_cifar100_s():
    "In the order of the real set's list, which is alphabetical."
    names = list(sketchsets['cifar100'].classes)
    assert len(names) == 100 == len(drawings['cifar100'])
    assert names == sorted(names)
    assert {'aquarium_fish', 'lawn_mower', 'pickup_truck', 'sweet_pepper', 'willow_tree'} <= set(names)


def test_ten_classes_are_cifar10_s():
    names = 'airplane automobile bird cat deer dog frog horse ship truck'.split()
    assert list(sketchsets['cifar10'].classes) == names


@pytest.mark.parametrize('kind', [*drawings['cifar10'], *drawings['cifar100']])
def test_drawings_vary_and_fill_the_picture(kind):
    ims = [np.asarray(draw_sketch(kind, i, 32)).astype(int) for i in range(3)]
    assert all(im.shape == (32, 32, 3) and im.std() > 6 for im in ims)
    assert abs(ims[0] - ims[1]).mean() > 5


def test_cifar_folder(tmp_path):
    folder = make_sketches('cifar10', tmp_path/'c', n_train=2, n_valid=1)
    assert sorted(f.name for f in folder.iterdir()) == ['test', 'train']
    assert len(list(folder.glob('train/*/*.jpg'))) == 20
    assert len(list(folder.glob('test/*/*.jpg'))) == 10
    assert Image.open(folder/'test/frog/frog.0.jpg').size == (32, 32)


# ---- the file of drawings
NUMBER = r'-?(\d+|\d*\.\d+)'
PARTS = {'o': [4], 'l': [6], 'b': range(6, 30, 2), 'c': range(6, 30, 2)} # letter: how many numbers


@pytest.mark.parametrize('group', drawings)
def test_drawings_are_well_formed(group):
    "A letter, numbers for points and radii, and a color that there is."
    for name, parts in drawings[group].items():
        for part in parts:
            letter, *numbers, ink = part.split()
            assert len(numbers) in PARTS[letter], (name, part)
            assert all(re.fullmatch(NUMBER, n) for n in numbers), (name, part)
            assert ink in module._paints or ink in 'AB', (name, part)


def test_each_drawing_has_a_name_of_its_own():
    names = [name for group in drawings.values() for name in group]
    assert len(names) == len(set(names)) == 120


def test_drawn_by_follows_code_and_drawings(tmp_path, monkeypatch):
    "Both files decide about the digest, and nothing else does."
    for name in ('sketches.py', 'drawings.json'):
        (tmp_path/name).write_bytes((module.files('imgcourse')/name).read_bytes())
    before = drawn_by()
    assert re.fullmatch('[0-9a-f]{8}', before)
    monkeypatch.setattr(module, 'files', lambda package: tmp_path)
    assert drawn_by() == before
    for name in ('sketches.py', 'drawings.json'):
        text = (tmp_path/name).read_text(encoding='utf-8')
        (tmp_path/name).write_text(text + ' ', encoding='utf-8')
        assert drawn_by() != before
        (tmp_path/name).write_text(text, encoding='utf-8')
