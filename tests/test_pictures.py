"Files of all kinds become pictures, the bad ones are named, folders are listed; and what all modules share."
import ctypes
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import skimage.data
import torch
from nbclient import NotebookClient
from PIL import ExifTags, Image
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor
from bombs import jpeg, layers_of_colors, many_remarks, one_large_tile, segment, small_notes
from imgcourse import pictures
from imgcourse.data import ImageClassifierData
from imgcourse.files import printable
from imgcourse.pictures import (PictureError, check_number, check_pictures, list_pictures, look_at,
                                pictures_by_class, read_picture, read_pixels, sharp_figures, show_images)
from imgcourse.transforms import lite0, model_cfg, tfms_from_model

TFMS = tfms_from_model('resnet18', 32)
RED = (200, 30, 30)


# ---- pictures of all kinds
def test_modes(tmp_path):
    "Every mode gives the picture that a person sees."
    red = Image.new('RGB', (40, 30), RED)
    see_through = Image.new('RGBA', (40, 30), (0, 0, 0, 0))
    see_through.paste((*RED, 255), (0, 0, 20, 30))
    files = {'rgb.png': red, 'cmyk.jpg': red.convert('CMYK'), 'palette.gif': red.quantize(4), 'rgba.png': see_through,
             'la.png': see_through.convert('LA'), 'pal.png': see_through.quantize(8)}
    for name, im in files.items():
        im.save(tmp_path/name)
    for name in ('rgb.png', 'cmyk.jpg', 'palette.gif', 'rgba.png'):
        im = read_picture(tmp_path/name)
        assert im.mode == 'RGB' and im.size == (40, 30)
        assert np.abs(np.int32(im.getpixel((10, 15))) - RED).max() < 8, name
    for name in ('rgba.png', 'la.png', 'pal.png'):
        assert read_picture(tmp_path/name).getpixel((30, 15)) == (255, 255, 255), name


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


def turned(orientation):
    "The note of a camera."
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    "A photo of a red corner is upright, however the camera was held, also when it is decoded smaller."
    stored = Image.new('RGB', (640, 320), 'white')
    stored.paste((255, 0, 0), (0, 0, 160, 160))
    if orientation > 1:
        stored = stored.transpose({2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation])
    stored.save(tmp_path/'x.jpg', exif=turned(orientation))
    for side, size in ((None, (640, 320)), (64, (160, 80))):
        im = read_picture(tmp_path/'x.jpg', side)
        assert im.size == size
        r, g, b = im.getpixel((im.width//8, im.height//8))
        assert r > 200 and max(g, b) < 60, orientation
        assert min(im.getpixel((im.width - 5, im.height - 5))) > 200


KINDS = [(mode, name) for mode in ('RGB', 'RGBA', 'L', 'LA', 'I;16') for name in ('x.png', 'x.webp', 'x.tif')
         if (mode, name) not in (('I;16', 'x.webp'), ('LA', 'x.webp'), ('LA', 'x.tif'))]


@pytest.mark.parametrize('mode, name', KINDS)
def test_exif_orientation_of_other_kinds(tmp_path, mode, name):
    stored = Image.linear_gradient('L').resize((40, 20)) # dark above, light below
    if mode == 'I;16':
        stored = Image.fromarray(np.asarray(stored).astype(np.uint16)*257)
    else:
        stored = stored.convert(mode)
    how = {'lossless': True} if name == 'x.webp' else {}
    stored.save(tmp_path/name, exif=turned(6), **how)
    im = read_picture(tmp_path/name) # a quarter turn to the right: light on the left
    assert im.size == (20, 40) and im.getpixel((1, 20))[0] > 200 and im.getpixel((18, 20))[0] < 60


@pytest.mark.parametrize('size', [(16, 16), (24, 24), (20, 300), (4, 4)])
def test_small_pictures_are_pictures(few, size):
    for split, color in (('train', 'red'), ('valid', 'blue')):
        Image.new('RGB', size, color).save(few/split/'cats'/'small.jpg')
    assert len(ImageClassifierData.from_paths(few, tfms=TFMS).trn_ds) == 25


def test_pictures_come_smaller_but_large_enough(tmp_path):
    Image.new('RGB', (4000, 3000)).save(tmp_path/'x.jpg')
    Image.new('RGB', (4000, 3000)).save(tmp_path/'x.png', compress_level=1)
    for name in ('x.jpg', 'x.png'):
        for need in (96, 224, 500, 1400, 3000):
            assert need <= min(read_picture(tmp_path/name, need).size) <= 4*need


@pytest.mark.e2e
@pytest.mark.parametrize('kind, mb', [('jpg', 150), ('png', 550)])
def test_huge_picture_takes_bounded_memory(tmp_path, kind, mb):
    """12,000 by 9,000 pixels are 432 MB in Pillow. A JPEG stays far below; of other formats there is one copy,
    and what comes back is small."""
    Image.new('RGB', (12_000, 9_000), RED).save(tmp_path/f'huge.{kind}')
    code = f"""
import resource, warnings
warnings.simplefilter('error')
from imgcourse.pictures import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
im = read_picture({str(tmp_path/f'huge.{kind}')!r}, 224)
print(im.size, im.getpixel((0, 0)), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)//1024)
"""
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path)}
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=env).stdout
    w, h = map(int, re.findall(r'\d+', out)[:2])
    assert 224 <= h < 1000 and abs(w/h - 4/3) < .01 and int(out.split()[-1]) < mb


# ---- pictures that Pillow finds too large
@pytest.fixture
def large(tmp_path, monkeypatch):
    "A file with more pixels than Pillow likes, and fewer than it refuses."
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 2000)
    Image.new('RGB', (60, 50), RED).save(tmp_path/'large.png')
    return tmp_path/'large.png'


def test_large_pictures_are_welcome(large):
    "No warning here; elsewhere Pillow warns as before."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        filters, before = warnings.filters, list(warnings.filters)
        assert read_picture(large).size == (60, 50)
        assert warnings.filters is filters and filters == before
        with pytest.raises(Image.DecompressionBombWarning):
            Image.open(large)


def test_pictures_over_the_limit_are_refused(large):
    filters = list(warnings.filters)
    Image.new('RGB', (100, 50)).save(large)
    with pytest.raises(PictureError, match=r'large.png: over 4,000 pixels; make it smaller first$'):
        read_picture(large)
    assert warnings.filters == filters


def test_large_pictures_in_threads_beside_a_program_that_changes_its_filters(large):
    "None of the readers is warned, and nothing is left of what they or the program did."
    faults, filters = [], list(warnings.filters)
    def read():
        try:
            for _ in range(200):
                read_picture(large)
        except Warning as e:
            faults.append(e)
    def change():
        for _ in range(2000):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', DeprecationWarning)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        readers = [threading.Thread(target=read) for _ in range(6)]
        for t in readers:
            t.start()
        for t in readers:
            t.join()
    assert faults == []
    both = [threading.Thread(target=f) for f in (read, change, read)]
    for t in both:
        t.start()
    for t in both:
        t.join()
    assert warnings.filters == filters


def test_reading_does_not_make_python_repeat_its_warnings(large):
    "What a program is told once, it is told once, however many pictures are read meanwhile."
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('default')
        for _ in range(3):
            warnings.warn('said once', UserWarning, stacklevel=1)
            read_picture(large)
    assert [str(w.message) for w in told] == ['said once']


# ---- files that are no pictures
BAD = {'text.jpg': 'not a picture', 'empty.png': 'empty', 'dot.png': '1×1 pixels', 'cut.jpg': 'damaged'}


def make_bad(folder):
    (folder/'text.jpg').write_bytes(b'I am a list, not a picture')
    (folder/'empty.png').write_bytes(b'')
    Image.new('RGB', (1, 1)).save(folder/'dot.png')
    Image.effect_noise((200, 200), 50).convert('RGB').save(folder/'cut.jpg')
    whole = (folder/'cut.jpg').read_bytes()
    (folder/'cut.jpg').write_bytes(whole[:len(whole)//2])


@pytest.mark.parametrize('name', BAD)
def test_bad_picture(tmp_path, name):
    make_bad(tmp_path)
    with pytest.raises(PictureError, match=f'{name}.*{BAD[name]}'):
        read_picture(tmp_path/name)


def test_readers_that_raise_anything(few, tmp_path):
    "A broken AVIF and a palette picture without its palette are left out as other bad ones are."
    im = Image.effect_noise((64, 64), 50)
    whole = few/'train'/'cats'/'whole.avif'
    im.convert('RGB').save(whole)
    content = whole.read_bytes()
    at = content.index(b'mdat') + 4
    (few/'train'/'cats'/'broken.avif').write_bytes(content[:at] + bytes(20) + content[at + 20:])
    im.quantize(16).save(few/'train'/'cats'/'palette.png')
    png = (few/'train'/'cats'/'palette.png').read_bytes()
    at = png.index(b'PLTE') - 4
    (few/'train'/'cats'/'palette.png').write_bytes(png[:at] + png[at + 12 + 48:])
    with pytest.warns(UserWarning, match='2 of 39 pictures cannot be read') as w:
        data = ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip')
    assert all(f'{name}: damaged' in str(w[0].message) for name in ('broken.avif', 'palette.png'))
    assert str(whole) in data.trn_ds.items and len(data.trn_ds) == 25


def test_no_other_program_is_started(tmp_path):
    "(For an EPS Pillow would start an interpreter.)"
    eps = ('%!PS-Adobe-3.0 EPSF-3.0', '%%BoundingBox: 0 0 60 40', '%%EndComments', 'showpage', '%%EOF', '')
    (tmp_path/'cat.jpg').write_text('\n'.join(eps))
    code = f"""
import sys
from imgcourse.pictures import PictureError, read_picture
sys.addaudithook(lambda event, args: event == 'subprocess.Popen' and print('started', args))
try:
    read_picture({str(tmp_path/'cat.jpg')!r})
except PictureError as e:
    print(e)
"""
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path)}
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=env).stdout
    assert out.startswith(f'{tmp_path}/cat.jpg: this is not a picture, or of a kind that is not opened')


@pytest.mark.parametrize('odd', [np.inf, -np.inf, np.nan])
def test_pixels_that_are_no_numbers(tmp_path, odd):
    a = np.full((8, 8), .5, np.float32)
    a[3, 4] = odd
    Image.fromarray(a).save(tmp_path/'x.tif')
    with pytest.raises(PictureError, match=r'x.tif.*no finite numbers'):
        read_picture(tmp_path/'x.tif')


def test_places_that_are_no_files(few):
    "A named pipe would be waited for, for ever."
    cats = few/'train'/'cats'
    os.mkfifo(cats/'pipe.jpg')
    (cats/'zero.jpg').symlink_to('/dev/zero')
    with pytest.raises(PictureError, match=r'(?s)2 of 38.*pipe.jpg: .*no file, but.*zero.jpg: .*no file, but'):
        ImageClassifierData.from_paths(few, tfms=TFMS)


def test_pictures_that_would_take_too_much_memory(tmp_path, monkeypatch):
    "What one takes is known before, and what several threads take together stays within the same bound."
    Image.new('RGB', (300, 200), RED).save(tmp_path/'x.webp')
    monkeypatch.setattr(pictures, '_most', 300*200*20)
    assert read_picture(tmp_path/'x.webp').size == (300, 200)
    most, room = [], pictures._room(os.getpid())
    def read(k):
        monkeypatch.setattr(room, 'change', Noting(room, most)) if k == 0 else None
        return read_picture(tmp_path/'x.webp').size
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(read, range(40))) == {(300, 200)}
    assert 0 < max(most) <= 300*200*20 and room.taken == 0
    monkeypatch.setattr(pictures, '_most', 300*200*20 - 1)
    with pytest.raises(PictureError, match=r'x.webp: reading it would take 0.0 GB; make it smaller'):
        read_picture(tmp_path/'x.webp')


class Noting(threading.Condition):
    "Notes how much is taken whenever that changes."
    def __init__(self, room, taken):
        super().__init__()
        self.room, self.taken = room, taken

    def __exit__(self, *args):
        self.taken.append(self.room.taken)
        return super().__exit__(*args)


@pytest.mark.parametrize('read', [read_picture, read_pixels])
def test_what_needs_more_than_there_may_be_is_not_waited_for(tmp_path, monkeypatch, read):
    Image.effect_noise((600, 400), 90).convert('RGB').save(tmp_path/'x.jpg', quality=20)
    monkeypatch.setattr(pictures, '_most', 600*400*3 - 1)
    with pytest.raises(PictureError, match=r'x.jpg: reading it would take'):
        read(tmp_path/'x.jpg')


def test_large_files_are_counted_too(tmp_path, monkeypatch):
    "Some readers take a file whole, and several times. Of those that wait for the rest, there is one at a time."
    Image.effect_noise((60, 40), 90).convert('RGB').save(tmp_path/'x.png')
    file, room = tmp_path/'x.png', pictures._room(os.getpid())
    n, pixels = 5*file.stat().st_size, 60*40*8
    monkeypatch.setattr(pictures, '_most', 2*n + pixels - 1)
    open_now, most = [], []
    opened = pictures._opened
    def noted(file):
        open_now.append(file)
        most.append(room.taken)
        return opened(file)
    monkeypatch.setattr(pictures, '_opened', noted)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda k: read_picture(file).size, range(40))) == {(60, 40)}
    assert len(open_now) == 40 and n <= min(most) and max(most) < 2*n + pixels
    assert room.taken == 0
    monkeypatch.setattr(pictures, '_most', n + pixels - 1)
    with pytest.raises(PictureError, match=r'x.png: reading it would take 0.0 GB; make it smaller'):
        read_picture(file)


def test_notes_in_many_parts(tmp_path):
    "Pillow copies all parts for each new one: at 100 MB half a minute, at 300 MB five."
    small = io.BytesIO()
    Image.new('RGB', (96, 64), RED).save(small, 'JPEG')
    part = b'\xff\xe1\xff\xfdExif\0\0' + bytes(65_525)
    for n in (3, 400):
        (tmp_path/f'{n} parts.jpg').write_bytes(small.getvalue()[:2] + part*n + small.getvalue()[2:])
    assert read_picture(tmp_path/'3 parts.jpg').size == (96, 64)
    for read in (read_picture, read_pixels):
        with pytest.raises(PictureError, match=r'400 parts.jpg: .*its notes are in 400 parts'):
            read(tmp_path/'400 parts.jpg')


BOMBS = {
    'small notes.jpg': (lambda: small_notes(20_000), 'notes are in 20,080 parts'),
    'layers.jpg': (lambda: layers_of_colors(9_000, 9_000, 2_000), 'in 2,000 layers'),
    'empty segments.jpg': (lambda: jpeg()[:2] + segment(0xe1)*500_000 + jpeg()[2:], 'too many pieces'),
    'remarks.ppm': (lambda: many_remarks(500_000), 'over 1,000 remarks'),
}


@pytest.mark.parametrize('name', BOMBS)
@pytest.mark.parametrize('read', [read_picture, read_pixels])
def test_files_that_would_take_minutes(tmp_path, name, read):
    "They are small, and Pillow reads them; each for minutes, or into gigabytes."
    make, why = BOMBS[name]
    (tmp_path/name).write_bytes(make())
    with pytest.raises(PictureError, match=f'{name}: [^(]*{why}'):
        read(tmp_path/name)


def test_what_is_harmless_of_that_kind_is_read(tmp_path):
    for name, content in {'three layers.jpg': layers_of_colors(64, 64, 3), 'remarks.ppm': many_remarks(900)}.items():
        (tmp_path/name).write_bytes(content)
        want = Image.open(tmp_path/name).convert('RGB')
        assert np.array_equal(np.asarray(read_picture(tmp_path/name)), np.asarray(want))
        assert read_pixels(tmp_path/name).shape == (3, *want.size)


@pytest.mark.parametrize('name, most', [('layers.jpg', 6*900*900), ('tile.tif', 12*16_384**2)])
def test_what_counts_is_what_the_decoder_takes(tmp_path, monkeypatch, name, most):
    "A JPEG in layers is held whole, whatever size is asked for; a tile, however small the picture."
    (tmp_path/name).write_bytes(layers_of_colors(900, 900, 3) if name == 'layers.jpg' else one_large_tile(16_384))
    for read in (read_picture, read_pixels):
        monkeypatch.setattr(pictures, '_most', 2*most)
        read(tmp_path/name, 16)
        monkeypatch.setattr(pictures, '_most', most - 1)
        with pytest.raises(PictureError, match=f'{name}: reading it would take'):
            read(tmp_path/name, 16)


@pytest.mark.parametrize('value', [1, 200, 256, 65535])
def test_sixteen_bits_of_any_brightness(value):
    "A dark picture stays dark, whatever kind of file it comes in."
    pixels = np.full((8, 8), value)
    pgm = io.BytesIO(b'P5 8 8 65535\n' + pixels.astype('>u2').tobytes())
    png = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint16)).save(png, 'PNG')
    for file in (pgm, png):
        assert np.asarray(read_picture(file)).max() == round(value/257)


def test_a_class_folder_on_a_disk_that_is_not_there(few):
    "A class would be missing."
    (few/'train'/'birds').symlink_to(few/'gone'/'birds')
    with pytest.raises(ValueError, match=r'birds is a link to .*gone.birds, which is not there'):
        ImageClassifierData.from_paths(few, tfms=TFMS)


def test_a_picture_that_is_cut_and_was_opened_elsewhere(few):
    content = (few/'train'/'cats'/'cat.1.jpg').read_bytes()
    with pytest.raises(PictureError, match='The picture: damaged'):
        pictures.as_picture(Image.open(io.BytesIO(content[:len(content)//2])))


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere paths are not so long')
def test_folders_without_end(tmp_path):
    deep = tmp_path.joinpath(*['d']*120)
    deep.mkdir(parents=True)
    with pytest.raises(OSError, match='over 100 folders one within another'):
        pictures.list_pictures(tmp_path)


def test_two_processes_note_what_was_good(few):
    "Neither takes away what the other has written meanwhile."
    files = sorted((few/'train'/'cats').glob('*.jpg'))
    note = pictures._note_of(files)
    looked = [subprocess.Popen([sys.executable, '-c', 'import sys; from imgcourse.pictures import look_at\n'
                                'for f in sys.argv[1:]: look_at([f])', *map(str, files[k::2])]) for k in range(2)]
    assert [p.wait() for p in looked] == [0, 0]
    assert len(pictures._read_note(note)) == len(files)


def test_a_stream_that_only_goes_forward(few):
    "Such as what `urlopen` gives."
    content = (few/'train'/'cats'/'cat.1.jpg').read_bytes()
    class Stream(io.BytesIO):
        def seekable(self): return False
        def seek(self, *args): raise io.UnsupportedOperation('seek')
    assert read_picture(Stream(content)).tobytes() == read_picture(io.BytesIO(content)).tobytes()


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere the file would take that room on the disk')
@pytest.mark.parametrize('read', [read_picture, read_pixels])
def test_a_file_that_is_larger_than_any_picture(few, read):
    "A picture, and behind it a gigabyte of nothing."
    file = few/'train'/'cats'/'cat.1.jpg'
    os.truncate(file, 2**30)
    with pytest.raises(PictureError, match=r'cat.1.jpg: a file of 1.1 GB'):
        read(file)


def test_content_can_be_read_twice(few):
    content = io.BytesIO((few/'train'/'cats'/'cat.1.jpg').read_bytes())
    content.name = 'mine.jpg'
    assert read_picture(content).tobytes() == read_picture(content).tobytes()
    content = io.BytesIO(b'no picture')
    content.name = 'mine.jpg'
    with pytest.raises(PictureError, match=r'^mine.jpg: this is not a picture'):
        read_picture(content)


def test_a_picture_in_thousands_of_layers(tmp_path):
    "The decoder would go through the whole picture for each of them."
    Image.new('L', (64, 64), 99).save(tmp_path/'x.jpg', progressive=True)
    content = (tmp_path/'x.jpg').read_bytes()
    at = content.index(b'\xff\xc2')
    content = content[:at + 5] + (8000).to_bytes(2, 'big')*2 + content[at + 9:-2]
    layer = b'\xff\xda\x00\x08\x01\x01\x00\x01\x05\x01' + bytes(4)
    (tmp_path/'x.jpg').write_bytes(content + layer*20_000 + b'\xff\xd9')
    for read in (read_picture, read_pixels):
        with pytest.raises(PictureError, match=r'x.jpg.*layers, which would take minutes'):
            read(tmp_path/'x.jpg', 224)


def test_missing_picture_and_strip(tmp_path):
    with pytest.raises(PictureError, match='no such file'):
        read_picture(tmp_path/'none.jpg')
    Image.new('RGB', (5, 3000)).save(tmp_path/'strip.png')
    with pytest.raises(PictureError, match='5×3000'):
        read_picture(tmp_path/'strip.png')


def test_one_report_of_all_bad_pictures(few):
    make_bad(few/'train'/'cats')
    with pytest.raises(PictureError) as e:
        ImageClassifierData.from_paths(few, tfms=TFMS)
    assert '4 of 40' in str(e.value) and "on_error='skip'" in str(e.value) and all(n in str(e.value) for n in BAD)
    with pytest.raises(ValueError, match='on_error'):
        ImageClassifierData.from_paths(few, tfms=TFMS, on_error='ignore')


def test_bad_pictures_are_left_out(few):
    make_bad(few/'train'/'cats')
    with pytest.warns(UserWarning, match='left out') as w:
        data = ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip')
    assert len(w) == 1 and all(n in str(w[0].message) for n in BAD)
    assert len(data.trn_ds) == 24 and list(np.bincount(data.trn_y)) == [12, 12]
    assert sum(len(y) for _, y in data.trn_dl) == 24


def test_nothing_left_of_a_class(few):
    for f in (few/'valid'/'dogs').iterdir():
        f.write_text('no picture')
    with pytest.raises(PictureError, match=r'valid/dogs.*none of its 6'), pytest.warns(UserWarning):
        ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip')


def test_no_test_picture_can_be_read(few):
    (few/'test').mkdir()
    (few/'test'/'a.jpg').write_bytes(b'')
    with pytest.warns(UserWarning, match='left out'), pytest.raises(PictureError, match='None of the test pictures'):
        ImageClassifierData.from_paths(few, tfms=TFMS, test_name='test', on_error='skip')


def test_good_files_are_decoded_once(few, own_cache, monkeypatch):
    seen = []
    def read(path, min_side=None):
        seen.append(path)
        return read_pixels(path, min_side)
    monkeypatch.setattr(pictures, 'read_pixels', read)
    for _ in range(2):
        ImageClassifierData.from_paths(few, tfms=TFMS)
        assert len(seen) == 36
    (few/'train'/'dogs'/'dog.1.jpg').write_bytes(b'broken now')
    with pytest.raises(PictureError, match=r'1 of 36.*\n.*dog.1.jpg'):
        ImageClassifierData.from_paths(few, tfms=TFMS)
    assert len(seen) == 37


def without_rights(code, *args):
    "What a program prints that may not read or write what its user may not: as root, too, who may everything."
    def drop():
        for right in (1, 2): # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: gone with the next program
            ctypes.CDLL(None).prctl(24, right, 0, 0, 0)
    env = {**os.environ, 'PYTHONPATH': ':'.join(sys.path)}
    program = [sys.executable, '-c', code, *map(str, args)]
    done = subprocess.run(program, preexec_fn=drop, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """
import sys, warnings
from imgcourse.all import ImageClassifierData, tfms_from_model
warnings.simplefilter('always')
warnings.showwarning = lambda message, *_: print(message)
try:
    print(ImageClassifierData.from_paths(sys.argv[1], tfms=tfms_from_model('resnet18', 32)))
except (OSError, ValueError) as e:
    print(type(e).__name__, e)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='rights are dropped as on Linux')
@pytest.mark.parametrize('place', ['train/cats', 'train/cats/more', 'train'])
def test_folders_that_may_not_be_opened(few, place):
    (few/place).mkdir(exist_ok=True)
    (few/place).chmod(0)
    try:
        out = without_rights(READ, few)
    finally:
        (few/place).chmod(0o755)
    assert out.startswith(f'PermissionError The folder {few/place} cannot be opened (Permission denied)')


@pytest.mark.skipif(sys.platform != 'linux', reason='rights are dropped as on Linux')
def test_a_cache_that_may_only_be_read(few, own_cache):
    "Warm, it serves without a word; what it lacks is looked at, and a word says that it will be again."
    def out():
        for f in (own_cache, *own_cache.rglob('*')):
            f.chmod(0o555 if f.is_dir() else 0o444)
        return without_rights(READ, few)
    own_cache.mkdir()
    assert 'could not be noted' in out() and '24 training' in out()
    for f in (own_cache, *own_cache.rglob('*')):
        f.chmod(0o755)
    ImageClassifierData.from_paths(few, tfms=TFMS)
    assert out().startswith('24 training')


def test_files_that_vanish_or_change_meanwhile(few):
    data = ImageClassifierData.from_paths(few, tfms=TFMS)
    gone = Path(data.trn_ds.items[3])
    gone.unlink()
    for ask in (data.trn_ds.key, data.trn_ds.picture):
        with pytest.raises(PictureError, match=rf'{gone.name}.*no such file|{gone.name}.*no longer'):
            ask(3)


def test_no_files_at_all(own_cache): assert look_at([]).bad == {} and check_pictures([]).bad == {}


# ---- folders
def no_cats(path):
    for split in ('train', 'valid'):
        shutil.rmtree(path/split/'cats')


@pytest.mark.parametrize('break_it, error, message', [
    (lambda p: (p/'train').rename(p/'training'), FileNotFoundError,
     r'no folder .*train. The folders in .* are training, valid'),
    (lambda p: (p/'train'/'birds').mkdir(), ValueError, 'no pictures in the class folder birds'),
    (no_cats, ValueError, r"at least 2; it has \['dogs'\]"),
    (lambda p: (p/'valid'/'cats').rename(p/'valid'/'kittens'), ValueError, 'cats, kittens')])
def test_bad_folders(few, break_it, error, message):
    break_it(few)
    with pytest.raises(error, match=message):
        ImageClassifierData.from_paths(few, tfms=TFMS)


def test_files_that_are_no_pictures_are_told(few):
    (few/'train'/'cats'/'holiday.heic').write_bytes(b'x')
    (few/'train'/'cats'/'.DS_Store').write_bytes(b'x')
    with pytest.warns(UserWarning, match='1 file is.*heic.*saved as JPEG'):
        data = ImageClassifierData.from_paths(few, tfms=TFMS)
    assert len(data.trn_ds) == 24


def test_links_that_lead_in_circles(few):
    "Each picture once; a linked folder of pictures counts."
    cats, dogs = few/'train'/'cats', few/'train'/'dogs'
    n = len(list_pictures(cats))
    (cats/'round').symlink_to(cats)
    (cats/'up').symlink_to(dogs)
    (dogs/'back').symlink_to(cats)
    found = list_pictures(cats)
    assert len(found) == len({f.resolve() for f in found}) == n + 12


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux has such names')
def test_names_that_are_not_utf8(few):
    cats = few/'train'/'cats'
    shutil.copy(cats/'cat.1.jpg', os.fsencode(cats) + b'/caf\xe9.jpg')
    assert len(ImageClassifierData.from_paths(few, tfms=TFMS).trn_ds) == 25


@pytest.mark.parametrize('suffix', ['.heic', '.HEIC', ''])
def test_a_class_of_files_that_cannot_be_read(few, suffix):
    for f in (few/'train'/'cats').iterdir():
        f.rename(f.with_suffix(suffix))
    words = rf'no pictures in the class folder cats \(only files .*{suffix.lower()}.*JPEG'
    with pytest.raises(ValueError, match=words), pytest.warns(UserWarning, match='passed over'):
        ImageClassifierData.from_paths(few, tfms=TFMS)


def test_avif_is_read(few):
    for f in sorted((few/'train'/'cats').iterdir()):
        Image.open(f).save(f.with_suffix('.avif'))
        f.unlink()
    assert len(ImageClassifierData.from_paths(few, tfms=TFMS).trn_ds) == 24


def test_classes_one_level_too_deep(few, tmp_path):
    "All breeds of cats would be one class without a word."
    for k, f in enumerate(sorted((few/'train'/'cats').iterdir())):
        (few/'train'/'cats'/f'breed {k % 3}').mkdir(exist_ok=True)
        f.rename(few/'train'/'cats'/f'breed {k % 3}'/f.name)
    with pytest.warns(UserWarning) as w:
        pictures_by_class(few/'train')
    words = str(w[0].message)
    assert len(w) == 1 and 'no pictures itself, but 3 folders with pictures (breed 0, breed 1, breed 2)' in words


def test_loose_pictures_are_told(few):
    (few/'train'/'cats'/'cat.1.jpg').rename(few/'train'/'stray.jpg')
    with pytest.warns(UserWarning, match='stray.jpg'):
        ImageClassifierData.from_paths(few, tfms=TFMS)


def test_a_folder_of_pictures_is_no_folder_of_classes(few):
    "The way out is named; nothing is warned of that is no help."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(ValueError, match=r'did you mean the folder above, .*train'):
            pictures_by_class(few/'train'/'cats')


def test_warnings_point_at_the_line_of_the_user(few):
    "Through however many functions of ours they come."
    rows = [f'{f},{f.parent.name},3' for f in list_pictures(few/'valid')]
    (few/'labels.csv').write_text('\n'.join(['id,breed,age', *rows]))
    (few/'train'/'cats'/'list.txt').write_bytes(b'x')
    (few/'train'/'stray.jpg').write_bytes(b'')
    (few/'train'/'dogs'/'bad.jpg').write_bytes(b'')
    calls = [
        lambda: list_pictures(few/'train'/'cats'),
        lambda: pictures_by_class(few/'train'),
        lambda: check_pictures([few/'train'/'dogs'/'bad.jpg'], 'skip'),
        lambda: ImageClassifierData.from_paths(few, tfms=TFMS, on_error='skip'),
        lambda: ImageClassifierData.from_folder(few/'train', tfms=TFMS, on_error='skip'),
        lambda: ImageClassifierData.from_csv(few, 'valid', few/'labels.csv', tfms=TFMS, val_idxs=[0]),
    ]
    first = calls[0].__code__.co_firstlineno
    for k, (call, n) in enumerate(zip(calls, (1, 2, 1, 3, 3, 1))):
        with pytest.warns(UserWarning) as told:
            call()
        assert [(w.filename, w.lineno) for w in told] == [(__file__, first + k)]*n, [str(w.message) for w in told]


# ---- what all modules share
@pytest.mark.parametrize('value, how', [
    (1, {}), (0, {}), (.5, {}), (np.float32(.5), {}), (np.int64(3), {'whole': True}), (1, {'most': 1}),
    (1e-9, {'above': True}), (.9, {'most': 1, 'below': True}), (5, {'least': 5, 'whole': True}), (-3, {'least': -3})])
def test_numbers_that_can_be(value, how): assert check_number(value, 'x', 'the size', **how) is value


@pytest.mark.parametrize('value, how, message', [
    (-1, {}, 'x is the size, a number of at least 0, not -1'),
    (float('nan'), {}, 'x is the size, a number of at least 0, not nan'),
    (float('inf'), {}, 'x is the size, a number of at least 0, not inf'),
    ('3', {}, "x is the size, a number of at least 0, not '3'"),
    (None, {}, 'x is the size, a number of at least 0, not None'),
    (True, {}, 'x is the size, a number of at least 0, not True'),
    ([1, 2], {}, r'x is the size, a number of at least 0, not \[1, 2\]'),
    (1j, {}, 'x is the size, a number of at least 0, not 1j'),
    (0, {'above': True}, 'x is the size, a number above 0, not 0'),
    (2.5, {'least': 1, 'whole': True}, 'x is the size, a whole number of at least 1, not 2.5'),
    (2, {'most': 1}, 'x is the size, a number from 0 to 1, not 2'),
    (0, {'most': 1, 'above': True}, 'x is the size, a number above 0 and at most 1, not 0'),
    (1, {'most': 1, 'below': True}, 'x is the size, a number of at least 0 and below 1, not 1'),
    (1, {'most': 1, 'above': True, 'below': True}, 'x is the size, a number above 0 and below 1, not 1')])
def test_numbers_that_cannot_be(value, how, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        check_number(value, 'x', 'the size', **how)


def test_printable():
    name = 'caf\udce9'
    assert printable(name).startswith('caf') and printable(name).encode() and '?' in printable(name)
    assert printable('Mädchens Katze № 1') == 'Mädchens Katze № 1' and printable(Path('a')) == 'a'
    assert printable('\x1b[31mred\x07\n\u202ekcab') == '?[31mred???kcab'
    assert printable('می\u200cخواهم') == 'می\u200cخواهم' # a joiner that Persian needs


def test_show_images():
    "Pillow pictures, arrays, tensors; a place for each, what is left over stays empty; titles are printed as they are."
    gray = torch.linspace(0, 1, 64).reshape(8, 8)
    ims = [Image.new('RGB', (8, 6), RED), np.zeros((6, 8, 3)), gray]
    titles = ['costs $5', '$x^', 'caf\udce9']
    with warnings.catch_warnings():
        warnings.simplefilter('error', DeprecationWarning) # matplotlib has its own way with tensors
        axs = show_images(ims, titles, 2, 1, ['red', 'green', 'blue'], 7, cmap='gray', vmin=0, vmax=2)
    plt.gcf().canvas.draw()
    assert axs.shape == (2, 2) and [len(ax.images) for ax in axs.flat] == [1, 1, 1, 0]
    assert [ax.get_title() for ax in axs.flat] == ['costs $5', '$x^', printable(titles[2]), '']
    assert [ax.title.get_color() for ax in axs.flat[:3]] == ['red', 'green', 'blue']
    assert {ax.title.get_fontsize() for ax in axs.flat[:3]} == {7} and not any(ax.axison for ax in axs.flat)
    assert axs.flat[2].images[0].get_cmap().name == 'gray' and axs.flat[2].images[0].get_clim() == (0, 2)
    assert plt.gcf().get_figwidth() == 2
    plt.close('all')


def test_show_images_without_titles():
    axs = show_images([np.zeros((4, 4, 3))]*5)
    assert axs.shape == (2, 4) and [ax.get_title() for ax in axs.flat] == ['']*8
    plt.close('all')


DRAW = 'plt.figure(figsize=(4, 3))\nplt.imshow(np.random.RandomState(0).rand(64, 64));'


def test_figures_of_a_notebook_are_sharp():
    "Two dots for each pixel of the page, on which a figure is as large as before; JPEG files, the better the larger."
    code = ('import numpy as np\nimport matplotlib.pyplot as plt', DRAW,
            'from imgcourse.pictures import sharp_figures\nsharp_figures()', DRAW, 'sharp_figures(quality=95)', DRAW,
            'plt.figure(figsize=(4, 3))\nplt.plot([1, 2]);')
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in code])
    NotebookClient(nb, kernel_name='python3').execute()
    assert [len(cell.outputs) for cell in nb.cells] == [0, 1, 0, 1, 0, 1, 1], 'each figure is shown once'
    plain, sharp, better = (cell.outputs[0] for cell in nb.cells[1:6:2])
    size = Image.open(io.BytesIO(b64decode(plain.data['image/png']))).size
    for out in (sharp, better):
        assert {kind for kind in out.data if kind.startswith('image/')} == {'image/jpeg'}
        im = Image.open(io.BytesIO(b64decode(out.data['image/jpeg'])))
        assert im.format == 'JPEG'
        on_page = out.metadata['image/jpeg']
        assert [on_page['width'], on_page['height']] == [side//2 for side in im.size]
        assert np.abs(np.array(im.size) - 2*np.array(size)).max() <= 4
    assert len(better.data['image/jpeg']) > 1.2*len(sharp.data['image/jpeg'])
    lines = nb.cells[-1].outputs[0]
    assert {kind for kind in lines.data if kind.startswith('image/')} == {'image/png'}, 'lines have sharp edges'
    assert lines.metadata['image/png']['width'] == Image.open(io.BytesIO(b64decode(lines.data['image/png']))).width//2


def test_figures_of_a_program_stay_as_they_are():
    before = plt.get_fignums(), dict(plt.rcParams)
    sharp_figures()
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


# ---- as tensors
def same_as_pillow(file, min_side=None):
    "The mean difference of the pixels that `read_pixels` and `read_picture` give."
    fast, plain = read_pixels(file, min_side), pil_to_tensor(read_picture(file, min_side))
    assert fast.dtype == torch.uint8 and fast.shape == plain.shape
    return (fast.float() - plain.float()).abs().mean().item()


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('orientation', [1, 6])
def test_pixels_are_those_of_the_picture(tmp_path, mode, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    chelsea().convert(mode).save(tmp_path/'a.jpg', exif=exif)
    chelsea().save(tmp_path/'b.png')
    for f in ('a.jpg', 'b.png'):
        for min_side in (None, 64, 200):
            assert same_as_pillow(tmp_path/f, min_side) < .1


def chelsea(): return Image.fromarray(skimage.data.chelsea())


@pytest.mark.photos
def test_pixels_of_photos_are_those_of_pillow(dogscats_photos):
    "And shrunk, they differ from Pillow's plain way by less than half a level of 256."
    files = sorted((dogscats_photos/'valid'/'cats').iterdir())
    assert max(same_as_pillow(f, 224) for f in files) < .1
    for arch in ('resnet34', lite0):
        tfm = tfms_from_model(arch, 128)[1]
        how = v2.InterpolationMode(model_cfg(arch).interpolation)
        plain = v2.Compose([v2.Resize(128, how), v2.CenterCrop(128), v2.PILToTensor()])
        off = [(tfm.sized(read_pixels(f, 128)).float() - plain(Image.open(f).convert('RGB')).float()).abs().mean()
               for f in files if min(Image.open(f).size) < 256]
        assert len(off) > 10 and max(off) < .5


def test_damaged_files_as_tensors(tmp_path):
    chelsea().save(tmp_path/'whole.jpg')
    content = (tmp_path/'whole.jpg').read_bytes()
    for damaged in (content[:len(content)//2], content[:300], b'\xff\xd8\xff', b''):
        (tmp_path/'bad.jpg').write_bytes(damaged)
        with pytest.raises(PictureError, match=r'bad\.jpg'):
            read_pixels(tmp_path/'bad.jpg')
    Image.new('RGB', (400, 4)).save(tmp_path/'strip.jpg')
    with pytest.raises(PictureError, match='nothing to recognize'):
        read_pixels(tmp_path/'strip.jpg')
    with pytest.raises(PictureError, match='no such file'):
        read_pixels(tmp_path/'none.jpg')


# ---- neighbors
def alone(code, **env):
    "What a process prints that has nothing of this one's settings of threads."
    ours = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'GOMP_', 'MKL_'))}
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=ours | env)
    assert p.returncode == 0, p.stderr
    return p.stdout.strip()


def test_waiting_threads_turn_a_few_times_only():
    code = 'import imgcourse, os; print(os.environ.get("GOMP_SPINCOUNT"))'
    assert 0 < int(alone(code)) < 100_000
    assert alone(code, GOMP_SPINCOUNT='7') == '7'
    assert alone(code, OMP_WAIT_POLICY='ACTIVE') == 'None'
    assert alone('import torch, ' + code.removeprefix('import ')) == 'None', 'too late'


@pytest.fixture
def busy_machine():
    spinning = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(2*os.cpu_count())]
    yield
    for p in spinning:
        p.kill()
        p.wait()


SHARE = """
import torch, time
from imgcourse.pictures import use_free_cores
if {most}:
    torch.set_num_threads({most})
end = time.monotonic() + 4
while time.monotonic() < end:
    use_free_cores()
    time.sleep(.1)
print(torch.get_num_threads())
"""


def test_beside_busy_neighbors_one_thread_computes(busy_machine):
    assert alone(SHARE.format(most=0)) == '1'
    assert alone(SHARE.format(most=0), OMP_NUM_THREADS='2') == '2', 'the user has said so'


def test_a_system_that_does_not_tell_who_is_busy(monkeypatch):
    def refuse(): raise PermissionError('/proc/stat')
    monkeypatch.setattr(pictures.psutil, 'cpu_times', refuse)
    monkeypatch.setattr(pictures, '_neighbors', pictures._Neighbors())
    before = torch.get_num_threads()
    pictures.use_free_cores()
    assert torch.get_num_threads() == before


def test_cores_that_are_free_again_are_used(monkeypatch):
    "And never more than the user allows."
    busy, clock = [0], [100]
    def later(seconds, others):
        clock[0] += seconds
        busy[0] += seconds*others
        pictures.use_free_cores()
        return torch.get_num_threads()
    monkeypatch.setattr(pictures.time, 'monotonic', lambda: clock[0])
    monkeypatch.setattr(pictures.time, 'process_time', lambda: 0)
    monkeypatch.setattr(pictures.psutil, 'cpu_times', lambda: SimpleNamespace(user=busy[0], system=0))
    monkeypatch.setattr(pictures.os, 'cpu_count', lambda: 8)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pictures, '_neighbors', pictures._Neighbors())
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(6)
        assert [later(2, 0), later(2, 3.1), later(.5, 8), later(2, 8), later(2, 0)] == [6, 5, 5, 1, 6]
        torch.set_num_threads(2)
        assert [later(2, 0), later(2, 7), later(2, 0)] == [2, 1, 2]
        steady = [(later(2, others), pictures.steady_threads()) for others in (0, 8, 0, 8, 8, 8, 8, 8, 8, 0)]
        assert steady == [(2, 2), (1, 2), (2, 2), *[(1, 2)]*5, (1, 1), (2, 1)], 'ten seconds later'
        torch.set_num_threads(4)
        assert pictures.steady_threads() == 4, 'the user has said so'
    finally:
        torch.set_num_threads(before)
