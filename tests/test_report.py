"From a folder of pictures to a net and a page: the page, what is refused before the training, the command line."
import base64, io, os, re, shutil, subprocess, sys
from copy import copy
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from torch import nn
from imgcourse.cli import main
from imgcourse.data import ImageClassifierData
from imgcourse.export import load_learner
from imgcourse.finetune import BnFreeze
from imgcourse.learner import ConvLearner, Learner, listed, set_seed
from imgcourse.report import report
from imgcourse.sketches import draw_sketch, make_sketches
from imgcourse.train import train_folder
from imgcourse.transforms import lite0, tfms_from_model


def draw(folder, kind, n):
    "So many sketches in a folder."
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        draw_sketch(kind, i, 32).save(folder/f'{i}.png')
    return folder


@pytest.fixture(scope='module')
def learn(sketches):
    "Trained on 12 + 6 sketches of each class; no test changes it."
    def part(split, n):
        files = [f for c in ('cats', 'dogs') for f in sorted((sketches/split/c).iterdir())[:n]]
        return files, np.repeat([0, 1], n)
    set_seed(1)
    data = ImageClassifierData(sketches, part('train', 12), part('valid', 6), ['cats', 'dogs'],
                               tfms_from_model(lite0, 64), 8)
    found = ConvLearner.pretrained(lite0, data, precompute=True)
    found.silent()
    found.fit(.01, 2)
    return found


# ---- the page
def test_the_page_stands_alone(learn, tmp_path):
    page = report(learn, tmp_path/'r.html', {'note': '<b>bold</b> & more'}).read_text(encoding='utf-8')
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert not any(word in page for word in ('<script', 'url(', '@import'))
    assert '&lt;b&gt;bold&lt;/b&gt; &amp; more' in page
    images = re.findall('<img[^>]*>', page)
    assert len(images) >= 3
    assert all(re.search(r'alt="[^"]+"', i) for i in images)
    assert [f.name for f in tmp_path.iterdir() if f.suffix] == ['r.html'], 'nothing else is left'


def test_figures_of_the_page(learn, tmp_path):
    page = report(learn, tmp_path/'r.html').read_text(encoding='utf-8')
    preds = learn.predict().argmax(1)
    right = preds == learn.data.val_y
    assert f'({right.sum()} of 12 right)' in page
    assert '24 to learn from, 12 to check with, 2 classes' in page
    wrong = [Path(learn.data.val_ds.name(i)).name for i in np.flatnonzero(~right)]
    worst = page.split('Largest losses')[1]
    assert all(name in worst for name in wrong)
    assert len(re.findall('<figure>', worst)) == len(wrong)
    for k, name in enumerate(('cats', 'dogs')):
        row = f'<tr><th>{name}</th><td>12</td><td>6</td><td>{right[learn.data.val_y == k].sum()}</td>'
        assert row in page


def test_the_page_of_a_net_that_was_not_trained(learn, tmp_path):
    untrained = copy(learn)
    untrained.history = []
    page = report(untrained, tmp_path/'r.html').read_text(encoding='utf-8')
    assert 'It was not trained here.' in page
    assert 'alt="curves' not in page


def test_an_older_page_stays_when_the_new_one_fails(learn, tmp_path, monkeypatch):
    page = report(learn, tmp_path/'r.html')
    before = page.read_bytes()
    def full(*args, **kwargs): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(Path, 'write_text', full)
    with pytest.raises(OSError, match='No space'):
        report(learn, page)
    assert page.read_bytes() == before


def test_names_that_are_no_html(tmp_path):
    "Windows has no such names of folders, but for the &."
    names = ('a <script>alert(1)< $x$', 'Größe & "Maß"') if os.name == 'posix' else ('a $x$', 'Größe & Maß')
    draw(tmp_path/'pictures'/names[0], 'cat', 8)
    draw(tmp_path/'pictures'/names[1], 'dog', 8)
    _, page, _ = train_folder(tmp_path/'pictures', tmp_path/'out', sz=32, epochs=1)
    text = page.read_text(encoding='utf-8')
    assert '<script' not in text
    assert 'Größe &amp;' in text


def test_names_of_any_kind_do_not_lose_a_training(tmp_path):
    "Formulas, and on Linux bytes that are no text."
    odd = [os.fsdecode(b) for b in (b'x\xff', b'bad\xfe')] if sys.platform == 'linux' else ['x', 'bad']
    for kind, name in (('cat', '$_$'), ('dog', '$^$'), ('clock', odd[0])):
        draw(tmp_path/odd[1]/name, kind, 6)
    model, page, _ = train_folder(tmp_path/odd[1], tmp_path/'out', sz=32, epochs=1)
    assert '$_$' in page.read_text(encoding='utf-8')
    assert '$_$' in load_learner(model).classes


def test_the_page_of_many_classes(tmp_path):
    path = make_sketches('cifar100', tmp_path/'c', n_train=2, n_valid=1)
    data = ImageClassifierData.from_paths(path, 32, tfms_from_model(lite0, 32), val_name='test')
    learn = ConvLearner.pretrained(lite0, data, precompute=True)
    learn.fit(.01, 1)
    assert report(learn, tmp_path/'r.html').stat().st_size < 3e6


def test_the_matrix_of_very_many_classes(tmp_path):
    "It is not larger than a page can show; a training must not end there."
    x, y = np.zeros((600, 32, 32, 3), np.uint8), np.arange(600)
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), 64, tfms_from_model(lite0, 32))
    learn = ConvLearner.from_model(nn.Sequential(nn.Flatten(), nn.LazyLinear(600)), data)
    text = report(learn, tmp_path/'page.html').read_text()
    found = re.findall('data:image/png;base64,([^"]*)', text)
    sizes = [Image.open(io.BytesIO(base64.b64decode(s))).size for s in found]
    assert sizes and max(map(max, sizes)) < 3000


def test_the_pictures_of_the_page_are_whole(learn, tmp_path):
    page = report(learn, tmp_path/'r.html').read_text(encoding='utf-8')
    for kind, start in (('png', b'\x89PNG'), ('jpeg', b'\xff\xd8')):
        found = re.findall(f'src="data:image/{kind};base64,([^"]+)"', page)
        assert found
        assert all(base64.b64decode(f).startswith(start) for f in found)


# ---- folders and settings
def test_every_layout_of_a_folder(few, tmp_path):
    (few/'valid').rename(few/'val')
    model, page, accuracy = train_folder(few, tmp_path/'val', sz=64, epochs=1)
    assert load_learner(model).classes == ['cats', 'dogs']
    assert 0 <= accuracy <= 1
    (few/'val').rename(few/'test')
    model, page, _ = train_folder(few, tmp_path/'test', sz=64, epochs=1)
    assert '24 to learn from, 12 to check with' in page.read_text()
    model, page, _ = train_folder(few/'train', tmp_path/'one', sz=64, epochs=1)
    assert '20 to learn from, 4 to check with' in page.read_text()


def bad_folder(folder):
    "A folder that cannot be trained on, for the reason that its name says."
    kinds = {'pictures without classes': [('.', 5)], 'one class': [('cats', 5)], 'empty class': [('cats', 5)],
             'single picture': [('cats', 5), ('dogs', 1)], 'damaged': [('cats', 12), ('dogs', 5)],
             'no validation': [('train/cats', 5), ('train/dogs', 5)],
             'other classes': [('train/cats', 4), ('train/dogs', 4), ('valid/cats', 4), ('valid/wolves', 4)]}
    for below, n in kinds.get(folder.name, []):
        draw(folder/below, 'cat', n)
    if folder.name == 'a file':
        folder.write_text('x')
    if folder.name == 'empty':
        folder.mkdir()
    if folder.name == 'empty class':
        (folder/'dogs').mkdir()
    if folder.name == 'damaged':
        for i in range(9):
            (folder/'cats'/f'{i}.png').write_bytes(b'')
    return folder


@pytest.mark.parametrize('name, why', [
    ('nowhere', 'There is no folder'),
    ('a file', 'There is no folder'),
    ('empty', 'at least 2'),
    ('pictures without classes', 'did you mean the folder above'),
    ('one class', r"it has \['cats'\]"),
    ('empty class', 'no pictures in the class folder dogs'),
    ('single picture', 'a single picture'),
    ('damaged', '9 of 17 pictures cannot be read.*--on-error skip'),
    ('no validation', 'no folder valid'),
    ('other classes', 'must hold the same classes')])
def test_bad_folders_in_one_line(tmp_path, monkeypatch, capfd, name, why):
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(bad_folder(tmp_path/name)), '--size', '32', '--epochs', '1']) == 2
    err = capfd.readouterr().err
    lines = [line for line in err.split('\r')[-1].splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith('imgcourse: '), err
    assert re.search(why, lines[0]), err
    assert name == 'other classes' or name.split()[0] in lines[0], err
    assert not list(tmp_path.glob('imgcourse-net*')), 'nothing is left behind'


def test_damaged_pictures_can_be_left_out(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    folder = str(bad_folder(tmp_path/'damaged'))
    assert main(['train', folder, '--size', '32', '--epochs', '1', '--on-error', 'skip']) == 0
    assert 'note: 9 of 17' in capfd.readouterr().err


@pytest.mark.parametrize('options, why', [
    (['--arch', 'resnet18000'], 'no architecture'),
    (['--epochs', '0'], 'epochs'),
    (['--finetune', '-1'], 'finetune'),
    (['--size', '3'], 'from 8 to 2048'),
    (['--size', '60000'], 'from 8 to 2048'),
    (['--bs', '0'], 'bs'),
    (['--weights', 'none.safetensors'], 'no weights file'),
    (['--model-args', 'checkpoint_path=x'], 'cannot be set here'),
    (['--out', 'old'], 'holds a model already'),
    (['--out', 'afile'], 'afile is a file'),
    (['--out', 'taken'], 'is a folder'),
    (['--split', '2'], '--split'), (['--size', '4'], '--size'), (['--valid', 'nowhere'], 'no folder nowhere')])
def test_wrong_settings_in_one_line(few, tmp_path, monkeypatch, capfd, options, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'old').mkdir()
    (tmp_path/'old'/'model.safetensors').write_text('dear')
    (tmp_path/'afile').write_text('x')
    (tmp_path/'taken'/'report.html').mkdir(parents=True)
    assert main(['train', str(few), *options]) == 2
    err = capfd.readouterr().err.split('\r')[-1]
    assert re.search(why, err)
    assert len(err.strip().splitlines()) == 1, err
    assert (tmp_path/'old'/'model.safetensors').read_text() == 'dear'


@pytest.mark.parametrize('sz', ['224', 64.5, True])
def test_sizes_that_are_no_whole_numbers(few, tmp_path, sz):
    with pytest.raises(ValueError, match='sz is height and width of the pictures'):
        train_folder(few, tmp_path/'out', sz=sz)
    assert not (tmp_path/'out').exists()


def test_averages_of_batch_norms_stay_when_all_layers_learn(few, tmp_path, monkeypatch):
    given, fit = [], ConvLearner.fit_one_cycle
    def note(learn, n, lr, cbs=(), **options):
        given.append(any(isinstance(cb, BnFreeze) for cb in listed(cbs)))
        fit(learn, n, lr, cbs=cbs, **options)
    monkeypatch.setattr(ConvLearner, 'fit_one_cycle', note)
    train_folder(few, tmp_path/'out', sz=32, epochs=1, finetune=1, check=False)
    assert given == [False, True]


def test_a_picture_is_no_folder_for_results(few, capfd):
    assert main(['train', str(few), '--out', str(few/'train'/'cats'/'cat.1.jpg')]) == 2
    assert 'cat.1.jpg' in capfd.readouterr().err


@pytest.mark.parametrize('argv', [['train'], ['predict'], ['train', '.', '--epochs', 'many']])
def test_arguments_that_argparse_refuses(argv):
    with pytest.raises(SystemExit) as e:
        main(argv)
    assert e.value.code == 2


def test_results_do_not_lie_among_the_pictures(few, monkeypatch, capfd):
    monkeypatch.chdir(few/'train')
    assert main(['train', '.', '--size', '32', '--epochs', '1']) == 2
    assert 'name another folder' in capfd.readouterr().err
    assert not (few/'train'/'imgcourse-net').exists()


def test_a_net_that_cannot_be_written_is_refused_before_the_training(few, tmp_path, monkeypatch):
    def untold(learn): raise ValueError('cannot be told')
    monkeypatch.setattr('imgcourse.train.net_config', untold)
    monkeypatch.setattr(ConvLearner, 'fit_one_cycle', lambda *args: pytest.fail('it was trained'))
    with pytest.raises(ValueError, match='cannot be told'):
        train_folder(few, tmp_path/'out', sz=64, epochs=1)


def test_what_predict_passes_over(few, learn, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'none').mkdir()
    learn.export('m.safetensors')
    assert main(['predict', 'nothing.safetensors', 'x.jpg']) == 2
    assert 'no file' in capfd.readouterr().err
    assert main(['predict', 'm.safetensors', 'none']) == 2
    assert 'no pictures' in capfd.readouterr().err
    (few/'valid'/'cats'/'notes.txt').write_text('x')
    assert main(['predict', 'm.safetensors', str(few/'valid'/'cats')]) == 0
    assert re.fullmatch(r'imgcourse: note: .*passed over.*\.txt\)\n', capfd.readouterr().err.split('\r')[-1])


# ---- in the terminal
def run(*argv, cwd=None):
    "The command, in a process of its own that cannot reach the network."
    command = [Path(sys.executable).parent/'imgcourse', *map(str, argv)]
    env = {**os.environ, 'HTTPS_PROXY': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9'}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


@pytest.mark.e2e
def test_train_and_predict_in_the_terminal(few, tmp_path):
    p = run('train', few, '--size', 64, '--epochs', 2, cwd=tmp_path)
    assert p.returncode == 0, p.stderr
    model, page = tmp_path/'imgcourse-net'/'model.safetensors', tmp_path/'imgcourse-net'/'report.html'
    assert model.is_file()
    assert page.is_file()
    assert 'imgcourse-net/report.html' in p.stdout
    assert re.search(r'\d+\.\d% of the 12 validation pictures', p.stdout)
    dog = few/'valid'/'dogs'/'dog.1.jpg'
    p = run('predict', model, few/'valid'/'cats', dog, '--top', 1)
    lines = p.stdout.splitlines()
    assert p.returncode == 0
    assert len(lines) == 2*7
    assert all(re.fullmatch(r'  [01]\.\d{3}  (cats|dogs)', line) for line in lines[1::2])
    assert lines[-2].endswith('dog.1.jpg')
    best = load_learner(model).top(dog, 1)
    assert lines[-1] == f'  {best.probability[0]:.3f}  {best["class"][0]}'
    (tmp_path/'no.jpg').write_bytes(b'text')
    p = run('predict', model, tmp_path/'no.jpg', dog)
    assert p.returncode == 2
    assert 'no.jpg' in p.stderr
    assert 'Traceback' not in p.stderr
    assert 'dog.1.jpg\n' in p.stdout, 'the others are answered'


@pytest.mark.e2e
def test_nothing_is_written_over(few, tmp_path):
    (tmp_path/'imgcourse-net').mkdir()
    (tmp_path/'imgcourse-net'/'notes.txt').write_text('mine')
    (tmp_path/'imgcourse-net-2').mkdir() # another training may be about to fill it
    assert run('train', few, '--size', 64, '--epochs', 1, '--finetune', 1, cwd=tmp_path).returncode == 0
    assert (tmp_path/'imgcourse-net-3'/'model.safetensors').is_file()
    assert not list((tmp_path/'imgcourse-net-2').iterdir())
    assert [f.name for f in (tmp_path/'imgcourse-net').iterdir()] == ['notes.txt']


@pytest.mark.e2e
@pytest.mark.photos
def test_two_hundred_photos_in_the_terminal(dogscats_photos, tmp_path):
    for c in ('cats', 'dogs'):
        (tmp_path/'few'/c).mkdir(parents=True)
        for f in sorted((dogscats_photos/'train'/c).iterdir())[:100]:
            shutil.copy(f, tmp_path/'few'/c)
    p = run('train', tmp_path/'few', '--out', tmp_path/'out')
    assert p.returncode == 0
    assert (tmp_path/'out'/'report.html').is_file()
    net = load_learner(tmp_path/'out'/'model.safetensors')
    right = []
    for k, c in enumerate(('cats', 'dogs')):
        right.append(net.predict(sorted((dogscats_photos/'valid'/c).iterdir())).argmax(1) == k)
    print(np.mean(right))
    assert np.mean(right) >= .8, 'on photos that it has not seen'


def test_as_many_pictures_as_the_memory_allows(few, tmp_path, monkeypatch, capsys):
    real = Learner.get_loss
    def hungry(self):
        if len(self.y) > 8:
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.')
        real(self)
    monkeypatch.setattr(Learner, 'get_loss', hungry)
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(few), '--out', 'net', '--size', '32', '--epochs', '1', '--bs', 'auto']) == 0
    said = capsys.readouterr().out
    assert 'too small' in said and 'batches of 8 now' in said and 'batches of 4' not in said
    assert 'batches of 8' in Path('net/report.html').read_text(encoding='utf-8')
    assert main(['train', str(few), '--out', 'other', '--size', '32', '--epochs', '1']) == 2
    assert '--bs auto' in capsys.readouterr().err


def test_not_even_two_pictures_fit_into_the_memory(few, tmp_path, monkeypatch, capsys):
    def hungry(self): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.')
    monkeypatch.setattr(Learner, 'get_loss', hungry)
    monkeypatch.chdir(tmp_path)
    assert main(['train', str(few), '--size', '32', '--epochs', '1', '--bs', 'auto']) == 2
    said = capsys.readouterr()
    assert 'batches of 2 now' in said.out and 'batches of 1 now' not in said.out and 'memory is too small' in said.err
    assert not list(tmp_path.glob('imgcourse-net*')), 'nothing is left behind'


@pytest.mark.parametrize('bs', ['many', '1.5', ''])
def test_what_is_no_size_of_batches(few, capsys, bs):
    with pytest.raises(SystemExit):
        main(['train', str(few), f'--bs={bs}'])
    assert '--bs' in capsys.readouterr().err
