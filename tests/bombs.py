"Small files of pictures that take minutes or gigabytes where nobody looks."
import io
import struct
import zlib
from PIL import Image


def segment(mark, content=b''): return bytes([255, mark]) + (len(content) + 2).to_bytes(2, 'big') + content


def jpeg():
    content = io.BytesIO()
    Image.new('RGB', (64, 64), 99).save(content, 'JPEG', subsampling=0)
    return content.getvalue()


def small_notes(n):
    "Five megabytes of notes, and then one byte at a time, for each of which all before would be copied."
    large = segment(0xe1, b'Exif\0\0' + bytes(65_000))*80
    return jpeg()[:2] + large + segment(0xe1, b'Exif\0\0a')*n + jpeg()[2:]


def layers_of_colors(w, h, n):
    "Not progressive, but with one scan for each color; that they come again does not disturb the decoder."
    content = jpeg()
    start, scan = content.index(b'\xff\xc0'), content.index(b'\xff\xda')
    content = content[:start + 5] + h.to_bytes(2, 'big') + w.to_bytes(2, 'big') + content[start + 9:]
    colors = [segment(0xda, bytes([1, k + 1, 0x11*(k > 0), 0, 63, 0])) + bytes(4) for k in range(3)]
    return content[:scan] + b''.join(colors[k % 3] for k in range(n)) + b'\xff\xd9'


def tiff(tags, content):
    "Tags: (number, kind 3 or 4, count, value)."
    tags = [(256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1), *tags]
    entries = b''.join(struct.pack('<HHLL', *tag) for tag in tags)
    return b'II*\0' + struct.pack('<L', 8 + len(content)) + content + struct.pack('<H', len(tags)) + entries + bytes(4)


def one_large_tile(side):
    tile = zlib.compress(bytes(side**2), 1)
    tile += bytes(len(tile) % 2)
    return tiff([(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(tile))], tile)


def many_remarks(n): return b'P3 100 100 255\n' + b'#\n'*n + b'1 '*30_000
