"""Archives that point outside, are cut, or hold far more than they weigh; servers that drop, stall and lie; two
processes at once. Unpacked and downloaded wholly and rightly, or refused; nothing outside, nothing left lying about."""
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import uuid
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from trials import Lost, Silent, Trial, refused

CONTENT = {f'{c}/{k}.jpg': bytes([k])*(500 + 700*k) for c in ('cats', 'dogs') for k in range(4)}


# ---- archives
def tar(members=(), content=CONTENT, **how):
    "A tar of the content, with further members: (name, kind, link to)."
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', **how) as t:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        for name, kind, to in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, to
            t.addfile(info)
    return out.getvalue()


def zipped(content=CONTENT, **how):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, **how) as z:
        for name, data in content.items():
            z.writestr(name, data)
    return out.getvalue()


def zip_link():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        info = zipfile.ZipInfo('link.jpg')
        info.external_attr = 0o120777 << 16
        z.writestr(info, '/etc/passwd')
    return out.getvalue()


def long_chain():
    "Links whose path is longer than PATH_MAX, so that the check for what lies outside gives up (CVE-2025-4517)."
    out = io.BytesIO()
    part, path = 'd'*247, ''
    with tarfile.open(fileobj=out, mode='w') as t:
        def add(name, kind, to=''):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, to
            t.addfile(info)
        for step in 'abcdefghijklmnop':
            add(os.path.join(path, part), tarfile.DIRTYPE)
            add(os.path.join(path, step), tarfile.SYMTYPE, part)
            path = os.path.join(path, part)
        link = os.path.join('/'.join('abcdefghijklmnop'), 'l'*254)
        add(link, tarfile.SYMTYPE, '../'*16)
        add('escape', tarfile.SYMTYPE, link + '/../../outside')
        info = tarfile.TarInfo('escape/owned.txt')
        info.size = 5
        t.addfile(info, io.BytesIO(b'owned'))
    return out.getvalue()


def many_empty(n):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as t:
        for k in range(n):
            t.addfile(tarfile.TarInfo(str(k)))
    return out.getvalue()


def zeros_gz(gigabytes):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz', compresslevel=9) as t:
        info = tarfile.TarInfo('zeros.bin')
        info.size = gigabytes << 30
        t.addfile(info, Zeros(info.size))
    return out.getvalue()


def told(pax=None, **about):
    "A tar with a file of which it tells odd things."
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as t:
        info = tarfile.TarInfo('x.jpg')
        info.pax_headers = pax or {}
        for name, value in about.items():
            setattr(info, name, value)
        t.addfile(info)
    return out.getvalue()


def long_name_gz(gigabytes):
    "A member that only holds the name of the next one."
    info = tarfile.TarInfo('././@LongLink')
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, gigabytes << 30
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


def with_head(kind, content, name='odd'):
    "A member of an odd kind, and behind it files."
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def summed(head):
    "The checksum of a header that was changed."
    head[148:156] = b'%06o\0 ' % (sum(head[:148]) + 8*32 + sum(head[156:512]))
    return bytes(head)


def with_holes_gz(megabytes):
    "A file that says it has 10 bytes, and before they are cut off writes all that is stored."
    info = tarfile.TarInfo('pic.jpg')
    info.type, info.size = tarfile.GNUTYPE_SPARSE, megabytes << 20
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[386:410], head[482:495] = b'%011o\0%011o\0' % (0, info.size), b'\0%011o\0' % 10
    return gzip.compress(summed(head) + bytes(info.size + 1024))


def holes_without_end_gz(megabytes):
    "A list of holes, collected before anybody sees the file."
    info = tarfile.TarInfo('pic.jpg')
    info.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[482:495] = b'\1%011o\0' % 512
    more = (b'%011o\0' % 512)*42
    return gzip.compress(summed(head) + (more + b'\1'*(512 - len(more)))*(megabytes << 11) + bytes(1024))


def record(key, value):
    rest = f' {key}={value}\n'
    return next(f'{n}{rest}' for n in range(len(rest), len(rest) + 9) if len(f'{n}{rest}') == n).encode()


def notes_for_all(n, files):
    "Many notes for all files, which each file gets a copy of."
    notes = b''.join(with_head(tarfile.XGLTYPE, b''.join(record(f'k{k}', 'v') for k in range(i, i + 300)))
                     for i in range(0, n, 300))
    files = b''.join(with_head(tarfile.REGTYPE, b'', f'{k}.jpg') for k in range(files))
    return gzip.compress(notes + files + bytes(1024))


def trailing_gz(megabytes):
    return gzip.compress(tar() + bytes(megabytes << 20))


def zip_of_old(name):
    "A name as programs wrote it before there was Unicode in zips."
    data = bytearray(zipped({'x'*len(name.encode('cp437')): b'1'}))
    return bytes(data).replace(b'x'*len(name.encode('cp437')), name.encode('cp437'))


NAMES = 'café.jpg', 'cafe\u0301.jpg', '猫.jpg', 'a\nb.jpg', 'a\x1b[2J.jpg', 'n'*250 + '.jpg', 'a b/c d.jpg', "'.jpg"
NAMED = {name: name.encode() for name in NAMES}


class Zeros:
    def __init__(self, n): self.n = n
    def read(self, k):
        k = min(k, self.n)
        self.n -= k
        return bytes(k)


def archives(quick):
    "Name, content, and what must become of it."
    plain, small = tar(), zipped({'x.jpg': b'x'})
    cut = 1024 # after the first member, whose head and content are 512 each
    bad = bytearray(plain)
    bad[cut + 20:cut + 40] = b'\xff'*20
    packed = gzip.compress(plain)
    wrong_sum = bytearray(packed)
    wrong_sum[-6] ^= 1
    bad_zip = bytearray(zipped())
    bad_zip[45] ^= 0xff
    rows = [
        ('plain.tar', plain, 'right'),
        ('packed.tar.gz', packed, 'right'),
        ('packed.tar.xz', lzma.compress(plain), 'right'),
        ('plain.zip', zipped(), 'right'), ('named wrongly.zip', plain, 'right'),
        ('outside.tar', tar([('../outside.txt', tarfile.REGTYPE, '')]), 'refused'),
        ('absolute.tar', tar([('/tmp/outside.txt', tarfile.REGTYPE, '')]), 'refused'),
        ('far outside.tar', tar([('a/../../../outside.txt', tarfile.REGTYPE, '')]), 'refused'),
        ('link.tar', tar([('link', tarfile.SYMTYPE, '/etc/passwd')]), 'refused'),
        ('link inside.tar', tar([('link', tarfile.SYMTYPE, 'cats/1.jpg')]), 'refused'),
        ('hard link.tar', tar([('link', tarfile.LNKTYPE, 'cats/1.jpg')]), 'refused'),
        ('pipe.tar', tar([('pipe', tarfile.FIFOTYPE, '')]), 'refused'),
        ('device.tar', tar([('null', tarfile.CHRTYPE, '')]), 'refused'),
        ('chain of links.tar', long_chain(), 'refused'),
        ('cut between two.tar', plain[:cut], 'refused'), ('cut within.tar', plain[:cut + 700], 'refused'),
        ('without its end mark.tar', plain[:plain.rindex(b'\3') // 512*512 + 512], 'refused'),
        ('odd names.tar', tar(content=NAMED), 'right', NAMED), ('odd names.zip', zipped(NAMED), 'right', NAMED),
        ('latin-1.tar', tar(content={'caf\xe9.jpg': b'1'}, encoding='latin-1', format=tarfile.GNU_FORMAT), 'right',
         {'caf\udce9.jpg': b'1'}),
        ('cp437.zip', zip_of_old('é.jpg'), 'right', {'é.jpg': b'1'}),
        ('changed in the year 10^22.tar', told({'mtime': '1e30'}), 'refused'),
        ('changed never.tar', told({'mtime': 'nan'}), None, {'x.jpg': b''}),
        ('rights.tar', told(mode=0o7777), 'right', {'x.jpg': b''}),
        ('owner.tar', told({'uid': '-5', 'gid': '99999999999'}), 'right', {'x.jpg': b''}),
        ('notes of 2 MB.tar', told({'comment': 'x'*2_000_000}), 'refused'),
        ('with holes.tar.gz', with_holes_gz(300), 'refused'),
        ('holes without end.tar.gz', holes_without_end_gz(20), 'refused'),
        ('notes for all.tar.gz', notes_for_all(70_000, 900), 'refused'),
        ('digits.tar', with_head(tarfile.XHDTYPE, b'9'*400_000) + plain, 'refused'),
        ('one over another.zip', zipped({'x/a.jpg': b'1', 'x/../a.jpg': b'2'}), 'refused'),
        ('long name.tar.gz', long_name_gz(3), 'refused'), ('zeros at its end.tar.gz', trailing_gz(60), 'refused'),
        ('a file without a name.zip', zipped({'x': b'1'}).replace(b'x', b'/'), None),
        ('bad header.tar', bytes(bad), 'refused'),
        ('two in one.tar', plain + tar(content={'more.jpg': b'more'}), 'refused'),
        ('tar that ends in a zip.tar', plain + small, 'refused'),
        ('packed tar and a zip.tar.gz', packed + small, None),
        ('wrong sum.tar.gz', bytes(wrong_sum), 'refused'), ('cut.tar.gz', packed[:len(packed)//2], 'refused'),
        ('cut.tar.xz', lzma.compress(plain)[:-40], 'refused'),
        ('twice.tar', tar([('cats/1.jpg', tarfile.REGTYPE, '')]), 'refused'),
        ('outside.zip', zipped({'../outside.txt': b'x'}), 'refused'),
        ('absolute.zip', zipped({'/tmp/outside.txt': b'x'}), 'refused'),
        ('link.zip', zip_link(), 'refused'),
        ('cut.zip', zipped()[:-30], 'refused'),
        ('bad.zip', bytes(bad_zip), 'refused'),
        ('zeros.tar.gz', zeros_gz(1 if quick else 2), 'refused'),
        ('zeros.zip', zipped({'zeros': bytes(300 << 20)}), 'refused'),
        ('empty.tar', b'', 'refused'), ('text.zip', b'PK is what a zip begins with', 'refused'),
        ('html.tar', b'<!DOCTYPE html><p>Not found', 'refused'),
    ]
    if not quick:
        rows.append(('60,000 empty files.tar.gz', many_empty(60_000), 'refused'))
    return rows


def read_back(dest): return {str(f.relative_to(dest)): f.read_bytes() for f in dest.rglob('*') if f.is_file()}


def outside(path):
    "What lies where nothing may be written, and when it was."
    return {f: f.stat().st_mtime_ns for f in (*path.parent.glob('*'), *Path('/tmp').glob('outside*')) if f.is_file()}


def unpack_one(path, must, want):
    from imgcourse.sources import unpack
    path = Path(path)
    room = path.parent/f'{path.name} room'
    room.mkdir()
    before = outside(path)
    dest = room/'inner'/'dest'
    try:
        got = read_back(unpack(path, dest))
        what = 'right'
    except ValueError as e:
        what = refused(e, path)
        if dest.exists():
            raise Silent('refused, but the folder is there') from None
    if outside(path) != before or list(room.glob('outside*')):
        raise Silent('something was written outside')
    left = [f.name for f in room.rglob('*') if f.name.startswith('.')]
    if left:
        raise Silent(f'left lying about: {left}')
    if must and what != must:
        raise Silent(f'{what} instead of {must}')
    if what == 'right' and got != want:
        raise Silent(f'{len(got)} files that are not those which were packed')
    shutil.rmtree(room)
    return what


# ---- servers
FILE = bytes(range(256))*4000 # a megabyte
DIGEST = f'sha256:{hashlib.sha256(FILE).hexdigest()}'


class Server(BaseHTTPRequestHandler):
    "Serves `FILE`, with a fault that the address names."
    protocol_version = 'HTTP/1.0'

    def log_message(self, *args): pass

    def begin(self, status, length, **headers):
        self.send_response(status)
        self.send_header('Content-Length', str(length))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()

    def do_GET(self):
        start = int(self.headers.get('Range', 'bytes=0-')[6:].split('-')[0])
        self.server.asked += 1
        rest = FILE[start:]
        try:
            getattr(self, f'do_{self.path.strip("/").split("/")[0]}')(start, rest)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def do_well(self, start, rest):
        self.begin(206, len(rest))
        self.wfile.write(rest)

    def do_drops(self, start, rest):
        self.begin(206, len(rest))
        self.wfile.write(rest[:300_000])

    def do_stalls(self, start, rest):
        self.begin(206, len(rest))
        self.wfile.write(rest[:250_000])
        self.wfile.flush()
        time.sleep(1.5)

    def do_ignores_ranges(self, start, rest):
        self.begin(200, len(FILE))
        self.wfile.write(FILE[:400_000] if self.server.asked < 3 else FILE)

    def do_says_abc(self, start, rest):
        self.begin(206, 'abc')
        self.wfile.write(rest)

    def do_says_minus(self, start, rest):
        self.begin(206, '-5')
        self.wfile.write(rest)

    def do_says_more(self, start, rest):
        self.begin(206, len(rest) + 50_000)
        self.wfile.write(rest)

    def do_says_less(self, start, rest):
        self.begin(206, max(len(rest) - 50_000, 1))
        self.wfile.write(rest)

    def do_says_too_much(self, start, rest):
        self.begin(206, 10**17)
        self.wfile.write(rest)

    def do_chunks(self, start, rest):
        "Does not say how much there is, nor go on in the middle; the first time the line breaks."
        head = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
        if self.server.asked == 1:
            self.wfile.write(head + b'%x\r\n' % len(FILE) + FILE[:300_000])
        else:
            self.wfile.write(head + b'%x\r\n' % len(FILE) + FILE + b'\r\n0\r\n\r\n')

    def do_slow(self, start, rest):
        self.begin(206, len(rest))
        for k in range(0, len(rest), 50_000):
            self.wfile.write(rest[k:k + 50_000])
            time.sleep(.2)

    def do_says_nothing(self, start, rest):
        self.send_response(206)
        self.end_headers()
        self.wfile.write(rest)

    def do_web_page(self, start, rest):
        page = b'<html><body>Please log in</body></html>'*30_000
        self.begin(200, len(page), Content_Type='text/html; charset=utf-8')
        self.wfile.write(page)

    def do_web_page_later(self, start, rest):
        (self.do_drops if self.server.asked == 1 else self.do_web_page)(start, rest)

    def do_changes(self, start, rest):
        self.begin(206, len(rest))
        self.wfile.write(rest[:300_000] if self.server.asked == 1 else bytes(len(rest)))

    def do_damages(self, start, rest):
        self.begin(206, len(rest))
        self.wfile.write(rest[:-1] + b'x')

    def do_redirects(self, start, rest): self.begin(302, 0, Location='/well/file')
    def do_circles(self, start, rest): self.begin(302, 0, Location='/circles/file')
    def do_leads_to_a_file(self, start, rest): self.begin(302, 0, Location='file:///etc/hostname')
    def do_is_gone(self, start, rest): self.begin(404, 0)
    def do_is_busy(self, start, rest): (self.do_well if self.server.asked > 2 else self.send_error_503)(start, rest)
    def send_error_503(self, start, rest): self.begin(503, 0)
    def do_is_broken(self, start, rest): self.begin(500, 0)
    def do_talks_nonsense(self, start, rest): self.wfile.write(b'\x00\x01\x02 nonsense\r\n\r\n')


class serving:
    "A server on this machine, for as long as it is needed."
    def __enter__(self):
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Server)
        self.server.asked = 0
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{self.server.server_port}'

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def fetch(folder, fault, must, digest=DIGEST, keeps=0):
    "`keeps`: so many bytes must be there after a refusal, to go on with."
    import imgcourse.sources as sources
    sources._silence = .5
    sources.time = Quick
    dest = Path(folder)/f'{fault} {uuid.uuid4()}'/'file.bin'
    server = serving()
    with server as url:
        try:
            sources.download(f'{url}/{fault}/file', dest, digest)
            what = 'right'
        except (sources.DownloadError, ValueError) as e:
            if digest.lower() != DIGEST and server.server.asked:
                raise Silent('it was fetched before the digest was looked at') from None
            what = refused(e, *((f'{url}/{fault}/file',) if isinstance(e, sources.DownloadError) else (digest,)))
            if dest.exists():
                raise Silent('refused, but the file is there') from None
            part = Path(f'{dest}.part')
            have = part.stat().st_size if part.exists() else 0
            if have < keeps:
                raise Lost(f'{have:,} bytes are left of what has arrived') from None
            if keeps and sources.download(f'{url}/well/file', dest, digest).read_bytes() != FILE:
                raise Lost('it did not go on from there') from None
    if what != must:
        raise Silent(f'{what} instead of {must}')
    if what == 'right' and dest.read_bytes() != FILE:
        raise Silent('another file')
    return what


class Quick:
    "`time` for those who would wait between two tries."
    monotonic, perf_counter = time.monotonic, time.perf_counter
    @staticmethod
    def sleep(seconds): pass


FAULTS = [
    ('well', 'right'), ('drops', 'right'), ('stalls', 'right'), ('ignores_ranges', 'right'), ('says_nothing', 'right'),
    ('chunks', 'right'), ('redirects', 'right'), ('is_busy', 'right'), ('says_abc', 'refused'),
    ('says_minus', 'refused'),
    ('says_less', 'refused'), ('says_too_much', 'refused'), ('web_page', 'refused'), ('changes', 'refused'),
    ('damages', 'refused'), ('circles', 'refused'), ('leads_to_a_file', 'refused'), ('is_gone', 'refused'),
    ('is_broken', 'refused'), ('talks_nonsense', 'refused'),
]


def fetch_at_once(folder, processes):
    "Several processes that fetch the same file: it comes once."
    dest = Path(folder)/'together.bin'
    code = ('import sys\nfrom imgcourse.sources import download\n'
            'assert len(download(sys.argv[1], sys.argv[2], sys.argv[3]).read_bytes()) == 1024000')
    server = serving()
    with server as url:
        args = [sys.executable, '-c', code, f'{url}/slow/file', str(dest), DIGEST] # four seconds
        running = [subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(processes)]
        said = [p.communicate()[0].decode() for p in running]
    if any(p.returncode for p in running) or sum('Another process downloads together.bin' in s for s in said) == 0:
        raise Silent(said)
    if server.server.asked != 1:
        raise Silent(f'fetched {server.server.asked} times')
    return 'right'


def unpack_at_once(folder):
    "One makes the folder, the other says that it is there; it is whole."
    archive, dest = Path(folder)/'at once.tar.gz', Path(folder)/'at once'
    many = {f'{k % 7}/{k}.bin': bytes([k % 256])*2000 for k in range(3000)}
    archive.write_bytes(gzip.compress(tar(content=many)))
    code = ('import sys\nfrom imgcourse.sources import unpack\nprint("ready", flush=True)\nsys.stdin.readline()\n'
            'try:\n    unpack(sys.argv[1], sys.argv[2])\n    print("made")\n'
            'except FileExistsError as e:\n    print("there", e)')
    args = [sys.executable, '-c', code, str(archive), str(dest)]
    running = [subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for p in running:
        p.stdout.readline()
    for p in running:
        p.stdin.write('go\n')
        p.stdin.flush()
    said = [p.communicate()[0] for p in running]
    if sorted(s.split()[0] for s in said) != ['made', 'there'] or read_back(dest) != many:
        raise Silent(said)
    return 'right'


def placed(folder, name, content):
    "A file in a folder of its own."
    (folder/f'of {name}').mkdir()
    (folder/f'of {name}'/name).write_bytes(content)
    return str(folder/f'of {name}'/name)


def make(folder, quick, rng):
    for name, content, must, *want in archives(quick):
        args = placed(folder, name, content), must, *(want or [CONTENT])
        yield Trial(f'archive: {name}', unpack_one, args, 60, 300)
    for k in range(40 if quick else 400):
        whole = {'m.zip': zipped(), 'm.tar.gz': gzip.compress(tar()), 'm.tar.xz': lzma.compress(tar())}
        name = rng.choice(list(whole))
        content = bytearray(whole[name])
        for _ in range(rng.choice((1, 1, 3))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < .2:
            del content[rng.randrange(len(content)):]
        args = placed(folder, f'{k} {name}', content), None, CONTENT
        yield Trial(f'archive: mutant {k} {name}', unpack_one, args, 60, 300)
    fetched = folder/'fetched'
    fetched.mkdir()
    for fault, must in FAULTS:
        yield Trial(f'server {fault}', fetch, (str(fetched), fault, must), 60)
    yield Trial('server says_more', fetch, (str(fetched), 'says_more', 'right'), 60)
    yield Trial('server web_page_later', fetch, (str(fetched), 'web_page_later', 'refused', DIGEST, 300_000), 60)
    yield Trial('digest in capitals', fetch, (str(fetched), 'well', 'right', DIGEST.upper()), 60)
    yield Trial('digest of no kind', fetch, (str(fetched), 'well', 'refused', 'crc9:00'), 60)
    yield Trial('digest that is too short', fetch, (str(fetched), 'well', 'refused', DIGEST[:-1]), 60)
    yield Trial('two processes unpack one archive', unpack_at_once, (str(folder),), 60)
    yield Trial('two processes fetch one file', fetch_at_once, (str(folder), 2), 60)
