"""Folders and tables as people have them: odd names, missing rights, files that change meanwhile, a million rows.
What is read is right; what cannot be is refused by name; what is doubtful is said in a line, before the training."""
import csv
import io
import os
import shutil
import threading
import warnings
from pathlib import Path
import numpy as np
from PIL import Image
from trials import Silent, Trial, refused


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def two_classes(folder, n=6):
    for k in range(n):
        for c in ('cats', 'dogs'):
            draw(folder/c/f'{k}.jpg', 2*k + (c == 'dogs'))
    return folder


def read(folder, **kwargs):
    "The data of a folder, and what was said."
    from imgcourse.all import tfms_from_model
    from imgcourse.own import read_folder
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        data = read_folder(folder, 4, tfms_from_model('test_resnet', 32), **kwargs)
    words = [str(w.message) for w in told if w.category is UserWarning]
    if any(len(w.splitlines()) > 1 for w in words if 'cannot be read' not in w):
        raise Silent(f'more than a line: {words}')
    return data, words


# ---- a folder of two classes, with something odd
def almost_parts(f): return split_as(f, 'Train', 'Validation')
def split_as(f, trn, val):
    for c in ('cats', 'dogs'):
        (f/val/c).mkdir(parents=True)
        (f/trn).mkdir(exist_ok=True)
        for k in (0, 1):
            (f/c/f'{k}.jpg').rename(f/val/c/f'{k}.jpg')
        (f/c).rename(f/trn/c)


def pipe(f): os.mkfifo(f/'cats'/'pipe.jpg')
def device(f): (f/'cats'/'zero.jpg').symlink_to('/dev/zero')
def no_picture(f): (f/'dogs'/'list.jpg').write_text('bread, milk')
def bytes_in_names(f): os.rename(f/'cats'/'0.jpg', os.fsencode(f/'cats') + b'/caf\xe9 \xff.jpg')
def bytes_in_class(f): os.rename(f/'cats', os.fsencode(f) + b'/caf\xe9')
def new_lines(f): (f/'cats'/'0.jpg').rename(f/'cats'/'a\nb\tc\x1b[2J.jpg')
def long_names(f): (f/'cats'/'0.jpg').rename(f/'cats'/('x'*250 + '.jpg'))
def emoji(f): (f/'cats').rename(f/'🐈‍⬛ Katzen')
def capitals(f): (f/'dogs').rename(f/'Cats')
def two_forms(f): [(f/'cats').rename(f/'caf\u00e9'), (f/'dogs').rename(f/'cafe\u0301')]
def deep(f): [(f/'a').mkdir(), (f/'cats').rename(f/'a'/'cats'), shutil.copytree(f/'dogs', f/'a'/'d')]
def same_twice(f): shutil.copy(f/'cats'/'0.jpg', f/'dogs'/'copy.jpg')
def rare(f): [draw(f/'dogs'/f'more {k}.jpg', 100 + k) for k in range(120)]
def empty_class(f): (f/'birds').mkdir()
def heic(f): [(f/'birds').mkdir(), (f/'birds'/'1.heic').write_bytes(b'x')]
def avif(f): [(f/'birds').mkdir(), *(Image.effect_noise((40, 40), 9 + k).save(f/'birds'/f'{k}.avif') for k in range(4))]
def one_picture(f): draw(f/'birds'/'1.jpg', 77)
def dead_link(f): (f/'cats'/'dead.jpg').symlink_to('nothing')
def hidden(f): (f/'cats'/'.hidden.jpg').write_bytes(b'')
def loose(f): draw(f/'loose.jpg', 55)


CLASSES = { # what becomes of cats and dogs, where they are not the classes
    bytes_in_class: ['caf\udce9', 'dogs'], emoji: ['dogs', '🐈‍⬛ Katzen'], capitals: ['Cats', 'cats'],
    two_forms: ['cafe\u0301', 'caf\u00e9'], deep: ['a', 'dogs'], avif: ['birds', 'cats', 'dogs'],
}
COUNTS = {deep: 18, same_twice: 13, rare: 132, avif: 16} # pictures, where they are not 12
FOLDERS = [ # what is done, what must become of it, and a word that must be said
    (almost_parts, 'right', None), (pipe, 'refused', 'pipe.jpg'), (device, 'refused', 'zero.jpg'),
    (no_picture, 'refused', 'list.jpg'), (bytes_in_names, 'right', None), (bytes_in_class, 'right', None),
    (new_lines, 'right', None), (long_names, 'right', None), (emoji, 'right', None), (capitals, 'right', 'look alike'),
    (two_forms, 'right', 'look alike'), (deep, 'right', 'count as the one class'), (same_twice, 'right', 'two classes'),
    (rare, 'right', 'accuracy of each class'), (empty_class, 'refused', 'birds'), (heic, 'refused', '.heic'),
    (avif, 'right', None), (one_picture, 'refused', 'birds'), (dead_link, 'refused', 'dead.jpg'),
    (hidden, 'right', None), (loose, 'right', 'loose.jpg'),
]


def pictures_in(data): return len(data.trn_ds) + len(data.val_ds)


def odd_folder(folder, do, must, word):
    f = two_classes(Path(folder)/do.__name__)
    do(f)
    try:
        data, said = read(f)
        what = 'right'
        if data.classes != CLASSES.get(do, ['cats', 'dogs']) or pictures_in(data) != COUNTS.get(do, 12):
            raise Silent(f'{pictures_in(data)} pictures of {data.classes}')
        x, y = next(iter(data.trn_dl))
        if len(x) != 4 or len(y) != 4:
            raise Silent('another batch')
    except (ValueError, OSError) as e:
        what, said = refused(e, f), [str(e)]
    if what != must:
        raise Silent(f'{what} instead of {must}: {said}')
    if word and word not in ' '.join(said):
        raise Silent(f'{word!r} was not said: {said}')
    if not word and said:
        raise Silent(f'said without need: {said}')
    return what


def skipped(folder, do):
    "The same, with `on_error='skip'`: what is left is right."
    f = two_classes(Path(folder)/f'skip {do.__name__}')
    do(f)
    data, said = read(f, on_error='skip')
    if pictures_in(data) != 12 or 'left out' not in said[0]:
        raise Silent(f'{data}; {said}')
    return 'right'


# ---- a folder that changes meanwhile
def changing(folder, how, seed):
    "While features are computed, somebody removes, cuts, renames or writes over some pictures."
    from imgcourse.all import ConvLearner
    from imgcourse.pictures import PictureError
    rng = np.random.RandomState(seed)
    f = two_classes(Path(folder)/f'{how} {seed}', 60)
    data, _ = read(f)
    learn = ConvLearner.pretrained('test_resnet', data, precompute=True, weights=False).silent()
    files = [Path(p) for p in data.trn_ds.items]
    stop = threading.Event()
    def change():
        for i in rng.permutation(len(files))[:20]:
            if stop.wait(.003):
                return
            content = files[i].read_bytes() if files[i].exists() else b''
            if how == 'removed':
                files[i].unlink(missing_ok=True)
            elif how == 'cut':
                files[i].write_bytes(content[:len(content)//3])
            elif how == 'renamed':
                files[i].rename(files[i].with_name(f'new {i}.jpg'))
            else:
                draw(files[i], 1000 + int(i))
    thread = threading.Thread(target=change)
    thread.start()
    try:
        learn.fit(.01, 1)
        what = 'right'
    except PictureError as e:
        if not any(str(p) in str(e) for p in files):
            raise Silent(f'it names no file: {e}') from None
        what = refused(e)
    finally:
        stop.set()
        thread.join()
    return what


# ---- tables
def files_for_tables(folder):
    folder = Path(folder)/f'pictures {os.getpid()}'
    if not folder.exists():
        for k in range(12):
            draw(folder/f'{k}.jpg', k)
        for name in ('a,b', 'x "y"', ' z', 'ä', '1.0', '01', 'nan'):
            draw(folder/f'{name}.jpg', 50)
    return folder


def same(got, want, where):
    if got != want:
        raise Silent(f'{got} instead of {want}: {where!r}')


def fuzz_tables(folder, examples, seed):
    "Tables that `csv` writes in all its ways come back as they are, or are refused by name."
    from hypothesis import HealthCheck, given, settings, strategies as st
    from hypothesis import seed as with_seed
    from imgcourse.batches import read_labels
    where = files_for_tables(folder)
    names = sorted(f.stem for f in where.iterdir())
    table = where.parent/f'table {os.getpid()}.csv'
    label = st.text(st.characters(blacklist_categories=('Cs', 'Cc', 'Zl', 'Zp')), min_size=1, max_size=8)
    dialect = st.fixed_dictionaries({'quoting': st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
                                     'lineterminator': st.sampled_from(['\n', '\r\n'])})

    @with_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(names), unique=True, min_size=1), st.data(), dialect, st.booleans())
    def as_written(ids, data, how, bom):
        rows = [(i, data.draw(label)) for i in ids]
        out = io.StringIO()
        csv.writer(out, **how).writerows([('id', 'label'), *rows])
        table.write_bytes(out.getvalue().encode('utf-8-sig' if bom else 'utf-8'))
        try:
            files, labels = read_labels(table, where, '.jpg')
        except ValueError as e:
            refused(e, table)
            must = all(c.strip() and i == i.strip() for i, c in rows)
            same(must, False, e)
            return
        same([Path(f).stem for f in files], [i for i, _ in rows], rows)
        same(labels, [c.strip() for _, c in rows], rows)

    @with_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode('utf-8', 'surrogatepass')),
                     st.lists(st.sampled_from(['id', ',', '\n', '"', '0', '1.0', 'cats', '\r', ' ', '\0', '../0'])).map(
                         lambda parts: ''.join(parts).encode())))
    def anything(content):
        table.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                files, labels = read_labels(table, where, '.jpg')
            except ValueError as e:
                refused(e, table)
                return
        sound = len(files) == len(labels) == len(set(files)) and all(map(os.path.isfile, files)) and all(labels)
        same(sound, True, content)

    as_written()
    anything()
    return 'right'


def many_links(folder, n):
    "So many pictures. (They are links to a few: the system allows a file 65,000 names.)"
    where = Path(folder)/'many'
    where.mkdir(exist_ok=True)
    for k in range(n):
        if k % 50_000 == 0:
            source = draw(where.parent/'sources of many'/f'{k}.png', k)
        os.link(source, where/f'{k}.png')
    table = Path(folder)/'many.csv'
    table.write_text('id,label\n' + ''.join(f'{k},{k % 7}\n' for k in range(n)))
    return where, table


def large_table(where, table, n):
    from imgcourse.batches import read_labels
    files, labels = read_labels(table, where, '.png')
    if len(files) != n or files[-1] != f'{where}/{n - 1}.png' or labels[:8] != [*'0123456', '0']:
        raise Silent('other rows')
    return 'right'


def data_of_large_table(where, table, n):
    "Each picture is looked at."
    from imgcourse.all import ImageClassifierData, tfms_from_model
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        data = ImageClassifierData.from_csv(Path(where).parent, Path(where).name, table, suffix='.png',
                                            tfms=tfms_from_model('test_resnet', 32))
    if pictures_in(data) != n or data.classes != [*'0123456']:
        raise Silent(f'{pictures_in(data)} pictures of {data.classes}')
    if not any('in training and in validation' in str(w.message) for w in told):
        raise Silent('not a word about the same picture in training and validation')
    return 'right'


def make(folder, quick, rng):
    for do, must, word in FOLDERS:
        yield Trial(f'folder: {do.__name__}', odd_folder, (str(folder), do, must, word), 30)
    for do in (pipe, device, no_picture, dead_link):
        yield Trial(f'folder: {do.__name__}, skipped', skipped, (str(folder), do), 30)
    for how in ('removed', 'cut', 'renamed', 'written over'):
        for k in range(2 if quick else 12):
            yield Trial(f'changing: {how} {k}', changing, (str(folder), how, k), 60)
    for k in range(1 if quick else 6):
        yield Trial(f'fuzzed tables {k}', fuzz_tables, (str(folder), 100 if quick else 600, k), 300)
    if not quick:
        n = 1_000_000
        where, table = many_links(folder, n)
        yield Trial('a table of a million rows', large_table, (str(where), str(table), n), 60, 700)
        yield Trial('data of a million rows', data_of_large_table, (str(where), str(table), n), 400, 1200)
