"""The pages of the docs site, as far as they can be checked without Quarto: nbdev makes the notebooks that Quarto renders, pandoc (Quarto's own converter) reads them.

What is counted is printed: `pytest -s tests/test_docs.py`.
"""
import html, json, os, re, shutil, subprocess, sys
from copy import deepcopy
from pathlib import Path
import pypandoc, pytest

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

@pytest.fixture(scope='session')
def rendered(pages):
    "HTML of each page, by pandoc; a warning is an error."
    out = {}
    for name, nb in pages.items():
        nb = deepcopy(nb)
        for c in nb['cells']:
            for o in c.get('outputs', []): o |= {'execution_count': 1} if o['output_type'] == 'execute_result' else {}
            if c['cell_type'] == 'code': c['execution_count'] = 1
            if '#| output: asis' in source(c): # Quarto reads such an output as Markdown
                text = [''.join(o['data']['text/markdown']) for o in c.pop('outputs')]
                c |= {'cell_type': 'markdown', 'source': '\n\n'.join(text)}; c.pop('execution_count')
        p = subprocess.run([pypandoc.get_pandoc_path(), '--from', 'ipynb', '--to', 'html', '--mathml', '--wrap=none', '--fail-if-warnings'], input=json.dumps(nb), capture_output=True, text=True)
        assert p.returncode == 0 and not p.stderr, f'{name}: {p.stderr}'
        out[name] = p.stdout
    return out

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

def test_every_exported_name_has_a_reference(rendered):
    "A heading with its signature, on the page of its lesson."
    import importlib, inspect
    headings = {html.unescape(re.sub('<[^>]+>', '', h)).replace('\\', '').strip() for text in rendered.values() for h in re.findall(r'<h3[^>]*>(.*?)</h3>', text)}
    lost = []
    for f in NAMES:
        found = re.search(r'"#\| default_exp (\w+)', (ROOT/'nbs'/f).read_text(encoding='utf-8'))
        if not found or found[1] == 'all': continue
        module = importlib.import_module(f'imgcourse.{found[1]}')
        lost += [f'{found[1]}.{n}' for n in module.__all__ if (inspect.isfunction(o := getattr(module, n)) or inspect.isclass(o)) and o.__module__ == module.__name__ and n not in headings]
    assert lost == []

def test_sidebar_has_every_page():
    listed = re.findall(r'- (\S+\.ipynb)', (ROOT/'_quarto.yml').read_text())
    assert sorted(listed) == NAMES

def test_pictures_are_drawn_here():
    "No page loads a picture from elsewhere, but for Colab's badge."
    for name in NAMES:
        for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']:
            if c['cell_type'] != 'markdown': continue
            for alt, url in re.findall(r'!\[([^\]]*)\]\(([^)]+)\)', source(c)):
                assert alt and ((ROOT/'nbs'/url).is_file() or url == 'https://colab.research.google.com/assets/colab-badge.svg'), (name, url)

LESSON = re.compile(r'\[(\d\d\w?)\]\((\w+\.ipynb)\)')

def cells_of(name): return [source(c) for c in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown']

def test_every_word_of_the_glossary_is_in_its_lesson():
    lost, n = [], 0
    for entry in cells_of('glossary.ipynb')[1].split('\n\n'):
        words, (_, lesson) = re.findall(r'\*\*(.+?)\*\*', entry), LESSON.findall(entry)[-1]
        text = ' '.join(cells_of(lesson)).lower()
        lost += [f'{w}: {lesson}' for w in words if not re.search(rf'\b{w.lower()[:-1]}', text)]; n += len(words)
    print(f'{n} words')
    assert not lost, '\n'.join(lost)

def test_the_page_of_texts_counts_without_gaps():
    "(What the numbers stand for is compared with the texts where they are at hand.)"
    tables = re.findall(r'^## (.*?)$(.*?)(?=^## |\Z)', '\n'.join(cells_of('texts.ipynb')[1:]), re.M | re.S)
    numbers = {name: [int(n) for n in re.findall(r'^\| (\d+) \|', text, re.M)] for name, text in tables}
    assert {k: len(v) for k, v in numbers.items()} == {'Lesson 1': 26, 'Thirty lines': 6, 'Keras convnets': 25, 'Plain English': 11, 'Traut': 0}
    for name, ns in numbers.items(): assert ns == list(range(1, len(ns) + 1)), name
    for name, text in tables:
        for row in re.findall(r'^\| (?!---|cell|model).*\|$', text, re.M): assert LESSON.search(row) or 'not needed' in row, row

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
