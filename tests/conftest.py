"What the tests share: a cache, small data that a test may change, real photos where they are, the built wheel."
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
import pages
import pytest
from browsing import browser, lab, open_lesson # noqa: F401, fixtures

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent/'shared'
# The number of torch's threads would follow how busy the machine is, and it changes the last digits. Under xdist
# several processes share the cores. torch has not been imported yet.
os.environ['OMP_NUM_THREADS'] = '1' if 'PYTEST_XDIST_WORKER' in os.environ else '2'


def pytest_collection_modifyitems(items):
    "The limit of pyproject.toml finds what hangs; what is slow by itself may take two hours."
    for item in items:
        if item.get_closest_marker('slow'):
            item.add_marker(pytest.mark.timeout(7200))


@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory, request):
    """All tests share a fresh cache, and nothing of the user's settings reaches them. Sketches alone are kept between
    runs: the name of their folder has the hash of what draws them."""
    for v in ('IMGCOURSE_DATA', 'IMGCOURSE_FULL'):
        os.environ.pop(v, None)
    folder = tmp_path_factory.mktemp('cache')
    try:
        (folder/'sketches').symlink_to(request.config.cache.mkdir('sketches'), target_is_directory=True)
    except OSError: # Windows allows it to developers alone; the sketches are then drawn anew
        pass
    os.environ['IMGCOURSE_CACHE'] = str(folder)
    return folder


@pytest.fixture(scope='session', autouse=True)
def widgets_as_in_a_notebook():
    "ipykernel looks after them from the start: those that it finds already there complain when Python ends."
    import ipykernel.ipkernel # noqa: F401


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    "A cache for one test alone."
    monkeypatch.setenv('IMGCOURSE_CACHE', str(tmp_path/'own cache'))
    return tmp_path/'own cache'


@pytest.fixture
def ctrl_c():
    "A function that does what Ctrl-C does (also where the tests run in the background, with that signal turned off)."
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope='session')
def sketches(cache):
    from imgcourse.sources import get_dataset
    return get_dataset('dogscats')


def copy_few(sketches, to, n_train=12, n_valid=6):
    "So many sketches of each class, in `train` and `valid`."
    for split, n in (('train', n_train), ('valid', n_valid)):
        for c in ('cats', 'dogs'):
            (to/split/c).mkdir(parents=True)
            for f in sorted((sketches/split/c).iterdir())[:n]:
                shutil.copy(f, to/split/c/f.name)
    return to


@pytest.fixture
def few(sketches, tmp_path):
    """A folder with 12 + 6 sketches of each class that a test may change; a name has spaces and letters that are not
    ASCII."""
    cats = copy_few(sketches, tmp_path/'few')/'train'/'cats'
    (cats/'cat.0.jpg').rename(cats/'Mädchens Katze № 1.jpg')
    return tmp_path/'few'


@pytest.fixture(scope='module')
def same_few(sketches, tmp_path_factory):
    "The same for a whole module; nothing may be changed in it."
    return copy_few(sketches, tmp_path_factory.mktemp('same')/'few')


def shared(name):
    "A file in the folder `shared` beside the repository; the test is skipped, by that name, where it is not."
    if not (SHARED/name).exists():
        pytest.skip(f'needs ../shared/{name}')
    return SHARED/name


def weights_of(arch):
    "What `pretrained` must be told beside the name: nothing for the net on board, the file for the one in `shared`."
    if arch == 'tf_efficientnet_lite0':
        return {}
    return {'weights': shared(f'weights/{arch}.safetensors'), 'pad_type': 'same'}


@pytest.fixture(scope='session')
def dogscats_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    with tarfile.open(shared('data/dogscats.tgz')) as t:
        t.extractall(folder, filter='data')
    return folder/'dogscats'


@pytest.fixture(scope='session')
def ort_web(request):
    """The files of ONNX Runtime Web, from npm, which keeps them for later runs; without npm or its registry the test is
    skipped, by that name."""
    from imgcourse.share import _version
    folder = request.config.cache.mkdir(f'onnxruntime-web-{_version}')
    if not (folder/'package'/'dist').is_dir():
        if not shutil.which('npm'):
            pytest.skip('needs npm')
        command = ['npm', 'pack', '--silent', f'onnxruntime-web@{_version}']
        p = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        if p.returncode:
            pytest.skip(f'needs the registry of npm: {p.stderr[-200:]}')
        with tarfile.open(folder/p.stdout.strip().split()[-1]) as t:
            t.extractall(folder, filter='data')
    return folder/'package'/'dist'


NOT_SOURCE = ('.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', '_proc', '_docs', '.pytest_cache')


@pytest.fixture(scope='session')
def dist(tmp_path_factory):
    "The wheel and the sdist, built from a copy of the tree."
    root = tmp_path_factory.mktemp('dist')
    shutil.copytree(ROOT, root/'src', symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', root/'dist', root/'src']
    subprocess.run(build, check=True, capture_output=True)
    return root/'dist'


@pytest.fixture(scope='session')
def wheel_bin(dist, tmp_path_factory):
    """The commands of an environment that has the wheel, and for the rest the packages of this one (but not the
    repository)."""
    root = tmp_path_factory.mktemp('wheel')/'env'
    venv.create(root, with_pip=False)
    site, = root.glob('lib/python*/site-packages')
    (site/'others.pth').write_text(sysconfig.get_paths()['purelib'])
    wheel, = dist.glob('*.whl')
    options = ['-q', '--no-deps', '--no-index', '--prefix', root, '--ignore-installed', '--force-reinstall']
    subprocess.run([sys.executable, '-m', 'pip', 'install', *options, wheel], check=True)
    return root/'bin'


@pytest.fixture(scope='session')
def site_notebooks(tmp_path_factory):
    "The folder with the notebooks that nbdev makes for the docs site."
    return pages.proc(tmp_path_factory.mktemp('docs'))


@pytest.fixture(scope='session')
def site_bodies(site_notebooks):
    "The text of each page of the site, as HTML."
    return {name: pages.render(name, nb) for name, nb in pages.notebooks(site_notebooks).items()}


@pytest.fixture(scope='session')
def site_pages(site_notebooks, site_bodies):
    "The file of each page of the site."
    return pages.write_pages(site_notebooks, pages.notebooks(site_notebooks), site_bodies)


class Disk:
    "Notes what is brought to the disk, and what gets its name when."
    def __init__(self, monkeypatch):
        self.events = []
        self.watch(monkeypatch, 'sync', lambda: ())
        self.watch(monkeypatch, 'fsync', lambda f: (os.fstat(f).st_ino, os.fstat(f).st_size))
        for name in ('replace', 'rename'):
            self.watch(monkeypatch, name, lambda one, other: (os.stat(one), Path(other)))

    def watch(self, monkeypatch, name, seen):
        real = getattr(os, name)
        def noted(*args):
            self.events.append((name, *seen(*args)))
            return real(*args)
        monkeypatch.setattr(os, name, noted)

    def named(self):
        "The names that were given. Each had its content on the disk before, and its folder followed."
        names = []
        for i, (what, *seen) in enumerate(self.events):
            if what in ('sync', 'fsync'):
                continue
            (file, name), before, after = seen, self.events[:i], self.events[i + 1:]
            assert ('fsync', file.st_ino, file.st_size) in before or ('sync',) in before, f'{name} may be empty'
            folder = os.stat(name.parent).st_ino
            assert any(e[:2] == ('fsync', folder) for e in after), f'{name} may be forgotten'
            names.append(name.name)
        return names


@pytest.fixture
def disk(monkeypatch): return Disk(monkeypatch)
