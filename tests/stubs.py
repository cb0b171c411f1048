"""Stubs, for editors and type checkers: `python tests/stubs.py [FOLDER]` writes NAME.pyi for every module.

A class has all its methods there, those that later modules add to it included."""
import ast
import builtins
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import get_origin
import structure

ROOT = Path(__file__).parents[1]
WIDTH = 120
HEAD = '# Written by tests/stubs.py from the finished classes; not to be edited.\n'
LITERALS = {ast.List: 'list', ast.ListComp: 'list', ast.Dict: 'dict', ast.DictComp: 'dict', ast.Set: 'set',
            ast.SetComp: 'set', ast.Tuple: 'tuple', ast.JoinedStr: 'str', ast.Compare: 'bool'}
RETURNS = {'__init__': 'None', '__len__': 'int', '__repr__': 'str', '__str__': 'str'}


class Module:
    "A module of the package: its syntax tree, and where its names come from."
    def __init__(self, file):
        text = file.read_text(encoding='utf-8')
        self.name, self.tree, self.exported = file.stem, ast.parse(text), structure.exported(file)
        self.module = importlib.import_module(f'imgcourse.{file.stem}')
        self.notebook = ''.join(re.findall(r'File to edit: \S+/(\w+)\.ipynb', text))
        self.functions = {}  # by their first lines
        for node in structure.functions(self.tree):
            self.functions[min([node, *node.decorator_list], key=lambda n: n.lineno).lineno] = node
        self.imports = {}
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports |= {a.asname or a.name.split('.')[0]: import_line(node, a) for a in node.names}

    def source(self, name):
        "The line that imports a name of this module, or '' for one that is built in."
        if name in self.imports:
            return self.imports[name]
        if hasattr(self.module, name):
            return f'from imgcourse.{self.name} import {name}'
        if not hasattr(builtins, name):
            raise NameError(f'imgcourse.{self.name}: an annotation says {name}, which nothing imports')
        return ''


def import_line(node, alias):
    words = f'import {ast.unparse(alias)}'
    if isinstance(node, ast.Import):
        return words
    parents = ['imgcourse'] if node.level else []
    return f'from {".".join([*parents, *filter(None, [node.module])])} {words}'


class Unquote(ast.NodeTransformer):
    "Names in an annotation that are quoted: a stub may use what comes later."
    def visit_Subscript(self, node):
        return node if ast.unparse(node.value) == 'Literal' else self.generic_visit(node)

    def visit_Constant(self, node):
        return ast.parse(node.value, mode='eval').body if isinstance(node.value, str) else node


class Stub:
    "The stub of one module."
    def __init__(self, module, modules):
        self.home, self.modules, self.imports = module, modules, set()

    def words(self, node, module):
        "An annotation as text; what it names is imported."
        node = Unquote().visit(ast.parse(ast.unparse(node), mode='eval').body)
        for n in ast.walk(node):
            if isinstance(n, ast.Name):
                self.imports.add(module.source(n.id))
        return ast.unparse(node)

    def parameters(self, node, module, method):
        "Each parameter as text: its name, annotation and default value."
        args = node.args
        plain = [*args.posonlyargs, *args.args]
        pairs = [*zip(plain, [None]*(len(plain) - len(args.defaults)) + args.defaults)]
        rows = [self.parameter(a, default, module, method and a is plain[0]) for a, default in pairs]
        if args.posonlyargs:
            rows.insert(len(args.posonlyargs), '/')
        if args.vararg:
            rows.append('*' + self.parameter(args.vararg, None, module))
        elif args.kwonlyargs:
            rows.append('*')
        rows += [self.parameter(a, default, module) for a, default in zip(args.kwonlyargs, args.kw_defaults)]
        if args.kwarg:
            rows.append('**' + self.parameter(args.kwarg, None, module))
        return rows

    def parameter(self, arg, default, module, bare=False):
        text = arg.arg if bare or not arg.annotation else f'{arg.arg}: {self.words(arg.annotation, module)}'
        if default is None:
            return text
        equals = ' = ' if ': ' in text else '='
        return text + equals + literal(default)

    def function(self, node, module, decorators=(), method=False):
        "Lines of a function, or of a method."
        back = self.words(node.returns, module) if node.returns else RETURNS.get(node.name)
        rows, end = self.parameters(node, module, method), f') -> {back}:' if back else '):'
        lines = [f'def {node.name}({", ".join(rows)}{end}']
        if len(lines[0]) > WIDTH - 4*method:
            lines = [f'def {node.name}(', *(f'    {row},' for row in rows), end]
            if rows[-1].startswith('**'):
                lines[-2] = lines[-2].removesuffix(',')
        body = doc_lines(ast.get_docstring(node), WIDTH - 4*method - 4)
        if not body:
            lines[-1] += ' ...'
        return [*decorators, *lines, *indent(body)]

    def methods(self, cls):
        "Each method that the package defines: name, decorators, syntax tree, module. In the order of the notebooks."
        found = []
        for name, member in vars(cls).items():
            bound = getattr(cls, name)
            rows = [(getattr(bound, '__func__', bound), 'classmethod' if inspect.ismethod(bound) else '')]
            if isinstance(member, property):
                rows = [(member.fget, 'property'), (member.fset, f'{name}.setter')]
            elif isinstance(member, staticmethod) and name != '__new__':
                rows = [(bound, 'staticmethod')]
            for function, decorator in rows:
                if place := self.place(function):
                    found.append((name, [f'@{decorator}'] if decorator else [], *place))
        return sorted(found, key=lambda row: (row[3] is not self.home, row[3].notebook, row[2].lineno))

    def place(self, function):
        "Syntax tree and module of a function, or None if it is none of the package."
        function = inspect.unwrap(function) if callable(function) else None
        module = self.modules.get(Path(getattr(getattr(function, '__code__', None), 'co_filename', '')))
        return module and (module.functions[function.__code__.co_firstlineno], module)

    def class_(self, node):
        cls = getattr(self.home.module, node.name)
        bases = ', '.join(self.words(b, self.home) for b in node.bases)
        lines = doc_lines(ast.get_docstring(node), WIDTH - 4)
        methods = [row for row in self.methods(cls) if not row[0].startswith('_') or row[0].startswith('__')]
        lines += self.fields(node)
        lines += [f'{name}: {self.union(kinds)}' for name, kinds in self.attributes(node, cls).items()]
        for _, decorators, function, module in methods:
            lines += self.function(function, module, decorators, method=True)
        decorators = [f'@{self.words(d, self.home)}' for d in node.decorator_list]
        head = f'class {node.name}({bases}):' if bases else f'class {node.name}:'
        return [*decorators, head, *indent(lines or ['...'])]

    def fields(self, node):
        "The fields of a dataclass or NamedTuple."
        fields = [member for member in node.body if isinstance(member, ast.AnnAssign)]
        words = [f'{f.target.id}: {self.words(f.annotation, self.home)}' for f in fields]
        return [f'{w} = ...' if f.value else w for w, f in zip(words, fields)]

    def attributes(self, node, cls):
        "What the class and its methods set, `self.x = ...`: the types of each attribute, as far as they are plain."
        pairs = [pair for n in node.body if isinstance(n, ast.Assign) for pair in pairs_of(n)]
        kinds = {target.id: {self.kind(value, self.home)} for target, value in pairs if isinstance(target, ast.Name)}
        for _, _, function, module in self.methods(cls):
            for name, value in own_values(function):
                kinds.setdefault(name, set()).add(self.kind(value, module, function))
        return {k: v for k, v in kinds.items() if not k.startswith('_') and not is_method(cls, k)}

    def union(self, kinds):
        "One type for all that an attribute is set to."
        if len(kinds - {'None'}) != 1 or 'Any' in kinds:
            self.imports.add('from typing import Any')
            return 'Any'
        kind, = kinds - {'None'}
        return kind if 'None' not in kinds or kind.endswith('| None') else f'{kind} | None'

    def kind(self, value, module, function=None):
        "The type of an expression, if it is plain; else `Any`."
        if isinstance(value, ast.Constant):
            return 'None' if value.value is None else type(value.value).__name__
        if type(value) in LITERALS:
            return LITERALS[type(value)]
        if isinstance(value, ast.Name) and function:
            known = {a.arg: a.annotation for a in [*function.args.args, *function.args.kwonlyargs] if a.annotation}
            set_anew = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            if value.id in known.keys() - set_anew:
                return self.words(known[value.id], module)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            found = getattr(module.module, value.func.id, getattr(builtins, value.func.id, None))
            if inspect.isclass(found):
                return self.words(value.func, module)
            if (place := self.place(found)) and place[0].returns:
                return self.words(place[0].returns, place[1])
            if found is len:
                return 'int'
        self.imports.add('from typing import Any')
        return 'Any'

    def value(self, name, node):
        "A name of the module: an alias of a type, or of what kind it is."
        if isinstance(node, ast.Subscript) and get_origin(getattr(self.home.module, name)):
            return f'{name} = {self.words(node, self.home)}'
        return f'{name}: {self.kind(node, self.home)}'

    def text(self):
        "The whole stub."
        body, values = [], []
        self.imports |= {self.home.imports[name] for name in self.home.exported if name in self.home.imports}
        for node in self.home.tree.body:
            public = [n for n in defined(node) if not n.startswith('_')]
            if isinstance(node, ast.ClassDef) and public:
                body += [*self.class_(node), '']
            elif isinstance(node, ast.FunctionDef) and public and not structure.patched_class(node):
                kept = [d for d in node.decorator_list if ast.unparse(d) == 'contextmanager']
                body += [*self.function(node, self.home, [f'@{self.words(d, self.home)}' for d in kept]), '']
            elif isinstance(node, ast.Assign):
                pairs = [(target.id, value) for target, value in pairs_of(node) if getattr(target, 'id', '_')[0] != '_']
                values += [self.value(name, value) for name, value in pairs]
        foreign = {line for line in self.imports if line and f'from imgcourse.{self.home.name} ' not in line}
        check_names(foreign, self.home.name)
        parts = joined(foreign), name_list(self.home.exported), values, body
        return '\n'.join(line for part in parts if part for line in [*part, '']).rstrip() + '\n'


def pairs_of(node):
    "Targets and values of an assignment, one by one: of `a, b = 1, 2` two."
    for target in node.targets:
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        if several and len(target.elts) == len(node.value.elts):
            yield from zip(target.elts, node.value.elts)
        else:
            yield target, node.value


def own_values(function):
    "The attributes that a method sets, `self.x = ...`, and what to: None where that cannot be told."
    nodes = [*ast.walk(function)]
    values = {id(t): v for n in nodes if isinstance(n, ast.Assign) for t, v in pairs_of(n)}
    counted = {id(n.target) for n in nodes if isinstance(n, ast.AugAssign)}
    for n in nodes:
        is_set = isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and id(n) not in counted
        if is_set and isinstance(n.value, ast.Name) and n.value.id == 'self':
            yield n.attr, values.get(id(n))


def is_method(cls, name):
    return callable(getattr(cls, name, None)) or isinstance(inspect.getattr_static(cls, name, None), property)


def defined(node):
    "The names of classes and functions."
    return [node.name] if isinstance(node, (ast.ClassDef, ast.FunctionDef)) else []


def literal(node):
    "A default value as it stands, if it is short and plain."
    try:
        ast.literal_eval(node)
    except ValueError:
        return '...'
    text = ast.unparse(node)
    return text if len(text) <= 30 else '...'


def doc_lines(doc, width):
    "A docstring, in lines of that width."
    if not doc:
        return []
    doc = ' '.join(doc.split()).replace('\\', '\\\\').replace('"""', "'''")
    return textwrap.wrap(f'"""{doc}"""', width)


def indent(lines):
    return [f'    {line}' if line else '' for line in lines]


def name_list(names):
    "`__all__`, in lines that fit."
    if not names:
        return []
    return ['__all__ = [', *indent(textwrap.wrap(', '.join(map(repr, names)) + ',', WIDTH - 4)), ']']


def joined(imports):
    "Lines of imports, those from one module in one line."
    plain = sorted(line for line in imports if line.startswith('import '))
    names = {}
    for module, name in sorted(line.split(' import ') for line in imports if line.startswith('from ')):
        names.setdefault(module, []).append(name)
    return [*plain, *(f'{module} import {", ".join(found)}' for module, found in names.items())]


def check_names(lines, home):
    "The same name must mean the same wherever the methods of a class come from."
    meaning = {}
    for line in sorted(lines):
        name = re.split(r' as | import |^import ', line)[-1]
        if meaning.setdefault(name, line) != line:
            raise NameError(f'imgcourse.{home}: {name} would be imported twice: {meaning[name]}; {line}')


def everything():
    "The stub of `imgcourse.all`: its imports, and the names that a star import takes."
    module = importlib.import_module('imgcourse.all')
    tree = ast.parse(Path(module.__file__).read_text(encoding='utf-8'))
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines += [import_line(node, a) for a in node.names if not (a.asname or a.name).startswith('_')]
    return '\n'.join([*lines, '', *name_list(sorted(module.__all__))]) + '\n'


def write(folder):
    "Write all stubs; returns the files."
    importlib.import_module('imgcourse.all')
    files = [f for f in structure.module_files() if f.stem not in ('__init__', 'all')]
    modules = {f: Module(f) for f in files}
    texts = {f.stem: Stub(m, modules).text() for f, m in modules.items()}
    texts |= {'all': everything(), '__init__': '__version__: str\n'}
    written = []
    for name, text in texts.items():
        written.append(Path(folder)/f'{name}.pyi')
        written[-1].write_text(HEAD + text, encoding='utf-8')
    return written


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    print(f'{len(write(*sys.argv[1:] or [ROOT/"imgcourse"]))} stubs')
