"""The pages of the docs site, as far as they can be checked without Quarto: nbdev makes the notebooks that Quarto
renders, pandoc (Quarto's own converter) reads them.

What is counted is printed: `pytest -s -m "" tests/test_docs.py`.
"""
import ast
import html
import importlib
import inspect
import json
import pkgutil
import re
from itertools import takewhile

import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import shared
from imgcourse.reference import all_names
from pages import ROOT, notebooks, source

HOST = 'https://imgcourse.github.io/imgcourse/'
NAMES = sorted(f.name for f in (ROOT/'nbs').glob('*.ipynb'))


def all_cells(name):
    return json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']


def texts_of(name):
    return [source(c) for c in all_cells(name) if c['cell_type'] == 'markdown']


def whole(name):
    return '\n'.join(source(c) for c in all_cells(name))


# ---- the pages
@pytest.fixture(scope='session')
def pages(site_notebooks):
    "What nbdev makes of the notebooks (those of the exercises aside)."
    return {name: nb for name, nb in notebooks(site_notebooks).items() if '/' not in name}


@pytest.fixture(scope='session')
def rendered(site_bodies):
    return {name: body for name, body in site_bodies.items() if '/' not in name}


@pytest.mark.e2e
def test_every_notebook_becomes_a_page(pages):
    assert sorted(pages) == NAMES


def plain(text):
    "Without the links that nbdev makes of names."
    return re.sub(r'\[`?([^\]`]*)`?\]\([^)]*\)', r'\1', text).replace('`', '')


@pytest.mark.e2e
@pytest.mark.parametrize('name', NAMES)
def test_nothing_that_is_written_is_lost(pages, name):
    "nbdev keeps the title of a first cell and drops what else is in it."
    written = [source(c) for c in all_cells(name)[1:] if c['cell_type'] == 'markdown']
    page = plain('\n'.join(source(c) for c in pages[name]['cells']))
    assert [text[:80] for text in written if plain(text) not in page] == []
    assert re.search(r'^title: ', source(pages[name]['cells'][0]), re.M)


@pytest.mark.e2e
def test_no_page_shows_an_error(pages):
    "An entry of the reference that could not be made would print a traceback in its place."
    bad, n = [], 0
    for name, nb in pages.items():
        for o in (o for c in nb['cells'] for o in c.get('outputs', [])):
            n += 1
            text = ''.join(o.get('text', o.get('traceback', [])))
            if o['output_type'] == 'error' or o.get('name') == 'stderr' or 'Traceback (most recent call last)' in text:
                bad.append(f'{name}: {text[:300]}')
    assert n and bad == []


# ---- links
WEB = re.compile(r'https://([a-z0-9-]+\.)+[a-z]{2,}(/[^\s<>"{}|\\^`\[\]]*)?')
OURS = re.compile(
    r'https://(?:github\.com|colab\.research\.google\.com/github|raw\.githubusercontent\.com)/imgcourse/imgcourse'
    r'/(?:(?:blob|tree|edit|raw)/)?main/([^#?]+)(?:#L(\d+))?'
)


def links(rendered):
    "Each link as `(page, address)`; those to lines of code, which pandoc makes, aside."
    for name, text in rendered.items():
        for url in re.findall(r'<a [^>]*href="([^"]*)"', text):
            if not url.startswith('#cb'):
                yield name, html.unescape(url)


def leads_outside(url):
    return re.match(r'[a-z]+:|//', url) and not url.startswith(HOST)


@pytest.mark.e2e
def test_links_within_the_site_lead_somewhere(pages, rendered):
    "To a page that there is, and to a heading on it."
    file = {name: re.search(r'^output-file: (.*)$', source(nb['cells'][0]), re.M)[1] for name, nb in pages.items()}
    ids = {file[name]: set(re.findall(r' id="([^"]+)"', text)) for name, text in rendered.items()}
    assert len(ids) == len(NAMES), 'each page has a name of its own'
    lost, n, anchors = [], 0, 0
    for name, url in links(rendered):
        if leads_outside(url):
            continue
        page, _, anchor = url.removeprefix(HOST).partition('#')
        if page == 'try/': # which `imgcourse publish` writes when the site is made
            continue
        if re.match('(exercises|solutions)/', page):
            assert (ROOT/'nbs'/page).is_file(), f'{name}: {url}'
            continue
        page = file.get(page, page) or file[name]
        n += 1
        anchors += bool(anchor)
        if page not in ids or (anchor and anchor not in ids[page]):
            lost.append(f'{name}: {url}')
    print(f'{len(rendered)} pages, {n} links within the site ({anchors} with an anchor)')
    assert not lost, '\n'.join(lost)
    assert n > 100 and anchors > 10


def is_there(path, line):
    "Is that a file of the repository, with so many lines?"
    file = ROOT/path
    return file.exists() and (not line or int(line) <= len(file.read_text(encoding='utf-8').splitlines()))


@pytest.mark.e2e
def test_links_that_lead_outside_are_well_formed(rendered):
    "By https; and files of the repository are there."
    lost, n, files = [], 0, 0
    for name, url in links(rendered):
        if not leads_outside(url):
            continue
        n += 1
        ours = OURS.match(url)
        files += bool(ours)
        if not WEB.fullmatch(url) or url[-1] in '.,;:' or (ours and not is_there(*ours.groups())):
            lost.append(f'{name}: {url}')
    print(f'{n} links that lead outside ({files} to files of the repository)')
    assert not lost, '\n'.join(lost)
    assert files > 100


LESSON = re.compile(r'\[(\d\d\w?)\]\((\w+\.ipynb)(?:#[\w-]+)?\)')


@pytest.mark.parametrize('name', ['results.ipynb', 'texts.ipynb', 'glossary.ipynb'])
def test_numbers_of_lessons_are_right(name):
    for number, file in LESSON.findall('\n'.join(texts_of(name))):
        assert file in NAMES and file.startswith(f'{number}_')


@pytest.mark.parametrize('name', NAMES)
def test_no_text_speaks_of_a_lesson_that_is_gone(name):
    gone = re.findall(r'[Ll]essons? (?:0\b|00|0?1b|0?4b)|\[(?:00|0?1b|0?4b)\]', whole(name))
    assert gone == []


@pytest.mark.parametrize('name', [n for n in NAMES if n < '9'])
def test_each_notebook_opens_in_colab(name):
    "A link to this very notebook, and before the first import of the course a cell that installs it."
    cells = all_cells(name)
    assert f'(https://colab.research.google.com/github/imgcourse/imgcourse/blob/main/nbs/{name})' in source(cells[1])
    first = next(source(c) for c in cells if c['cell_type'] == 'code' and 'import' in source(c))
    assert 'try:\n    import imgcourse' in first and '%pip install -q imgcourse' in first


# ---- the reference
def exported():
    "Each name of the package that is documented: module, name, object."
    for name in NAMES:
        found = re.search(r'#\| default_exp (\w+)', whole(name))
        if not found or found[1] == 'all':
            continue
        module = importlib.import_module(f'imgcourse.{found[1]}')
        for n in module.__all__:
            o = getattr(module, n)
            if (inspect.isfunction(o) or inspect.isclass(o)) and o.__module__ == module.__name__:
                yield found[1], n, o


def reference(rendered):
    "For the heading of each exported name and method: the link above it, and the code and tables up to the next one."
    found = {}
    for text in rendered.values():
        for h in BeautifulSoup(text, 'html.parser')('h3'):
            body = [*takewhile(lambda e: e.name[0] != 'h', h.find_all_next(['h1', 'h2', 'h3', 'h4', 'pre', 'table']))]
            found[h.get_text().strip()] = [h.find_previous('a'), *body]
    return found


def rows_of(body):
    "Of the first table: for each parameter the type, default value and meaning, '' where there is none."
    tables = [e for e in body if e and e.name == 'table' and not e.th.get_text()]
    if not tables:
        return {}
    head, *rows = [[c.get_text() for c in row(['th', 'td'])] for row in tables[0]('tr')]
    cells = [dict(zip(head, row)) for row in rows]
    return {row['']: [row.get(k, '') for k in ('type', 'default', 'meaning')] for row in cells}


def parameters_that_lack(module, o, rows):
    "Those without a row, a type or a meaning. (The painters of the sketches have no table: their names say it all.)"
    if module == 'sketches' and not rows:
        return
    for name, p in inspect.signature(o).parameters.items():
        kind, _, meaning = rows.get(name, ('', '', ''))
        if name not in rows or not (kind or p.kind is p.VAR_KEYWORD) or not (meaning or module == 'sketches'):
            yield name


@pytest.mark.e2e
def test_every_exported_name_has_a_reference(rendered):
    "A heading, how it is called, what it does, and a table of its parameters."
    entries, lost, n, names = reference(rendered), [], 0, 0
    for module, name, o in exported():
        body = entries.get(name, [])
        call = next((e.get_text() for e in body if e and e.name == 'pre'), '')
        rows = rows_of(body)
        if f'{name}(' not in call or '](http' in call:
            lost.append(f'{module}.{name}: how it is called')
        if not o.__doc__:
            lost.append(f'{module}.{name}: what it does')
        if inspect.isfunction(o):
            lost += [f'{module}.{name}({p})' for p in parameters_that_lack(module, o, rows)]
        n += len(rows)
        names += 1
    print(f'{names} names with {n} rows of parameters')
    assert lost == []
    assert n > 400


def written_types():
    "Of each function and method, in the files of the package: the types of its parameters as they stand there."
    found = {}
    for file in (ROOT/'imgcourse').glob('[a-z]*.py'):
        text = file.read_text(encoding='utf-8')
        for top in ast.parse(text).body:
            inits = [n for n in getattr(top, 'body', ()) if getattr(n, 'name', '') == '__init__']
            function = inits[0] if isinstance(top, ast.ClassDef) and inits else top
            if not isinstance(function, ast.FunctionDef):
                continue
            args = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            kinds = {a.arg: ast.get_source_segment(text, a.annotation) for a in args if a.annotation}
            patched = kinds.get('self') or kinds.get('cls')
            found.setdefault(f'{patched}.{top.name}' if patched else top.name, []).append(kinds)
    return found


@pytest.mark.e2e
def test_types_read_as_in_the_source(rendered):
    "Brackets are not lost, quotes not curled."
    found, wrong, n = written_types(), [], 0
    for name, body in reference(rendered).items():
        for parameter, (kind, *_) in rows_of(body).items():
            there = [kinds[parameter] for kinds in found.get(name, ()) if parameter in kinds]
            written = [' '.join(text.strip("'").split()) for text in there] # two, where a lesson replaces a method
            n += len(written)
            if written and kind not in written:
                wrong.append(f'{name}({parameter}): {kind}, not {written}')
    print(f'{n} types')
    assert wrong == []
    assert n > 600


@pytest.mark.e2e
def test_each_entry_of_the_reference_leads_to_its_source(rendered):
    "By a link to the file and line, which nbdev puts above the heading's text."
    found, names = reference(rendered), {n for n in written_types() if not n.split('.')[-1].startswith('_')}
    lost = [n for n in names & {*found} if not re.search(r'/blob/main/imgcourse/\w+\.py#L\d+$', found[n][0]['href'])]
    assert lost == []
    assert len(names & {*found}) > 300


def test_all_names_are_on_one_page():
    "Each with a heading of its own, which the search of the site finds."
    headings = re.findall(r'^## (.*)$', all_names(), re.M)
    assert len(headings) == len(set(headings)) > 300
    assert {name for _, name, _ in exported()} <= {*headings}
    assert {'Learner.fit_one_cycle', 'Learner.lr_find', 'ImageClassifierData.from_csv'} <= {*headings}


@pytest.mark.e2e
def test_source_is_folded_and_tables_are_text(pages):
    "Exported code stands folded, under what it defines; no HTML of a notebook asks for scripts of others."
    folded = [source(c) for nb in pages.values() for c in nb['cells'] if '#| code-summary' in source(c)]
    assert len(folded) > 300 and all(text.startswith('#| code-fold: true') for text in folded)
    assert any('code-summary: "Source of make_head"' in text for text in folded)
    outputs = [o for nb in pages.values() for c in nb['cells'] for o in c.get('outputs', [])]
    kinds = {kind for o in outputs for kind in o.get('data', {})}
    assert 'text/markdown' in kinds and 'text/html' not in kinds


# ---- figures
def test_pictures_are_drawn_here():
    "No page loads a picture from elsewhere."
    for name in NAMES:
        shown = re.findall(r'!\[([^\]]*)\]\(([^)]+)\)(\{fig-alt="[^"]{20,}"\})?', '\n'.join(texts_of(name)))
        for alt, url, more in shown:
            assert (alt or more) and (ROOT/'nbs'/url).is_file(), (name, url)


def has_figure(cell):
    return any(kind.startswith('image/') for o in cell.get('outputs', []) for kind in o.get('data', {}))


def test_figures_have_alternative_texts():
    n = 0
    for name in NAMES:
        figures = [source(c) for c in all_cells(name) if has_figure(c)]
        texts = [re.match(r'#\| fig-alt: "([^"]{20,})"\n', s) for s in figures]
        assert all(texts), (name, [s[:60] for s, t in zip(figures, texts) if not t])
        assert len({t[1] for t in texts}) == len(texts), f'{name}: the same text twice'
        n += len(figures)
    print(f'{n} figures')
    assert n > 50


# ---- glossary
def test_every_word_of_the_glossary_is_in_its_lesson():
    "And has a heading of its own, in alphabetical order."
    entries = re.findall(r'^## (.+)\n\n(.+)$', texts_of('glossary.ipynb')[1], re.M)
    lost, n = [], 0
    for title, text in entries:
        words, (_, lesson) = re.findall(r'[^()]+', title), LESSON.findall(text)[-1]
        there = ' '.join(texts_of(lesson)).lower()
        lost += [f'{w}: {lesson}' for w in words if not re.search(rf'\b{w.strip().lower()[:-1]}', there)]
        n += len(words)
    print(f'{n} words')
    assert not lost, '\n'.join(lost)
    assert n > 140 and len({title for title, _ in entries}) == len(entries)


# ---- the page of the old texts
FILES = {
    'Lesson 1': 'lesson_1',
    'Thirty lines': 'thirty_lines',
    'Keras convnets': 'keras_convnets',
    'Plain English': 'plain_english',
    'Traut': 'traut',
}


def sections():
    "What the page says of each text."
    return dict(re.findall(r'^## (.*?)$(.*?)(?=^## |\Z)', '\n'.join(texts_of('texts.ipynb')[1:]), re.M | re.S))


def test_the_page_of_texts_counts_without_gaps():
    "(What the numbers stand for is compared with the texts where they are at hand.)"
    numbers = {k: [int(n) for n in re.findall(r'^\| (\d+) \|', text, re.M)] for k, text in sections().items()}
    counts = {'Lesson 1': 24, 'Thirty lines': 5, 'Keras convnets': 26, 'Plain English': 12, 'Traut': 0}
    assert numbers == {k: list(range(1, n + 1)) for k, n in counts.items()}
    print(f'{sum(counts.values())} cells of the old texts')


def test_each_row_of_the_page_of_texts_leads_to_a_lesson():
    for text in sections().values():
        for row in re.findall(r'^\| (?!---|cell|model).*\|$', text, re.M):
            assert LESSON.search(row) or 'not needed' in row, row


CODE = re.compile( # how a line of code begins
    r"# |%\w|!\w|'{3}|tensorboard --|from [\w.]+ import |import [\w.]+( as \w+)?$"
    r'|def \w+\(|class \w+[(:]|for \w+ in |if .*:$|else:$'
    r'|\(?\w+(\.\w+)*\)?(, \(?\w+\)?)* ?/?= ?[^=\s]' # a = ..., (a, b), (c, d) = ...
    r'|(?!array)[a-z]\w*(\.\w+|\[[^]]*\])*\(' # a.b(... (`array(` is an output)
    r'|[a-z]\w*(\.\w+|\[[^]]*\])+(,|$)' # a.b[c]
)
PLOT = re.compile(r'(?!def |\s).*\b(plot|plot_\w+|imshow)\(')
# (in one line of Lesson 1 a comment and its code have run together)
QUOTED = re.compile(r"#.*?(?=plot_)|#.*|'{3}.*?'{3}|'[^']*'|\"[^\"]*\"")


def code_cells(text):
    """Lines of code without a sentence, an output or a picture between them. What is indented goes on with the line
    before."""
    cells, inside = [], False
    for line in filter(str.strip, text.splitlines()):
        code = (inside and re.match(r'\s+[^\s•\d]', line)) or CODE.match(line)
        if code and inside:
            cells[-1].append(line)
        elif code:
            cells.append([line])
        inside = code and not PLOT.match(line)
    return ['\n'.join(c) for c in cells]


def public():
    "What the modules export, and what their main classes have."
    import imgcourse
    from imgcourse.all import ConvLearner, ImageClassifierData, Interpretation, LRFinder
    modules = [importlib.import_module(f'imgcourse.{m.name}') for m in pkgutil.iter_modules(imgcourse.__path__)]
    names = {n for m in modules for n in getattr(m, '__all__', ())}
    for c in (ConvLearner, ImageClassifierData, Interpretation, LRFinder):
        for base in c.__mro__[:-1]:
            if base.__module__.startswith('imgcourse'):
                names |= {*vars(base), *re.findall(r'self\.(\w+)', inspect.getsource(base))}
    return {n for n in names if n[0] != '_'}


def called(cell):
    "The words of a cell of an old text, its imports, shell commands and strings aside."
    return set(re.findall(r'\w+', QUOTED.sub('', re.sub(r'(?m)^(from|import) .*|!\w.*', '', cell))))


@pytest.mark.photos
@pytest.mark.parametrize('name', FILES)
def test_the_page_of_texts_has_every_cell(name):
    "A row for each cell of the text; the lessons that the row leads to use or name what the cell calls."
    cells = code_cells(shared(f'ancestors/{FILES[name]}.txt').read_text(encoding='utf-8'))
    rows = re.findall(r'^\| \d+ \| .* \| (.*) \|$', sections()[name], re.M)
    assert len(cells) == len(rows)
    assert not re.search(r'(?m)^(array\(|Epoch|Layer|Total|\[)', '\n'.join(cells)), 'no output in a cell'
    names, lost, n = public() - {'callbacks', 'metrics', 'os'}, [], 0 # (arguments of Keras; a part of Python)
    for i, (cell, row) in enumerate(zip(cells, rows), 1):
        if row.startswith('not needed'):
            continue
        lessons = '\n'.join(whole(file) for _, file in LESSON.findall(row))
        words = sorted(names & called(cell))
        lost += [f'cell {i}: {w}' for w in words if not re.search(rf'\b{w}\b', lessons)]
        n += len(words)
    assert not lost, '\n'.join(lost)
    assert n > 10 or not cells


MODELS = r""" # text | in the text | in the lesson | lesson
Lesson 1       | three lines of code         | FULL=1 for the 25,000    | 02
Lesson 1       | resnet34                    | resnet34                 | 51
Lesson 1       | image-kernels               | kernel                   | 09
Lesson 1       | ReLU                        | ReLU                     | 09
Lesson 1       | linear layers               | [Ll]inear|two layers     | 09
Lesson 1       | universal approximation     | universal approximation  | 07
Lesson 1       | Gradient Descent            | against its gradient     | 02
Lesson 1       | Visualizing and Understand  | show_filters             | 09
Lesson 1       | lr_find                     | lr_find                  | 03
Lesson 1       | too large.*diverge          | diverge                  | 03
Lesson 1       | number of epochs            | How many epochs          | 03
Lesson 1       | Shift . Tab                 | Shift                    | 01
Thirty lines   | ResNeXt-101                 | resnext101_64            | 05
Thirty lines   | xtra_fc=.2048,512           | xtra_fc                  | 05
Thirty lines   | dropout                     | dropout                  | 05
Thirty lines   | 9 Random Dogs               | Quiz                     | 05
Thirty lines   | precomputed activations     | precompute               | 05
Thirty lines   | test-time-augmentation      | TTA                      | 05
Keras convnets | fully-connected             | SimpleNet                | 06
Keras convnets | def ConvNet\(               | ConvNet\b                | 06
Keras convnets | batch normalization         | ConvNet2                 | 06
Keras convnets | residual layers             | ResLayer                 | 06
Keras convnets | 560 parameters              | 560                      | 06
Keras convnets | shift or flip               | random_shift             | 06
Keras convnets | ResNet-50                   | ResNet-50                | 04
Keras convnets | sigmoid unit                | sigmoid                  | 04
Keras convnets | batch norm layers           | Batch norm while         | 04
Keras convnets | last residual block         | last stage               | 04
Keras convnets | an order of magnitude       | rate                     | 04
Plain English  | five step                   | five steps               | 07
Plain English  | first stack|second stack    | PlainNet                 | 07
Plain English  | pooling layers              | MaxPool                  | 07
Plain English  | translation invariance      | does not matter where    | 07
Plain English  | Overfitting                 | memorized                | 07
Plain English  | error landscape             | Why an optimizer         | 07
Plain English  | Neural Network Playground   | Playground               | 07
Plain English  | TensorBoard                 | TensorBoard              | 60
Plain English  | weird architecture          | larger                   | 07
Plain English  | simple patterns like edges  | edges                    | 09
Plain English  | image augmentation          | flip                     | 06
Plain English  | Go deeper                   | deeper                   | 06
Traut          | Cifar10                     | TrautNet                 | 07
Traut          | Cifar100                    | CIFAR-100                | 07
Traut          | TensorBoard                 | TensorBoard              | 60
Traut          | saving the model            | save                     | 02
Traut          | loading a saved model       | load_learner             | 08
Traut          | Caltechown                  | Caltech-101              | 08
Traut          | full model                  | full net                 | 08
Traut          | Deleted Layers Model        | ShortNet                 | 08
Traut          | 10 times higher             | At ten and thirty times  | 03
Traut          | ResNet34.*fit_one_cycle     | unfreeze                 | 04
Traut          | transfer learning           | transfer                 | 08
Traut          | low-level features          | Filters and activations  | 09
Traut          | weights='imagenet'          | untouched                | 08
Traut          | coffee_mug                  | coffee mug               | 08
Traut          | how sure                    | sure                     | 08
Traut          | both models are false       | both                     | 08
Traut          | full model is correct, but  | Comparison               | 08
Traut          | Colab .Cloud                | Colab                    | 08
Traut          | Docker container            | Docker                   | 08
Traut          | on my own computer          | own computer             | 08
"""


@pytest.mark.photos
@pytest.mark.parametrize('name', FILES)
def test_the_page_of_texts_has_every_model(name):
    "The models and steps that a text describes are in a lesson to which the page leads from there."
    rows = [[w.strip() for w in line.split(' | ')] for line in MODELS.split('\n')[1:-1]]
    text = shared(f'ancestors/{FILES[name]}.txt').read_text(encoding='utf-8')
    led_to = dict(LESSON.findall(sections()[name]))
    lost = []
    for there, word, number in [row[1:] for row in rows if row[0] == name]:
        if not re.search(there, text, re.S):
            lost.append(f'not in the text: {there}')
        if number not in led_to:
            lost.append(f'the page does not lead to {number}: {there}')
        elif not re.search(word, whole(led_to[number])):
            lost.append(f'not in {led_to[number]}: {word}')
    assert not lost, '\n'.join(lost)
    assert {row[0] for row in rows} == set(FILES)


# ---- _quarto.yml (what Quarto says of it is seen where GitHub renders the site)
def settings():
    return yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))


def test_sidebar_lists_each_notebook_once_in_its_order():
    first, *rest = settings()['website']['sidebar']['contents']
    listed = {s['section']: s['contents'] for s in rest}
    numbered = [n for n in NAMES if n[0].isdigit()]
    assert first == {'text': 'Start', 'href': 'index.ipynb'}
    assert listed['Lessons'] == [n for n in numbered if n < '5']
    assert listed['Workshop'] == [n for n in numbered if '5' <= n < '9']
    assert listed['Appendices'] == [*(n for n in numbered if n >= '9'), 'names.ipynb']
    assert sorted(['index.ipynb', *(n for contents in listed.values() for n in contents)]) == NAMES


def test_what_the_site_has():
    "Search, light and dark, MathML; nothing is run, and pages go where nbdev looks for them."
    config = settings()
    page, site = config['format']['html'], config['website']
    assert site['navbar']['search'] is True and site.get('search', True) is not False
    assert sorted(page['theme']) == ['dark', 'light'] and page['theme']['dark'] != page['theme']['light']
    assert page['html-math-method'] == 'mathml' and page['toc'] is True and page['code-copy'] is True
    assert list(config['format']) == ['html'] and config['execute'] == {'enabled': False}
    assert config['project'].keys() >= {'type', 'output-dir'} and config['project']['output-dir'] == '_docs'
    assert 'doc_path = _docs\n' in (ROOT/'settings.ini').read_text(encoding='utf-8')


def test_how_the_site_looks():
    "What was tried with Quarto: code is wrapped, the column is wide, dark follows the system, no font is fetched."
    config = settings()
    page, site = config['format']['html'], config['website']
    assert page['code-overflow'] == 'wrap' and page['toc-depth'] == 2 and page['respect-user-color-scheme'] is True
    assert page['grid'] == {'sidebar-width': '240px', 'body-width': '900px', 'margin-width': '240px'}
    assert page['theme'] == {'light': ['cosmo', 'own.scss'], 'dark': ['darkly', 'own.scss']}
    files = [page['css'], 'own.scss', site['favicon'], site['image']]
    assert all((ROOT/'nbs'/f).is_file() for f in files), 'nbdev copies what lies beside the notebooks'
    own = (ROOT/'nbs'/'own.scss').read_text(encoding='utf-8')
    assert own.startswith('/*-- scss:defaults --*/') and '$web-font-path: false !default;' in own
    assert site['open-graph'] is True and site['twitter-card'] is True and site['sidebar']['collapse-level'] == 1
    bar = {item['text']: item['href'] for item in site['navbar']['left']}
    assert {'Lessons', 'Results', 'Glossary', 'All names'} <= {*bar} and site['navbar']['tools'][0]['icon'] == 'github'
    assert all((ROOT/'nbs'/href).is_file() for href in bar.values() if href.endswith('.ipynb'))


def test_the_site_leads_to_its_repository():
    "Links to edit and to report."
    site = settings()['website']
    assert {'edit', 'issue'} <= set(site['repo-actions']) and f'{site["site-url"]}/' == HOST
    assert site['repo-url'] == 'https://github.com/imgcourse/imgcourse' and site['repo-branch'] == 'main'
    assert (ROOT/site['repo-subdir']/'index.ipynb').is_file()
