"""Stubs, for editors and type checkers: `python tests/stubs.py [FOLDER]` writes a NAME.pyi for every module of the package.

A class has all its methods there, those that later modules add to it included."""
import ast
import builtins
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
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
        if not body and len(lines) == 1:
            return [*decorators, f'{lines[0]} ...']
        return [*decorators, *lines, *indent(body or ['...'])]

    def methods(self, cls):
        "Name, decorator, syntax tree and module of each method that the package defines, in the order of the notebooks."
        found = []
        for name, member in vars(cls).items():
            setter = getattr(member, 'fset', None)
            kind = 'staticmethod' if isinstance(member, staticmethod) else ''
            if inspect.isdatadescriptor(member):
                kind, function = 'property', getattr(member, 'fget', None)
            else:
                bound = getattr(cls, name)
                function = getattr(bound, '__func__', bound)
                kind = 'classmethod' if inspect.ismethod(bound) else kind
            for f, words in ((function, kind), (setter, f'{name}.setter')):
                if place := self.place(f):
                    found.append((name, [f'@{words}'] if words else [], *place))
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
        names = {row[0] for row in methods}
        attributes = self.fields(node) | {
            k: v for k, v in self.attributes(cls).items() if k not in names and not is_method(cls, k)}
        lines += [f'{k}: {v}' for k, v in attributes.items()]
        for _, decorators, function, module in methods:
            lines += self.function(function, module, decorators, method=True)
        decorators = [f'@{ast.unparse(d)}' for d in node.decorator_list]
        for d in node.decorator_list:
            self.words(d, self.home)
        return [*decorators, f'class {node.name}({bases}):' if bases else f'class {node.name}:', *indent(lines or ['...'])]

    def fields(self, node):
        "What stands in the class itself: fields of a dataclass or NamedTuple, and plain values."
        found = {}
        for member in node.body:
            if isinstance(member, ast.AnnAssign):
                default = ' = ...' if member.value else ''
                found[member.target.id] = self.words(member.annotation, self.home) + default
            elif isinstance(member, ast.Assign):
                for name, value in pairs_of(member):
                    if isinstance(name, ast.Name) and not name.id.startswith('_'):
                        found[name.id] = self.kind(value, self.home)
        return found

    def attributes(self, cls):
        "What the methods set: `self.x = ...`."
        kinds = {}
        for _, _, function, module in self.methods(cls):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign):
                    for target, value in pairs_of(node):
                        if is_own(target):
                            kinds.setdefault(target.attr, set()).add(self.kind(value, module, function))
                elif is_own(node) and isinstance(node.ctx, ast.Store):
                    kinds.setdefault(node.attr, set())
        return {name: self.union(kinds[name]) for name in kinds if not name.startswith('_')}

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
        self.imports.add('from typing import Any')
        return 'Any'

    def text(self):
        "The whole stub."
        body = []
        for node in self.home.tree.body:
            public = [n for n in defined(node) if not n.startswith('_')]
            if isinstance(node, ast.ClassDef) and public:
                body += [*self.class_(node), '']
            elif isinstance(node, ast.FunctionDef) and public and not structure.patched_class(node):
                kept = [d for d in node.decorator_list if ast.unparse(d) == 'contextmanager']
                body += [*self.function(node, self.home, [f'@{self.words(d, self.home)}' for d in kept]), '']
            elif isinstance(node, ast.Assign):
                pairs = [(target.id, value) for target, value in pairs_of(node) if getattr(target, 'id', '_')[0] != '_']
                body += [f'{name}: {self.kind(value, self.home)}' for name, value in pairs]
        foreign = sorted(line for line in self.imports if line and f'from imgcourse.{self.home.name} ' not in line)
        check_names(foreign, self.home.name)
        names = name_list(self.home.exported)
        return '\n'.join([*foreign, '', *names, '', *body]).strip() + '\n'


def pairs_of(node):
    "Targets and values of an assignment, one by one: of `a, b = 1, 2` two."
    for target in node.targets:
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        if several and len(target.elts) == len(node.value.elts):
            yield from zip(target.elts, node.value.elts)
        else:
            yield target, node.value


def is_own(node):
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'self'


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
    doc = doc.replace('\\', '\\\\').replace('"""', "'''")
    lines = [line for text in doc.splitlines() for line in textwrap.wrap(text, width - 6) or ['']]
    return f'"""{chr(10).join(lines)}"""'.splitlines()


def indent(lines):
    return [f'    {line}' if line else '' for line in lines]


def name_list(names):
    "`__all__`, in lines that fit."
    if not names:
        return []
    return ['__all__ = [', *indent(textwrap.wrap(', '.join(map(repr, names)) + ',', WIDTH - 4)), ']']


def check_names(lines, home):
    "The same name must mean the same wherever the methods of a class come from."
    meaning = {}
    for line in lines:
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
