"The same picture twice, exactly or nearly, and labels in doubt: what is found, what is not, and what the command says."
import csv
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData
from imgcourse.quality import check_folder, likeness, nearest, same_pictures, small_copies, to_clean
from imgcourse.sketches import draw_sketch
from imgcourse.transforms import lite0, tfms_from_model
from PIL import Image


def test_nearest():
    "Each pair once, nobody with himself, none that is far away."
    x = torch.tensor([[1., 0], [1, .1], [0, 1], [.1, 1], [-1, -1]])
    assert nearest(x, 2, .9).tolist() == [[0, 1], [2, 3]]
    assert len(nearest(torch.eye(3))) == 0 and len(nearest(torch.ones(1, 3))) == 0
    big = torch.nn.functional.normalize(torch.randn(3000, 8, generator=torch.manual_seed(0)))
    cosines = (big@big.T).fill_diagonal_(-1)
    assert {tuple(p) for p in nearest(big, 1, -1).tolist()} == {
        tuple(sorted((i, int(j)))) for i, j in enumerate(cosines.argmax(1))}


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    "A picture with much to see, and what may become of it."
    folder, picture = tmp_path_factory.mktemp('photo'), draw_sketch('cat', 3, 240)
    w, h = picture.size
    made = {
        'smaller': picture.resize((3*w//4, h//2)), 'middle': picture.crop((w//10, h//10, 9*w//10, 9*h//10)),
        'left': picture.crop((0, 0, 7*w//8, h)), 'darker': Image.eval(picture, lambda v: v//2),
        'other': draw_sketch('cat', 4, 240), 'dog': draw_sketch('dog', 3, 240),
        'flat': Image.new('RGB', (w, h), 'gray')}
    for name, im in {'whole': picture, **made}.items():
        im.save(folder/f'{name}.jpg', quality=70)
    return folder


@pytest.mark.parametrize(('name', 'part'), [('smaller', 1), ('middle', .64), ('left', .875), ('darker', 1)])
def test_what_is_the_same_picture(photo, name, part):
    "Whichever of both is the larger part."
    a, b = small_copies([photo/'whole.jpg', photo/f'{name}.jpg'])
    for x, y in ((a, b), (b, a)):
        alike, seen = likeness(x[None], y[None])
        assert alike.item() > .9 and abs(seen.item() - part) < .12


@pytest.mark.parametrize('name', ['other', 'dog', 'flat'])
def test_what_is_another_picture(photo, name):
    a, b = small_copies([photo/'whole.jpg', photo/f'{name}.jpg'])
    assert likeness(a[None], b[None])[0].item() < .85


@pytest.fixture(scope='module')
def doubtful(sketches, tmp_path_factory):
    "60 + 20 sketches of each class; ten are there again, four labels are wrong."
    root = tmp_path_factory.mktemp('doubtful')/'few'
    for part, n in (('train', 60), ('valid', 20)):
        for c, other in (('cats', 'dogs'), ('dogs', 'cats')):
            for k, file in enumerate(sorted((sketches/part/c).iterdir())[:n]):
                to = root/part/(other if part == 'train' and k < 2 else c)/f'{c}{k}.jpg'
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)
    for k in range(10):
        file = root/f'train/cats/cats{10 + k}.jpg'
        to, im = root/f'valid/cats/again{k}.jpg', Image.open(file)
        w, h = im.size
        if k < 3:
            shutil.copy(file, to)
        elif k < 6:
            im.resize((3*w//4, 3*h//4)).save(to, quality=60)
        else:
            im.crop((w//20, h//20, w - w//20, h - h//20)).save(to, quality=85)
    return root


def test_copies_and_labels_are_found(doubtful):
    "With their kinds; between training and validation first."
    copies, doubts = check_folder(doubtful)
    found = {(Path(r.first).name, Path(r.second).name): r for r in copies.itertuples()}
    kinds = ['exact']*3 + ['saved anew']*3 + ['cropped']*4
    assert [found[f'cats{10 + k}.jpg', f'again{k}.jpg'].kind for k in range(10)] == kinds
    assert all(r.parts == 'both' for r in copies.head(10).itertuples()) and len(copies) <= 13
    names = [Path(f).name for f in doubts.file]
    assert {*names[:4]} == {'cats0.jpg', 'cats1.jpg', 'dogs0.jpg', 'dogs1.jpg'} and len(names) <= 6
    assert (doubts.label != doubts.rather).all() and (doubts.probability < .5).all()
    rows = to_clean(copies, doubts)
    assert set(rows.columns) == {'file', 'actual', 'predicted', 'probability'} and rows.file.is_unique
    assert rows[rows.file.str.contains('again0')].predicted.item() == 'a copy of cats10.jpg'


def test_three_equal_files(tmp_path):
    "All pairs of them are exact."
    for c in ('cat', 'dog'):
        (tmp_path/'set'/c).mkdir(parents=True)
        for k in range(4):
            draw_sketch(c, 80 + k, 96).save(tmp_path/'set'/c/f'{k}.png')
    for name in ('a', 'b'):
        shutil.copy(tmp_path/'set'/'cat'/'0.png', tmp_path/'set'/'cat'/f'{name}.png')
    copies, _ = check_folder(tmp_path/'set')
    assert copies.kind.tolist() == ['exact']*3


def test_very_few_pictures(tmp_path):
    for c in ('cat', 'dog'):
        (tmp_path/'set'/c).mkdir(parents=True)
        for k in range(2):
            draw_sketch(c, 90 + k, 96).save(tmp_path/'set'/c/f'{k}.png')
    copies, doubts = check_folder(tmp_path/'set')
    assert len(copies) == len(doubts) == 0


def test_arrays_cannot_be_checked():
    x = np.zeros((8, 16, 16, 3), np.uint8)
    part = x, np.arange(8) % 2
    data = ImageClassifierData.from_arrays('x', part, part, tfms=tfms_from_model(lite0, 16))
    with pytest.raises(ValueError, match='are files'):
        same_pictures(data, torch.ones(16, 3))


def test_the_command(doubtful, few, tmp_path, capsys):
    "Says what it finds, and whether, by its exit code."
    assert main(['check', str(doubtful), '--most', '2', '--csv', str(tmp_path/'found.csv')]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert '10 of them in training and in validation' in lines[0]
    assert len([line for line in lines if line.startswith('  ')]) == 4
    rows = list(csv.DictReader(open(tmp_path/'found.csv', newline='')))
    assert {row['doubt'] for row in rows} == {'copy', 'label'} and len(rows) >= 14
    clean = tmp_path/'clean'
    for c in ('cat', 'dog'):
        (clean/c).mkdir(parents=True)
        for k in range(12):
            draw_sketch(c, 50 + k, 96).save(clean/c/f'{k}.png')
    code = main(['check', str(clean)])
    assert code == 0, capsys.readouterr().out
    assert main(['check', str(tmp_path/'nowhere')]) == 2
    assert main(['check', str(few), '--most', '0']) == 2
    assert '--most is how many lines' in capsys.readouterr().err
    for place in (str(few), str(few/'a.txt'), str(next(few.rglob('*.jpg'))/'a.csv')):
        assert main(['check', str(few), '--csv', place]) == 2 == main(['predict', str(few), '--csv', place])
        assert 'labels are in doubt' not in capsys.readouterr().out


@pytest.mark.photos
def test_copies_and_labels_among_photos(dogscats_photos, tmp_path, capsys):
    "20 of each kind, put there across training and validation, and 20 labels swapped: what is found of the 900."
    table = []
    for seed in (1, 2, 3):
        root = tmp_path/str(seed)
        truth, swapped = plant(dogscats_photos/'train', root, random.Random(seed))
        copies, doubts = check_folder(root)
        found = {frozenset((r.first, r.second)) for r in copies.itertuples()}
        kinds = {kind: sum(frozenset(map(str, pair)) in found for pair in pairs) for kind, pairs in truth.items()}
        false = len(found - {frozenset(map(str, pair)) for pairs in truth.values() for pair in pairs})
        first = set(doubts.file[:40])
        kinds |= {'false alarms': false, 'labels': len(first & swapped), 'labels named': len(doubts),
                  'false labels': len(set(doubts.file) - swapped)}
        table.append(kinds)
        assert kinds['exact'] == 20 and kinds['saved anew'] >= 19 and kinds['cropped'] >= 15 and kinds['labels'] >= 15
        assert false <= 2
    with capsys.disabled():
        print()
        for row in table:
            print('  '.join(f'{k} {v}' for k, v in row.items()))


def plant(source, root, r):
    "900 photos, split; the pairs of each kind, and the files with a wrong label."
    files = sorted(source.rglob('*.jpg'))
    r.shuffle(files)
    for k, f in enumerate(files):
        to = root/('valid' if k < 180 else 'train')/f.parent.name/f.name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f, to)
    training = [root/'train'/f.parent.name/f.name for f in files[180:]]
    r.shuffle(training)
    truth = {'exact': [], 'saved anew': [], 'cropped': []}
    for k, f in enumerate(training[:60]):
        kind, im = [*truth][k//20], Image.open(f)
        to, (w, h) = root/'valid'/f.parent.name/f'again{k}.jpg', im.size
        if kind == 'exact':
            shutil.copy(f, to)
        elif kind == 'saved anew':
            im.resize((3*w//4, 3*h//4)).save(to, quality=60)
        else:
            im.crop((w//20, h//20, w - w//20, h - h//20)).save(to, quality=90)
        truth[kind].append((f, to))
    swapped = set()
    for f in training[60:80]:
        to = root/'train'/{'cats': 'dogs', 'dogs': 'cats'}[f.parent.name]/f'swapped {f.name}'
        swapped.add(str(f.rename(to)))
    return truth, swapped
