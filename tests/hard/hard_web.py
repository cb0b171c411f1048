"""What faces a browser or the network: servers listen on this machine alone, pages escape names, uploads are bounded
and go through the same door as files, and nothing is sent anywhere unless a download is asked for."""
import contextlib
import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
import psutil
from hard_disks import backbone
from hard_folders import two_classes
from trials import Silent, Trial

WATCH = """
import os, sys
def hook(event, args):
    if event in ('socket.connect', 'socket.sendto', 'socket.getaddrinfo', 'socket.gethostbyname', 'urllib.Request'):
        with open(os.environ['WATCHED'], 'a') as f:
            f.write(f'{event} {args[1:] if event.startswith("socket.c") else args}\\n')
sys.addaudithook(hook)
"""
HERE = re.compile(r"127\.0\.0\.1|::1|localhost|^socket.connect \('/|^socket.connect \(b'")


def watched(folder, name, *args):
    "The command, while every address that a Python process of it asks for is noted."
    folder = Path(folder)/name
    folder.mkdir()
    (folder/'sitecustomize.py').write_text(WATCH)
    pictures = two_classes(folder/'pictures', 8)
    env = {**os.environ, 'WATCHED': str(folder/'watched'), 'IMGCOURSE_CACHE': str(folder/'cache')}
    env['PYTHONPATH'] = os.pathsep.join([str(folder), env.get('PYTHONPATH', '')])
    program = [sys.executable, '-c', 'from imgcourse.cli import command; command()']
    args = [str(a).replace('PICTURES', str(pictures)).replace('OUT', str(folder/'out')) for a in args]
    done = subprocess.run([*program, *args], env=env, capture_output=True, text=True)
    if done.returncode > (name == 'check') or 'Traceback' in done.stderr: # 1: it has found something
        raise Silent(f'it ended with {done.returncode}: {done.stderr[-400:]}')
    (folder/'watched').touch()
    asked = [line for line in (folder/'watched').read_text().split('\n') if line and not HERE.search(line)]
    if asked:
        raise Silent(f'asked for: {asked[:4]}')
    return 'right'


def the_watch_works(folder):
    "A trial that could not fail would be none."
    folder = Path(folder)/'watch'
    folder.mkdir()
    (folder/'sitecustomize.py').write_text(WATCH)
    env = {**os.environ, 'WATCHED': str(folder/'watched'), 'PYTHONPATH': str(folder)}
    code = ("import socket\ntry:\n    socket.create_connection(('192.0.2.1', 9), .1)\nexcept OSError:\n    pass")
    subprocess.run([sys.executable, '-c', code], env=env, check=True)
    lines = (folder/'watched').read_text().split('\n')
    if not any('192.0.2.1' in line and not HERE.search(line) for line in lines):
        raise Silent(lines)
    return 'right'


def listening(pid):
    "The addresses at which a process and its children listen."
    found = []
    for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess): # it has ended meanwhile
            found += [c.laddr.ip for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    return found


def listens_here(folder, name, *args):
    folder = Path(folder)/f'{name} listens'
    folder.mkdir()
    program = [sys.executable, '-c', 'from imgcourse.cli import command; command()', name, *args, '--no-browser']
    process = subprocess.Popen(program, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        for _ in range(120):
            time.sleep(.5)
            found = listening(process.pid)
            if found:
                break
        if not found or set(found) - {'127.0.0.1', '::1'}:
            raise Silent(f'it listens on {found}')
        return 'right'
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


EVIL = '<img src=x onerror=alert(1)>', '"><b onmouseover=alert(2)>', "{{ 7*7 }} {% raw %}", "'; alert(3) &amp;"


def report_escapes(folder):
    "Classes and files with such names, and a folder."
    from imgcourse.train import train_folder
    folder = Path(folder)/'<i>report {{ 7*7 }}'
    pictures = two_classes(folder/'pictures', 10)
    (pictures/'cats').rename(pictures/EVIL[0])
    (pictures/'dogs').rename(pictures/EVIL[1])
    for k, f in enumerate(sorted(pictures.rglob('*.jpg'))):
        f.rename(f.with_name(f'{EVIL[k % 4]}{k}.jpg'))
    small = {'arch': 'test_resnet', 'sz': 32, 'epochs': 1, 'bs': 4, 'weights': backbone(folder)}
    _, page, _ = train_folder(pictures, folder/'out', **small)
    text = page.read_text(encoding='utf-8')
    for evil in (*EVIL[:2], folder.name):
        if evil in text or evil not in html.unescape(text):
            raise Silent(f'{evil} stands in the page as it is, or not at all')
    if re.search(r'<script|@import|(src|href)=.?(https?:)?//|url\(.?(https?:)?//', text):
        raise Silent('the page asks for something')
    return 'right'


def upload_escapes(folder):
    "The button of the lessons: names are escaped, and content goes through the same door as files."
    import matplotlib.pyplot as plt
    import numpy as np
    from PIL import Image
    from hard_archives import zipped
    from hard_pictures import lossless_webp, saved
    from imgcourse.live import _answer
    def then(picture): return plt.figure()
    whole = saved(Image.fromarray(np.zeros((40, 40, 3), np.uint8)), 'PNG')
    eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\nshowpage\n'
    for content in (b'', b'no picture', zipped(), eps, lossless_webp(16_383, 10_900), whole[:60]):
        said = _answer(then, EVIL[0], content)
        if EVIL[0] in said or html.escape(EVIL[0]) not in said or 'Traceback' in said:
            raise Silent(said[:300])
    said = _answer(then, EVIL[0], whole)
    if 'mathjax_ignore' in said or EVIL[0] in said or html.escape(EVIL[0]) not in said:
        raise Silent(said[:300])
    return 'right'


def net_of(folder, classes=('cat', 'dog')):
    "The file of a small net."
    from hard_models import saved
    from imgcourse.features import write_whole
    folder = Path(folder)/f'net of {os.getpid()}'
    folder.mkdir(exist_ok=True)
    _, tensors, about, _ = saved(str(folder))['conv']
    write_whole(tensors, folder/'named.safetensors', about | {'classes': [*classes]})
    return folder/'named.safetensors'


def page_escapes(folder):
    "Classes and a title with such names."
    from imgcourse.all import PageServer, load_learner
    with PageServer(load_learner(net_of(folder, EVIL[:2])), EVIL[2]) as server:
        page, told = (server.page[name][0].decode() for name in ('index.html', 'net.json'))
    for evil in EVIL[:2]:
        if evil in page or evil not in html.unescape(page):
            raise Silent(f'{evil} stands in the page as it is, or not at all')
    if EVIL[2] not in page or json.loads(told)['classes'] != [*EVIL[:2]]:
        raise Silent('other names')
    if re.search(r'<script(?! type="module" src="page.js)|(src|<link[^>]*href)=.?(https?:)?//|url\(', page):
        raise Silent('the page runs or asks for something else')
    return 'right'


def page_is_guarded(folder):
    "Requests that no page of ours makes; pictures that are none. Afterwards it answers as before."
    import numpy as np
    from PIL import Image
    from hard_archives import zipped
    from hard_pictures import lossless_webp, saved
    from imgcourse.all import PageServer, load_learner
    whole = saved(Image.fromarray(np.zeros((40, 40, 3), np.uint8)), 'PNG')
    with PageServer(load_learner(net_of(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        def said(head, content=b'', host=f'127.0.0.1:{server.server_port}'):
            "The code of the answer; None if there is none."
            with socket.create_connection(('127.0.0.1', server.server_port), 30) as s:
                s.sendall(f'{head} HTTP/1.0\r\nHost: {host}\r\n'.encode() + content)
                s.shutdown(socket.SHUT_WR)
                answer = b''.join(iter(lambda: s.recv(65_536), b''))
            if b'Traceback' in answer or str(Path.home()).encode() in answer:
                raise Silent(answer[:300])
            return int(answer.split()[1]) if answer else None
        def asked(content, size=None, more='X-Imgcourse: ask'):
            length = f'Content-Length: {len(content) if size is None else size}'
            return said('POST /ask', f'{length}\r\n{more}\r\n\r\n'.encode() + content)
        tried = {
            'the page': (said('GET /', b'\r\n'), 200), 'a picture': (asked(whole), 200),
            'files': ([said(f'GET {p}', b'\r\n') for p in ('/../../etc/passwd', '//etc/passwd', '/%2e%2e/x')], [404]*3),
            'another host': (said('GET /', b'\r\n', 'elsewhere.example'), 403),
            'another site': (asked(whole, more='X-Imgcourse: ask\r\nOrigin: http://elsewhere.example'), 403),
            'a form': (asked(whole, more='Content-Type: text/plain'), 403),
            'sizes': ([asked(b'x', n) for n in (-1, 0, '', '1e3', '٣', 10**12, 300_000_001)], [413]*7),
            'less than it said': (asked(whole, 10**6), 200),
            'another method': (said('PUT /ask', b'\r\n'), 501),
        }
        bombs = b'no picture', zipped(), lossless_webp(16_383, 10_900), whole[:60], b'%!PS-Adobe-3.0\nshowpage\n'
        tried['what is no picture'] = [asked(content) for content in bombs], [415]*len(bombs)
        tried['a picture again'] = asked(whole), 200
        server.shutdown()
    wrong = {name: got for name, (got, want) in tried.items() if got != want}
    if wrong:
        raise Silent(wrong)
    return 'right'


def terminal_is_safe(folder):
    "A net whose classes, and a picture whose name, hold commands to a terminal."
    folder = Path(folder)/'terminal'
    folder.mkdir()
    net = net_of(folder, ['\x1b[2J\x1b[31mcat', 'dog\x07\r\nimgcourse: all is well'])
    picture = two_classes(folder/'p', 1)/'cats'/'0.jpg'
    odd = picture.rename(picture.with_name('a\x1b]0;title\x07.jpg'))
    bad = folder/'bad\x1b[5m.jpg'
    bad.write_bytes(b'')
    program = [sys.executable, '-c', 'from imgcourse.cli import command; command()', 'predict']
    done = subprocess.run([*program, net, odd, bad], capture_output=True, text=True)
    for c in done.stdout + done.stderr:
        if not c.isprintable() and c != '\n':
            raise Silent(f'{c!r} was printed: {done.stdout!r} {done.stderr!r}')
    if '\nimgcourse: all is well' in done.stdout or 'cat' not in done.stdout:
        raise Silent(done.stdout)
    return 'right'


def make(folder, quick, rng):
    place = str(folder)
    yield Trial('names in a report', report_escapes, (place,), 120)
    yield Trial('names and content of an upload', upload_escapes, (place,), 60, 1700)
    yield Trial('names in a page that asks a net', page_escapes, (place,), 60)
    yield Trial('what is sent to a page on this machine', page_is_guarded, (place,), 120, 1700)
    yield Trial('commands to a terminal', terminal_is_safe, (place,), 60)
    yield Trial('the watch works', the_watch_works, (place,), 30)
    if quick:
        return
    for name, *args in (('lab', 'lab', 'lessons', '--port=0', '--allow-root'), ('serve', 'serve', net_of(folder))):
        yield Trial(f'{name} listens on this machine alone', listens_here, (place, *args), 120)
    train = 'train', 'PICTURES', '--out', 'OUT', '--epochs', '1', '--size', '64'
    for name, *args in (('train', *train), ('predict', 'predict', 'PICTURES/cats'), ('data', 'data'),
                        ('doctor', 'doctor'), ('run', 'run', '01', '--front', '--out', 'OUT'),
                        ('check', 'check', 'PICTURES'), ('progress', 'progress')):
        yield Trial(f'nothing is sent: {name}', watched, (place, name, *args), 200)
