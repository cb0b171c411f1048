"The repository itself: generated files are what the notebooks generate, and the notebooks are fit to be read."
import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from readme import readme
from structure import functions, module_files, planted, replaced, statements, wide

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
SOURCES = {f: json.loads(f.read_text(encoding='utf-8')) for f in NOTEBOOKS}
MODULES = module_files()
each_notebook = pytest.mark.parametrize('f', NOTEBOOKS, ids=lambda f: f.stem)
each_module = pytest.mark.parametrize('file', MODULES, ids=lambda f: f.stem)


def source(cell):
    return ''.join(cell['source'])


def cells(file, kind):
    return [source(c) for c in SOURCES[file]['cells'] if c['cell_type'] == kind]


def words(*path):
    return ROOT.joinpath(*path).read_text(encoding='utf-8')


# ---- generated files
@pytest.mark.e2e
def test_package_is_what_the_notebooks_export(tmp_path):
    "`nbdev_export` and `nbdev_clean` leave a copy of the tree as it is."
    copy = tmp_path/'imgcourse'
    left_out = '.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', 'shared'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*left_out))
    before = {f.relative_to(copy): f.read_bytes() for f in copy.rglob('*') if f.is_file()}
    for command in ('nbdev_export', 'nbdev_clean'):
        subprocess.run([Path(sys.executable).parent/command], cwd=copy, check=True, capture_output=True)
    files = [f for f in copy.rglob('*') if f.is_file() and '__pycache__' not in f.parts]
    after = {f.relative_to(copy): f.read_bytes() for f in files}
    assert {f for f in before.keys() | after.keys() if before.get(f) != after.get(f)} == set()


def test_readme_is_the_index():
    assert words('README.md') == readme()


def test_the_commands_of_the_readme():
    "It begins with them, and continuous integration runs the third, and then all tests but the slow ones."
    lines = words('README.md').split('\n')
    first_hour, run, test, lab, *_ = [line for before, line in pairwise(lines) if before.startswith('```bash')]
    assert first_hour.endswith('imgcourse run 01 02 --front') and 'constraints.txt' in first_hour
    assert run.endswith('imgcourse run')
    assert 'python -m pytest' in test and '.[dev]' in test and lab.endswith('imgcourse lab')
    ci = words('.ci', 'run')
    assert "grep -m 1 'pytest' README.md" in ci and "-m '(e2e or photos) and not slow'" in ci
    assert next(line for line in lines if 'pytest' in line) == test


def test_the_index_lists_every_notebook():
    "By number and page, in their order."
    page = r'https://imgcourse\.github\.io/imgcourse/(\w+)\.html'
    listed = re.findall(rf'\[(\d\d\w?)[^\]]*\]\({page}\)', words('README.md'))
    numbered = [f.stem.split('_', 1) for f in NOTEBOOKS if f.name[0].isdigit()]
    assert [list(row) for row in listed] == numbered


def test_dockerfile_copies_what_there_is():
    "(Docker itself is not run.)"
    text = words('Dockerfile')
    copied = [word for line in re.findall('^COPY (.*)$', text, re.M) for word in line.split()[:-1]]
    assert len(copied) > 5 and all((ROOT/word).exists() for word in copied)
    for_others = {'.ci', '.github', '.gitignore', '.pre-commit-config.yaml', 'CHANGELOG.md', 'CONTRIBUTING.md',
                  'Dockerfile', 'tests'}
    listed = set(re.findall(r'[\w.]+', words('MANIFEST.in'))) - for_others
    assert listed & {f.name for f in ROOT.iterdir()} <= set(copied), 'what the package is made of'
    json.loads(re.search(r"echo '(.*?)'[\s\\]*> /etc/jupyter/", text)[1])


def test_hooks_and_workflows_can_be_read():
    "(GitHub and pre-commit themselves are not run.)"
    hooks = [hook['id'] for repo in yaml.safe_load(words('.pre-commit-config.yaml'))['repos'] for hook in repo['hooks']]
    assert hooks == ['nbdev_clean', 'nbdev_export', 'stubs', 'readme', 'ruff']
    for file in (ROOT/'.github'/'workflows').glob('*.yml'):
        for name, job in yaml.safe_load(file.read_text(encoding='utf-8'))['jobs'].items():
            assert ('runs-on' in job) == ('steps' in job), 'else it uses a whole workflow'
            assert all('run' in s or 'uses' in s for s in job.get('steps', [job])), f'{file.name}: {name}'


# ---- the form of the code
def test_ruff_finds_nothing():
    command = [sys.executable, '-m', 'ruff', 'check', '--output-format', 'concise', '--no-cache', '.']
    p = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr


@each_module
def test_code_fits_the_page(file):
    "At most 120 columns (the line that nbdev makes of the exported names aside) and 25 statements a function."
    assert wide(file) == 0
    tree = ast.parse(file.read_text(encoding='utf-8'))
    assert [f.name for f in functions(tree) if statements(f) > 25] == []


@each_notebook
def test_cells_fit_the_page(f):
    "At most 40 lines; 120 columns, but for the text about a figure."
    code = [s.split('\n') for s in cells(f, 'code')]
    assert [lines[0] for lines in code if len(lines) > 40] == []
    wide = [line for lines in code for line in lines if len(line) > 120 and not line.startswith('#| fig-alt')]
    assert wide == []


def import_order():
    "The modules in the order in which `imgcourse.all` imports them."
    return re.findall(r'from imgcourse\.(\w+) import', words('imgcourse', 'all.py'))


def modules_of(begins):
    "The modules of the notebooks whose names begin so."
    text = '\n'.join(s for f in NOTEBOOKS if f.name.startswith(begins) for s in cells(f, 'code'))
    return set(re.findall(r'#\| default_exp (\w+)', text))


def imported(file):
    "The modules of the course that a module imports, anywhere in it."
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            path = f'imgcourse.{node.module or ""}'.rstrip('.') if node.level else node.module
            names |= {path} if path != 'imgcourse' else {f'imgcourse.{a.name}' for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return {n.split('.')[1] for n in names if n.startswith('imgcourse.')} & {f.stem for f in MODULES}


def test_modules_import_what_came_before():
    "So there are no circles; and the workshop on which the lessons stand imports no lesson."
    order = import_order()
    later = {f.stem: imported(f) - set(order[:order.index(f.stem)]) for f in MODULES if f.stem in order}
    assert {name: found for name, found in later.items() if found} == {}
    ground = modules_of(tuple(f'5{i}' for i in range(6)))
    assert len(ground) == 6
    assert {f.stem for f in MODULES if f.stem in ground and imported(f) & modules_of('0')} == set()


def test_classes_are_what_they_say():
    "Two methods are replaced, since the old texts fix their form; each once."
    order = import_order()
    found = {name: sorted(modules, key=order.index) for name, modules in replaced().items()}
    assert found == {'Learner.fit': ['learner', 'schedule'], 'Learner.param_groups': ['learner', 'finetune']}
    assert planted() == [], 'no attribute is given to a class from outside'


# ---- imports
def python(code, cwd=ROOT):
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=cwd)
    assert p.returncode == 0, p.stderr
    return p.stdout.strip()


def test_importing_the_package_is_light():
    heavy = 'timm', 'pandas', 'matplotlib', 'torch', 'numpy'
    assert python(f'import sys, imgcourse; print([m for m in {heavy} if m in sys.modules])') == '[]'


def test_optional_parts_are_imported_only_where_they_are_used():
    parts = ('captum', 'jinja2', 'kagglehub', 'matplotlib', 'nbconvert', 'nbdev', 'onnx', 'onnxruntime', 'onnxscript',
             'openvino', 'optuna', 'pandas', 'scipy', 'sklearn', 'tensorboard', 'timm', 'torchmetrics')
    assert python(f'import sys, imgcourse.all; print([m for m in {parts} if m in sys.modules])') == '[]'


def test_the_import_leaves_the_users_garbage_to_the_collector():
    code = ("import gc, weakref; C = type('C', (), {}); c = C(); c.me, there = c, weakref.ref(c); "
            "import imgcourse.all; del c; gc.collect(); print(there(), gc.isenabled(), gc.get_freeze_count())")
    assert python(code) == 'None True 0'


def test_names_of_libraries_that_come_later_work():
    code = ('from imgcourse.all import *; import math, matplotlib.pyplot, pandas, sklearn.metrics; '
            'print(pd.DataFrame is pandas.DataFrame, plt.plot is matplotlib.pyplot.plot, "imread" in dir(plt), '
            'metrics.f1_score is sklearn.metrics.f1_score, '
            'math.isclose(log_loss([0, 1], [[.5, .5], [.5, .5]]), math.log(2)))')
    assert python(code) == 'True True True True True'


def test_everything_in_one_import():
    ns = {}
    exec('from imgcourse.all import *', ns)
    names = (
        'np plt pd metrics log_loss Path torch resnet34 resnext101_64 tfms_from_model ImageClassifierData ConvLearner '
        'get_cv_idxs accuracy accuracy_np set_seed Interpretation get_dataset lesson transforms_basic '
        'transforms_side_on transforms_top_down draw_sketch'
    )
    assert [name for name in names.split() if name not in ns] == []
    assert not {'cat', 'dog', 'noise', 'window', 'fill', 'grain'} & set(ns), "brushes stay in their module"
    assert not {'Part', 'as_bytes', 'in_order', 'in_threads', 'listed', 'score', 'text_hash', 'warn_user'} & set(ns)


@each_module
def test_public_names_are_documented(file):
    "Every exported function and class has a docstring, and every parameter of a function a type."
    module = importlib.import_module(f'imgcourse.{file.stem}' if file.stem != '__init__' else 'imgcourse')
    objects = {name: getattr(module, name) for name in getattr(module, '__all__', ())}
    own = {n: o for n, o in objects.items() if getattr(o, '__module__', None) == module.__name__}
    kinds = {n: o for n, o in own.items() if inspect.isfunction(o) or inspect.isclass(o)}
    bare = [n for n, o in kinds.items() if not (o.__doc__ or '').strip()]
    for n, o in kinds.items():
        if file.stem != 'sketches' and inspect.isfunction(o):
            parameters = inspect.signature(o).parameters.values()
            bare += [f'{n}({p})' for p in parameters if p.annotation is p.empty and p.kind is not p.VAR_KEYWORD]
    assert bare == []


# ---- the notebooks
@each_notebook
def test_notebook_is_fit_to_be_read(f):
    first = SOURCES[f]['cells'][0]
    assert first['cell_type'] == 'markdown' and source(first).startswith('# ')
    quiet = r'\s*$|#\| (hide|exec_doc)$' # what is not shown, or is run when the site is made
    code = [c for c in SOURCES[f]['cells'] if c['cell_type'] == 'code' and not re.match(quiet, source(c), re.M)]
    assert not code or any(c['outputs'] for c in code), 'no stored output'


@each_notebook
def test_stored_outputs_are_fit_to_be_read(f):
    outputs = [o for c in SOURCES[f]['cells'] for o in c.get('outputs', [])]
    assert not [o for o in outputs if o['output_type'] == 'error'], 'a stored error'
    assert not [o for o in outputs if o.get('name') == 'stderr'], 'a stored warning'
    kinds = {kind for o in outputs for kind in o.get('data', {})}
    assert 'application/vnd.jupyter.widget-view+json' not in kinds, 'a stored widget'
    text = json.dumps(outputs)
    assert len(text) < 1_500_000, 'stored outputs over 1.5 MB'
    assert not re.search(r'/home/|/root/|/tmp/|/Users/', text), 'a path of one machine'


# what people call a library
WORDS = {'sklearn': 'scikit-learn', 'skimage': 'scikit-image', 'PIL': 'Pillow', 'bs4': 'Beautiful Soup'}


def libraries(code):
    "The libraries that a cell imports, those of Python itself and the course aside."
    from IPython.core.inputtransformer2 import TransformerManager
    names = set()
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(code))):
        if isinstance(node, ast.Import):
            names |= {a.name.split('.')[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or '').split('.')[0])
    return names - set(sys.stdlib_module_names) - {'imgcourse', ''}


def test_every_library_is_explained():
    "Where a notebook imports a library, its text or that of an earlier one says what it is for."
    text, missing = '', []
    for f in NOTEBOOKS:
        if f.name[0].isdigit():
            text += '\n'.join(cells(f, 'markdown')).lower()
            names = set().union(*map(libraries, cells(f, 'code')))
            missing += [f'{f.stem}: {n}' for n in sorted(names) if WORDS.get(n, n).lower() not in text]
    assert missing == []


PHOTOS = { # those that may be shown: who is credited
    'chelsea': 'Stefan van der Walt', 'coffee': 'Rachel Michetti', 'flower.jpg': 'vultilion',
    'china.jpg': 'danielbuechele',
}
BY_FILE = r'skimage\.data\.|import skimage|from skimage import|load_sample_images|load_(digits|files)\b'


@each_notebook
def test_stored_pictures_are_sketches_or_the_credited_photos(f):
    "Photos come from scikit-image and scikit-learn only, each credited where it is shown."
    code, text = '\n'.join(cells(f, 'code')), '\n'.join(cells(f, 'markdown'))
    photos = [n.strip() for names in re.findall(r'from skimage\.data import (.*)', code) for n in names.split(',')]
    photos += re.findall(r"load_sample_image\('(.*?)'\)", code)
    photos += re.findall(r'\b(chelsea|coffee)\(\)', code) # which `imgcourse.all` has
    assert not re.search(BY_FILE, code), 'take photos by name: from skimage.data import chelsea'
    assert [p for p in photos if p not in PHOTOS] == []
    assert [PHOTOS[p] for p in photos if PHOTOS[p] not in text] == []


@each_notebook
def test_stored_results_are_from_sketches(f):
    code = '\n'.join(cells(f, 'code'))
    assert "IMGCOURSE_FULL'] =" not in code and '../shared' not in code
    printed = json.dumps([o.get('text', '') for c in SOURCES[f]['cells'] for o in c.get('outputs', [])])
    assert not re.search(r'25,?000|photos', printed), 'a lesson that was run on photos'
