"Downloads from a server on localhost that also truncates, corrupts, drops and refuses."
import hashlib
import io
import os
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from imgcourse import sources
from imgcourse.data import ImageClassifierData
from imgcourse.sources import DownloadError, FullSet, download, get_dataset, unpack
from imgcourse.transforms import tfms_from_model

CONTENT = np.random.RandomState(0).bytes(3_000_000)
DIGEST = 'sha256:' + hashlib.sha256(CONTENT).hexdigest()


def left(folder):
    return sorted(f for f in os.listdir(folder) if not f.endswith('.lock'))


class Server(ThreadingHTTPServer):
    "Serves `files`; `faults` is a list of what goes wrong, one for each request to come."
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.faults, self.asked = {'/file.bin': CONTENT}, [], []

    def handle_error(self, *args):
        "A client that hangs up is no fault."

    def url(self, name='file.bin'):
        return f'http://127.0.0.1:{self.server_port}/{name}'


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        "Nothing is printed."

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else None
        start = int((self.headers.get('Range') or 'bytes=0-')[6:].split('-')[0])
        self.server.asked.append(start)
        body = self.server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        if fault == 'busy':
            return self.send_error(503)
        if fault == 'no range':
            start = 0
        if fault in ('too long a length', 'no address'):
            self.send_response(200 if fault == 'too long a length' else 302)
            self.send_header('Content-Length', '9'*5000 if fault == 'too long a length' else '0')
            self.send_header('Location', 'http://[::1')
            return self.end_headers()
        if fault == 'portal':
            start, body = 0, b'<html>please sign in</html>'
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', len(body) - start)
        self.end_headers()
        self.send_body(body[start:], fault)

    def send_body(self, part, fault):
        if fault == 'corrupt':
            part = b'?'*1000 + part[1000:]
        if fault in ('drop', 'truncate'):
            part = part[:len(part)//2]
        self.wfile.write(part)
        if fault == 'drop':
            self.wfile.flush()
            self.connection.close()

    def do_POST(self):
        "As Kaggle's client asks."
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.do_GET()


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(sources.time, 'sleep', lambda seconds: None)


@pytest.fixture
def server(no_pause):
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_plain(server, tmp_path):
    file = download(server.url(), tmp_path/'a'/'file.bin', DIGEST)
    assert file.read_bytes() == CONTENT
    assert left(file.parent) == ['file.bin']
    download(server.url(), file, DIGEST)
    assert len(server.asked) == 1, 'a file that is there is not fetched again'


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere a folder cannot be brought to the disk')
def test_a_power_failure_leaves_the_whole_or_a_part(server, tmp_path, disk):
    download(server.url(), tmp_path/'f', DIGEST)
    assert disk.named() == ['f']


@pytest.mark.parametrize('faults', [['truncate'], ['drop', 'truncate', 'drop'], ['busy', 'drop'], ['drop', 'no range']])
def test_goes_on_where_it_stopped(server, tmp_path, faults):
    server.faults += faults
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT
    if faults == ['truncate']:
        assert server.asked == [0, len(CONTENT)//2]


def test_goes_on_in_another_call(server, tmp_path):
    server.faults += ['drop']*2
    with pytest.raises(DownloadError, match='kept; run it again'):
        download(server.url(), tmp_path/'f', DIGEST, tries=2)
    assert not (tmp_path/'f').exists()
    assert 0 < (tmp_path/'f.part').stat().st_size < len(CONTENT)
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT
    assert server.asked[-1] > 0


def test_a_part_that_is_complete(server, tmp_path):
    (tmp_path/'f.part').write_bytes(CONTENT)
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT


def test_a_wrong_file_put_there_by_hand(server, tmp_path):
    (tmp_path/'f').write_bytes(b'something else')
    with pytest.raises(DownloadError, match=r'not the file.*Remove it'):
        download(server.url(), tmp_path/'f', DIGEST)
    assert (tmp_path/'f').read_bytes() == b'something else'
    assert server.asked == []


def test_another_answer_does_not_destroy_what_has_arrived(server, tmp_path):
    "A portal that answers every request with its own page."
    (tmp_path/'f.part').write_bytes(CONTENT[:2_000_000])
    server.faults += ['portal']*2
    with pytest.raises(DownloadError, match='kept'):
        download(server.url(), tmp_path/'f', DIGEST, tries=2)
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT
    assert server.asked[-1] == 2_000_000


def test_two_at_once(server, tmp_path):
    def fetch(i):
        return download(server.url(), tmp_path/'f', DIGEST).read_bytes()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fetch, range(4))) == [CONTENT]*4
    assert len(server.asked) == 1


def test_corrupt_bytes_never_get_the_name(server, tmp_path):
    server.faults += ['corrupt']
    with pytest.raises(DownloadError, match=r'damaged.*removed; run it again'):
        download(server.url(), tmp_path/'f', DIGEST)
    assert left(tmp_path) == []
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT


def test_the_server_has_no_such_file(server, tmp_path):
    with pytest.raises(DownloadError, match=r'404.*other means.*f$'):
        download(server.url('none'), tmp_path/'f', DIGEST)
    assert len(server.asked) == 1


def test_no_server(no_pause, tmp_path):
    with pytest.raises(DownloadError, match='could not be fetched'):
        download('http://127.0.0.1:9/f', tmp_path/'f', DIGEST, tries=2)


@pytest.mark.parametrize('fault', ['too long a length', 'no address'])
def test_odd_answers(server, tmp_path, fault):
    server.faults += [fault]*5
    with pytest.raises(DownloadError, match=server.url()):
        download(server.url(), tmp_path/'f', DIGEST)
    server.faults.clear()
    assert download(server.url(), tmp_path/'f', DIGEST).read_bytes() == CONTENT


def test_tried_at_least_once(server, tmp_path):
    assert download(server.url(), tmp_path/'f', DIGEST, tries=0).read_bytes() == CONTENT


def test_what_is_no_address(tmp_path):
    with pytest.raises(DownloadError, match='no address'):
        download('not an address', tmp_path/'f', DIGEST)


def test_a_full_disk_is_told_before(server, tmp_path, monkeypatch):
    usage = sources.shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(sources.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(DownloadError, match='no room for the 3 MB'):
        download(server.url(), tmp_path/'f', DIGEST)
    assert left(tmp_path) == []


# ---- archives
def make_tar(path, members):
    "A packed tar file; a member that is a text is a link there."
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def make_zip(path, members):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.skipif(os.name != 'posix', reason='elsewhere there are no named pipes')
def test_what_is_no_archive_is_said_in_a_line(tmp_path):
    "A pipe would be waited for."
    os.mkfifo(tmp_path/'pipe.zip')
    (tmp_path/'text.zip').write_text('no archive')
    for name in ('pipe.zip', 'text.zip', 'none.zip'):
        with pytest.raises(ValueError, match=f'^.*{name} .*$') as e:
            unpack(tmp_path/name, tmp_path/'out')
        assert '\n' not in str(e.value)
    assert sorted(os.listdir(tmp_path)) == ['pipe.zip', 'text.zip']


@pytest.mark.parametrize('make', [make_tar, make_zip])
def test_unpack(tmp_path, make):
    make(tmp_path/'a', {'x/y.txt': b'1', 'z..txt': b'2'})
    out = unpack(tmp_path/'a', tmp_path/'out')
    assert (out/'x'/'y.txt').read_bytes() == b'1'
    assert (out/'z..txt').read_bytes() == b'2', 'a harmless name'
    assert sorted(os.listdir(tmp_path)) == ['a', 'out']


def test_a_tar_whose_first_name_begins_as_a_zip_does(tmp_path):
    with tarfile.open(tmp_path/'a', 'w') as archive:
        info = tarfile.TarInfo('PKLot/1.txt')
        info.size = 3
        archive.addfile(info, io.BytesIO(b'one'))
    assert (unpack(tmp_path/'a', tmp_path/'out')/'PKLot'/'1.txt').read_bytes() == b'one'


def test_others_may_read_what_is_unpacked(tmp_path):
    "Whoever may read a new folder."
    make_zip(tmp_path/'a', {'x/y.txt': b'1'})
    (tmp_path/'new').mkdir()
    assert unpack(tmp_path/'a', tmp_path/'out').stat().st_mode == (tmp_path/'new').stat().st_mode


@pytest.mark.parametrize('make, members', [
    (make_tar, {'../evil': b'1'}),
    (make_tar, {'ok': b'1', 'a/../../evil': b'1'}),
    (make_tar, {'link': '/etc', 'link/evil': b'1'}),
    (make_tar, {'link': '../..'}),
    (make_zip, {'../evil': b'1'}),
    (make_zip, {'ok': b'1', '/tmp/evil-of-imgcourse': b'1'}),
])
def test_no_member_lands_outside(tmp_path, make, members):
    (tmp_path/'in').mkdir()
    make(tmp_path/'in'/'a', members)
    with pytest.raises(ValueError, match='cannot be unpacked'):
        unpack(tmp_path/'in'/'a', tmp_path/'in'/'out')
    assert not list(tmp_path.rglob('evil*'))
    assert os.listdir(tmp_path/'in') == ['a']
    assert not os.path.exists('/etc/evil')
    assert not os.path.exists('/tmp/evil-of-imgcourse')


def test_unpack_never_mixes(tmp_path):
    make_zip(tmp_path/'a', {'x': b'1'})
    (tmp_path/'out').mkdir()
    with pytest.raises(FileExistsError, match='remove it'):
        unpack(tmp_path/'a', tmp_path/'out')


def test_one_flipped_byte(tmp_path):
    make_tar(tmp_path/'a', {'x': CONTENT[:100_000]})
    content = bytearray((tmp_path/'a').read_bytes())
    content[50_000] ^= 1
    (tmp_path/'a').write_bytes(content)
    with pytest.raises(ValueError, match='cannot be unpacked'):
        unpack(tmp_path/'a', tmp_path/'out')


@pytest.mark.parametrize('spoil', [lambda b: b[:len(b)//2], lambda b: b'<html>not found</html>', lambda b: b''])
@pytest.mark.parametrize('make', [make_tar, make_zip])
def test_damaged_archives(tmp_path, make, spoil):
    make(tmp_path/'a', {'x': CONTENT[:100_000]})
    (tmp_path/'a').write_bytes(spoil((tmp_path/'a').read_bytes()))
    with pytest.raises(ValueError, match='cannot be unpacked'):
        unpack(tmp_path/'a', tmp_path/'out')
    assert os.listdir(tmp_path) == ['a']


# ---- from the publisher's archive to the folders of the course
def jpeg(seed):
    file = io.BytesIO()
    Image.effect_noise((40 + seed, 50), 40).convert('RGB').save(file, 'JPEG')
    return file.getvalue()


def records(n, labels):
    return b''.join(bytes([i % 10]*labels) + bytes([i]*1024 + [0]*2048) for i in range(n))


@pytest.fixture
def publish(server, own_cache, monkeypatch, tmp_path):
    def publish(name, make, members):
        make(tmp_path/'archive', members)
        body = (tmp_path/'archive').read_bytes()
        server.files[f'/{name}.bin'] = body
        digest = 'md5:' + hashlib.md5(body).hexdigest()
        full = FullSet(server.url(f'{name}.bin'), digest, 1, sources.full_sets[name].arrange)
        monkeypatch.setitem(sources.full_sets, name, full)
        return get_dataset(name, full=True)
    return publish


def test_full_dogscats(publish, server):
    pictures = {f'PetImages/{kind}/{i}.jpg': jpeg(i) for kind in ('Cat', 'Dog') for i in range(10)}
    faulty = {'PetImages/Cat/666.jpg': b'', 'PetImages/Dog/Thumbs.db': b'x', 'readme.txt': b'x'}
    path = publish('dogscats', make_zip, pictures | faulty)
    assert sorted(f.name for f in (path/'valid'/'cats').iterdir()) == ['cat.8.jpg', 'cat.9.jpg']
    assert len(list((path/'train'/'dogs').iterdir())) == 8
    ImageClassifierData.from_paths(path, tfms=tfms_from_model('resnet18', 32))
    assert get_dataset('dogscats', full=True) == path
    assert len(server.asked) == 1


NAMES = '\n'.join(f'class{i}' for i in range(10)).encode()


def test_full_cifar10(publish):
    path = publish('cifar10', make_tar, {
        'cifar-10-batches-bin/batches.meta.txt': NAMES,
        'cifar-10-batches-bin/data_batch_1.bin': records(20, 1),
        'cifar-10-batches-bin/data_batch_2.bin': records(20, 1),
        'cifar-10-batches-bin/test_batch.bin': records(10, 1),
    })
    assert len(list((path/'train'/'class3').iterdir())) == 4
    assert len(list(path.glob('test/*/*'))) == 10
    assert Image.open(path/'train'/'class3'/'00013.png').getpixel((5, 5)) == (13, 0, 0)


def test_full_cifar100(publish):
    path = publish('cifar100', make_tar, {
        'cifar-100-binary/fine_label_names.txt': NAMES,
        'cifar-100-binary/train.bin': records(20, 2),
        'cifar-100-binary/test.bin': records(10, 2),
    })
    assert Image.open(path/'train'/'class3'/'00013.png').size == (32, 32)


def test_full_caltech(publish, tmp_path):
    pictures = {f'101_ObjectCategories/{c}/image_{i:04}.jpg': jpeg(i) for c in ('anchor', 'ant') for i in range(33)}
    make_tar(tmp_path/'inner', pictures)
    inner = (tmp_path/'inner').read_bytes()
    path = publish('caltech101', make_zip, {'caltech-101/101_ObjectCategories.tar.gz': inner})
    assert [len(list((path/split/'ant').iterdir())) for split in ('train', 'test')] == [30, 3]


# ---- dog breeds: from Kaggle for those who have an account there, else from Stanford
STANFORD = {
    f'Images/n0{k}-{breed}/n0{k}_{i}.jpg': jpeg(i)
    for k, breed in enumerate(('Chihuahua', 'German_short-haired_pointer')) for i in range(103)
}


@pytest.fixture
def no_kaggle(tmp_path, monkeypatch):
    "Nobody's credentials."
    for name in ('KAGGLE_USERNAME', 'KAGGLE_KEY', 'KAGGLE_API_TOKEN', 'KAGGLE_API_V1_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('KAGGLE_CONFIG_DIR', str(tmp_path/'none'))
    monkeypatch.setenv('KAGGLEHUB_CACHE', str(tmp_path/'hub'))


@pytest.fixture
def kaggle(server, no_kaggle, monkeypatch, tmp_path):
    "Kaggle's own client with an account, its requests answered by the server on localhost."
    import kagglesdk.kaggle_env as env
    monkeypatch.setenv('KAGGLE_API_ENVIRONMENT', 'TEST')
    monkeypatch.setenv('KAGGLE_USERNAME', 'ada')
    monkeypatch.setenv('KAGGLE_KEY', 'secret')
    monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.TEST, server.url('')[:-1])
    return '/api/v1/competitions.CompetitionApiService/DownloadDataFiles'


def check_breeds(path, breeds, n_train, n_test):
    tfms = tfms_from_model('resnet18', 32)
    data = ImageClassifierData.from_csv(path, 'train', path/'labels.csv', suffix='.jpg', test_name='test', tfms=tfms)
    assert data.classes == breeds
    assert (len(data.trn_ds) + len(data.val_ds), len(data.test_ds)) == (n_train, n_test)
    return data


def test_dog_breeds_from_stanford(publish, no_kaggle, server):
    path = publish('dogbreeds', make_tar, STANFORD)
    data = check_breeds(path, ['chihuahua', 'german_short-haired_pointer'], 200, 6)
    rows = dict(line.split(',') for line in (path/'labels.csv').read_text().split('\n')[1:-1])
    for name in map(os.path.basename, data.val_ds.items):
        assert (rows[name[:-4]] == 'chihuahua') == name.startswith('n00')
    assert len((path/'test_labels.csv').read_text().split('\n')) == 8
    assert get_dataset('dogbreeds', full=True) == path
    assert len(server.asked) == 1


def test_dog_breeds_from_kaggle(kaggle, server, own_cache, tmp_path, monkeypatch):
    from imgcourse.breeds import submission
    ids = [f'{i:032x}' for i in range(14)]
    pictures = {f'{"train" if k < 10 else "test"}/{i}.jpg': jpeg(k) for k, i in enumerate(ids)}
    labels = '\n'.join(['id,breed', *(f'{i},{("boxer", "collie")[k % 2]}' for k, i in enumerate(ids[:10]))])
    sample = '\n'.join(['id,boxer,collie', *(f'{i},0.5,0.5' for i in ids[10:])])
    make_zip(tmp_path/'zip', {'labels.csv': labels, 'sample_submission.csv': sample, **pictures})
    server.files[kaggle] = (tmp_path/'zip').read_bytes()
    data = check_breeds(get_dataset('dogbreeds', full=True), ['boxer', 'collie'], 10, 4)
    assert list(submission(tmp_path/'s.csv', data, np.full((4, 2), .5)).index) == ids[10:]
    monkeypatch.delenv('KAGGLE_KEY')
    del server.files[kaggle]
    assert get_dataset('dogbreeds', full=True) == data.path, 'fetched once, and kept'


def test_dog_breeds_from_stanford_if_kaggle_refuses(kaggle, publish):
    "An account that has not accepted the rules, say."
    with pytest.warns(UserWarning, match='Have you accepted the rules.*dog-breed-identification/rules'):
        path = publish('dogbreeds', make_tar, STANFORD)
    check_breeds(path, ['chihuahua', 'german_short-haired_pointer'], 200, 6)


@pytest.mark.parametrize('name', sources.full_sets)
def test_addresses_and_hashes_are_well_formed(name):
    full = sources.full_sets[name]
    algorithm, value = full.digest.split(':')
    assert full.url.startswith(('https://', 'http://vision.stanford.edu/'))
    assert len(value) == hashlib.new(algorithm).digest_size*2


# ---- where a lesson finds its pictures
@pytest.fixture
def own_copies(few, tmp_path, monkeypatch):
    "A folder of one's own with two data sets."
    (tmp_path/'own'/'dogbreeds').mkdir(parents=True)
    few.rename(tmp_path/'own'/'dogscats')
    monkeypatch.setenv('IMGCOURSE_DATA', str(tmp_path/'own'))
    return tmp_path/'own'


def test_a_lesson_has_sketches():
    path, *settings = sources.lesson('dogscats')
    assert isinstance(path, str) and path.endswith('/') and os.path.isdir(path + 'train/cats')
    assert settings == [sources.lite0, 96, 64]


def test_an_own_copy_comes_first(own_copies):
    assert get_dataset('dogscats') == own_copies/'dogscats'
    assert sources.lesson('dogscats')[0] == f'{own_copies}/dogscats/'
    assert (get_dataset('caltech101')/'test'/'yin_yang').is_dir(), 'sketches of what there is no copy of'


def test_settings_for_the_full_sets(own_copies, monkeypatch):
    "Those of the texts."
    monkeypatch.setenv('IMGCOURSE_FULL', '1')
    assert sources.lesson('dogscats')[1:] == ('resnet34', 224, 64)
    assert sources.lesson('dogbreeds')[1:] == ('resnext101_64x4d', 224, 64)


@pytest.mark.parametrize('full', ['0', '1'])
def test_unknown_data_sets(own_copies, monkeypatch, full):
    monkeypatch.setenv('IMGCOURSE_FULL', full)
    with pytest.raises(ValueError, match='caltech101, cifar10'):
        get_dataset('horses')


@pytest.mark.parametrize('variable, value', [('IMGCOURSE_FULL', 'ture'), ('IMGCOURSE_DATA', '/no/such/folder')])
def test_settings_that_cannot_be(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises((ValueError, OSError), match=variable):
        get_dataset('dogscats')
