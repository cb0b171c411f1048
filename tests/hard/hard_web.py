"""What faces a browser or the network: servers listen on this machine alone, pages escape names, uploads are bounded
and go through the same door as files, and nothing is sent anywhere unless a download is asked for."""
import contextlib
import html
import os
import re
import signal
import subprocess
import sys
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
    if done.returncode or 'Traceback' in done.stderr:
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


def lab_listens_here(folder):
    folder = Path(folder)/'lab'
    folder.mkdir()
    program = [sys.executable, '-c', 'from imgcourse.cli import command; command()', 'lab', 'lessons', '--no-browser',
               '--port=0', '--allow-root']
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


def terminal_is_safe(folder):
    "A net whose classes, and a picture whose name, hold commands to a terminal."
    from hard_models import saved
    from imgcourse.features import write_whole
    folder = Path(folder)/'terminal'
    folder.mkdir()
    _, tensors, about, _ = saved(str(folder))['conv']
    about = about | {'classes': ['\x1b[2J\x1b[31mcat', 'dog\x07\r\nimgcourse: all is well']}
    write_whole(tensors, folder/'net.safetensors', about)
    picture = two_classes(folder/'p', 1)/'cats'/'0.jpg'
    odd = picture.rename(picture.with_name('a\x1b]0;title\x07.jpg'))
    bad = folder/'bad\x1b[5m.jpg'
    bad.write_bytes(b'')
    program = [sys.executable, '-c', 'from imgcourse.cli import command; command()', 'predict']
    done = subprocess.run([*program, folder/'net.safetensors', odd, bad], capture_output=True, text=True)
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
    yield Trial('commands to a terminal', terminal_is_safe, (place,), 60)
    yield Trial('the watch works', the_watch_works, (place,), 30)
    if quick:
        return
    yield Trial('lab listens on this machine alone', lab_listens_here, (place,), 120)
    train = 'train', 'PICTURES', '--out', 'OUT', '--epochs', '1', '--size', '64'
    for name, *args in (('train', *train), ('predict', 'predict', 'PICTURES/cats'), ('data', 'data'),
                        ('doctor', 'doctor'), ('run', 'run', '01', '--front', '--out', 'OUT'),
                        ('progress', 'progress')):
        yield Trial(f'nothing is sent: {name}', watched, (place, name, *args), 200)
