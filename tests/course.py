"""What a learner meets, counted: `python tests/course.py` prints a line for each lesson.

The front of a lesson is what stands before its heading *Under the hood*; a hurried reader may stop there."""
import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT/'nbs').glob('0*.ipynb'))
HOOD = '## Under the hood'


def source(cell):
    return ''.join(cell['source'])


def cells(file):
    return json.loads(file.read_text(encoding='utf-8'))['cells']


def front(file):
    "The cells before *Under the hood*."
    all_cells = cells(file)
    heads = [i for i, c in enumerate(all_cells) if source(c).startswith(HOOD)]
    if len(heads) != 1:
        raise ValueError(f'{file.name}: {len(heads)} headings {HOOD!r}')
    return all_cells[:heads[0]]


def is_code(cell):
    return cell['cell_type'] == 'code'


def is_plumbing(cell):
    "Cells that no reader of the page sees."
    return bool(re.search(r'^#\| (hide|default_exp)', source(cell), re.M))


def texts(file):
    return '\n'.join(source(c) for c in cells(file) if not is_code(c))


def trains(cell):
    "Does it call `fit`?"
    return is_code(cell) and not is_exported(cell) and re.search(r'\.fit(_one_cycle)?\(', source(cell)) is not None


def first_trained(file):
    "How many cells there are down to the first that trains a net, that one included."
    return next(i for i, c in enumerate(cells(file), 1) if trains(c))


def is_exported(cell):
    return is_code(cell) and source(cell).startswith('#| export')


def defined(cell):
    "The names that an exported cell defines: functions, classes and plain variables."
    names = []
    for node in ast.parse(source(cell)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return [name for name in names if name != '_all_']


def is_named(name, text):
    "Is it there as code, called or plain, with or without what it belongs to?"
    return re.search(rf'(`|<code>)(\w+\.)?{name}(\([^`]*\))?(`|</code>)', text) is not None


def unexplained(file, text):
    "Exported cells of which the text of the lessons explains a public name, or all names, not: the names."
    lost = []
    for c in filter(is_exported, cells(file)):
        names = defined(c)
        public = [n for n in names if not n.startswith('_')]
        lost += [n for n in public if not is_named(n, text)]
        if names and not public and not any(is_named(n, text) for n in names):
            lost.append(names[0])
    return lost


def shows_picture(cell):
    "An output that is a picture or a live figure, or a diagram in the text."
    if not is_code(cell):
        return '](figures/' in source(cell)
    data = [o.get('data', {}) for o in cell['outputs']]
    kinds = {kind for d in data for kind in d}
    return any(k.startswith('image/') for k in kinds) or any('<img' in ''.join(d.get('text/html', '')) for d in data)


def megabytes(file):
    "Of its stored outputs."
    return sum(len(json.dumps(c['outputs'], ensure_ascii=False)) for c in cells(file) if is_code(c))/1e6


def main():
    print(f'{first_trained(ROOT/"nbs"/"02_three_lines.ipynb")} cells to the first trained net from the top of 02')
    for f in LESSONS:
        shown = [c for c in front(f) if is_code(c) and not is_plumbing(c)]
        silent = sum(not c['outputs'] for c in shown)
        picture = next((i for i, c in enumerate(cells(f), 1) if shows_picture(c)), None)
        print(f'{f.stem:18} front {len(front(f)):2} of {len(cells(f)):3} cells, {silent} of {len(shown)} show nothing; '
              f'first picture in cell {picture}; outputs {megabytes(f):.2f} MB; {len(texts(f).split())} words')
        for c in shown:
            if not c['outputs']:
                print('   shows nothing:', source(c)[:70].replace('\n', ' / '))
        if lost := unexplained(f, '\n'.join(map(texts, LESSONS))):
            print('   not explained:', *lost)


if __name__ == '__main__':
    main()
