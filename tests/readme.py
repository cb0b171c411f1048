"README.md is nbs/index.ipynb as Markdown. `python tests/readme.py` writes it; a test checks that it is up to date."
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).parents[1]


def readme() -> str:
    nb = nbformat.read(ROOT/'nbs'/'index.ipynb', 4)
    nb.metadata['language_info'] = {'name': 'python'}
    for cell in nb.cells:
        for output in cell.get('outputs', []):
            output.get('data', {}).pop('text/html', None)
    config = Config({'NbConvertBase': {'display_data_priority': ['text/plain']}})
    text, _ = MarkdownExporter(config=config).from_notebook_node(nb)
    text = re.sub(r'!\[\]\((\w+\.jpg)\)\{fig-alt="([^"]*)"\}', r'![\2](nbs/\1)', text)
    text = re.sub(r'^:::.*\n', '', text, flags=re.M) # what Quarto alone understands
    return '\n'.join(line.rstrip() for line in text.strip().split('\n')) + '\n'


if __name__ == '__main__':
    (ROOT/'README.md').write_text(readme(), encoding='utf-8')
