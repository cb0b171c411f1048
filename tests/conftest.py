import os, shutil, signal, subprocess, sys, sysconfig, tarfile, venv
from pathlib import Path
import pytest

SHARED = Path(__file__).parents[2]/'shared'

def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes minutes; run by hand with `pytest -m slow`')
    config.option.markexpr = config.option.markexpr or 'not slow'

@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory, request):
    """All tests share a fresh cache, and nothing of the user's settings reaches them. Sketches alone are kept between
    runs: the name of their folder has the hash of what draws them."""
    for v in ('IMGCOURSE_DATA', 'IMGCOURSE_FULL'):
        os.environ.pop(v, None)
    folder = tmp_path_factory.mktemp('cache')
    (folder/'sketches').symlink_to(request.config.cache.mkdir('sketches'), target_is_directory=True)
    os.environ['IMGCOURSE_CACHE'] = str(folder)
    return folder

@pytest.fixture(scope='session', autouse=True)
def widgets_as_in_a_notebook():
    "ipykernel looks after them from the start: those that it finds already there complain when Python ends."
    import ipykernel.ipkernel

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

@pytest.fixture
def few(sketches, tmp_path):
    "A folder with 12 + 6 sketches of each class that a test may change; a name has spaces and letters that are not ASCII."
    for split, n in (('train', 12), ('valid', 6)):
        for c in ('cats', 'dogs'):
            (tmp_path/'few'/split/c).mkdir(parents=True)
            for f in sorted((sketches/split/c).iterdir())[:n]: shutil.copy(f, tmp_path/'few'/split/c/f.name)
    (tmp_path/'few'/'train'/'cats'/'cat.0.jpg').rename(tmp_path/'few'/'train'/'cats'/'Mädchens Katze № 1.jpg')
    return tmp_path/'few'

def shared(name):
    "A file in the folder `shared` beside the repository; the test is skipped, by that name, where it is not."
    if not (SHARED/name).exists(): pytest.skip(f'needs ../shared/{name}')
    return SHARED/name

def weights_of(arch):
    "What `pretrained` must be told beside the name: nothing for the net on board, the file for the one in `shared`."
    return {} if arch == 'tf_efficientnet_lite0' else dict(weights=shared(f'weights/{arch}.safetensors'), pad_type='same')

@pytest.fixture(scope='session')
def dogscats_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    with tarfile.open(shared('data/dogscats.tgz')) as t: t.extractall(folder, filter='data')
    return folder/'dogscats'

@pytest.fixture(scope='session')
def dist(tmp_path_factory):
    "The wheel and the sdist, built from a copy of the tree."
    root = tmp_path_factory.mktemp('dist')
    shutil.copytree(Path(__file__).parents[1], root/'src', symlinks=True, ignore=shutil.ignore_patterns('.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', '_proc', '_docs'))
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--outdir', root/'dist', root/'src'], check=True, capture_output=True)
    return root/'dist'

@pytest.fixture(scope='session')
def wheel_bin(dist, tmp_path_factory):
    "The commands of an environment that has the wheel, and for the rest the packages of this one (but not the repository)."
    root = tmp_path_factory.mktemp('wheel')/'env'
    venv.create(root, with_pip=False)
    site, = root.glob('lib/python*/site-packages')
    (site/'others.pth').write_text(sysconfig.get_paths()['purelib'])
    wheel, = dist.glob('*.whl')
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--prefix', root, '--ignore-installed', '--force-reinstall', wheel], check=True)
    return root/'bin'
