"What editors and readers are told of the package: the stubs beside its modules, and the tables of the reference."
import ast
import importlib
import inspect
import json
import sys
import jedi
import pytest
import structure
import stubs
from imgcourse.all import ConvLearner, ImageClassifierData, Learner
from imgcourse.reference import class_table, parameter_table

PACKAGE = structure.ROOT/'imgcourse'


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    "The stubs, written anew."
    return {f.name: f.read_text(encoding='utf-8') for f in stubs.write(tmp_path_factory.mktemp('stubs'))}


def test_the_stubs_are_fresh(written):
    there = {f.name: f.read_text(encoding='utf-8') for f in PACKAGE.glob('*.pyi')}
    stale = [name for name in written.keys() | there.keys() if written.get(name) != there.get(name)]
    assert sorted(stale) == [], 'write them anew: python tests/stubs.py'
    assert (PACKAGE/'py.typed').is_file(), 'it says that there are types'


def test_every_module_has_one(written):
    assert written.keys() == {f'{f.stem}.pyi' for f in structure.module_files()}


def classes(text):
    "The methods of each class in a stub, by class and name."
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize('cls', [Learner, ConvLearner, ImageClassifierData], ids=lambda cls: cls.__name__)
def test_a_class_has_what_later_modules_add(written, cls):
    methods = dict(classes(written[f'{cls.__module__.split(".")[1]}.pyi']))[cls.__name__]
    assert {name for name, member in vars(cls).items() if name[0] != '_' and callable(member)} <= methods.keys()


def functions(file, text):
    "Name, syntax tree and function of the package for each function and method in a stub."
    module = importlib.import_module(f'imgcourse.{file.removesuffix(".pyi")}')
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node, getattr(module, node.name)
    for cls, methods in classes(text):
        for name, node in methods.items():
            member = getattr(getattr(module, cls), name)
            if not isinstance(member, property):
                yield f'{cls}.{name}', node, getattr(member, '__func__', member)


def test_parameters_are_those_of_the_code(written):
    "Of every function and method: their names, in their order."
    n = 0
    for file, text in written.items():
        for name, node, function in functions(file, text):
            args = node.args
            told = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
            names = [a.arg for a in told if a]
            assert names == [*inspect.signature(inspect.unwrap(function)).parameters], f'{file}: {name}'
            n += len(names)
    assert n > 500


def completions(code):
    "What an editor offers at the end of a piece of code."
    script = jedi.Script(code, path=structure.ROOT/'new.py', project=jedi.Project(structure.ROOT))
    return {c.name for c in script.complete()}


MINE = '''from imgcourse.all import *
data = ImageClassifierData.from_paths('dogscats')
learn = ConvLearner.pretrained(resnet34, data)
'''


@pytest.mark.parametrize('code, names', [
    ('learn.', 'fit predict lr_find save freeze export ask TTA sched data history'),
    ('data.', 'classes trn_ds val_dl show_batch on_device'),
    ('learn.sched.', 'plot_loss plot_lr losses'),
    ('ImageClassifierData.', 'from_paths from_folder from_csv from_arrays'),
    ('np.', 'array mean'),
])
def test_an_editor_completes(code, names):
    assert set(names.split()) <= completions(MINE + code)


def test_an_editor_knows_the_parameters():
    script = jedi.Script(f'{MINE}learn.fit(', path=structure.ROOT/'new.py', project=jedi.Project(structure.ROOT))
    signature, = script.get_signatures()
    assert [p.name for p in signature.params] == [*inspect.signature(Learner.fit).parameters][1:]


# ---- the reference


def test_comments_above_a_parameter_stand_in_one_line():
    def plain(
        a: int, # beside it
        # above it,
        # in two lines
        b: str = 'x',
        c: float = .5,
    ) -> str: # what comes back
        "Does nothing."
    rows = [line.strip('| ').split(' | ') for line in parameter_table(plain).splitlines()[2:]]
    assert rows == [
        ['a', '`int`', '', 'beside it'], ['b', '`str`', "`'x'`", 'above it, in two lines'], ['c', '`float`', '`.5`'],
        ['**returns**', '`str`', '', 'what comes back']]


def test_a_class_in_one_table():
    rows = {line.split(' | ')[0].strip('| '): line for line in class_table(Learner).splitlines()[2:]}
    assert '[03 lr finding](03_lr_finding.ipynb#learner.lr_find)' in rows['lr_find']
    assert rows['fit'].endswith('(In place of that of [02 three lines](02_three_lines.ipynb).) |')
    assert {name for name, row in rows.items() if 'In place of' in row} == {'fit', 'param_groups'}
    public = {name for name, member in vars(Learner).items() if name[0] != '_'}
    assert public - {'default_cbs', 'defaults', 'models_path'} == rows.keys()


@pytest.mark.parametrize('cls', [Learner, ConvLearner, ImageClassifierData], ids=lambda cls: cls.__name__)
def test_the_notebook_shows_the_table_as_it_is(cls):
    cells = json.loads((structure.ROOT/'nbs'/'93_reference.ipynb').read_text(encoding='utf-8'))['cells']
    outputs = [o for c in cells for o in c.get('outputs', [])]
    stored = [''.join(o.get('data', {}).get('text/markdown', '')) for o in outputs]
    assert class_table(cls) in stored, 'run notebook 93 anew'


def test_the_reference_is_read_without_nbdev(monkeypatch):
    monkeypatch.setitem(sys.modules, 'nbdev.showdoc', None)
    monkeypatch.delitem(sys.modules, 'imgcourse.reference')
    alone = importlib.import_module('imgcourse.reference')
    assert 'a class of the course' in alone.parameter_table(alone.class_table)
    with pytest.raises(ImportError, match='pip install nbdev'):
        alone.TableRenderer(print)
