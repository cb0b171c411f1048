import os, re, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from PIL import Image
from torchvision.transforms import v2
from imgcourse.data import *
from imgcourse.data import transforms_side_on, transforms_top_down

TFMS = tfms_from_model('resnet18', 32)
RED = (200, 30, 30)

# ---- pictures of all kinds
def test_modes(tmp_path):
    "Every mode gives the picture that a person sees."
    red = Image.new('RGB', (40, 30), RED)
    see_through = Image.new('RGBA', (40, 30), (0, 0, 0, 0)); see_through.paste(RED + (255,), (0, 0, 20, 30))
    pal = see_through.quantize(8)
    files = {'rgb.png': red, 'cmyk.jpg': red.convert('CMYK'), 'palette.gif': red.quantize(4), 'rgba.png': see_through, 'la.png': see_through.convert('LA'), 'pal.png': pal}
    for name, im in files.items(): im.save(tmp_path/name)
    for name in ('rgb.png', 'cmyk.jpg', 'palette.gif', 'rgba.png'):
        im = read_picture(tmp_path/name)
        assert im.mode == 'RGB' and im.size == (40, 30)
        assert np.abs(np.int32(im.getpixel((10, 15))) - RED).max() < 8, name
    for name in ('rgba.png', 'la.png', 'pal.png'): assert read_picture(tmp_path/name).getpixel((30, 15)) == (255, 255, 255), name

@pytest.mark.parametrize('dtype, mode', [(np.uint16, 'I;16'), (np.int32, 'I'), (np.float32, 'F')])
def test_deep_pixels_are_scaled_not_clipped(tmp_path, dtype, mode):
    ramp = np.linspace(0, 65535, 64*64).reshape(64, 64).astype(dtype)
    Image.fromarray(ramp).save(tmp_path/'x.tif')
    assert Image.open(tmp_path/'x.tif').mode == mode
    got = np.asarray(read_picture(tmp_path/'x.tif'))[..., 0].astype(int).ravel()
    assert got[0] == 0 and got[-1] == 255 and abs(got[len(got)//2] - 128) < 3

def test_float_between_0_and_1(tmp_path):
    Image.fromarray(np.full((8, 8), .5, np.float32)).save(tmp_path/'x.tif')
    assert read_picture(tmp_path/'x.tif').getpixel((0, 0)) == (128,)*3

@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    "A photo of a red corner is upright, however the camera was held, also when it is decoded smaller."
    upright = Image.new('RGB', (640, 320), 'white'); upright.paste((255, 0, 0), (0, 0, 160, 160))

    stored = upright.transpose({2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]) if orientation > 1 else upright
    exif = Image.Exif(); exif[0x0112] = orientation
    stored.save(tmp_path/'x.jpg', exif=exif)
    for side, size in ((None, (640, 320)), (64, (160, 80))):
        im = read_picture(tmp_path/'x.jpg', side)
        assert im.size == size
        r, g, b = im.getpixel((im.width//8, im.height//8))
        assert r > 200 and g < 60, orientation
        assert min(im.getpixel((im.width - 5, im.height - 5))) > 200

@pytest.mark.parametrize('name', ['x.png', 'x.webp', 'x.tif'])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', 'I;16'])
def test_exif_orientation_of_other_kinds(tmp_path, name, mode):
    if (mode, name) in (('I;16', 'x.webp'), ('LA', 'x.webp'), ('LA', 'x.tif')): return
    exif = Image.Exif(); exif[0x0112] = 6
    stored = Image.linear_gradient('L').resize((40, 20)).convert('L' if mode == 'I;16' else mode)   # dark above, light below
    if mode == 'I;16': stored = Image.fromarray(np.asarray(stored).astype(np.uint16)*257)
    stored.save(tmp_path/name, exif=exif, **({'lossless': True} if name == 'x.webp' else {}))
    im = read_picture(tmp_path/name)   # a quarter turn to the right: light on the left
    assert im.size == (20, 40) and im.getpixel((1, 20))[0] > 200 and im.getpixel((18, 20))[0] < 60

@pytest.mark.parametrize('size', [(16, 16), (24, 24), (20, 300), (4, 4)])
def test_small_pictures_are_pictures(few, size):
    for split in ('train', 'valid'): Image.new('RGB', size).save(few/split/'cats'/'small.jpg')
    assert len(ImageClassifierData.from_paths(few, tfms=TFMS).trn_ds) == 25

def test_pictures_come_smaller_but_large_enough(tmp_path):
    Image.new('RGB', (4000, 3000)).save(tmp_path/'x.jpg')
    Image.new('RGB', (4000, 3000)).save(tmp_path/'x.png', compress_level=1)
    for name in ('x.jpg', 'x.png'):
        for need in (96, 224, 500, 1400, 3000): assert need <= min(read_picture(tmp_path/name, need).size) <= 4*need

@pytest.mark.parametrize('kind, mb', [('jpg', 150), ('png', 550)])
def test_huge_picture_takes_bounded_memory(tmp_path, kind, mb):
    "12,000 by 9,000 pixels are 432 MB in Pillow. A JPEG stays far below; of other formats there is one copy, and what comes back is small."
    Image.new('RGB', (12_000, 9_000), RED).save(tmp_path/f'huge.{kind}')
    code = f"""
import resource, warnings
warnings.simplefilter('error')
from imgcourse.data import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
im = read_picture({str(tmp_path/f'huge.{kind}')!r}, 224)
print(im.size, im.getpixel((0, 0)), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)//1024)
"""
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env={**os.environ, 'PYTHONPATH': ':'.join(sys.path)}).stdout
    w, h = map(int, re.findall(r'\d+', out)[:2])
    assert 224 <= h < 1000 and abs(w/h - 4/3) < .01 and int(out.split()[-1]) < mb

BAD = {'text.jpg': (b'I am a list, not a picture', 'not a picture'), 'empty.png': (b'', 'empty'), 'dot.png': (None, '1×1 pixels'), 'cut.jpg': (None, 'damaged')}

def make_bad(folder):
    for name, (content, _) in BAD.items():
        if content is not None: (folder/name).write_bytes(content)
    Image.new('RGB', (1, 1)).save(folder/'dot.png')
    Image.effect_noise((200, 200), 50).convert('RGB').save(folder/'cut.jpg')
    whole = (folder/'cut.jpg').read_bytes(); (folder/'cut.jpg').write_bytes(whole[:len(whole)//2])

@pytest.mark.parametrize('name', BAD)
def test_bad_picture(tmp_path, name):
    make_bad(tmp_path)
    with pytest.raises(PictureError, match=f'{name}.*{BAD[name][1]}'): read_picture(tmp_path/name)

def test_missing_picture_and_strip(tmp_path):
    with pytest.raises(PictureError, match='no such file'): read_picture(tmp_path/'none.jpg')
    Image.new('RGB', (5, 3000)).save(tmp_path/'strip.png')
    with pytest.raises(PictureError, match='5×3000'): read_picture(tmp_path/'strip.png')

def test_one_report_of_all_bad_pictures_then_a_choice(few):
    make_bad(few/'train'/'cats')
    with pytest.raises(PictureError) as e: ImageClassifierData.from_paths(few, tfms=TFMS)
    assert '4 of 40' in str(e.value) and "on_error='skip'" in str(e.value) and all(n in str(e.value) for n in BAD)
    with pytest.warns(UserWarning, match='left out') as w: data = ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip')
    assert len(w) == 1 and all(n in str(w[0].message) for n in BAD)
    assert len(data.trn_ds) == 24 and list(np.bincount(data.trn_y)) == [12, 12] and sum(len(y) for _, y in data.trn_dl) == 24
    with pytest.raises(ValueError, match='on_error'): ImageClassifierData.from_paths(few, tfms=TFMS, on_error='ignore')

def test_nothing_left_of_a_class(few):
    for f in (few/'valid'/'dogs').iterdir(): f.write_text('no picture')
    with pytest.raises(PictureError, match='valid/dogs.*none of its 6'), pytest.warns(UserWarning): ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip')

def test_no_test_picture_can_be_read(few):
    (few/'test').mkdir(); (few/'test'/'a.jpg').write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'), pytest.raises(PictureError, match='None of the test pictures'): ImageClassifierData.from_paths(few, tfms=TFMS, test_name='test', on_error='skip')

def test_good_files_are_decoded_once(few, own_cache, monkeypatch):
    import imgcourse.data as d
    seen, real = [], d.read_picture
    monkeypatch.setattr(d, 'read_picture', lambda p, min_side=None: seen.append(p) or real(p, min_side))
    ImageClassifierData.from_paths(few, tfms=TFMS); assert len(seen) == 36
    ImageClassifierData.from_paths(few, tfms=TFMS); assert len(seen) == 36
    (few/'train'/'dogs'/'dog.1.jpg').write_bytes(b'broken now')
    with pytest.raises(PictureError, match='1 of 36.*\n.*dog.1.jpg'): ImageClassifierData.from_paths(few, tfms=TFMS)
    assert len(seen) == 37

# ---- folders
@pytest.mark.parametrize('break_it, error, message', [
    (lambda p: (p/'train').rename(p/'training'), FileNotFoundError, r'no folder .*train. The folders in .* are training, valid'),
    (lambda p: (p/'train'/'birds').mkdir(), ValueError, 'no pictures in the class folder birds'),
    (lambda p: [__import__('shutil').rmtree(p/s/'cats') for s in ('train', 'valid')], ValueError, r"at least 2; it has \['dogs'\]"),
    (lambda p: (p/'valid'/'cats').rename(p/'valid'/'kittens'), ValueError, 'cats, kittens')])
def test_bad_folders(few, break_it, error, message):
    break_it(few)
    with pytest.raises(error, match=message): ImageClassifierData.from_paths(few, tfms=TFMS)

def test_files_that_are_no_pictures_are_told(few):
    (few/'train'/'cats'/'holiday.heic').write_bytes(b'x'); (few/'train'/'cats'/'.DS_Store').write_bytes(b'x')
    with pytest.warns(UserWarning, match='1 files.*heic'): data = ImageClassifierData.from_paths(few, tfms=TFMS)
    assert len(data.trn_ds) == 24

def test_links_that_lead_in_circles(few):
    "Each picture once; a linked folder of pictures counts."
    from imgcourse.data import list_pictures
    cats = few/'train'/'cats'; n = len(list_pictures(cats))
    (cats/'round').symlink_to(cats); (cats/'up').symlink_to(few/'train'/'dogs'); (few/'train'/'dogs'/'back').symlink_to(cats)
    assert len(list_pictures(cats)) == len(set(f.resolve() for f in list_pictures(cats))) == n + 12

def test_order_and_labels(few):
    data = ImageClassifierData.from_paths(few, tfms=TFMS, test_name='valid')
    assert data.classes == ['cats', 'dogs'] and data.c == 2 and list(data.val_y) == [0]*6 + [1]*6
    assert [Path(f).parent.name for f in data.val_ds.items] == ['cats']*6 + ['dogs']*6
    x, y = next(iter(data.val_dl))
    assert x.shape == (12, 3, 32, 32) and x.dtype == torch.float32 and y.tolist() == data.val_y.tolist()
    for i in (0, 7): assert torch.equal(x[i], data.val_ds[i][0])
    assert len(data.test_ds) == 12 and set(data.test_ds.y) == {-1}
    assert data.class_counts().loc['dogs'].to_dict() == {'train': 12, 'valid': 6}
    assert any('Mädchens Katze' in data.trn_ds.name(i) for i in range(24))

def test_from_folder_splits_each_class(few):
    a, b, c = (ImageClassifierData.from_folder(few/'train', valid_pct=.25, seed=s, tfms=TFMS) for s in (1, 1, 2))
    assert a.class_counts().values.tolist() == [[9, 3], [9, 3]]
    assert a.val_ds.items == b.val_ds.items != c.val_ds.items and not set(a.val_ds.items) & set(a.trn_ds.items)
    for f in list((few/'train'/'cats').iterdir())[1:]: f.unlink()
    with pytest.raises(ValueError, match='single picture'): ImageClassifierData.from_folder(few/'train', tfms=TFMS)
    with pytest.raises(ValueError, match='valid_pct'): ImageClassifierData.from_folder(few/'train', valid_pct=20, tfms=TFMS)

def test_from_folder_split_is_stable(few):
    "A picture that is added changes the split by one at most."
    before = set(ImageClassifierData.from_folder(few/'train', valid_pct=.25, tfms=TFMS).val_ds.items)
    (few/'valid'/'cats'/'cat.0.jpg').rename(few/'train'/'cats'/'added.jpg')
    after = set(ImageClassifierData.from_folder(few/'train', valid_pct=.25, tfms=TFMS).val_ds.items)
    assert len(before - after) <= 1 and len(after - before) <= 1

def test_the_same_pictures_cannot_check_what_they_taught(few):
    with pytest.raises(ValueError, match='different ones'): ImageClassifierData.from_paths(few, tfms=TFMS, val_name='train')

def test_names_that_are_not_utf8(few):
    import shutil
    try: shutil.copy(few/'train'/'cats'/'cat.1.jpg', os.fsencode(few/'train'/'cats')+b'/caf\xe9.jpg')
    except OSError: return   # the file system of macOS has no such names
    assert len(ImageClassifierData.from_paths(few, tfms=TFMS).trn_ds) == 25

def test_loose_pictures_are_told(few):
    (few/'train'/'cats'/'cat.1.jpg').rename(few/'train'/'stray.jpg')
    with pytest.warns(UserWarning, match='stray.jpg'): ImageClassifierData.from_paths(few, tfms=TFMS)

def test_last_batch_of_one_is_not_trained_on(few):
    data = ImageClassifierData.from_paths(few, bs=23, tfms=TFMS)
    assert [len(y) for _, y in data.trn_dl] == [23] and [len(y) for _, y in data.fix_dl] == [23, 1]

@pytest.mark.parametrize('kw, message', [(dict(tfms=None), 'tfms_from_model'), (dict(tfms=TFMS, bs=0), 'bs is'), (dict(tfms=TFMS, bs=2.5), 'bs is')])
def test_bad_options_before_any_reading(kw, message):
    with pytest.raises(ValueError, match=message): ImageClassifierData.from_paths('there is no such folder', **kw)

# ---- tables
@pytest.fixture
def table(few, tmp_path):
    files = sorted((few/'train').rglob('*.jpg'))
    df = pd.DataFrame({'id': [f'{f.parent.name}/{f.stem}' for f in files], 'breed': [f.parent.name for f in files]})
    def write(df=df, **kw): df.to_csv(tmp_path/'labels.csv', index=False); return ImageClassifierData.from_csv(few, 'train', tmp_path/'labels.csv', tfms=TFMS, suffix='.jpg', **kw)
    return df, write

def test_from_csv(table):
    df, write = table
    data = write(val_idxs=[0, 23], test_name='valid')
    assert [Path(f).stem for f in data.val_ds.items] == [df.id[0].split('/')[1], df.id[23].split('/')[1]] and list(data.val_y) == [0, 1]
    assert len(data.trn_ds) == 22 and len(data.test_ds) == 12 and data.classes == ['cats', 'dogs']
    assert len(write().val_ds) == 4

@pytest.mark.parametrize('spoil, message', [
    (lambda df: df[['id']], r"only \['id'\]"),
    (lambda df: df.assign(breed=df.breed.where(df.index != 5, ' ')), "column 'breed' is empty or holds a line break in row 7$"),
    (lambda df: df.assign(id=df.id.where(df.index != 5, 'cats/nobody')), 'no file for id .*nobody.jpg.* row 7$'),
    (lambda df: pd.concat([df, df.iloc[[3]]]), 'duplicate id in rows 5, 26$'),
    (lambda df: pd.concat([df, df.iloc[[3]].assign(id=lambda d: './' + d.id)]), 'duplicate id in rows 5, 26$'),
    (lambda df: df.assign(breed='cat'), 'at least two classes')])
def test_bad_tables(table, spoil, message):
    df, write = table
    with pytest.raises(ValueError, match=message): write(spoil(df), val_idxs=[0, 23])

@pytest.mark.parametrize('text, message', [
    (lambda t: '', 'no table'), (lambda t: t.encode('utf-16'), 'no table.*UTF-8'), (lambda t: t.split('\n', 1)[1], 'row 1 must be a header'),
    (lambda t: t.replace('\n', '\n\n', 3).replace('dogs\n', 'dogs,3\n', 1), 'not 2 fields in row 17$'), (lambda t: t.split('\n')[0], 'header but no rows')])
def test_broken_csv_files(table, few, tmp_path, text, message):
    table[1]()
    bad = text((tmp_path/'labels.csv').read_text()); (tmp_path/'bad.csv').write_bytes(bad if isinstance(bad, bytes) else bad.encode())
    with pytest.raises(ValueError, match=message): ImageClassifierData.from_csv(few, 'train', tmp_path/'bad.csv', tfms=TFMS, suffix='.jpg')

def test_labels_are_stripped_and_rows_counted_with_blank_lines(table, few, tmp_path):
    table[1]()
    (tmp_path/'b.csv').write_text((tmp_path/'labels.csv').read_text().replace(',cats\n', ', cats \n\n'))
    assert ImageClassifierData.from_csv(few, 'train', tmp_path/'b.csv', tfms=TFMS, suffix='.jpg').classes == ['cats', 'dogs']

def rewrite(tmp_path, f):
    "The table `labels.csv`, changed as text."
    (tmp_path/'new.csv').write_bytes(f((tmp_path/'labels.csv').read_bytes()))
    return tmp_path/'new.csv'

@pytest.mark.parametrize('f', [lambda t: b'\xef\xbb\xbf' + t, lambda t: t.replace(b'\n', b'\r\n'), lambda t: t.rstrip(b'\n'), lambda t: t.replace(b',', b' , '), lambda t: t.replace(b'cats\n', b'"cats"\n'),
    lambda t: b'\n' + t + b'\n\n', lambda t: b'\xef\xbb\xbf' + t.replace(b'\n', b'\r\n').rstrip(b'\r\n')], ids=['BOM', 'Windows', 'no last newline', 'spaces', 'quotes', 'blank lines', 'all of Windows'])
def test_tables_as_programs_write_them(table, few, tmp_path, f):
    want = table[1](val_idxs=[0, 23])
    data = ImageClassifierData.from_csv(few, 'train', rewrite(tmp_path, f), tfms=TFMS, suffix='.jpg', val_idxs=[0, 23])
    assert data.trn_ds.items == want.trn_ds.items and data.classes == ['cats', 'dogs'] and (data.trn_y == want.trn_y).all()

def test_quoted_commas(table, few):
    df, write = table
    (few/'train'/f'{df.id[1]}.jpg').rename(few/'train'/'one, two "and" three.jpg')
    df = df.assign(id=df.id.where(df.index != 1, 'one, two "and" three'), breed=df.breed.replace('cats', 'cat, domestic'))
    data = write(df, val_idxs=[0, 23])
    assert data.classes == ['cat, domestic', 'dogs'] and Path(data.trn_ds.items[0]).name == 'one, two "and" three.jpg'

@pytest.mark.parametrize('spoil, message', [
    (lambda t: t.replace('cats\n', '"cats\n', 1), 'line 25'), (lambda t: t.replace('cats\n', '"c"ats\n', 1), 'line 2'),
    (lambda t: t.replace('cats\n', '"cats\n', 1).replace('dogs\n', 'dogs"\n', 1), 'line break in row 2'), (lambda t: 'id,breed\n', 'header but no rows'), (lambda t: '', 'it is empty')])
def test_stray_quotes_and_empty_tables(table, few, tmp_path, spoil, message):
    "Nothing is swallowed."
    table[1]()
    with pytest.raises(ValueError, match=message): ImageClassifierData.from_csv(few, 'train', rewrite(tmp_path, lambda t: spoil(t.decode()).encode()), tfms=TFMS, suffix='.jpg')

def test_ids_with_and_without_suffix(table):
    df, write = table
    want = write(val_idxs=[0, 23]).trn_ds.items
    assert write(df.assign(id=df.id + '.jpg'), val_idxs=[0, 23]).trn_ds.items == want
    assert write(df.assign(id=df.id.where(df.index % 2 == 0, df.id + '.jpg')), val_idxs=[0, 23]).trn_ds.items == want
    with pytest.raises(ValueError, match='duplicate id in rows 2, 26'): write(pd.concat([df, df.iloc[[0]].assign(id=lambda d: d.id + '.jpg')]), val_idxs=[0, 23])

def test_a_missing_suffix_is_named(table, few, tmp_path):
    table[1]()
    with pytest.raises(ValueError, match="there is one with suffix='.jpg'"): ImageClassifierData.from_csv(few, 'train', tmp_path/'labels.csv', tfms=TFMS)
    with pytest.raises(ValueError, match='there is one without the suffix'): ImageClassifierData.from_csv(few, 'train', rewrite(tmp_path, lambda t: t.replace(b',', b'.jpg,')), tfms=TFMS, suffix='.JPG')

def test_unknown_columns(table):
    df, write = table
    with pytest.warns(UserWarning, match="'id' and labels from 'breed'; 'weight', 'age' is passed over"): data = write(df.assign(weight=3, age=2), val_idxs=[0, 23])
    assert data.classes == ['cats', 'dogs']
    with pytest.raises(ValueError, match='first column must hold the ids.*weight, id, breed'): write(df.assign(weight=3)[['weight', 'id', 'breed']].assign(weight=range(24)), val_idxs=[0, 23])

def test_labels_that_are_numbers(table):
    df, write = table
    data = write(df.assign(breed=np.arange(24) % 12), val_idxs=[0, 23])
    assert data.classes == [str(k) for k in range(12)] and data.val_y.tolist() == [0, 11]
    assert write(df.assign(breed=[f'{k % 12}.5' for k in range(24)]), val_idxs=[0]).classes[:3] == ['0.5', '1.5', '10.5']

def test_a_class_with_one_picture(table):
    "It is learnt from; asked for in validation, it is named."
    df, write = table
    for row in range(24):
        data = write(df.assign(breed=df.breed.where(df.index != row, 'fox')))
        assert 'fox' in data.classes and data.classes.index('fox') in data.trn_y and 3 <= len(data.val_ds) <= 4
    with pytest.raises(ValueError, match='classes fox'): write(df.assign(breed=df.breed.where(df.index != 5, 'fox')), val_idxs=[5, 20])

def test_complaints_come_before_pictures_are_read(table, few, monkeypatch):
    import imgcourse.data as d
    monkeypatch.setattr(d, 'read_picture', lambda *a, **k: pytest.fail('a picture was read'))
    for idxs in (range(12, 24), [99]):
        with pytest.raises(ValueError): table[1](val_idxs=idxs)
    for f in list((few/'train'/'cats').iterdir())[1:]: f.unlink()
    with pytest.raises(ValueError, match='single'): ImageClassifierData.from_folder(few/'train', tfms=TFMS)

@pytest.mark.parametrize('idxs', [[], [24], [-1], list(range(24)), [[1]], [0, 1, 2.5], [True, False]])
def test_bad_val_idxs(table, idxs):
    with pytest.raises(ValueError, match='row numbers 0 to 23'): table[1](val_idxs=idxs)

def test_a_mask_of_rows(table): assert table[1](val_idxs=np.arange(24) % 6 == 5).val_y.tolist() == [0, 0, 1, 1]

def test_validation_class_without_training_pictures(table):
    with pytest.raises(ValueError, match='classes dogs'): table[1](val_idxs=range(12, 24))

def test_csv_rows_stay_right_when_pictures_are_skipped(table, few):
    df, write = table
    (few/'train'/f'{df.id[2]}.jpg').write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'): data = write(val_idxs=[2, 4, 20], on_error='skip')
    assert [Path(f).stem for f in data.val_ds.items] == [df.id[i].split('/')[1] for i in (4, 20)] and len(data.trn_ds) == 21

def test_cv_idxs():
    folds = [get_cv_idxs(103, cv_idx=i, val_pct=.1) for i in range(10)]
    assert len(np.unique(np.concatenate(folds))) == 100 and all(len(f) == 10 for f in folds)
    assert (get_cv_idxs(50) == get_cv_idxs(50)).all() and (get_cv_idxs(50) != get_cv_idxs(50, seed=1)).any()
    for kw in (dict(cv_idx=10, val_pct=.1), dict(cv_idx=-1), dict(val_pct=0), dict(val_pct=1)):
        with pytest.raises(ValueError): get_cv_idxs(103, **kw)

# ---- arrays
def test_from_arrays():
    x, y = np.random.RandomState(0).randint(0, 256, (10, 20, 20, 3), dtype=np.uint8), np.arange(10) % 2
    a = ImageClassifierData.from_arrays('.', (x, y), (x, y), tfms=TFMS, test=x)
    b = ImageClassifierData.from_arrays('.', (x/255, y), (x/255., y), tfms=TFMS)
    assert torch.equal(next(iter(a.val_dl))[0], next(iter(b.val_dl))[0]) and a.classes == ['0', '1'] and len(a.test_ds) == 10
    grey = ImageClassifierData.from_arrays('.', (x[..., :1], y), (x[..., :1], y), tfms=TFMS, classes=['a', 'b'])
    assert next(iter(grey.val_dl))[0].shape == (10, 3, 32, 32) and grey.val_ds.key(0) != grey.val_ds.key(1)

@pytest.mark.parametrize('x, y, message', [
    (np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], 'axis of channels'), (np.zeros((4, 8, 8, 2), np.uint8), [0, 1, 0, 1], '1 or 3'),
    (np.full((4, 8, 8, 3), 2.), [0, 1, 0, 1], 'between 0 and 1'), (np.full((4, 8, 8, 3), np.nan), [0, 1, 0, 1], 'between 0 and 1'),
    (np.zeros((4, 8, 8, 3), int), [0, 1, 0, 1], 'uint8'), (np.zeros((4, 8, 8, 3)), [0, 1, 0], '4 pictures need 4'),
    (np.zeros((4, 8, 8, 3)), [0., 1, 0, 1], 'integers'), (np.zeros((4, 8, 8, 3)), [0, 0, 0, 0], 'two classes'), (np.zeros((4, 8, 8, 3)), [-1, 0, 1, 1], 'run from 0')])
def test_bad_arrays(x, y, message):
    with pytest.raises(ValueError, match=message): ImageClassifierData.from_arrays('.', (x, np.array(y)), (x, np.array(y)), tfms=TFMS)

# ---- transforms
@pytest.mark.parametrize('kw, message', [(dict(sz=0), 'sz is'), (dict(sz=3.5), 'sz is'), (dict(sz=32, max_zoom=.5), 'max_zoom'), (dict(sz=32, pad=-1), 'pad'), (dict(sz=32, crop_type='none'), 'crop_type'), (dict(sz=32, max_zoom=0), 'max_zoom'), (dict(sz=32, pad=4, crop_type='center'), 'pad')])
def test_bad_transforms(kw, message):
    with pytest.raises(ValueError, match=message): tfms_from_model('resnet18', **kw)

def test_unknown_architecture_names_the_nearest():
    with pytest.raises(ValueError, match='resnet34'): tfms_from_model('resnet43', 32)
    with pytest.raises(ValueError, match='no architecture'): tfms_from_model(7, 32)
    with pytest.raises(ValueError, match='resnet34.a1_in1k'): tfms_from_model('resnet34.nope', 32)

def test_model_with_a_fixed_size():
    with pytest.raises(ValueError, match='224 pixels only'): tfms_from_model('vit_tiny_patch16_224', 96)

def test_old_names_are_timm_models():
    import timm
    from imgcourse import data
    for n in ('resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'resnext50', 'resnext101', 'resnext101_64', 'vgg16', 'vgg19', 'dn121', 'dn169', 'lite0'): assert timm.is_model(getattr(data, n)), n
    assert data.resnext101_64 == 'resnext101_64x4d' and arch_name(lite0) == 'tf_efficientnet_lite0'

@pytest.mark.parametrize('crop_type', ['random', 'center', 'squish'])
@pytest.mark.parametrize('size', [(32, 32), (100, 40), (33, 200), (5, 5)])
def test_every_transform_gives_the_size(crop_type, size):
    for tfm in tfms_from_model('resnet18', 32, aug_tfms=transforms_top_down, max_zoom=1.2, pad=0 if crop_type == 'center' else 4, crop_type=crop_type):
        assert tfm(Image.new('RGB', size)).shape == (3, 32, 32)

@pytest.mark.parametrize('size', [(64, 64), (300, 40), (40, 300), (9, 9)])
def test_turned_pictures_have_no_foreign_corners(size):
    "Of two colours, none but these and what lies between them."
    a = np.zeros((size[1], size[0], 3), np.uint8); a[...] = (200, 40, 90); a[: size[1]//2] = (40, 200, 90)
    turn = MirroredRotation((25, 25), interpolation=v2.InterpolationMode.BILINEAR)
    b = np.asarray(turn(Image.fromarray(a))).astype(int)
    assert b.shape == a.shape and (b[..., 2] == 90).all() and (np.abs(b[..., 0] + b[..., 1] - 240) <= 2).all()

def test_normalization():
    "The same numbers as by hand."
    x = TFMS[1](Image.new('RGB', (50, 40), RED))
    want = (torch.tensor(RED)/255 - torch.tensor([.485, .456, .406]))/torch.tensor([.229, .224, .225])
    assert torch.allclose(x[:, 3, 3], want, atol=1e-5)
    assert torch.allclose(TFMS[1].denorm(x)[:, 0, 0]*255, torch.tensor(RED).float(), atol=.01)

def test_augmentation_varies_and_repeats_with_the_seed(few):
    trn = tfms_from_model('resnet18', 32, aug_tfms=transforms_side_on, max_zoom=1.2)
    data = ImageClassifierData.from_paths(few, tfms=trn)
    def batch(seed): torch.manual_seed(seed); return torch.cat([x for x, _ in data.aug_dl])
    assert torch.equal(batch(1), batch(1)) and not torch.equal(batch(1), batch(2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(data.fix_dl, data.fix_dl))

def test_own_transforms(few):
    "Any function from a picture to a tensor will do."
    f = lambda im: torch.from_numpy(np.array(im.resize((16, 16)))).permute(2, 0, 1)/255
    data = ImageClassifierData.from_paths(few, tfms=(f, f))
    assert next(iter(data.trn_dl))[0].shape == (24, 3, 16, 16)
    data.show_batch()

def test_workers_give_the_same(few):
    a, b = (ImageClassifierData.from_paths(few, tfms=TFMS, bs=8, num_workers=n) for n in (0, 2))
    for (x, y), (x2, y2) in zip(a.val_dl, b.val_dl, strict=True): assert torch.equal(x, x2) and torch.equal(y, y2)

def test_show_batch_and_repr(sketches):
    data = ImageClassifierData.from_paths(sketches, tfms=TFMS)
    torch.manual_seed(0); want = torch.rand(3); torch.manual_seed(0)
    data.show_batch(n=5, cols=3)
    assert torch.equal(torch.rand(3), want), 'to look at pictures does not change what is drawn later'
    import matplotlib.pyplot as plt
    assert len([a for a in plt.gcf().axes if a.images]) == 5
    assert repr(data) == '800 training and 400 validation pictures of 2 classes: cats, dogs'
    plt.close('all')

# ---- where data come from
def test_lesson_and_own_copy(few, tmp_path, monkeypatch):
    path, arch, sz, bs = lesson('dogscats')
    assert isinstance(path, str) and path.endswith('/') and os.path.isdir(path + 'train/cats') and (arch, sz, bs) == (lite0, 96, 64)
    (tmp_path/'own').mkdir(); few.rename(tmp_path/'own'/'dogscats')
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path/'own'))
    assert get_dataset('dogscats') == tmp_path/'own'/'dogscats' and lesson('dogscats')[0] == f'{tmp_path}/own/dogscats/'
    monkeypatch.setenv('IMGCOURSE_FULL', '1')
    assert lesson('dogscats')[1:] == ('resnet34', 224, 64)
    (tmp_path/'own'/'dogbreeds').mkdir()
    assert lesson('dogbreeds')[1:] == ('resnext101_64x4d', 224, 64)
    with pytest.raises(ValueError, match='caltech101, cifar10'): get_dataset('horses')
    monkeypatch.delenv('IMGCOURSE_FULL')
    assert (get_dataset('caltech101')/'test'/'yin_yang').is_dir()
    monkeypatch.delenv('IMGCOURSE_DATA')
    for var, value in (('IMGCOURSE_FULL', 'ture'), ('IMGCOURSE_DATA', '/no/such/folder')):
        monkeypatch.setenv(var, value)
        with pytest.raises((ValueError, OSError), match=var): get_dataset('dogscats')
        monkeypatch.delenv(var)
