"""The exercises: `python tests/exercises.py [03 …]` runs the solutions (of all lessons, or of those that begin so) and
writes what is made from them: imgcourse/exercises.json, and the learner's notebooks in nbs/exercises.

How a notebook of solutions is written: nbs/63_exercises.ipynb."""
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
SOLUTIONS = sorted((ROOT/'nbs'/'solutions').glob('*.ipynb'))
EXERCISES = ROOT/'nbs'/'exercises'
JUDGES = ROOT/'imgcourse'/'exercises.json'
HEADING = re.compile(r'### (\w+\.\d+) (★+) (.+)')
NOT_SHOWN = 'judge', 'solution', 'wrong'
INTRO = (
    '[Lesson {lesson}](../{stem}.ipynb) has shown it; here you do it yourself. Put your answer in the place of the '
    'dots and run the cell. `check` says whether it is right, nearly right, or why not; `progress()` shows what you '
    'have solved. One star: paper and pencil will do; two: a few lines; three: take your time. If you are stuck, '
    'open the hint, and only then the [solution](../solutions/{stem}.ipynb).\n\n'
    '[Open these exercises in Colab]'
    '(https://colab.research.google.com/github/imgcourse/imgcourse/blob/main/nbs/exercises/{stem}.ipynb) '
    '(there the notebook installs the course first).')


def kind(cell):
    "'starter', 'solution', 'judge' or 'wrong', as the first line says; '' for all other cells."
    found = re.match(r'#\| (\w+)\n', cell.source) if cell.cell_type == 'code' else None
    return found[1] if found and found[1] in ('starter', *NOT_SHOWN) else ''


def headings(nb):
    "Number, stars and title of each exercise."
    cells = [c for c in nb.cells if c.cell_type == 'markdown']
    return [found.groups() for c in cells if (found := HEADING.match(c.source))]


def for_learners(file):
    "The notebook of exercises, as text: that of the solutions without what is not to be seen."
    nb = nbformat.read(file, 4)
    title, note, *rest = nb.cells
    title.source = title.source.replace('Solutions', 'Exercises')
    note.source = INTRO.format(stem=file.stem, lesson=file.stem.split('_')[0].lstrip('0'))
    nb.cells = [title, note, *(c for c in rest if kind(c) not in NOT_SHOWN)]
    for c in nb.cells:
        c.source = c.source.removeprefix('#| starter\n')
    nb.cells.append(nbformat.v4.new_code_cell('progress()', id='progress'))
    return as_text(nb)


def as_text(nb):
    "A notebook as nbdev writes it, without outputs."
    for c in nb.cells:
        if c.cell_type == 'code':
            c.outputs, c.execution_count = [], None
    return json.dumps(json.loads(nbformat.v4.writes(nb)), indent=1, sort_keys=True, ensure_ascii=False) + '\n'


def run(nb):
    "Execute a notebook, with a file of its own for what is solved; a cell at its end prints the judges that it made."
    code = 'import json\nfrom imgcourse.exercises import sealed\nprint(json.dumps(sealed))'
    nb.cells.append(nbformat.v4.new_code_cell(code))
    with tempfile.TemporaryDirectory() as folder:
        options = {'resources': {'metadata': {'path': folder}}, 'extra_arguments': ['--log-level=ERROR']}
        client = NotebookClient(nb, timeout=None, kernel_name='python3', **options)
        client.execute(env=os.environ | {'IMGCOURSE_PROGRESS': f'{folder}/progress.json'})
    return nb


def entries(file, nb):
    "What imgcourse/exercises.json says of an executed notebook of solutions."
    sealed = json.loads(nb.cells[-1].outputs[0].text)
    return {number: {'lesson': file.stem, 'title': title, 'stars': len(stars), 'judge': sealed[number]}
            for number, stars, title in headings(nb)}


def write(begins):
    "Run the solutions whose names begin so, and write what is made from them."
    known = json.loads(JUDGES.read_text(encoding='utf-8')) if JUDGES.exists() else {}
    EXERCISES.mkdir(exist_ok=True)
    found = {}
    for file in SOLUTIONS:
        if file.name.startswith(tuple(begins)):
            print(file.stem, flush=True)
            found |= entries(file, run(nbformat.read(file, 4)))
            (EXERCISES/file.name).write_text(for_learners(file), encoding='utf-8')
        else:
            found |= {number: e for number, e in known.items() if e['lesson'] == file.stem}
    JUDGES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    print(f'{len(found)} exercises')


if __name__ == '__main__':
    write(sys.argv[1:] or [''])
