import os, shutil, signal, tarfile
from pathlib import Path
import pytest

SHARED = Path(__file__).parents[2]/'shared'

def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes minutes; run by hand with `pytest -m slow`')
    config.option.markexpr = config.option.markexpr or 'not slow'

@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory):
    "All tests share a fresh cache, and nothing of the user's settings reaches them."
    for v in ('IMGCOURSE_DATA', 'IMGCOURSE_FULL'): os.environ.pop(v, None)
    os.environ['IMGCOURSE_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    return Path(os.environ['IMGCOURSE_CACHE'])

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
    from imgcourse.data import get_dataset
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

@pytest.fixture(scope='session')
def dogscats_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    with tarfile.open(shared('data/dogscats.tgz')) as t: t.extractall(folder, filter='data')
    return folder/'dogscats'
