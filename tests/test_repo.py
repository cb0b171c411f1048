"The repository itself: generated files are what the notebooks generate, and the notebooks are fit to be read."
import ast, json, re, shutil, subprocess, sys
from pathlib import Path
import pytest
from readme import readme

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
SOURCES = {f: json.loads(f.read_text(encoding='utf-8')) for f in NOTEBOOKS}
source = lambda cell: ''.join(cell['source'])

def test_package_is_what_the_notebooks_export(tmp_path):
    "`nbdev_export` and `nbdev_clean` leave a copy of the tree as it is."
    copy = tmp_path/'imgcourse'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns('.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', 'shared'))
    before = {f.relative_to(copy): f.read_bytes() for f in copy.rglob('*') if f.is_file()}
    for command in ('nbdev_export', 'nbdev_clean'): subprocess.run([Path(sys.executable).parent/command], cwd=copy, check=True, capture_output=True)
    after = {f.relative_to(copy): f.read_bytes() for f in copy.rglob('*') if f.is_file() and '__pycache__' not in f.parts}
    assert {f for f in before.keys() | after.keys() if before.get(f) != after.get(f)} == set()

def test_readme_is_the_index(): assert (ROOT/'README.md').read_text(encoding='utf-8') == readme()

def test_the_two_commands():
    "The README begins with them, and continuous integration runs the second."
    lines = (ROOT/'README.md').read_text(encoding='utf-8').split('\n')
    commands = [l for i, l in enumerate(lines) if lines[i - 1].startswith('```bash')]
    assert commands[0].endswith('imgcourse run') and commands[1].endswith('pytest') and 'constraints.txt' in commands[0] and commands[2].endswith('imgcourse lab')
    assert "grep -m 1 'pytest$' README.md" in (ROOT/'.ci'/'run').read_text()

def test_importing_the_package_is_light():
    code = "import sys, imgcourse; print([m for m in ('timm', 'pandas', 'matplotlib', 'torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip() == '[]'

def test_everything_in_one_import():
    ns = {}
    exec('from imgcourse.all import *', ns)
    for name in ('np plt pd metrics log_loss Path torch resnet34 resnext101_64 tfms_from_model ImageClassifierData ConvLearner get_cv_idxs accuracy accuracy_np set_seed Interpretation '
                 'get_dataset lesson transforms_basic transforms_side_on transforms_top_down draw_sketch').split(): assert name in ns, name
    assert not {'cat', 'dog', 'noise', 'window', 'fill', 'grain'} & set(ns), "the sketches' brushes stay in their module"

@pytest.mark.parametrize('f', NOTEBOOKS, ids=lambda f: f.stem)
def test_notebook_is_fit_to_be_read(f):
    cells = SOURCES[f]['cells']
    code = [c for c in cells if c['cell_type'] == 'code' and source(c).strip()]
    outputs = [o for c in code for o in c['outputs']]
    assert not [o for o in outputs if o['output_type'] == 'error'], 'a stored error'
    assert not [o for o in outputs if o.get('name') == 'stderr'], 'a stored warning'
    assert not [o for o in outputs if 'application/vnd.jupyter.widget-view+json' in o.get('data', {})], 'a stored widget'
    assert len(json.dumps(outputs)) < 300_000, 'stored outputs over 300 kB'
    assert not re.search(r'/home/|/root/|/tmp/|/Users/', json.dumps(outputs)), 'a path of one machine'
    assert cells[0]['cell_type'] == 'markdown' and source(cells[0]).startswith('# ')
    assert all(len(source(c).split('\n')) <= 30 for c in code), 'a cell of over 30 lines'
    assert not code or [c for c in code if c['outputs']], 'no stored output'

WORDS = {'sklearn': 'scikit-learn', 'skimage': 'scikit-image', 'PIL': 'Pillow'} # what people call a library

def test_every_library_is_explained():
    "Where a lesson or appendix imports a library, its text or that of an earlier one says what it is for."
    from IPython.core.inputtransformer2 import TransformerManager
    text, missing = '', []
    for f in NOTEBOOKS:
        if not f.name[0].isdigit(): continue
        text += '\n'.join(source(c) for c in SOURCES[f]['cells'] if c['cell_type'] == 'markdown').lower()
        trees = [ast.parse(TransformerManager().transform_cell(source(c))) for c in SOURCES[f]['cells'] if c['cell_type'] == 'code']
        names = {n.split('.')[0] for t in trees for node in ast.walk(t) if isinstance(node, (ast.Import, ast.ImportFrom)) for n in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module])}
        missing += [f'{f.stem}: {n}' for n in sorted(names - set(sys.stdlib_module_names) - {'imgcourse'}) if WORDS.get(n, n).lower() not in text]
    assert missing == []

def test_imports_point_to_earlier_notebooks():
    order = {re.search(r'#\| default_exp (\w+)', src).group(1): i for i, f in enumerate(NOTEBOOKS) for src in ['\n'.join(source(c) for c in SOURCES[f]['cells'] if c['cell_type'] == 'code')] if '#| default_exp' in src}
    for name in order:
        tree = ast.parse((ROOT/'imgcourse'/f'{name}.py').read_text(encoding='utf-8'))
        used = {n.module or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level for a in n.names}
        assert all(order[u.split('.')[0]] < order[name] for u in used if u.split('.')[0] in order), name

def test_public_names_are_documented():
    "Every exported function and class has a docstring, and every parameter of a function a type."
    import importlib, inspect
    bare = []
    for name in ('sketches', 'data', 'features', 'learner', 'interpret', 'schedule', 'finetune', 'checkpoint', 'breeds', 'nets', 'board', 'deploy', 'inside', 'cli', 'reference'):
        module = importlib.import_module(f'imgcourse.{name}')
        for n in module.__all__:
            o = getattr(module, n)
            if (inspect.isfunction(o) or inspect.isclass(o)) and o.__module__ == module.__name__:
                if not (o.__doc__ or '').strip(): bare.append(f'{name}.{n}')
                if name != 'sketches' and inspect.isfunction(o): bare += [f'{name}.{n}({p})' for p, v in inspect.signature(o).parameters.items() if v.annotation is v.empty and v.kind is not v.VAR_KEYWORD]
    assert bare == []

def test_dockerfile_copies_what_there_is():
    "(Docker itself is not run.)"
    text = (ROOT/'Dockerfile').read_text()
    copied = [w for l in re.findall('^COPY (.*)$', text, re.M) for w in l.split()[:-1]]
    assert len(copied) > 5 and all((ROOT/w).exists() for w in copied)
    needed = set(re.findall(r'[\w.]+', (ROOT/'MANIFEST.in').read_text())) & {f.name for f in ROOT.iterdir()} - {'.ci', 'Dockerfile', 'tests'}
    assert needed <= set(copied), 'what the package is made of'
    json.loads(re.search("echo '(.*?)' > /etc/jupyter/", text)[1])

PHOTOS = { # those that may be shown: who is to be credited
    'chelsea': 'Stefan van der Walt', 'coffee': 'Rachel Michetti'}

@pytest.mark.parametrize('f', NOTEBOOKS, ids=lambda f: f.stem)
def test_stored_pictures_are_sketches_or_the_credited_photos(f):
    "Photos come from scikit-image and scikit-learn only, each credited where it is shown; nothing else that is stored was made from photos."
    code = '\n'.join(source(c) for c in SOURCES[f]['cells'] if c['cell_type'] == 'code')
    text = '\n'.join(source(c) for c in SOURCES[f]['cells'] if c['cell_type'] == 'markdown')
    photos = [n.strip() for names in re.findall(r'from skimage\.data import (.*)', code) for n in names.split(',')] + re.findall(r"load_sample_image\('(.*?)'\)", code)
    assert not re.search(r'skimage\.data\.|import skimage|from skimage import|load_sample_images|load_(digits|files)\b', code), 'take photos by name: from skimage.data import chelsea'
    assert [p for p in photos if p not in PHOTOS] == [] and [PHOTOS[p] for p in photos if PHOTOS[p] not in text] == []
    assert "IMGCOURSE_FULL'] =" not in code and '../shared' not in code
    assert not re.search(r'25,?000|photos', json.dumps([o.get('text', '') for c in SOURCES[f]['cells'] for o in c.get('outputs', [])])), 'a lesson that was run on photos'
