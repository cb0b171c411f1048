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


FOLDERS = [ # what is done, what must become of it, and a word that must be said
    (almost_parts, 'right', None), (pipe, 'refused', 'pipe.jpg'), (device, 'refused', 'zero.jpg'),
    (no_picture, 'refused', 'list.jpg'), (bytes_in_names, 'right', None), (bytes_in_class, 'right', None),
    (new_lines, 'right', None), (long_names, 'right', None), (emoji, 'right', None), (capitals, 'right', 'look alike'),
    (two_forms, 'right', 'look alike'), (deep, 'right', 'count as the one class'), (same_twice, 'right', 'two classes'),
    (rare, 'right', 'accuracy of each class'), (empty_class, 'refused', 'birds'), (heic, 'refused', '.heic'),
    (avif, 'right', None), (one_picture, 'refused', 'birds'), (dead_link, 'refused', 'dead.jpg'),
    (hidden, 'right', None), (loose, 'right', 'loose.jpg'),
]


def odd_folder(folder, do, must, word):
    f = two_classes(Path(folder)/do.__name__)
    do(f)
    try:
        data, said = read(f)
        what = 'right'
        x, y = next(iter(data.trn_dl))
        if len(x) != len(y):
            raise Silent('a batch that does not fit')
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
    if len(data.trn_ds) + len(data.val_ds) != 12 or 'left out' not in said[0]:
        raise Silent(f'{data}; {said}')
    return 'right'


# ---- a folder that changes meanwhile
def changing(folder, how, seed):
    "While features are computed, somebody removes, cuts, renames or writes over some pictures."
    from imgcourse.all import ConvLearner
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
    except (ValueError, OSError) as e:
        if not any(str(p) in str(e) for p in files):
            raise Silent(f'{type(e).__name__} names no file: {e}') from None
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
            assert not must, e
            return
        assert [Path(f).stem for f in files] == [i for i, _ in rows]
        assert labels == [c.strip() for _, c in rows]

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
        assert len(files) == len(labels) == len(set(files)) and all(map(os.path.isfile, files)) and all(labels)

    as_written()
    anything()
    return 'right'


def large_table(folder, n):
    "So many rows. (The pictures are links to a few: the system allows a file 65,000 names.)"
    from imgcourse.batches import read_labels
    where = Path(folder)/'many'
    where.mkdir()
    for k in range(n):
        if k % 50_000 == 0:
            source = draw(where/f'source {k}.png', k)
        os.link(source, where/f'{k}.png')
    table = Path(folder)/'many.csv'
    table.write_text('id,label\n' + ''.join(f'{k},{k % 7}\n' for k in range(n)))
    files, labels = read_labels(table, where, '.png')
    if len(files) != n or files[-1] != str(where/f'{n - 1}.png') or labels[:8] != [*'0123456', '0']:
        raise Silent('other rows')
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
        yield Trial('a table of a million rows', large_table, (str(folder), 1_000_000), 200, 700)
