"""How the package is built: modules, lines, width, statements, replaced methods, exported names.

`python tests/structure.py [FOLDER]` prints it."""
import ast
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_files(root=ROOT):
    return sorted(f for f in (Path(root)/'imgcourse').glob('*.py') if f.name != '_modidx.py')


def functions(tree):
    "All functions, and methods, of a module."
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def statements(function):
    "How many statements a function has, those of functions within it included; its docstring is none."
    found = [n for n in ast.walk(function) if isinstance(n, ast.stmt) and n is not function]
    return len(found) - (ast.get_docstring(function) is not None)


def patched_class(function):
    "The class that `@patch` adds a function to, or None."
    decorators = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    if not any(isinstance(d, ast.Name) and d.id.startswith('patch') for d in decorators):
        return None
    return function.args.args[0].annotation.id


def targets(node):
    "What an assignment assigns to."
    return [t for target in node.targets for t in getattr(target, 'elts', [target])]


def planted(root=ROOT):
    "Each `(class, name, module)` of an attribute that is given to a class from outside: `Class.name = …`."
    found = []
    for file in module_files(root):
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            for t in targets(node) if isinstance(node, ast.Assign) else []:
                if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id[0].isupper():
                    found.append((t.value.id, t.attr, file.stem))
    return found


def members(cls):
    "The names of methods and attributes that a class body defines."
    for member in cls.body:
        decorators = [ast.unparse(d) for d in getattr(member, 'decorator_list', [])]
        if isinstance(member, ast.FunctionDef) and not any(d.endswith('.setter') for d in decorators):
            yield member.name
        if isinstance(member, ast.Assign):
            yield from (t.id for t in targets(member) if isinstance(t, ast.Name))


def definitions(root=ROOT):
    "Each `(class, name, module)` that a class body, a `@patch` or an assignment to a class defines."
    found = []
    for file in module_files(root):
        for node in ast.parse(file.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ClassDef):
                found += [(node.name, name, file.stem) for name in members(node)]
            elif isinstance(node, ast.FunctionDef) and (cls := patched_class(node)):
                found.append((cls, node.name, file.stem))
    return found + planted(root)


def replaced(root=ROOT):
    "The methods that are defined more than once: `{'Class.name': [modules]}`."
    modules = {}
    for cls, name, module in definitions(root):
        modules.setdefault(f'{cls}.{name}', []).append(module)
    return {name: found for name, found in modules.items() if len(found) > 1}


def exported(file):
    "The names in a module's `__all__`."
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            return [e.value for e in getattr(node.value, 'elts', [])]
    return []


def wide(file, columns=120):
    "How many lines pass that column; the line that nbdev makes of the exported names is not counted."
    lines = file.read_text(encoding='utf-8').split('\n')
    return sum(len(line) > columns and not line.startswith('__all__ = ') for line in lines)


def report(root=ROOT):
    print(f'{"module":12}{"lines":>7}{"> 120":>7}{"names":>7}  longest function (statements)')
    total = Counter()
    for file in module_files(root):
        text = file.read_text(encoding='utf-8')
        longest = max(functions(ast.parse(text)), key=statements, default=None)
        counts = {'lines': text.count('\n'), 'wide': wide(file), 'names': len(exported(file))}
        total.update(counts)
        words = f'{longest.name} ({statements(longest)})' if longest else ''
        print(f'{file.stem:12}{counts["lines"]:7}{counts["wide"]:7}{counts["names"]:7}  {words}')
    print(f'{"all":12}{total["lines"]:7}{total["wide"]:7}{total["names"]:7}')
    tests = sorted((Path(root)/'tests').rglob('*.py'))
    print(f'{"tests":12}{sum(f.read_text(encoding="utf-8").count(chr(10)) for f in tests):7}{sum(map(wide, tests)):7}')
    print(f'{len(replaced(root))} methods are defined more than once:')
    for name, where in replaced(root).items():
        print(f'  {name} in {", ".join(where)}')


if __name__ == '__main__':
    report(*sys.argv[1:])
