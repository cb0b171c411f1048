"README.md is nbs/index.ipynb as Markdown. `python tests/readme.py` writes it; a test checks that it is up to date."
from pathlib import Path
import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).parents[1]

def readme() -> str:
    nb = nbformat.read(ROOT/'nbs'/'index.ipynb', 4); nb.metadata['language_info'] = {'name': 'python'}
    for c in nb.cells:
        for o in c.get('outputs', []): o.get('data', {}).pop('text/html', None)
    text = MarkdownExporter(config=Config({'NbConvertBase': {'display_data_priority': ['text/plain']}})).from_notebook_node(nb)[0]
    return '\n'.join(l.rstrip() for l in text.replace('](sketches.jpg)', '](nbs/sketches.jpg)').strip().split('\n')) + '\n'

if __name__ == '__main__': (ROOT/'README.md').write_text(readme(), encoding='utf-8')
