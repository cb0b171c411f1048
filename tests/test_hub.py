"Pictures from Hugging Face's datasets; nets to its hub and from it, by a server on this machine that answers alike."
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import huggingface_hub.constants
import numpy as np
import pytest
from imgcourse.all import ConvLearner, ImageClassifierData, lite0, load_learner, push_to_hub, set_seed, tfms_from_model
from imgcourse.cli import main
from imgcourse.features import WeightsError
from imgcourse.pictures import PictureError

TFMS = tfms_from_model(lite0, 64)
KINDS = datasets.Features({'image': datasets.Image(), 'label': datasets.ClassLabel(names=['cats', 'dogs'])})


def rows(folder, names=('cats', 'dogs')):
    files = [str(f) for c in names for f in sorted((folder/c).iterdir())]
    return {'image': files, 'label': [k for k, c in enumerate(names) for _ in (folder/c).iterdir()]}


# ---- sets of pictures
def test_parts_of_a_set(same_few):
    "As good as the folder: the same pictures, classes, features."
    parts = {'train': 'train', 'validation': 'valid', 'unlabeled': 'train'}
    whole = datasets.DatasetDict({k: datasets.Dataset.from_dict(rows(same_few/v), KINDS) for k, v in parts.items()})
    data = ImageClassifierData.from_datasets(whole, bs=8, tfms=TFMS)
    same = ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)
    assert data.classes == ['cats', 'dogs'] and len(data.trn_ds) == 24 and len(data.val_ds) == 12
    assert np.array_equal(data.val_y, same.val_y)
    assert np.array_equal(np.array(data.val_ds.picture(3)), np.array(same.val_ds.picture(3)))
    said = []
    for d in (data, same):
        set_seed(1)
        learn = ConvLearner.pretrained(lite0, d, precompute=True).silent()
        learn.fit(.01, 2)
        said.append(learn.predict())
    assert np.allclose(*said, atol=1e-4)


def test_one_set_with_names_as_labels(same_few):
    "Other columns; pictures as bytes; a part is set aside."
    found = rows(same_few/'train')
    content = [{'bytes': Path(f).read_bytes(), 'path': None} for f in found['image']]
    kinds = datasets.Features({'photo': datasets.Image(), 'what': datasets.Value('string')})
    ds = datasets.Dataset.from_dict({'photo': content, 'what': [('cat', 'dog')[k] for k in found['label']]}, kinds)
    data = ImageClassifierData.from_datasets(ds, label='what', bs=8, tfms=TFMS, valid_pct=.25)
    assert data.classes == ['cat', 'dog'] and (len(data.trn_ds), len(data.val_ds)) == (18, 6)
    again = ImageClassifierData.from_datasets(ds, label='what', bs=8, tfms=TFMS, valid_pct=.25)
    assert [again.val_ds.key(k) for k in range(6)] == [data.val_ds.key(k) for k in range(6)]
    assert not {data.val_ds.key(k) for k in range(6)} & {data.trn_ds.key(k) for k in range(18)}


def test_numbers_as_labels_and_names_in_another_order(same_few):
    "2 comes before 10; what is called dogs is dogs."
    found = rows(same_few/'train')
    plain = {**found, 'label': [(2, 10)[k] for k in found['label']]}
    kinds = datasets.Features({'image': datasets.Image(), 'label': datasets.Value('int64')})
    data = ImageClassifierData.from_datasets(datasets.Dataset.from_dict(plain, kinds), label='label', tfms=TFMS)
    assert data.classes == ['2', '10'] and len(data.trn_y) + len(data.val_y) == 24
    turned = datasets.Features({'image': datasets.Image(), 'label': datasets.ClassLabel(names=['dogs', 'cats'])})
    other = datasets.Dataset.from_dict({**found, 'label': [1 - k for k in found['label']]}, turned)
    data = ImageClassifierData.from_datasets(datasets.Dataset.from_dict(found, KINDS), other, tfms=TFMS)
    assert np.array_equal(data.trn_y, data.val_y)


def test_sets_that_cannot_be(same_few):
    ds = datasets.Dataset.from_dict(rows(same_few/'train'), KINDS)
    plain = ds.cast_column('label', datasets.Value('int64'))
    cases = [(dict(source=ds, image='photo'), 'Which column holds the pictures. There are image, label'),
             (dict(source=plain), 'Which column holds the labels'),
             (dict(source=datasets.DatasetDict(a=ds, b=ds)), 'Which part is to learn from'),
             (dict(source=ds, valid=datasets.Dataset.from_dict({'image': rows(same_few/'train')['image'][:1],
                                                                'label': [-1]}, KINDS)), 'row 0 has -1')]
    for told, why in cases:
        with pytest.raises(ValueError, match=why):
            ImageClassifierData.from_datasets(tfms=TFMS, **told)
    other = ds.rename_column('image', 'photo')
    with pytest.raises(ValueError, match='validation part needs columns image and label, and has photo, label'):
        ImageClassifierData.from_datasets(ds, other, tfms=TFMS)
    with pytest.raises(ValueError, match='tfms'):
        ImageClassifierData.from_datasets(ds)


@pytest.mark.parametrize('content', [b'nothing', None])
def test_pictures_that_cannot_be_read(same_few, content):
    "They are named before the training, with their part."
    found = rows(same_few/'train')
    bad = {**found, 'image': [*found['image'][:7], content and {'bytes': content, 'path': None}, *found['image'][8:]]}
    good, bad = (datasets.Dataset.from_dict(told, KINDS) for told in (found, bad))
    for told, part in (((bad, good), 'training'), ((good, bad), 'validation')):
        with pytest.raises(PictureError, match=f'1 pictures of the {part} part cannot be read.*row 7'):
            ImageClassifierData.from_datasets(*told, tfms=TFMS)


def test_labels_that_are_missing(same_few):
    found, kinds = rows(same_few/'train'), datasets.Features({**KINDS, 'label': datasets.Value('string')})
    ds = datasets.Dataset.from_dict({**found, 'label': [None, *map(str, found['label'][1:])]}, kinds)
    with pytest.raises(ValueError, match='1 rows of the training part have no class that is known: row 0 has None'):
        ImageClassifierData.from_datasets(ds, ds, label='label', tfms=TFMS)


# ---- nets
class Hub(BaseHTTPRequestHandler):
    "Keeps what is committed, and gives it back."
    def do_POST(self):
        content = self.rfile.read(int(self.headers['Content-Length']))
        answer, files = {}, self.server.files
        if self.path == '/api/repos/create':
            told = json.loads(content)
            self.server.repos.append(told)
            answer = {'url': f'{self.server.url}/{told.get("organization", "me")}/{told["name"]}'}
        elif self.path.endswith('/preupload/main'):
            paths = [f['path'] for f in json.loads(content)['files']]
            how = {'uploadMode': 'regular', 'shouldIgnore': False, 'oid': None}
            answer = {'files': [{'path': p, **how} for p in paths]}
        elif self.path.endswith('/commit/main'):
            for line in map(json.loads, content.splitlines()):
                if line['key'] == 'file':
                    files[line['value']['path']] = base64.b64decode(line['value']['content'])
            answer = {'commitUrl': f'{self.server.url}/user/pets/commit/{"a"*40}', 'commitOid': 'a'*40, 'success': True}
        self.send(200, json.dumps(answer).encode())

    def do_HEAD(self): self.do_GET()

    def do_GET(self):
        name = self.path.split('/')[-1].split('?')[0]
        if '/resolve/' in self.path and 'user/pets' in self.path and name in self.server.files:
            return self.send(200, self.server.files[name])
        if self.path.startswith('/api/models/user/pets'):
            return self.send(200, json.dumps({'id': 'user/pets', 'sha': 'a'*40, 'siblings': []}).encode())
        self.send(404, b'{"error": "Repository not found"}', {'X-Error-Code': 'RepoNotFound'})

    def send(self, code, content, more=()):
        self.send_response(code)
        headers = {'Content-Length': len(content), 'ETag': f'"{hash(content)}"', 'X-Repo-Commit': 'a'*40,
                   'Content-Type': 'application/json', **dict(more)}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def log_message(self, *args): pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with ThreadingHTTPServer(('127.0.0.1', 0), Hub) as server:
        server.files, server.repos, server.url = {}, [], f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', server.url)
        monkeypatch.setattr(huggingface_hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
                            server.url + '/{repo_id}/resolve/{revision}/{filename}')
        monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path/'hub'))
        monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
        monkeypatch.setenv('HF_TOKEN', 'hf_of_the_tests')
        yield server
        server.shutdown()


def test_a_net_goes_to_the_hub_and_comes_back(same_few, hub, tmp_path, capsys):
    "With a page; whoever fetches it gets the same answers, from Python and from the command line."
    data = ImageClassifierData.from_paths(same_few, bs=8, tfms=TFMS)
    learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    learn.fit(.01, 2)
    assert push_to_hub(learn, 'user/pets', private=True) == f'{hub.url}/user/pets'
    assert hub.repos[0]['name'] == 'pets' and hub.repos[0].get('private', hub.repos[0].get('visibility') == 'private')
    page = hub.files['README.md'].decode()
    assert page.startswith('---\nlibrary_name: imgcourse') and 'cats, dogs' in page
    assert "load_learner('hf:user/pets')" in page
    net = load_learner('hf:user/pets')
    files = [data.val_ds.name(i) for i in range(12)]
    assert np.array_equal(net.predict(files), load_learner(learn.export(tmp_path/'same.safetensors')).predict(files))
    assert main(['predict', 'hf:user/pets', files[0], '--json']) == 0
    assert json.loads(capsys.readouterr().out)[0]['classes'][0]['class'] in ('cats', 'dogs')


def test_what_is_not_on_the_hub(hub, tmp_path, capsys):
    with pytest.raises(WeightsError, match='hf:nobody/nothing could not be fetched'):
        load_learner('hf:nobody/nothing')
    hub.files['model.safetensors'] = b'no net'
    with pytest.raises(WeightsError):
        load_learner('hf:user/pets')
    (tmp_path/'x.safetensors').write_bytes(b'no net')
    with pytest.raises(WeightsError):
        push_to_hub(tmp_path/'x.safetensors', 'user/pets')
    assert hub.repos == [], 'nothing is made for what is no net'
    assert main(['serve', 'hf:no such name']) == 2
    assert 'hf:user/name' in capsys.readouterr().err
