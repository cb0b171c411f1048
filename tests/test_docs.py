"""The pages of the docs site, as far as they can be checked without Quarto: nbdev makes the notebooks that Quarto renders, pandoc (Quarto's own converter) reads them.

What is counted is printed: `pytest -s tests/test_docs.py`.
"""
import html, importlib, inspect, json, os, pkgutil, re, shutil, subprocess, sys
from functools import reduce
from pathlib import Path
import pypandoc, pytest, yaml
from jsonschema import Draft202012Validator
from conftest import shared

ROOT = Path(__file__).parents[1]
HOST = 'https://imgcourse.github.io/imgcourse/'
NAMES = sorted(f.name for f in (ROOT/'nbs').glob('*.ipynb'))
def source(cell): return ''.join(cell['source'])

@pytest.fixture(scope='session')
def pages(tmp_path_factory):
    "What nbdev makes of the notebooks; a stand-in for Quarto keeps it from installing that."
    root = tmp_path_factory.mktemp('docs')/'imgcourse'
    shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns('.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', '_proc', '_docs'))
    (root.parent/'bin').mkdir(); quarto = root.parent/'bin'/'quarto'; quarto.write_text('#!/bin/sh\nexit 0\n'); quarto.chmod(0o755)
    p = subprocess.run([Path(sys.executable).parent/'nbdev_proc_nbs'], cwd=root, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(root), 'PATH': f'{quarto.parent}{os.pathsep}{os.environ["PATH"]}'})
    assert p.returncode == 0, p.stderr[-3000:]
    return {f.name: json.loads(f.read_text(encoding='utf-8')) for f in sorted((root/'_proc').glob('*.ipynb'))}

def markdown(cell):
    "What Quarto hands to pandoc, roughly: text as it is, code in fences, and outputs that are Markdown."
    if cell['cell_type'] != 'code': return source(cell)
    code = [] if '#| output: asis' in source(cell) else [f'`````python\n{source(cell)}\n`````']
    return '\n\n'.join(code + [''.join(o.get('data', {}).get('text/markdown', '')) for o in cell['outputs']])

@pytest.fixture(scope='session')
def rendered(pages):
    "HTML of each page, by pandoc; a warning is an error."
    def render(name, nb):
        p = subprocess.run([pypandoc.get_pandoc_path(), '--from', 'markdown', '--to', 'html', '--mathml', '--wrap=none', '--fail-if-warnings'], input='\n\n'.join(map(markdown, nb['cells'])), capture_output=True, text=True)
        assert p.returncode == 0 and not p.stderr, f'{name}: {p.stderr}'
        return p.stdout
    return {name: render(name, nb) for name, nb in pages.items()}

def test_every_notebook_becomes_a_page(pages): assert sorted(pages) == NAMES

@pytest.mark.parametrize('name', NAMES)
def test_nothing_that_is_written_is_lost(pages, name):
    "nbdev keeps the title of a first cell and drops what else is in it."
    written = [source(c) for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells'][1:] if c['cell_type'] == 'markdown']
    page = '\n'.join(source(c) for c in pages[name]['cells'])
    plain = lambda text: re.sub(r'\[`?([^\]`]*)`?\]\([^)]*\)', r'\1', text).replace('`', '') # nbdev makes links of names
    assert [t[:80] for t in written if plain(t) not in plain(page)] == []
    assert re.search(r'^title: ', source(pages[name]['cells'][0]), re.M)

WEB = re.compile(r'https://([a-z0-9-]+\.)+[a-z]{2,}(/[^\s<>"{}|\\^`\[\]]*)?')
OURS = re.compile(r'https://(?:github\.com|colab\.research\.google\.com/github|raw\.githubusercontent\.com)/imgcourse/imgcourse/(?:(?:blob|tree|edit|raw)/)?main/([^#?]+)(?:#L(\d+))?')

def test_links_lead_somewhere(pages, rendered):
    "Links within the site: to a page that there is, and to a heading on it; others: https, and to files of the repository that there are."
    file = {name: re.search(r'^output-file: (.*)$', source(nb['cells'][0]), re.M)[1] for name, nb in pages.items()}
    ids = {file[name]: set(re.findall(r' id="([^"]+)"', text)) for name, text in rendered.items()}
    assert len(ids) == len(NAMES), 'each page has a name of its own'
    lost, n, anchors, outside, files = [], 0, 0, 0, 0
    for name, text in rendered.items():
        for url in re.findall(r'<a [^>]*href="([^"]*)"', text):
            url = html.unescape(url)
            if url.startswith('#cb'): continue # lines of code
            if re.match(r'[a-z]+:|//', url) and not url.startswith(HOST):
                outside += 1
                if not WEB.fullmatch(url) or url[-1] in '.,;:': lost.append(f'{name}: {url}')
                if own := OURS.match(url):
                    files += 1; there = ROOT/own[1]
                    if not there.exists() or own[2] and int(own[2]) > len(there.read_text(encoding='utf-8').splitlines()): lost.append(f'{name}: {url}')
                continue
            page, _, anchor = url.removeprefix(HOST).partition('#')
            page = file.get(page, page) or file[name]
            n += 1; anchors += bool(anchor)
            if page not in ids or anchor and anchor not in ids[page]: lost.append(f'{name}: {url}')
    print(f'{len(rendered)} pages, {n} links within the site ({anchors} with an anchor), {outside} that lead outside ({files} to files of the repository)')
    assert not lost, '\n'.join(lost)
    assert n > 100 and anchors > 10 and files > 100

def exported():
    "Each name of the package that is documented: module, name, object."
    for f in NAMES:
        found = re.search(r'"#\| default_exp (\w+)', (ROOT/'nbs'/f).read_text(encoding='utf-8'))
        if not found or found[1] == 'all': continue
        module = importlib.import_module(f'imgcourse.{found[1]}')
        for n in module.__all__:
            if (inspect.isfunction(o := getattr(module, n)) or inspect.isclass(o)) and o.__module__ == module.__name__: yield found[1], n, o

def test_every_exported_name_has_a_reference(rendered):
    "A heading, how it is called, what it does, and a table of its parameters with types and, but for the painters of lesson 0, meanings."
    entries = {html.unescape(h).strip(): body for text in rendered.values() for h, body in re.findall(r'<h3 [^>]*>([^<]*)</h3>(.*?)(?=<h[1-6] |\Z)', text, re.S)}
    lost, n = [], 0
    for module, name, o in exported():
        body = entries.get(name, '')
        rows = re.findall(r'<tr>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>', body.partition('</table>')[0], re.S)
        found = {html.unescape(r[0]): r[1:] for r in rows}
        code = html.unescape(re.sub('<[^>]+>', '', (re.search(r'<pre.*?</pre>', body, re.S) or [''])[0]))
        if f'{name}(' not in code or '](http' in code: lost.append(f'{module}.{name}: how it is called')
        if not o.__doc__: lost.append(f'{module}.{name}: what it does')
        if inspect.isfunction(o): lost += [f'{module}.{name}({p})' for p, v in inspect.signature(o).parameters.items() if not (p in found and (found[p][0] or v.kind is v.VAR_KEYWORD) and (found[p][2] or module == 'sketches'))]
        n += len(found)
    print(f'{sum(1 for _ in exported())} names with {n} rows of parameters')
    assert lost == []
    assert n > 400

def test_no_page_shows_an_error(pages):
    "An entry of the reference that could not be made would print a traceback in its place."
    outputs = [(name, o) for name, nb in pages.items() for c in nb['cells'] if c['cell_type'] == 'code' for o in c['outputs']]
    bad = [f'{name}: {"".join(o.get("text", o.get("traceback", [])))[:300]}' for name, o in outputs if o['output_type'] == 'error' or o.get('name') == 'stderr' or 'Traceback (most recent call last)' in ''.join(o.get('text', []))]
    assert outputs and bad == []

def test_sidebar_has_every_page():
    listed = re.findall(r'- (\S+\.ipynb)', (ROOT/'_quarto.yml').read_text())
    assert sorted(listed) == NAMES

def test_pictures_are_drawn_here():
    "No page loads a picture from elsewhere."
    for name in NAMES:
        for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']:
            if c['cell_type'] != 'markdown': continue
            for alt, url in re.findall(r'!\[([^\]]*)\]\(([^)]+)\)', source(c)):
                assert alt and (ROOT/'nbs'/url).is_file(), (name, url)

@pytest.mark.parametrize('name', [n for n in NAMES if n.startswith('0')])
def test_each_lesson_opens_in_colab(name):
    "A link to this very notebook, and before the first import of the course a cell that installs it where it is missing."
    cells = json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']
    assert f'(https://colab.research.google.com/github/imgcourse/imgcourse/blob/main/nbs/{name})' in source(cells[1])
    first = next(source(c) for c in cells if c['cell_type'] == 'code' and 'import' in source(c))
    assert 'try: import imgcourse' in first and '%pip install -q imgcourse' in first

LESSON = re.compile(r'\[(\d\d\w?)\]\((\w+\.ipynb)(?:#[\w-]+)?\)')

def cells_of(name): return [source(c) for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown']

def test_every_word_of_the_glossary_is_in_its_lesson():
    lost, n = [], 0
    for entry in cells_of('glossary.ipynb')[1].split('\n\n'):
        words, (_, lesson) = re.findall(r'\*\*(.+?)\*\*', entry), LESSON.findall(entry)[-1]
        text = ' '.join(cells_of(lesson)).lower()
        lost += [f'{w}: {lesson}' for w in words if not re.search(rf'\b{w.lower()[:-1]}', text)]; n += len(words)
    print(f'{n} words')
    assert not lost, '\n'.join(lost)

def sections(): return re.findall(r'^## (.*?)$(.*?)(?=^## |\Z)', '\n'.join(cells_of('texts.ipynb')[1:]), re.M | re.S)

def test_the_page_of_texts_counts_without_gaps():
    "(What the numbers stand for is compared with the texts where they are at hand.)"
    tables = sections()
    numbers = {name: [int(n) for n in re.findall(r'^\| (\d+) \|', text, re.M)] for name, text in tables}
    assert {k: len(v) for k, v in numbers.items()} == {'Lesson 1': 24, 'Thirty lines': 5, 'Keras convnets': 26, 'Plain English': 12, 'Traut': 0}
    for name, ns in numbers.items(): assert ns == list(range(1, len(ns) + 1)), name
    print(f'{sum(map(len, numbers.values()))} cells of the old texts')
    for name, text in tables:
        for row in re.findall(r'^\| (?!---|cell|model).*\|$', text, re.M): assert LESSON.search(row) or 'not needed' in row, row

FILES = {'Lesson 1': 'lesson_1', 'Thirty lines': 'thirty_lines', 'Keras convnets': 'keras_convnets', 'Plain English': 'plain_english', 'Traut': 'traut'}
CODE = re.compile(r"# |%\w|!\w|'{3}|tensorboard --|from [\w.]+ import |import [\w.]+( as \w+)?$|def \w+\(|class \w+[(:]|for \w+ in |if .*:$|else:$" # how a line of code begins
                  r"|\(?\w+(\.\w+)*\)?(, \(?\w+\)?)* ?/?= ?[^=\s]"                           # a = ..., (a, b), (c, d) = ...
                  r"|(?!array)[a-z]\w*(\.\w+|\[[^]]*\])*\(|[a-z]\w*(\.\w+|\[[^]]*\])+(,|$)") # a.b(...; a.b[c] (`array(` is an output)
PLOT = re.compile(r'(?!def |\s).*\b(plot|plot_\w+|imshow)\(')

QUOTED = re.compile(r"#.*?(?=plot_)|#.*|'{3}.*?'{3}|'[^']*'|\"[^\"]*\"") # (in one line of Lesson 1 a comment and its code have run together)

def code_cells(text):
    "Lines of code without a sentence, an output or a picture between them. What is indented goes on with the line before."
    cells, inside = [], False
    for line in filter(str.strip, text.splitlines()):
        code = inside and re.match(r'\s+[^\s•\d]', line) or CODE.match(line)
        if code: cells[-1].append(line) if inside else cells.append([line])
        inside = code and not PLOT.match(line)
    return ['\n'.join(c) for c in cells]

def whole(name): return '\n'.join(source(c) for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells'])

def public():
    "What the modules export, and what their main classes have."
    import imgcourse
    from imgcourse.all import ConvLearner, ImageClassifierData, Interpretation, LRFinder
    names = {n for m in pkgutil.iter_modules(imgcourse.__path__) for n in getattr(importlib.import_module(f'imgcourse.{m.name}'), '__all__', ())}
    for c in (ConvLearner, ImageClassifierData, Interpretation, LRFinder):
        names |= {n for base in c.__mro__[:-1] for n in [*vars(base), *re.findall(r'self\.(\w+)', inspect.getsource(base))] if base.__module__.startswith('imgcourse')}
    return {n for n in names if n[0] != '_'}

@pytest.mark.parametrize('name', FILES)
def test_the_page_of_texts_has_every_cell(name):
    "A row for each cell of the text; the lessons that the row leads to use or name what the cell calls."
    cells = code_cells(shared(f'ancestors/{FILES[name]}.txt').read_text(encoding='utf-8'))
    rows = re.findall(r'^\| \d+ \| .* \| (.*) \|$', dict(sections())[name], re.M)
    assert len(cells) == len(rows) and not re.search(r'(?m)^(array\(|Epoch|Layer|Total|\[)', '\n'.join(cells)), 'and no output in a cell'
    names, lost, n = public() - {'callbacks', 'metrics'}, [], 0 # (these two are arguments of Keras)
    for i, (cell, row) in enumerate(zip(cells, rows), 1):
        if row.startswith('not needed'): continue
        called = names & set(re.findall(r'\w+', QUOTED.sub('', re.sub(r'(?m)^(from|import) .*|!\w.*', '', cell))))
        lessons = '\n'.join(whole(file) for _, file in LESSON.findall(row))
        lost += [f'cell {i}: {w}' for w in sorted(called) if not re.search(rf'\b{w}\b', lessons)]; n += len(called)
    assert not lost, '\n'.join(lost)
    assert n > 10 or not cells

MODELS = r""" # text | in the text | on the page | in the lesson | lesson
Lesson 1       | three lines of code         | frozen ResNet-34        | FULL=1 for the 25,000    | 02
Lesson 1       | resnet34                    | resnet34                | resnet34                 | 01
Lesson 1       | image-kernels               | kernel                  | kernel                   | 09
Lesson 1       | ReLU                        | ReLU                    | ReLU                     | 09
Lesson 1       | linear layers               | linear layers           | [Ll]inear|two layers     | 09
Lesson 1       | universal approximation     | any curve               | universal approximation  | 09
Lesson 1       | Gradient Descent            | gradient descent        | downhill                 | 09
Lesson 1       | Visualizing and Understand  | filters                 | show_filters             | 09
Lesson 1       | lr_find                     | range test              | lr_find                  | 03
Lesson 1       | too large.*diverge          | too large               | diverge                  | 03
Lesson 1       | number of epochs            | how many epochs         | How many epochs          | 03
Lesson 1       | Shift . Tab                 | keys                    | Shift                    | 01
Thirty lines   | ResNeXt-101                 | ResNeXt-101             | resnext101_64            | 05
Thirty lines   | xtra_fc=.2048,512           | 2,048 and 512           | xtra_fc                  | 05
Thirty lines   | dropout                     | dropout                 | dropout                  | 05
Thirty lines   | 9 Random Dogs               | nine dogs               | Quiz                     | 05
Thirty lines   | precomputed activations     | stored features         | precompute               | 05
Thirty lines   | test-time-augmentation      | several views           | TTA                      | 05
Keras convnets | fully-connected             | dense                   | SimpleNet                | 06
Keras convnets | def ConvNet\(               | convolutions            | ConvNet\b                | 06
Keras convnets | batch normalization         | batch norm              | ConvNet2                 | 06
Keras convnets | residual layers             | residual                | ResLayer                 | 06
Keras convnets | 560 parameters              | 560                     | 560                      | 06
Keras convnets | shift or flip               | shifts and flips        | random_shift             | 06
Keras convnets | ResNet-50                   | ResNet-50 on dogs       | ResNet-50                | 04
Keras convnets | sigmoid unit                | one output              | sigmoid                  | 04
Keras convnets | batch norm layers           | batch norm in frozen    | Batch norm while         | 04
Keras convnets | last residual block         | last stage              | last stage               | 04
Keras convnets | an order of magnitude       | tenth of the rate       | rate                     | 04
Plain English  | five step                   | five steps              | five steps               | 07
Plain English  | first stack|second stack    | the CNN                 | PlainNet                 | 07
Plain English  | pooling layers              | pooling                 | MaxPool                  | 07
Plain English  | translation invariance      | place does not matter   | does not matter where    | 07
Plain English  | Overfitting                 | overfitting             | Overfitting              | 07
Plain English  | error landscape             | optimizer               | Why an optimizer         | 07
Plain English  | Neural Network Playground   | playground              | Playground               | 07
Plain English  | TensorBoard                 | TensorBoard             | TensorBoard              | 07
Plain English  | weird architecture          | larger variant          | larger                   | 07
Plain English  | simple patterns like edges  | simple patterns         | edges                    | 09
Plain English  | image augmentation          | augmentation            | flip                     | 06
Plain English  | Go deeper                   | deeper                  | deeper                   | 06
Traut          | Cifar10                     | CIFAR-10\b              | TrautNet                 | 07
Traut          | Cifar100                    | CIFAR-100               | CIFAR-100                | 07
Traut          | TensorBoard                 | TensorBoard             | TensorBoard              | 07
Traut          | saving the model            | saving and loading      | save                     | 04b
Traut          | loading a saved model       | saving and loading      | load_learner             | 08
Traut          | Caltechown                  | Caltech-101             | Caltech-101              | 08
Traut          | full model                  | full net                | full net                 | 08
Traut          | Deleted Layers Model        | layers deleted          | ShortNet                 | 08
Traut          | 10 times higher             | ten times as large      | Ten times too high       | 03
Traut          | ResNet34.*fit_one_cycle     | ResNet-34, frozen       | unfreeze                 | 04
Traut          | transfer learning           | ResNet-34, frozen       | transfer                 | 08
Traut          | low-level features          | early and late layers   | Layer by layer           | 09
Traut          | weights='imagenet'          | untouched ResNet-50     | untouched                | 08
Traut          | coffee_mug                  | ImageNet's labels       | coffee mug               | 08
Traut          | how sure                    | how sure                | sure                     | 08
Traut          | both models are false       | where both nets fail    | both                     | 08
Traut          | full model is correct, but  | where one does          | Comparison               | 08
Traut          | Colab .Cloud                | Colab                   | Colab                    | 08
Traut          | Docker container            | Docker                  | Docker                   | 08
Traut          | on my own computer          | own computer            | own computer             | 08
"""

@pytest.mark.parametrize('name', FILES)
def test_the_page_of_texts_has_every_model(name):
    "The models and steps that a text describes: each in a row, or in a part of a sentence, that leads to the lesson which has it."
    rows = [[w.strip() for w in l.split(' | ')] for l in MODELS.split('\n')[1:-1]]
    text = shared(f'ancestors/{FILES[name]}.txt').read_text(encoding='utf-8')
    places = re.split(r'\n|; (?=[^|]*$)', dict(sections())[name], flags=re.M) # rows; parts of sentences
    lost = []
    for _, there, here, word, number in [r for r in rows if r[0] == name]:
        if not re.search(there, text, re.S): lost.append(f'not in the text: {there}')
        file, = [f for f in NAMES if f.startswith(f'{number}_')]
        if not any(re.search(here, p) and (number, file) in LESSON.findall(p) for p in places): lost.append(f'not on the page: {here} in {number}')
        if not re.search(word, whole(file)): lost.append(f'not in {file}: {word}')
    assert {r[0] for r in rows} == set(FILES) and not lost, '\n'.join(lost)

@pytest.mark.parametrize('name', ['results.ipynb', 'texts.ipynb', 'glossary.ipynb'])
def test_links_to_lessons_are_right(name):
    for number, file in LESSON.findall('\n'.join(cells_of(name))): assert file in NAMES and file.startswith(f'{number}_')

def test_figures_have_alternative_texts():
    n = 0
    for name in NAMES:
        cells = json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']
        figures = [c for c in cells if any(k.startswith('image/') for o in c.get('outputs', []) for k in o.get('data', {}))]
        texts = [re.match(r'#\| fig-alt: "([^"]{20,})"\n', source(c)) for c in figures]
        assert all(texts), (name, [source(c)[:60] for c, t in zip(figures, texts) if not t])
        assert len({t[1] for t in texts}) == len(texts), f'{name}: the same text twice'
        n += len(figures)
    print(f'{n} figures')
    assert n > 50

# ---- _quarto.yml: what Quarto would say of its keys, their types and values, as far as this site may want them
def group(need='', **keys): return {'type': 'object', 'properties': {k.replace('_', '-'): v for k, v in keys.items()}, 'required': need.split(), 'additionalProperties': False}
def one_of(*values): return {'enum': list(values)}
def either(*kinds): return {'anyOf': list(kinds)}
def many(kind): return {'type': 'array', 'items': kind}
TEXT, NUMBER, YES = ({'type': t} for t in ('string', 'number', 'boolean'))
TEXTS, ITEM, CONTENTS = either(TEXT, many(TEXT)), {'$ref': '#/$defs/item'}, {'$ref': '#/$defs/contents'}
AUTO = group('auto', auto=either(YES, TEXTS))
THEME = either(one_of(*'default none cerulean cosmo cyborg darkly flatly journal litera lumen lux materia minty morph pulse quartz sandstone simplex sketchy slate solar spacelab superhero united vapor yeti zephyr'.split()),
               {'type': 'string', 'pattern': r'\.scss$'})
THEMES = either(THEME, many(THEME))
MATHS = one_of('plain', 'webtex', 'gladtex', 'mathml', 'mathjax', 'katex')
ACTION = one_of('none', 'edit', 'source', 'issue')
REGION = either(TEXT, many(ITEM))
SITE = group('title',
    title=TEXT, description=TEXT, favicon=TEXT, image=TEXT, image_alt=TEXT, site_url=TEXT, site_path=TEXT,
    repo_url=TEXT, repo_subdir=TEXT, repo_branch=TEXT, repo_link_target=TEXT, repo_link_rel=TEXT, repo_actions=either(ACTION, many(ACTION)), issue_url=TEXT,
    search=either(YES, group(location=one_of('navbar', 'sidebar'), type=one_of('overlay', 'textbox'), limit=NUMBER, collapse_after=NUMBER, copy_button=YES, merge_navbar_crumbs=YES, keyboard_shortcut=TEXTS,
                             show_item_context=either(YES, one_of('tree', 'parent', 'root')))),
    navbar=either(YES, group(title=either(TEXT, YES), logo=TEXT, logo_alt=TEXT, logo_href=TEXT, background=TEXT, foreground=TEXT, search=YES, pinned=YES, collapse=YES, collapse_below=one_of('sm', 'md', 'lg', 'xl', 'xxl'),
                             left=many(ITEM), right=many(ITEM), toggle_position=one_of('left', 'right'), tools_collapse=YES)),
    sidebar=either(YES, group(id=TEXT, title=either(TEXT, YES), logo=TEXT, logo_alt=TEXT, logo_href=TEXT, search=YES, tools=many(ITEM), contents=CONTENTS, style=one_of('docked', 'floating'), background=TEXT, foreground=TEXT,
                              border=YES, alignment=one_of('left', 'right', 'center'), collapse_level=NUMBER, pinned=YES, header=TEXTS, footer=TEXTS)),
    page_footer=either(TEXT, group(left=REGION, center=REGION, right=REGION, border=either(YES, TEXT), background=TEXT, foreground=TEXT)),
    page_navigation=YES, back_to_top_navigation=YES, bread_crumbs=YES, reader_mode=YES, body_header=TEXT, body_footer=TEXT, margin_header=TEXTS, margin_footer=TEXTS,
    open_graph=YES, twitter_card=YES, drafts=TEXTS, draft_mode=one_of('visible', 'unlinked', 'gone'))
HTML = group(
    theme=either(THEMES, group(light=THEMES, dark=THEMES)), css=TEXTS, respect_user_color_scheme=YES, anchor_sections=YES, smooth_scroll=YES, minimal=YES, body_classes=TEXT, embed_resources=YES,
    toc=YES, toc_depth=NUMBER, toc_location=one_of('body', 'left', 'right', 'left-body', 'right-body'), toc_title=TEXT, toc_expand=either(NUMBER, YES),
    code_copy=either(YES, one_of('hover')), code_fold=either(YES, one_of('show')), code_summary=TEXT, code_overflow=one_of('scroll', 'wrap'), code_line_numbers=either(YES, TEXT), code_link=YES,
    code_annotations=either(YES, one_of('hover', 'select', 'below', 'none')), code_tools=either(YES, group(source=either(YES, TEXT), toggle=YES, caption=TEXT)), code_block_bg=either(YES, TEXT), code_block_border_left=either(YES, TEXT),
    syntax_highlighting=either(TEXT, group(light=TEXT, dark=TEXT)), html_math_method=either(MATHS, group('method', method=MATHS, url=TEXT)))
QUARTO = Draft202012Validator({
    **group('project format website',
        project=group('type', title=TEXT, type=one_of('website'), output_dir=TEXT, lib_dir=TEXT, render=many(TEXT), execute_dir=one_of('file', 'project'), resources=TEXTS, pre_render=TEXTS, post_render=TEXTS,
                      preview=group(port=NUMBER, host=TEXT, browser=YES, watch_inputs=YES, navigate=YES, timeout=NUMBER)),
        format=group('html', html=HTML), website=SITE,
        execute=group(enabled=YES, eval=YES, echo=either(YES, one_of('fenced')), cache=either(YES, one_of('refresh')), freeze=either(YES, one_of('auto')), daemon=either(YES, NUMBER))),
    '$defs': {
        'item': either(TEXT, group(text=TEXT, href=TEXT, file=TEXT, url=TEXT, icon=TEXT, id=TEXT, aria_label=TEXT, rel=TEXT, target=TEXT, menu=many(ITEM))),
        'contents': either(TEXT, AUTO, many(either(ITEM, AUTO, group('section contents', section=TEXT, contents=CONTENTS))))}})
def settings(): return yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))

def test_quarto_knows_every_key(): assert [f'{e.json_path}: {e.message}' for e in QUARTO.iter_errors(settings())] == []

@pytest.mark.parametrize('key, value', [
    ('projects', {}), ('project/type', 'site'), ('project/output', '_docs'), ('project/preview/port', '3000'), ('execute/enable', False), ('execute/freeze', 'never'),
    ('format/html/toc', 'maybe'), ('format/html/html-math-method', 'latex'), ('format/html/theme/dusk', 'darkly'), ('format/html/theme/dark', 'darkness'), ('format/html/code-copy', 'always'), ('format/commonmark', 'default'),
    ('website/repo_url', 'https://github.com/imgcourse/imgcourse'), ('website/repo-actions', ['edit', 'issues']), ('website/search', 'on'), ('website/navbar/search', 'yes'), ('website/sidebar/style', 'flying'),
    ('website/sidebar/contents', [{'section': 'Lessons', 'content': ['index.ipynb']}]), ('website/sidebar/contents', [1])])
def test_quarto_refuses(key, value):
    config, (*way, last) = settings(), key.split('/')
    reduce(dict.__getitem__, way, config)[last] = value
    error, = QUARTO.iter_errors(config)
    assert key.startswith('/'.join(error.absolute_path)), 'and says where'

@pytest.mark.parametrize('key', ['project', 'project/type', 'format/html', 'website/title'])
def test_quarto_misses(key):
    config, (*way, last) = settings(), key.split('/')
    del reduce(dict.__getitem__, way, config)[last]
    assert [e.validator for e in QUARTO.iter_errors(config)] == ['required']

def test_what_the_site_has():
    "Search, light and dark, MathML, links to edit and to report; nothing is run, and pages go where nbdev looks for them."
    config = settings(); page, site = config['format']['html'], config['website']
    assert site['navbar']['search'] is True and site.get('search', True) is not False
    assert sorted(page['theme']) == ['dark', 'light'] and page['theme']['dark'] != page['theme']['light']
    assert page['html-math-method'] == 'mathml' and page['toc'] is True and page['code-copy'] is True
    assert {'edit', 'issue'} <= set(site['repo-actions']) and site['repo-url'] == 'https://github.com/imgcourse/imgcourse' and site['repo-branch'] == 'main' and (ROOT/site['repo-subdir']/'index.ipynb').is_file()
    assert f'{site["site-url"]}/' == HOST and config['project']['output-dir'] == '_docs' and 'doc_path = _docs\n' in (ROOT/'settings.ini').read_text(encoding='utf-8')
    assert list(config['format']) == ['html'] and config['execute'] == {'enabled': False}

def test_sidebar_lists_lessons_in_their_order():
    first, *rest = settings()['website']['sidebar']['contents']
    listed = {s['section']: s['contents'] for s in rest}
    numbered = [f for f in NAMES if f[0].isdigit()]
    assert first == 'index.ipynb' and listed['Lessons'] == [f for f in numbered if f < '9'] and listed['Appendices'] == [f for f in numbered if f >= '9']
