"A page that asks a net about pictures: in the browser of whoever opens it, and by the program on this computer."
import csv
import functools
import http.client
import io
import json
import re
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime
import pytest
import torch
from imgcourse import share
from imgcourse.all import ConvLearner, ImageClassifierData, lite0, load_learner, set_seed, tfms_from_model, untouched
from imgcourse.export import Classifier
from imgcourse.sketches import draw_sketch
from imgcourse.sources import DownloadError
from imgcourse.transforms import PictureTransform, validation_tfm
from PIL import Image
from test_site import CONTRAST, SIDEWAYS, WIDTHS
from torch import nn


@pytest.fixture(scope='module')
def net():
    return untouched()


@pytest.fixture(scope='module')
def own(same_few, tmp_path_factory):
    "A file with a net of cats and dogs."
    set_seed(0)
    data = ImageClassifierData.from_paths(same_few, bs=8, tfms=tfms_from_model(lite0, 64))
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit(.01, 3)
    return learn.export(tmp_path_factory.mktemp('own')/'own.safetensors')


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    "Stand-ins for the three large files."
    folder = tmp_path/'dist'
    folder.mkdir()
    for name in share._runtime:
        (folder/name).write_bytes(name.encode())
        monkeypatch.setitem(share._runtime, name, sha256(name.encode()).hexdigest())
    return folder


def probabilities(net, picture):
    return np.exp(net.predict([picture])[0])


# ---- what is written
def test_places_of_a_linear_head_average_to_its_answer(net):
    "As the class activation maps of Zhou and others do; and they are largest where the cat is, not at the edge."
    x = net.tfm(share.photos_on_board()['coffee'])[None]
    logits, places = share._placed(net).model(x)
    assert places.shape == (1, 1000, 7, 7)
    assert torch.allclose(places.mean((2, 3)), logits, atol=1e-4)
    heat = places.softmax(1)[0, logits.argmax()]
    assert heat[1:4, 1:5].mean() > 5*heat[6].mean(), 'the coffee is above the middle, the table below'


def test_a_net_for_the_browser_says_the_same(net, own, tmp_path):
    "With fewer bits; places are there for nets of timm and for ours."
    for k, known in enumerate((net, load_learner(own))):
        whole = known.to_onnx(tmp_path/f'whole{k}.onnx')
        small = share.write_net(known, tmp_path/f'small{k}.onnx')
        assert small.stat().st_size < .45*whole.stat().st_size
        session = onnxruntime.InferenceSession(small, providers=['CPUExecutionProvider'])
        assert [o.name for o in session.get_outputs()] == ['logits', 'places']
        for photo in share.photos_on_board().values():
            pixels = known.tfm.sized(photo).permute(1, 2, 0)[None].numpy()
            logits, _ = session.run(None, {'pixels': pixels})
            said = torch.from_numpy(logits).softmax(1)[0].numpy()
            assert np.abs(said - probabilities(known, photo)).max() < .03
    assert sorted(f.name for f in tmp_path.glob('small*')) == ['small0.onnx', 'small1.onnx'], 'nothing is left over'


def test_a_net_that_rounds_badly_keeps_sixteen_bits(tmp_path):
    "Weights of very different sizes in a channel are lost in eight bits; where sixteen are not enough, all are kept."
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = nn.Linear(3*32*32, 100)
            with torch.no_grad():
                self.flat.weight.mul_(.1)
                self.flat.weight[:, 0] = 100
        def forward(self, x): return 40*self.flat(x.flatten(1) - x.flatten(1)[:, :1])
    torch.manual_seed(0)
    steep = Classifier(Steep(), [f'class {k}' for k in range(100)], validation_tfm([.5]*3, [.25]*3, 32, 32), (32, 32))
    file = share.write_net(steep, tmp_path/'steep.onnx')
    assert 2 < file.stat().st_size/(100*3*32*32) < 2.3, 'bytes for a weight'
    check_close(steep, file)
    steep.model.flat.weight.data.mul_(1e5)
    steep.model.flat.bias.data.mul_(1e5)
    steep.model.forward = lambda x: 4e-4*steep.model.flat(x.flatten(1) - x.flatten(1)[:, :1])
    file = share.write_net(steep, tmp_path/'large.onnx')
    assert 4 < file.stat().st_size/(100*3*32*32) < 4.3
    check_close(steep, file)


def check_close(net, file):
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    for photo in share.photos_on_board().values():
        logits = session.run(['logits'], {'pixels': net.tfm.sized(photo).permute(1, 2, 0)[None].numpy()})[0]
        said = torch.from_numpy(logits).softmax(1)[0].numpy()
        assert np.abs(said - probabilities(net, photo)).max() < .03


def test_a_net_with_one_logit(tmp_path):
    "Either class may win; where the net looked is drawn for the one that has."
    torch.manual_seed(1)
    head = nn.Sequential(nn.Flatten(), nn.Linear(8, 1))
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 8, 8, 8)
        def forward_features(self, x): return self.body(x)
        def forward_head(self, x): return head(x.mean((2, 3)))
        def forward(self, x): return self.forward_head(self.forward_features(x))
    model, seen = Net(), set()
    for sign in (1, -1):
        head[1].bias.data.fill_(3.*sign)
        net = share._placed(Classifier(model, ['a', 'b'], validation_tfm([.5]*3, [.25]*3, 32, 32), (32, 32)))
        said = net.look(draw_sketch('cat', 1))
        seen.add(int(np.argmax(said['probs'])))
        assert sum(said['probs']) == pytest.approx(1) and said['probs'] == pytest.approx(
            probabilities(net_alone(model), draw_sketch('cat', 1)).tolist(), abs=1e-5)
        assert len(said['places']['values']) == 16 and 0 < min(said['places']['values']) <= 1
    assert seen == {0, 1}


def net_alone(model): return Classifier(model, ['a', 'b'], validation_tfm([.5]*3, [.25]*3, 32, 32), (32, 32))


def test_a_folder_ready_to_publish(own, runtime, tmp_path):
    "It can be written again, and holds nothing that is not the page's."
    see_through = draw_sketch('cat', 1).resize((1000, 900)).convert('RGBA')
    two = {'one': see_through, 'two': see_through}
    folder = share.publish(load_learner(own), tmp_path/'page', 'Mine', two, runtime)
    assert (folder/'example-1.jpg').exists() and see_through.size == (1000, 900), 'what is given stays as it is'
    share.publish(load_learner(own), folder, 'Cats & <dogs>', {'a sketch': draw_sketch('cat', 1)}, runtime)
    told = json.loads((folder/'net.json').read_text())
    assert told['classes'] == ['cats', 'dogs'] and told['prepare']['size'] == [64, 64]
    page = (folder/'index.html').read_text()
    assert 'Cats &amp; &lt;dogs&gt;' in page and 'Ask about a sketch' in page and 'cats, dogs' in page
    others = re.sub(r'https://imgcourse.github.io/imgcourse/|http.server|http-equiv', '', page)
    assert "default-src 'none'" in page and 'http' not in others
    names = {f.name for f in folder.iterdir()}
    assert names == {'index.html', 'net.json', 'net.onnx', 'page.css', 'page.js', 'example-0.jpg', 'ort.wasm.min.js',
                     'ort-wasm-simd-threaded.js', 'ort-wasm-simd-threaded.wasm'}, 'nothing that only some servers know'


def test_pictures_of_one_name_are_all_offered(own, runtime, tmp_path):
    files = [tmp_path/c/'1.png' for c in ('cats', 'dogs')]
    for file, kind in zip(files, ('cat', 'dog')):
        file.parent.mkdir()
        draw_sketch(kind, 1).save(file)
    folder = share.publish(load_learner(own), tmp_path/'page', examples=files, runtime=runtime)
    assert len([*folder.glob('example-*.jpg')]) == 2 == (folder/'index.html').read_text().count('Ask about 1')
    with pytest.raises(ValueError, match='a list of pictures'):
        share.publish(load_learner(own), tmp_path/'page', examples=str(files[0]), runtime=runtime)


def test_a_page_that_was_not_finished_is_written_again(own, runtime, tmp_path, monkeypatch):
    def stop(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(share, 'write_net', stop)
        with pytest.raises(KeyboardInterrupt):
            share.publish(load_learner(own), tmp_path/'page', runtime=runtime)
    assert not (tmp_path/'page'/'index.html').exists()
    (tmp_path/'page'/'example-dog.jpg').write_bytes(b'of somebody else')
    share.publish(load_learner(own), tmp_path/'page', runtime=runtime)
    assert (tmp_path/'page'/'index.html').exists() and (tmp_path/'page'/'example-dog.jpg').exists()


def test_what_cannot_be_published(own, net, runtime, tmp_path):
    "Is said before anything is written."
    mine = load_learner(own)
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'thesis.txt').write_text('mine')
    (tmp_path/'full'/'net.json').write_text('{}')
    cases = [
        (dict(net=mine, folder=tmp_path/'full'), 'holds other files'),
        (dict(net=mine, folder=tmp_path/'new', examples=[tmp_path/'full'/'thesis.txt']), 'not a picture'),
        (dict(net=mine, folder=tmp_path/'new', runtime=tmp_path/'full'), 'does not have the files'),
        (dict(net=Classifier(mine.model, mine.classes, PictureTransform([nn.Identity()], 64, [.5]*3, [.2]*3)),
              folder=tmp_path/'new'), 'steps of your own'),
        (dict(net=Classifier(mine.model, mine.classes, validation_tfm([.5]*3, [.2]*3, 64, 64, interpolation='lanczos')),
              folder=tmp_path/'new'), 'bilinear or bicubic'),
    ]
    for told, why in cases:
        with pytest.raises(ValueError, match=why):
            share.publish(**{'runtime': runtime, **told})
    assert sorted(f.name for f in tmp_path.iterdir()) == ['dist', 'full']


@contextmanager
def served(folder):
    "A server of files, as any host has one."
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()


def test_the_runtime_is_fetched_once_and_checked(runtime, own_cache):
    with served(runtime) as url:
        found = share.browser_runtime(url=url.strip('/'))
    assert [f.read_bytes() for f in found] == [f.name.encode() for f in found]
    assert share.browser_runtime(url='http://127.0.0.1:9') == found, 'nothing is asked for'
    found[0].unlink()
    with pytest.raises(DownloadError, match='npm package onnxruntime-web'):
        share.browser_runtime(url='http://127.0.0.1:9')


def test_net_of_small_arrays(tmp_path):
    "It has no transform that resizes: pictures are stretched to the size that it knows."
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3*20*30, 3))
    small = Classifier(model, ['a', 'b', 'c'], PictureTransform([], 20, [0]*3, [1]*3), (20, 30))
    said = small.look(draw_sketch('cat', 1))
    picture = draw_sketch('cat', 1).resize((30, 20), 2)
    assert np.allclose(said['probs'], probabilities(small, picture), atol=1e-6)
    assert said['places'] is None and said['part'] == [0, 0, 1, 1]


# ---- the page on this computer
@pytest.fixture
def page(own):
    with share.PageServer(load_learner(own)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def as_png(picture):
    out = io.BytesIO()
    picture.save(out, 'png')
    return out.getvalue()


def ask(page, content, **headers):
    "The answer's code and text."
    told = {'X-Imgcourse': 'ask', **{k.replace('_', '-'): v for k, v in headers.items()}}
    line = http.client.HTTPConnection('127.0.0.1', page.server_port, timeout=30)
    line.request('POST', '/ask', content, told)
    said = line.getresponse()
    return said.status, said.read().decode()


def test_the_program_answers(page, own):
    code, text = ask(page, as_png(draw_sketch('dog', 5)))
    said = json.loads(text)
    assert code == 200 and said['picture'].startswith('data:image/jpeg;base64,')
    assert np.allclose(said['probs'], probabilities(load_learner(own), draw_sketch('dog', 5)), atol=1e-5)
    assert len(said['places']['values']) == said['places']['high']*said['places']['wide'] == 4
    for name, kind in (('', 'text/html'), ('page.js', 'text/javascript'), ('net.json', 'application/json')):
        answer = urllib.request.urlopen(page.address + name)
        assert answer.headers['Content-Type'].startswith(kind) and answer.read()


def test_the_program_answers_its_own_page_alone(page):
    "Neither another site that is open in the same browser, nor a site that calls this address by its own name."
    picture = as_png(draw_sketch('dog', 5))
    assert ask(page, picture, Origin='https://elsewhere.example')[0] == 403
    assert ask(page, picture, Host=f'elsewhere.example:{page.server_port}')[0] == 403
    assert ask(page, picture, X_Imgcourse='')[0] == 403
    assert ask(page, picture, Origin=page.address.strip('/'))[0] == 200
    with pytest.raises(urllib.error.HTTPError, match='404'):
        urllib.request.urlopen(f'{page.address}../pyproject.toml')
    assert page.server_address[0] == '127.0.0.1'


def test_what_is_no_picture_is_said(page):
    code, text = ask(page, b'<script>')
    assert code == 415 and 'not a picture' in text
    assert ask(page, b'')[0] == 413
    assert ask(page, b'x', Content_Length='999999999999')[0] == 413
    assert ask(page, b'x', Content_Length='9'*5000)[0] == 413


def test_what_goes_wrong_within_is_said(page, monkeypatch, capfd):
    def fail(picture): raise RuntimeError('out of order')
    monkeypatch.setattr(page.net, 'look', fail)
    code, text = ask(page, as_png(draw_sketch('dog', 5)))
    assert code == 500 and 'out of order' in text and 'Traceback' not in capfd.readouterr().err


def test_a_port_that_is_taken(own, monkeypatch, capsys):
    "The next one is."
    seen = []
    monkeypatch.setattr(share.PageServer, 'serve_forever', lambda server: seen.append(server.server_port))
    with share.PageServer(load_learner(own)) as taken:
        monkeypatch.setattr(share, 'check_number', lambda port, *args, **kwargs: port)
        share.serve(load_learner(own), port=taken.server_port, show=False)
        assert seen and taken.server_port not in seen and f'127.0.0.1:{seen[0]}' in capsys.readouterr().out


# ---- in a browser
@pytest.fixture(scope='module')
def published(net, own, ort_web, tmp_path_factory):
    "Two pages: the net on board with the photos on board, and a net of one's own."
    root = tmp_path_factory.mktemp('pages')
    share.publish(net, root/'board', runtime=ort_web)
    share.publish(load_learner(own), root/'own', 'Cat or dog?', {'cat': draw_sketch('cat', 1)}, ort_web)
    with served(root) as url:
        yield root, url


@contextmanager
def opened(browser, url, **options):
    "The page in a window of its own; it must not ask anybody but its server, nor fail."
    context = browser.new_context(**options)
    tab, asked, errors = context.new_page(), [], []
    tab.on('request', lambda request: asked.append(request.url))
    tab.on('pageerror', lambda error: errors.append(str(error)))
    tab.goto(url)
    tab.wait_for_selector('body[data-state]', timeout=60_000)
    assert tab.get_attribute('body', 'data-state') == 'ready', tab.inner_text('#status')
    yield tab
    context.close()
    host = re.match(r'http://[^/]+/', url)[0]
    assert [u for u in asked if not u.startswith((host, 'blob:', 'data:'))] == [] and errors == []


def answered(tab, n=1):
    "What the bars say, after so many questions."
    tab.wait_for_selector(f'body[data-asked="{n}"]', timeout=60_000)
    rows = [item.inner_text().split('\n')[:2] for item in tab.query_selector_all('#bars li')]
    return {name: float(said.split()[0])/100 for name, said in rows}


@pytest.mark.e2e
def test_the_browser_says_what_python_says(browser, published, net, capsys):
    "For each photo on board: the first class and five probabilities within 0.03, from a server of files alone."
    root, url = published
    seconds, far = [], 0
    with opened(browser, f'{url}board/') as tab:
        for k in range(4):
            tab.click(f'#examples button:nth-child({k + 1})')
            said = answered(tab, k + 1)
            seconds.append(tab.inner_text('#status'))
            there = dict(zip(net.classes, probabilities(net, root/'board'/f'example-{k}.jpg')))
            assert len(said) == 5 and max(said, key=said.get) == max(there, key=there.get)
            far = max(far, *(abs(p - there[name]) for name, p in said.items()))
            assert tab.evaluate(SEEN) > 0, 'warm places are drawn'
    weight = sum(f.stat().st_size for f in (root/'board').iterdir())/1e6
    with capsys.disabled():
        print(f'\nthe browser and Python: at most {far:.4f} apart; {seconds}; {weight:.1f} MB')
    assert far < .03


SEEN = """() => {
    const heat = document.getElementById('heat');
    const {data} = heat.getContext('2d').getImageData(0, 0, heat.width, heat.height);
    return data.filter((v, i) => i%4 == 3 && v > 50).length;
}"""


@pytest.mark.e2e
def test_a_net_of_ones_own_in_a_browser(browser, published, own, tmp_path):
    "Several pictures become a table, which can be saved; what is no picture gets a line."
    mine, files = load_learner(own), []
    for k in range(3):
        files.append(tmp_path/f'sketch, {k}.png')
        draw_sketch(('cat', 'dog')[k % 2], 20 + k).resize((150 + 30*k, 120)).save(files[-1])
    (tmp_path/'broken.png').write_bytes(b'nothing')
    with opened(browser, f'{published[1]}own/') as tab:
        assert tab.title() == 'Cat or dog?'
        tab.set_input_files('#files', [*files, tmp_path/'broken.png'])
        answered(tab)
        assert tab.inner_text('#status') == '3 of 4 pictures answered.'
        with tab.expect_download() as download:
            tab.click('#save')
        rows = list(csv.DictReader(open(download.value.path(), newline='')))
    assert [row['file'] for row in rows] == [f.name for f in files] + ['broken.png']
    for file, row in zip(files, rows):
        there = dict(zip(mine.classes, probabilities(mine, file)))
        assert abs(float(row['probability']) - there[row['class']]) < .03 and row['second_class'] in there
    assert rows[-1]['probability'] == rows[-1]['class'] == '' and 'cannot read it' in rows[-1]['fault']


@pytest.mark.e2e
def test_pictures_as_cameras_make_them(browser, published, own, tmp_path):
    "Upright, lying, turned by EXIF, large, see-through; what is too thin is refused, and nothing stale is shown."
    root, mine = tmp_path, load_learner(own)
    scene = draw_sketch('dog', 7, 400)
    scene.resize((300, 700)).save(root/'tall.png')
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.resize((640, 400)).save(root/'turned.jpg', exif=exif, quality=95)
    scene.resize((1500, 1100)).save(root/'large.png')
    clear = scene.convert('RGBA')
    clear.putalpha(Image.linear_gradient('L').resize(clear.size))
    clear.save(root/'clear.png')
    with opened(browser, f'{published[1]}own/') as tab:
        for k, name in enumerate(('tall.png', 'turned.jpg', 'large.png', 'clear.png'), 1):
            tab.set_input_files('#files', root/name)
            said = answered(tab, k)
            there = dict(zip(mine.classes, probabilities(mine, root/name)))
            assert all(abs(said[c] - p) < .03 for c, p in there.items()), name
        Image.new('RGB', (600, 3)).save(root/'thin.png')
        tab.set_input_files('#files', root/'thin.png')
        tab.wait_for_selector('body[data-asked="5"]')
        assert 'pixels' in tab.inner_text('#status') and tab.locator('#answer').is_hidden()


@pytest.mark.e2e
def test_a_table_stays_when_a_single_picture_follows(browser, published, tmp_path):
    files = [tmp_path/f'{k}.png' for k in range(3)]
    for k, file in enumerate(files):
        draw_sketch('cat', k).save(file)
    with opened(browser, f'{published[1]}own/') as tab:
        tab.set_input_files('#files', files)
        tab.set_input_files('#files', files[0])
        tab.wait_for_selector('body[data-asked="2"]', timeout=60_000)
        assert tab.locator('#table tbody tr').count() == 3 and tab.locator('#save').is_enabled()


@pytest.mark.e2e
def test_the_camera(published, browser):
    "What it shows is asked about."
    with opened(browser, f'{published[1]}own/') as tab:
        tab.click('#camera')
        tab.click('#snap', timeout=30_000)
        assert answered(tab).keys() == {'cats', 'dogs'} and tab.inner_text('#name') == 'photo.png'


@pytest.mark.e2e
def test_the_page_of_the_program_in_a_browser(browser, page, own):
    with opened(browser, page.address) as tab:
        content = as_png(draw_sketch('dog', 8))
        tab.set_input_files('#files', {'name': 'dog.png', 'mimeType': 'image/png', 'buffer': content})
        said = answered(tab)
    there = dict(zip(['cats', 'dogs'], probabilities(load_learner(own), draw_sketch('dog', 8))))
    assert all(abs(said[name] - p) < .002 for name, p in there.items())


@pytest.mark.e2e
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_the_page_can_be_read(browser, published, scheme):
    "On a phone and on a large screen, in light and in dark."
    with opened(browser, f'{published[1]}board/', color_scheme=scheme) as tab:
        tab.click('#examples button')
        answered(tab)
        for width in WIDTHS:
            tab.set_viewport_size({'width': width, 'height': 900})
            assert tab.evaluate(SIDEWAYS) == []
        assert [f for f in tab.evaluate(CONTRAST) if f['ratio'] < 4.5] == []
