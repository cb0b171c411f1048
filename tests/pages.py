"""The docs site as far as it can be made without Quarto: nbdev makes the notebooks that Quarto renders, pandoc
(Quarto's own converter) reads them, and a page with Quarto's names of things holds what comes out.

`python tests/pages.py FOLDER` writes the pages into a folder, to look at them.
"""
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pypandoc
import yaml

ROOT = Path(__file__).parents[1]
LEFT_OUT = '.git', '.venv', 'build', '*.egg-info', '__pycache__', 'imgcourse-*', '_proc', '_docs', '.pytest_cache'


def source(cell):
    return ''.join(cell['source'])


def proc(folder):
    "What nbdev makes of the notebooks, in a copy of the tree; a stand-in for Quarto keeps it from installing that."
    root = folder/'imgcourse'
    shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    quarto = folder/'bin'/'quarto'
    quarto.parent.mkdir()
    quarto.write_text('#!/bin/sh\nexit 0\n')
    quarto.chmod(0o755)
    env = os.environ | {'PYTHONPATH': str(root), 'PATH': f'{quarto.parent}{os.pathsep}{os.environ["PATH"]}'}
    command = Path(sys.executable).parent/'nbdev_proc_nbs'
    p = subprocess.run([command], cwd=root, capture_output=True, text=True, env=env)
    assert p.returncode == 0, p.stderr[-3000:]
    return root/'_proc'


# ---- a notebook as Markdown, as Quarto hands it to pandoc
def options(cell):
    "The lines `#| name: value` at the head of a cell, and the code below them."
    found, lines = {}, source(cell).split('\n')
    while lines and (option := re.match(r'#\| ([\w-]+): (.*)', lines[0])):
        found[option[1]] = option[2].strip('"')
        lines.pop(0)
    return found, '\n'.join(lines)


def output(o, said):
    "One output of a cell: the form of it that a page shows."
    data = {kind: ''.join(v) if isinstance(v, list) else v for kind, v in o.get('data', {}).items()}
    if 'text/markdown' in data:
        shown = data['text/markdown']
        return shown if said.get('output') == 'asis' else f':::: {{.cell-output .cell-output-display}}\n{shown}\n::::'
    for kind in ('image/png', 'image/jpeg'):
        if kind in data:
            size = o.get('metadata', {}).get(kind, {})
            told = ''.join(f' {k}="{v}"' for k, v in size.items() if k in ('width', 'height'))
            alt = html.escape(said.get('fig-alt', ''))
            image = f'<img src="data:{kind};base64,{data[kind].strip()}" alt="{alt}"{told} class="figure-img">'
            return f':::: {{.cell-output .cell-output-display}}\n```{{=html}}\n<p>{image}</p>\n```\n::::'
    text = ''.join(o.get('text', data.get('text/plain', '')))
    return f':::: {{.cell-output .cell-output-stdout}}\n``````\n{text}\n``````\n::::' if text else ''


def markdown(cell):
    "Text as it is; code in fences, folded where it is said so; outputs below."
    if cell['cell_type'] != 'code':
        return source(cell)
    said, code = options(cell)
    parts = [f'``````{{.python .cell-code}}\n{code}\n``````'] if said.get('echo') != 'false' else []
    if said.get('code-fold') == 'true':
        summary = html.escape(said.get('code-summary', 'Code'))
        head = f'```{{=html}}\n<details class="code-fold"><summary>{summary}</summary>\n```'
        parts = [head, *parts, '```{=html}\n</details>\n```']
    parts += [output(o, said) for o in cell['outputs']]
    return '::::: {.cell}\n' + '\n\n'.join(filter(None, parts)) + '\n:::::'


def front_matter(nb):
    "What nbdev has made of the first cell."
    return yaml.safe_load(source(nb['cells'][0]).strip().strip('-'))


def render(name, nb):
    "HTML of a page's text, by pandoc; a warning is an error."
    to_html = '--from markdown --to html --mathml --wrap=none --fail-if-warnings'.split()
    text = '\n\n'.join(map(markdown, nb['cells']))
    p = subprocess.run([pypandoc.get_pandoc_path(), *to_html], input=text, capture_output=True, text=True)
    assert p.returncode == 0 and not p.stderr, f'{name}: {p.stderr}'
    return p.stdout


# ---- a page around it
# What Quarto's own rules do to the things that ours have to put right, in short
STAND_IN = """
*, ::before, ::after { box-sizing: border-box }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif }
code { white-space: pre; font-size: .875em; font-family: ui-monospace, monospace }
pre { overflow: auto; margin: 0 0 1rem; font-size: .875em; padding: .4em }
pre code { font-size: inherit }
pre > code.sourceCode { white-space: pre; position: relative }
pre > code.sourceCode > span { display: inline-block; line-height: 1.25 }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
.navbar { display: flex; justify-content: space-between; padding: .5rem 1rem; background: #17406e }
.navbar button { width: 2.5rem; height: 2rem }
#quarto-content { padding: 0 1.5rem }
main { max-width: 850px; margin: 0 auto }
h1, h2, h3 { font-weight: 600; line-height: 1.2 }
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{stand_in}</style><link rel="stylesheet" href="{up}styles.css"></head>
<body class="nav-sidebar floating quarto-light">
<header id="quarto-header"><nav class="navbar"><a class="navbar-title" href="{up}index.html">imgcourse</a>
<button aria-label="Search">⌕</button></nav></header>
<div id="quarto-content" class="page-columns page-rows-contents page-layout-{layout}">
<main class="content" id="quarto-document-content">
<header id="title-block-header"><nav class="quarto-page-breadcrumbs"><ol class="breadcrumb">
<li class="breadcrumb-item"><a href="{up}index.html">Lessons</a></li></ol></nav>
<h1 class="title">{title}</h1><div><div class="description">{description}</div></div></header>
{body}
</main></div></body></html>
"""


def page(name, nb, body):
    "The whole page."
    about = front_matter(nb)
    words = {k: html.escape(about.get(k, '')) for k in ('title', 'description')} | {'stand_in': STAND_IN}
    return PAGE.format(**words, layout=about.get('page-layout', 'article'), up='../'*name.count('/'), body=body)


def notebooks(folder):
    "The notebooks that nbdev has made, by their names within the folder."
    files = sorted(folder.rglob('*.ipynb'))
    return {f.relative_to(folder).as_posix(): json.loads(f.read_text(encoding='utf-8')) for f in files}


def write_pages(folder, nbs, bodies):
    "Beside the notebooks that nbdev has made; the pages, by the names of the notebooks."
    files = {}
    for name, nb in nbs.items():
        files[name] = (folder/name).with_suffix('.html')
        files[name].write_text(page(name, nb, bodies[name]), encoding='utf-8')
    return files


if __name__ == '__main__':
    to = Path(sys.argv[1])
    to.mkdir(parents=True)
    made = proc(to)
    found = notebooks(made)
    written = write_pages(made, found, {name: render(name, nb) for name, nb in found.items()})
    print(f'{len(written)} pages in {made}')
