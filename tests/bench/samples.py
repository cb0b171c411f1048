"""A sample: a piece of work in a fresh process, with a fresh cache; and the machine that it was taken on."""
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
LIMIT = 3600 # seconds after which a sample is given up
PACKAGES = 'torch torchvision timm numpy pillow onnxruntime openvino fastai keras tensorflow jax'.split()


class Watch(threading.Thread):
    "Notes how much memory a process holds at most, with what its children do not share; ends it if it takes too long."
    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.peak, self.done = process, 0, threading.Event()

    def run(self):
        end, children, looks = time.monotonic() + LIMIT, 0, 0
        while not self.done.wait(.2):
            if time.monotonic() > end:
                self.process.kill()
            with suppress(psutil.Error):
                main = psutil.Process(self.process.pid)
                if looks % 10 == 0: # this look takes milliseconds
                    children = sum(c.memory_full_info().uss for c in main.children(recursive=True))
                self.peak = max(self.peak, main.memory_info().rss + children)
            looks += 1


def others_work():
    "Seconds that the processors have worked for others, since the machine began."
    t = psutil.cpu_times()
    return sum(t) - t.idle - getattr(t, 'iowait', 0) - sum(os.times()[:4])


def run(work, args, env, folder):
    "What the work has found, or its error."
    load, before, started = psutil.getloadavg()[0], others_work(), []
    try:
        for _ in range(work.beside):
            started.append(subprocess.Popen([sys.executable, '-c', 'while True: pass']))
        with open(folder/'out', 'w') as out, open(folder/'err', 'w') as err:
            start = time.perf_counter()
            command = [sys.executable, HERE/'work.py', work.name, json.dumps(args)]
            process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=env)
            started.append(process)
            watch = Watch(process)
            watch.start()
            process.wait()
            wall = time.perf_counter() - start
            watch.done.set()
    finally:
        for p in started:
            p.kill()
            p.wait()
    found = result(process.returncode, folder) | {'wall': wall, 'load': load}
    found['others'] = (others_work() - before)/wall
    found['memory_mb'] = max(found.get('memory_mb', 0), watch.peak/1e6)
    return found


def result(code, folder):
    lines = [(folder/name).read_text(errors='replace').strip().splitlines() for name in ('out', 'err')]
    if code == 0 and lines[0]:
        return json.loads(lines[0][-1])
    return {'error': lines[1][-1].strip() if lines[1] else f'ended with code {code}'}


def sample(work, args, checkout, engines):
    """Runs the work with a checkout's imgcourse. Of its cache only the folder `engines` is filled beforehand, with what
    the first sample has left there."""
    with tempfile.TemporaryDirectory() as tmp:
        cache = Path(tmp)/'cache'
        if engines.is_dir():
            shutil.copytree(engines, cache/'engines')
        env = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
        env |= {'PYTHONPATH': str(checkout), 'IMGCOURSE_CACHE': str(cache), **work.env}
        for _ in range(1 + work.twice):
            found = run(work, args, env, Path(tmp))
        if not engines.is_dir() and (cache/'engines').is_dir():
            shutil.copytree(cache/'engines', engines)
    module = found.get('imgcourse')
    if module and not Path(module).resolve().is_relative_to(checkout):
        return {'error': f'measured {module}'}
    return found


def commit(checkout):
    def git(*args):
        return subprocess.run(['git', '-C', checkout, *args], capture_output=True, text=True).stdout.strip()
    return git('rev-parse', 'HEAD') + (' and changes' if git('status', '--porcelain', '-uno') else '')


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'


def processor():
    with suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    return platform.processor()


def environment(machine, checkouts):
    "`machine`: what the work of that name has found."
    return {
        'date': datetime.now().astimezone().isoformat(timespec='minutes'),
        'commits': {name: commit(checkout) for name, checkout in checkouts.items()},
        'processor': processor(), 'flags': machine.get('flags', []),
        'cores': psutil.cpu_count(), 'torch threads': machine.get('threads'),
        'memory': f'{psutil.virtual_memory().total/1e9:.0f} GB', 'system': platform.platform(),
        'versions': {'Python': platform.python_version()} | {p: version(p) for p in PACKAGES},
    }
