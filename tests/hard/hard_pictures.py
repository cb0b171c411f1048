"""Damaged files by mutation, odd kinds, bombs: read as Pillow's plain path reads them, or refused by name.

No reading may take more than `MOST` megabytes, and no other program may be started by it."""
import base64
import io
import os
import struct
import sys
import zlib
from functools import partial
from pathlib import Path
import numpy as np
from PIL import Image, ImageCms, ImageOps
from trials import Silent, Trial, refused

sys.path.append(str(Path(__file__).parents[1]))
from bombs import jpeg, layers_of_colors, many_remarks, one_large_tile, segment, small_notes

MOST = 1700 # megabytes: what the notebook on pictures promises, and what Python itself adds
OPENED = 'JPEG', 'PNG', 'GIF', 'BMP', 'DIB', 'PPM', 'TIFF', 'WEBP', 'AVIF'


# ---- what is read
def photo(w=96, h=64):
    "A picture with something of everything: smooth, edges, noise."
    x, y = np.meshgrid(np.linspace(0, 1, w), np.linspace(0, 1, h))
    noise = np.random.RandomState(0).rand(h, w)
    a = np.stack([x, y, (np.hypot(x - .5, y - .5) < .3)*.8 + .2*noise], 2)
    return Image.fromarray((a*255).astype(np.uint8))


def saved(im, kind, **how):
    out = io.BytesIO()
    im.save(out, kind, **how)
    return out.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def whole_files():
    "Whole files of all kinds, by name."
    im = photo()
    gray, see_through = im.convert('L'), im.copy()
    see_through.putalpha(gray)
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16)*257)
    real = Image.fromarray(np.asarray(gray).astype(np.float32)/255)
    frames = [im, im.rotate(90), im.rotate(180)]
    files = {
        'plain.jpg': saved(im, 'JPEG'), 'progressive.jpg': saved(im, 'JPEG', progressive=True),
        'gray.jpg': saved(gray, 'JPEG'), 'full.jpg': saved(im, 'JPEG', subsampling=0, quality=95),
        'cmyk.jpg': saved(im.convert('CMYK'), 'JPEG'), 'turned.jpg': saved(im, 'JPEG', exif=turned(6)),
        'restart.jpg': saved(im, 'JPEG', restart_marker_rows=1), 'profile.jpg': saved(im, 'JPEG', icc_profile=b'x'*500),
        'rgb.png': saved(im, 'PNG'),
        'rgba.png': saved(see_through, 'PNG'),
        'la.png': saved(see_through.convert('LA'), 'PNG'),
        'one.png': saved(gray.convert('1'), 'PNG'), 'palette.png': saved(im.quantize(16), 'PNG'),
        'deep.png': saved(deep, 'PNG'), 'turned.png': saved(im, 'PNG', exif=turned(3)),
        'moving.png': saved(im, 'PNG', save_all=True, append_images=frames),
        'palette.gif': saved(im.quantize(64), 'GIF'),
        'moving.gif': saved(im, 'GIF', save_all=True, append_images=frames),
        'lossy.webp': saved(im, 'WEBP'), 'lossless.webp': saved(see_through, 'WEBP', lossless=True),
        'moving.webp': saved(im, 'WEBP', save_all=True, append_images=frames),
        'rgb.avif': saved(im, 'AVIF'), 'rgba.avif': saved(see_through, 'AVIF', quality=40),
        'plain.tif': saved(im, 'TIFF'), 'lzw.tif': saved(im, 'TIFF', compression='tiff_lzw'),
        'deflate.tif': saved(see_through, 'TIFF', compression='tiff_adobe_deflate'),
        'jpeg.tif': saved(im, 'TIFF', compression='jpeg'),
        'fax.tif': saved(gray.convert('1'), 'TIFF', compression='group4'),
        'deep.tif': saved(deep, 'TIFF'), 'real.tif': saved(real, 'TIFF'), 'cmyk.tif': saved(im.convert('CMYK'), 'TIFF'),
        'rgb.bmp': saved(im, 'BMP'), 'palette.bmp': saved(im.quantize(16), 'BMP'),
        'rgb.ppm': saved(im, 'PPM'), 'gray.pgm': saved(gray, 'PPM'), 'moving.mpo.jpg': saved(im, 'MPO', save_all=True,
                                                                                          append_images=frames),
    }
    return files


def mutated(content, rng):
    "A damaged copy: cut, with bytes changed, a part gone, twice, zeroed, or exchanged."
    b = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        i = rng.randrange(len(b)) if rng.random() < .5 else rng.randrange(min(len(b), 64))
        n = rng.choice((1, 2, 4, 16, 64, 256))
        how = rng.randrange(8)
        if how == 0:
            del b[max(i, 8):]
        elif how == 1:
            b[i] = rng.randrange(256)
        elif how == 2:
            b[i:i + n] = bytes(n)
        elif how == 3:
            b[i:i + n] = b'\xff'*n
        elif how == 4:
            del b[i:i + n]
        elif how == 5:
            b[i:i] = b[i:i + n]
        elif how == 6:
            b[i] ^= 1 << rng.randrange(8)
        else:
            number = rng.choice((0, 1, 255, 65535, 2**31 - 1, 2**32 - 1, 20000))
            b[i:i + 4] = struct.pack(rng.choice('<>') + 'I', number)
        if not b:
            break
    return bytes(b)


# ---- what becomes of it
def plain(path):
    "Pillow's plain path, with nothing of ours but the mode."
    from imgcourse.pictures import to_rgb
    with open(path, 'rb') as f, Image.open(f, formats=OPENED) as im:
        im.load()
        return np.asarray(to_rgb(ImageOps.exif_transpose(im) if im.format != 'TIFF' else im))


def watch_programs(started):
    "From now on, what other programs are started is noted in the list."
    def hook(event, args):
        if event in ('subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.system', 'os.fork'):
            started.append(event)
    sys.addaudithook(hook)


STARTED = []


def read(path, must=None):
    """One file, in both of the ways that pictures are read. `must`: 'right' or 'refused', where only one of these
    will do."""
    import warnings
    from imgcourse.pictures import PictureError, read_picture, read_pixels
    warnings.simplefilter('ignore') # Pillow's about damage, which it tells without the name
    if 'watching' not in os.environ:
        watch_programs(STARTED)
        os.environ['watching'] = 'yes'
    STARTED.clear()
    try:
        got = np.asarray(read_picture(path))
        pixels = read_pixels(path).permute(1, 2, 0).numpy()
        what = 'right'
    except PictureError as e:
        what = one_line(e, path)
    check_started()
    if must and what != must:
        raise Silent(f'{what} instead of {must}')
    if what == 'right' and not np.array_equal(got, pixels):
        raise Silent('read_pixels reads something else than read_picture')
    if what == 'right' and not np.array_equal(got, plain(path)):
        raise Silent("Pillow's plain path reads something else")
    return what


def one_line(e, path):
    if len(str(e).splitlines()) > 1:
        raise Silent(f'more than a line: {e}')
    return refused(e, path)


def check_started():
    if STARTED:
        raise Silent(f'other programs were started: {STARTED}')


def read_large(path):
    "A large file, as it is and for a net; its memory is what counts."
    import warnings
    from imgcourse.pictures import PictureError, read_picture, read_pixels
    warnings.simplefilter('ignore')
    try:
        read_picture(path)
        read_picture(path, 224)
        read_pixels(path, 224)
        return 'right'
    except PictureError as e:
        return one_line(e, path)


# ---- files that nobody's program writes by accident
def png_chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png(w, h, bits, kind, rows):
    head = struct.pack('>IIBBBBB', w, h, bits, kind, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', head) + png_chunk(b'IDAT', rows) + png_chunk(b'IEND', b'')


def zeros(n):
    "Compressed zeros, without having them all at once."
    z, out = zlib.compressobj(9), []
    for _ in range(n >> 20):
        out.append(z.compress(bytes(1 << 20)))
    return b''.join([*out, z.compress(bytes(n & 0xfffff)), z.flush()])


def lossless_webp(w, h):
    "34 bytes that say they are so large, of one color."
    bits, n = 0x2f, 8
    for value, width in ((w - 1, 14), (h - 1, 14), (0, 1), (0, 3), (0, 3)):
        bits |= value << n
        n += width
    for _ in range(5): # a code with one symbol for each channel
        bits |= 0b0001 << n
        n += 4
    body = bits.to_bytes(14, 'little')
    return b'RIFF' + struct.pack('<I', 4 + 8 + len(body)) + b'WEBP' + b'VP8L' + struct.pack('<I', len(body)) + body


def many_scans(w, h, scans):
    "A progressive JPEG whose decoder goes through the whole picture for each of many scans of nothing."
    small = saved(Image.new('L', (64, 64), 99), 'JPEG', progressive=True)
    start, size = small.index(b'\xff\xc2'), struct.pack('>HH', h, w)
    small = small[:start + 5] + size + small[start + 9:]
    first = small.index(b'\xff\xda')
    nothing = b'\xff\xda\x00\x08\x01\x01\x00\x01\x05\x01' + b'\x00'*4
    return small[:-2] + nothing*scans + b'\xff\xd9' if first else b''


def bombs():
    "Small files that say they are large."
    files = {
        'png 30,000 × 30,000': png(30_000, 30_000, 8, 2, zeros(1 << 20)),
        'png 16,000 × 11,000, one bit': png(16_000, 11_000, 1, 0, zeros(2001*11_000)),
        'png 13,000 × 13,000, RGBA': png(13_000, 13_000, 8, 6, zeros(52_001*13_000)),
        'png 13,000 × 13,000, 16 bits': png(13_000, 13_000, 16, 0, zeros(26_001*13_000)),
        'webp of 34 bytes, 16,383 × 10,900': lossless_webp(16_383, 10_900),
        'webp of 34 bytes, 9,000 × 9,000': lossless_webp(9_000, 9_000),
        'jpg with 20,000 scans': many_scans(8_000, 8_000, 20_000),
        'jpg 13,000 × 13,000, a scan for each color': layers_of_colors(13_000, 13_000, 3),
        'jpg 9,000 × 9,000, 2,000 scans for colors': layers_of_colors(9_000, 9_000, 2_000),
        'jpg with notes of one byte': small_notes(600_000),
        'jpg with empty segments': jpeg()[:2] + segment(0xe1)*3_000_000 + jpeg()[2:],
        'tif in a tile of 8,192 × 8,192': one_large_tile(8_192),
        'tif in a tile of 32,768 × 32,768': one_large_tile(32_768),
        'text ppm with remarks': many_remarks(6_000_000),
        'ppm that says 13,000 × 13,000': b'P6 13000 13000 255\n' + bytes(1000),
        'text ppm 13,000 × 13,000': b'P3 13000 13000 255\n' + b'1 '*1000,
        'bmp that says 13,000 × 13,000': saved(photo(), 'BMP').replace(struct.pack('<II', 96, 64),
                                                                      struct.pack('<II', 13_000, 13_000)),
        'gif that says 13,000 × 13,000': saved(photo(), 'GIF').replace(struct.pack('<HH', 96, 64),
                                                                      struct.pack('<HH', 13_000, 13_000)),
    }
    return files


def saved_bomb(folder, kind, w, h, mode, how):
    "A valid file of one color, then read; the writing is not what is measured."
    path = Path(folder)/f'{kind} {mode} {w} × {h}.{kind}'
    if not path.exists():
        import subprocess
        code = f'from PIL import Image; Image.new({mode!r}, ({w}, {h})).save({str(path)!r}, **{how!r})'
        subprocess.run([sys.executable, '-c', code], check=True, env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    return read_large(str(path))


SAVED_BOMBS = [
    ('webp', 8_500, 8_500, 'RGBA', {'lossless': True, 'method': 0}),
    ('webp', 10_000, 9_000, 'RGBA', {'lossless': True, 'method': 0}),
    ('tif', 11_000, 11_000, 'F', {'compression': 'tiff_adobe_deflate'}),
    ('avif', 8_000, 8_000, 'RGB', {'speed': 10}),
    ('tif', 11_000, 11_000, 'I;16', {'compression': 'tiff_lzw'}),
    ('tif', 11_000, 11_000, '1', {'compression': 'group4'}),
    ('tif', 11_000, 11_000, 'RGBA', {'compression': 'tiff_adobe_deflate'}),
    ('tif', 11_000, 11_000, 'CMYK', {}),
    ('gif', 16_000, 11_000, 'P', {}),
    ('jpg', 16_000, 11_000, 'RGB', {'quality': 1}),
    ('jpg', 11_000, 11_000, 'CMYK', {'quality': 1, 'progressive': True}),
    ('png', 16_000, 11_000, 'P', {}),
]


def pool_of_bombs(folder, threads):
    "Eight large files at once, with so many threads: each alone has room, two have not."
    file = Path(folder)/f'{threads} threads.webp'
    file.write_bytes(lossless_webp(6_500, 6_500))
    return eight_times(file, threads, (3, 465, 465))


def pool_of_notes(folder, threads):
    "Eight small pictures at once, each with a note of 200 MB, which the reader takes along three times."
    file, n = Path(folder)/f'{threads} threads, notes.webp', 200_000_000
    head = b'VP8X' + struct.pack('<I', 10) + b'\x04\0\0\0' + b'\x5f\0\0' + b'\x3f\0\0' # 96 × 64, with XMP
    head += saved(photo(), 'WEBP', lossless=True)[12:] + b'XMP ' + struct.pack('<I', n)
    file.write_bytes(b'RIFF' + struct.pack('<I', 4 + len(head) + n) + b'WEBP' + head)
    os.truncate(file, file.stat().st_size + n)
    return eight_times(file, threads, (3, 64, 96))


def eight_times(file, threads, shape):
    import imgcourse.pictures
    from imgcourse.pictures import in_threads, read_pixels
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(threads, 'imgcourse')
    imgcourse.pictures._threads = lambda pid: pool
    shapes = {tuple(p.shape) for p in in_threads(partial(read_pixels, min_side=224), [file]*8)}
    if shapes != {shape}:
        raise Silent(f'read as {shapes}')
    return 'right'


def notes_in_parts(folder):
    "A JPEG whose notes are in 1,500 parts: a reader that puts them together one by one takes half a minute."
    content, file = saved(photo(), 'JPEG'), Path(folder)/'parts.jpg'
    part = b'\xff\xe1\xff\xfdExif\0\0' + bytes(65_525)
    with open(file, 'wb') as f:
        f.write(content[:2])
        for _ in range(1500):
            f.write(part)
        f.write(content[2:])
    return read(str(file), 'refused')


# ---- odd kinds
ARITHMETIC = base64.b85decode( # 24 × 16 pixels; Pillow reads such files, and writes none
    '|JeWF01!$>Nk#wx0RR9200961|JwjV01XKW3knDg3knMk4h;_zAQcl55)&sJ9v2`kDKRiEDJ?8BI!Zn>HbyrrEkIX6ModmpQ&KWM'
    'T47pHU`kO^PygEhLjevB4iga*CKVMXPc<zyPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPft%zPf!2J'
    '01*fP5C9kh0U`hb5di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zf#0A!)t<Qh)WMycIp6m3TDf$I_~Ls7p=U;u+;Zn-Go7bG_W'
    'M|*dC3tj8-;Q!e')


def with_a_note(im, n):
    "A PNG with so many zeros beside the picture."
    content, note = saved(im, 'PNG'), png_chunk(b'zTXt', b'note\0\0' + zeros(n))
    return content[:33] + note + content[33:]


def odd_files():
    "Files of odd kinds: name, content, and what must become of them (None: either will do)."
    im = photo()
    gray = im.convert('L')
    real = np.asarray(gray).astype(np.float32)/255
    infinite, nan = real.copy(), real.copy()
    infinite[3, 5], nan[3, 5] = np.inf, np.nan
    eps = (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\n'
           b'0.5 setgray 0 0 60 40 rectfill\nshowpage\n%%EOF\n')
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><image href="file:///etc/passwd"/></svg>'
    palette = saved(im.quantize(16), 'PNG')
    at = palette.index(b'PLTE') - 4
    without = palette[:at] + palette[at + 12 + struct.unpack('>I', palette[at:at + 4])[0]:]
    cmyk = saved(im.convert('CMYK'), 'JPEG')
    adobe = cmyk.index(b'Adobe')
    ycck = cmyk[:adobe + 11] + b'\x02' + cmyk[adobe + 12:]
    not_inverted = cmyk[:adobe - 4] + cmyk[adobe + 12:]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('LAB')).tobytes()
    avif = saved(im, 'AVIF')
    exif = saved(im, 'JPEG', exif=turned(6))
    at = exif.index(b'Exif')
    return [
        ('float with an infinite pixel.tif', saved(Image.fromarray(infinite), 'TIFF'), 'refused'),
        ('float with nan.tif', saved(Image.fromarray(nan), 'TIFF'), 'refused'),
        ('float.tif', saved(Image.fromarray(real), 'TIFF'), 'right'),
        ('eps.jpg', eps, 'refused'), ('eps.png', eps, 'refused'), ('svg.png', svg, 'refused'),
        ('pdf.jpg', b'%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n', 'refused'),
        ('html.jpg', b'<!DOCTYPE html><html><body>404</body></html>', 'refused'),
        ('heic.jpg', b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(400), 'refused'),
        ('fits.jpg', b'SIMPLE  =                    T' + b' '*2850, 'refused'),
        ('xpm.png', b'/* XPM */\nstatic char *x[] = {"8 8 1 1","a c #ff0000",' + b'"aaaaaaaa",'*8 + b'};', 'refused'),
        ('psd.jpg', b'8BPS\0\1' + bytes(6) + b'\0\3\0\0\0\x40\0\0\0\x40\0\x08\0\3' + bytes(12), 'refused'),
        ('palette without palette.png', without, 'refused'),
        ('ycck.jpg', ycck, 'right'),
        ('cmyk.jpg', cmyk, 'right'), ('cmyk, not inverted.jpg', not_inverted, 'right'),
        ('arithmetic.jpg', ARITHMETIC, 'right'), ('profile.jpg', saved(im, 'JPEG', icc_profile=profile), 'right'),
        ('a note of 300 MB.png', with_a_note(im, 300 << 20), 'refused'),
        ('one bit.tif', saved(gray.convert('1'), 'TIFF'), 'right'),
        ('broken profile.jpg', saved(im, 'JPEG', icc_profile=b'not a profile'*9), 'right'),
        ('broken exif.jpg', exif[:at + 6] + b'\xff'*20 + exif[at + 26:], None),
        ('cut.avif', avif[:len(avif)//2], 'refused'), ('broken.avif', avif[:-60] + bytes(60), None),
        ('jpg named png.png', saved(im, 'JPEG'), 'right'), ('png named jpg.jpg', saved(im, 'PNG'), 'right'),
        ('empty.jpg', b'', 'refused'),
        ('two bytes.jpg', b'\xff\xd8', 'refused'),
        ('only a head.png', palette[:8], 'refused'),
        ('zip at the end.jpg', saved(im, 'JPEG') + b'PK\5\6' + bytes(18), 'right'),
        ('strip.png', saved(Image.new('RGB', (4000, 5)), 'PNG'), 'refused'),
        ('dot.png', saved(Image.new('RGB', (1, 1)), 'PNG'), 'refused'),
    ]


def read_unusual(folder, what):
    "Places that are no files."
    path = Path(folder)/f'{what}.jpg'
    if what == 'pipe':
        os.mkfifo(path)
    elif what == 'folder':
        path.mkdir()
    elif what == 'link to nothing':
        path.symlink_to('nothing here')
    elif what == 'link to itself':
        path.symlink_to(path)
    elif what == 'link to a device':
        path.symlink_to('/dev/zero')
    elif what == 'socket':
        import socket
        place = socket.socket(socket.AF_UNIX)
        place.bind(str(path))
    elif what == 'name with an escape':
        path = Path(folder)/'\x1b[31mred\x1b[0m.jpg'
        path.write_bytes(b'no picture')
    elif what == 'name that is no text':
        path = Path(os.fsdecode(os.fsencode(folder) + b'/caf\xe9.jpg'))
        path.write_bytes(saved(photo(), 'JPEG'))
    return read(str(path), 'right' if what == 'name that is no text' else 'refused')


UNUSUAL = ('pipe', 'folder', 'link to nothing', 'link to itself', 'link to a device', 'socket', 'name with an escape',
           'name that is no text')


def fuzz(folder, examples, seed):
    "Bytes that hypothesis finds: the head of a whole file, and then anything."
    from hypothesis import HealthCheck, given, settings, strategies as st
    from hypothesis import seed as with_seed
    files = list(whole_files().values())
    path = Path(folder)/f'fuzzed {os.getpid()}.jpg'

    @with_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(files), st.integers(0, 800), st.binary(max_size=300), st.integers(0, 800))
    def read_any(content, head, middle, tail):
        path.write_bytes(content[:head] + middle + content[len(content) - tail:])
        read(str(path))

    read_any()
    return 'right'


def make(folder, quick, rng):
    for k in range(1 if quick else 6):
        yield Trial(f'fuzzed bytes {k}', fuzz, (str(folder), 100 if quick else 500, k), 120, MOST)
    files = whole_files()
    for name, content in files.items():
        (folder/name).write_bytes(content)
        yield Trial(f'whole {name}', read, (str(folder/name), 'right'))
    for k in range(60 if quick else 2400):
        name = rng.choice(list(files))
        path = folder/f'{k} {name}'
        path.write_bytes(mutated(files[name], rng))
        yield Trial(f'mutant {path.name}', read, (str(path),), 20, MOST)
    for k in range(20 if quick else 300):
        path = folder/f'noise {k}{rng.choice((".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".avif"))}'
        path.write_bytes(rng.randbytes(rng.randrange(2000)))
        yield Trial(path.name, read, (str(path), 'refused'))
    for name, content, must in odd_files():
        (folder/name).write_bytes(content)
        yield Trial(name, read, (str(folder/name), must))
    for what in UNUSUAL:
        yield Trial(f'a {what}', read_unusual, (str(folder), what))
    for name, content in bombs().items():
        path = folder/f'{name}.{name.split()[0]}'.replace('.text', '.ppm')
        path.write_bytes(content)
        yield Trial(f'bomb: {name}', read_large, (str(path),), 30, MOST)
    for args in SAVED_BOMBS[:1] if quick else SAVED_BOMBS:
        yield Trial(f'large: {args[0]} {args[3]} {args[1]} × {args[2]}', saved_bomb, (str(folder), *args), 60, MOST)
    for threads in (4,) if quick else (2, 4, 16):
        yield Trial(f'eight large files, {threads} threads', pool_of_bombs, (str(folder), threads), 60, MOST)
        yield Trial(f'eight files with large notes, {threads} threads', pool_of_notes, (str(folder), threads), 60, MOST)
    yield Trial('notes in 1,500 parts', notes_in_parts, (str(folder),), 10, MOST)
