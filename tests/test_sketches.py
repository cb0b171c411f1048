import os, re, signal, subprocess, sys
from collections import Counter
import numpy as np, pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from imgcourse import sketches
from imgcourse.sketches import contact_sheet, draw_sketch, make_sketches, sketchsets

def thumb(im): return np.asarray(im.resize((4, 4), Image.BOX)).mean(2)

# the pictures cat/1 and dog/1 as 4 by 4 grey tiles
FINGERPRINTS = {
    'cat': [[111, 112, 96, 90], [111, 112, 103, 91], [105, 104, 111, 87], [107, 94, 77, 80]],
    'dog': [[76, 62, 51, 46], [101, 91, 87, 78], [92, 86, 103, 58], [137, 73, 80, 70]],
}

def test_known_pictures():
    "Coarse fingerprints, so that drawing is the same on every machine; the tolerance is for other versions of Pillow."
    cat, dog = thumb(draw_sketch('cat', 1)), thumb(draw_sketch('dog', 1))
    assert np.abs(cat - FINGERPRINTS['cat']).max() < 4 and np.abs(dog - FINGERPRINTS['dog']).max() < 4

def test_same_in_another_process(tmp_path):
    code = f"from imgcourse.sketches import draw_sketch; draw_sketch('dog', 'x').save({str(tmp_path/'x.png')!r})"
    subprocess.run([sys.executable, '-c', code], check=True, env={'PYTHONHASHSEED': '7', 'PYTHONPATH': ':'.join(sys.path)})
    assert np.array_equal(np.asarray(Image.open(tmp_path/'x.png')), np.asarray(draw_sketch('dog', 'x')))

def test_all_different():
    seen = {draw_sketch(k, i, 64).tobytes() for k in ('cat', 'dog') for i in range(50)}
    assert len(seen) == 100

def test_folder(tmp_path):
    path = make_sketches('dogscats', tmp_path/'a', n_train=3, n_valid=2)
    assert sorted(str(f.relative_to(path)) for f in path.rglob('*.jpg') if 'dog' in f.name) == \
        [f'train/dogs/dog.{i}.jpg' for i in range(3)] + [f'valid/dogs/dog.{i}.jpg' for i in range(2)]
    bigger = make_sketches('dogscats', tmp_path/'b', n_train=4, n_valid=2)
    for f in path.rglob('*.jpg'): assert f.read_bytes() == (bigger/f.relative_to(path)).read_bytes()
    assert (path/'train'/'cats'/'cat.0.jpg').read_bytes() != (path/'valid'/'cats'/'cat.0.jpg').read_bytes()
    other = make_sketches('dogscats', tmp_path/'c', seed=7, n_train=1, n_valid=1)
    assert (path/'train'/'cats'/'cat.0.jpg').read_bytes() != (other/'train'/'cats'/'cat.0.jpg').read_bytes()

def test_refusals(tmp_path):
    with pytest.raises(ValueError, match='dogscats'): make_sketches('horses', tmp_path/'x')
    with pytest.raises(ValueError, match='cat, dog, plain_black_bulldog … .242 in'): draw_sketch('unicorn', 1)
    with pytest.raises(FileExistsError, match='delete'): make_sketches('dogscats', tmp_path)
    with pytest.raises(ValueError, match='at least one'): contact_sheet([])

# ---- breeds
@pytest.fixture(scope='module')
def breeds(cache):
    from imgcourse.data import get_dataset
    return get_dataset('dogbreeds')

def test_table_of_breeds(breeds):
    "The competition's layout: ids that tell nothing, a label for each, and a tenth for validation in which no breed is missing."
    labels, answers = (dict(l.split(',') for l in (breeds/f).read_text().split('\n')[1:-1]) for f in ('labels.csv', 'test_labels.csv'))
    for split, table, each in (('train', labels, 25), ('test', answers, 5)):
        assert {f.stem for f in (breeds/split).iterdir()} == set(table) and all(re.fullmatch('[0-9a-f]{32}', i) for i in table)
        assert Counter(table.values()) == {b: each for b in sketches.breeds}
    assert not set(labels) & set(answers) and len({f.read_bytes() for f in (breeds/'train').iterdir()}) == 3000
    from imgcourse.data import get_cv_idxs
    assert {list(labels.values())[i] for i in get_cv_idxs(3000, val_pct=.1)} == set(sketches.breeds)

def test_no_cue_alone_makes_a_breed():
    "120 breeds; whoever knows two of shape, colour and marking still has several to choose from, or none but by luck."
    assert len(sketches.breeds) == len(set(sketches.breeds.values())) == 120
    for cue, least in ((0, 13), (1, 24), (2, 20)): assert min(Counter(b[cue] for b in sketches.breeds.values()).values()) >= least
    assert set(Counter(b[1:] for b in sketches.breeds.values()).values()) == {4}

def test_breeds_need_a_network(breeds):
    "A linear model on pixels stays below 0.2, the features of the net on board give more than twice that of the pixels."
    from sklearn.decomposition import PCA
    from imgcourse.data import ImageClassifierData, lite0, tfms_from_model
    from imgcourse.features import create_backbone, features
    data = ImageClassifierData.from_csv(breeds, 'train', breeds/'labels.csv', suffix='.jpg', tfms=tfms_from_model(lite0, 80))
    def pixels(ds): return np.stack([np.asarray(ds.picture(i).resize((32, 32), Image.BOX)).ravel() for i in range(len(ds))])
    def score(x, vx): return max(make_pipeline(StandardScaler(), PCA(200, random_state=0), LogisticRegression(C=c, max_iter=1000)).fit(x, data.trn_y).score(vx, data.val_y) for c in (1e-4, 1e-3))
    net = create_backbone(lite0)
    on_pixels, on_features = score(pixels(data.fix_ds), pixels(data.val_ds)), score(features(net, data.fix_ds)[:], features(net, data.val_ds)[:])
    print(on_pixels, on_features); assert on_pixels < .2 and on_features > 2*on_pixels

def test_killed_while_drawing(tmp_path):
    code = f"from imgcourse.sketches import make_sketches; print('go', flush=True); make_sketches('dogscats', {str(tmp_path/'set')!r})"
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, env={'PYTHONPATH': ':'.join(sys.path)})
    p.stdout.readline()
    while not list(tmp_path.rglob('*.jpg')): assert p.poll() is None
    p.kill(); p.wait()
    assert not (tmp_path/'set').exists()

def test_interrupted_while_drawing(tmp_path):
    "Ctrl-C goes to all processes of a terminal; only the first one speaks, and nothing half-made stays."
    code = f"from imgcourse.sketches import make_sketches; print('go', flush=True); make_sketches('dogscats', {str(tmp_path/'set')!r})"
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={'PYTHONPATH': ':'.join(sys.path)}, start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None)
    p.stdout.readline()
    while len(list(tmp_path.rglob('*.jpg'))) < 40: assert p.poll() is None
    os.killpg(p.pid, signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert err.count('Traceback') == 1 and err.strip().endswith('KeyboardInterrupt') and not list(tmp_path.rglob('*.jpg'))

def test_pixels_are_not_enough(sketches):
    "A linear model on raw pixels stays below 0.75, whatever its regularization."
    def load(split): 
        files = sorted((sketches/split).rglob('*.jpg'))
        return np.stack([np.asarray(Image.open(f).resize((32, 32), Image.BOX)).ravel() for f in files]), [f.parent.name for f in files]
    (x, y), (vx, vy) = load('train'), load('valid')
    assert len(y) == 2*sketchsets['dogscats'].n_train
    scores = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300)).fit(x, y).score(vx, vy) for c in (1e-5, 1e-4, 1e-3, 1e-2)]
    assert .5 < max(scores) < .75

# ---- the small pictures of lessons 6 and 7
def test_hundred_classes_are_cifar100_s():
    "In the order of the real set's list, which is alphabetical."
    names = list(sketchsets['cifar100'].classes)
    assert len(names) == 100 == len(set(sketches.cifar100)) and names == sorted(names) and {'aquarium_fish', 'lawn_mower', 'pickup_truck', 'sweet_pepper', 'willow_tree'} <= set(names)
    assert list(sketchsets['cifar10'].classes) == 'airplane automobile bird cat deer dog frog horse ship truck'.split()

@pytest.mark.parametrize('kind', [*sketches.cifar10, *sketches.cifar100])
def test_drawings_vary_and_fill_the_picture(kind):
    ims = [np.asarray(draw_sketch(kind, i, 32)).astype(int) for i in range(3)]
    assert all(im.shape == (32, 32, 3) and im.std() > 6 for im in ims) and abs(ims[0] - ims[1]).mean() > 5

def test_cifar_folder(tmp_path):
    folder = make_sketches('cifar10', tmp_path/'c', n_train=2, n_valid=1)
    assert sorted(f.name for f in folder.iterdir()) == ['test', 'train'] and len(list(folder.glob('train/*/*.jpg'))) == 20 and len(list(folder.glob('test/*/*.jpg'))) == 10
    assert Image.open(folder/'test/frog/frog.0.jpg').size == (32, 32)
