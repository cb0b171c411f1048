"""The lessons in JupyterLab, in a browser, as a learner has them: `imgcourse lab`, the kernel, plots, help, and the
widgets, which no other test clicks."""
import io
import re

import pytest
from browsing import MINUTE, kinds, loaded, printed
from imgcourse.sketches import draw_sketch

pytestmark = pytest.mark.e2e


# ---- a lesson
def test_lesson_from_top_to_bottom(open_lesson):
    nb = open_lesson('02_three_lines.ipynb')
    assert nb.page.locator('.jp-Dialog').count() == 0, 'nobody is asked which kernel to take'
    assert nb.js('nb.sessionContext.session.kernel.name') == 'python3'
    assert not nb.js('nb.context.model.dirty'), 'to open it does not change it'
    nb.page.locator('.jp-NotebookPanel-toolbar').get_by_text('Python 3 (ipykernel)').wait_for()
    nb.menu('Run', 'Run All Cells')
    cells = nb.result(0, len(nb.stored) - 1)
    assert re.search(r'^In short: \d', printed(cells), re.M)
    for before, after in zip(nb.stored, cells):
        assert kinds(before) <= kinds(after), f'tables and plots as in the book:\n{after["source"]}'
    assert nb.page.locator('.jp-OutputArea-output table').count() >= 5
    ask_about_a_file(nb, nb.find('learn.ask()'))


def ask_about_a_file(nb, i):
    "By the button that `learn.ask()` shows: bars appear below it, and the note for whoever has no button is hidden."
    from playwright.sync_api import expect
    nb.js(f'nb.content.scrollToItem({i})')
    button = nb.cell(i).get_by_role('button', name='Choose a picture')
    expect(button).to_be_visible(timeout=MINUTE)
    expect(nb.cell(i).locator('.imgcourse-note')).to_be_hidden()
    data = io.BytesIO()
    draw_sketch('cat', 1).save(data, 'png')
    with nb.page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files({'name': 'cat.png', 'mimeType': 'image/png', 'buffer': data.getvalue()})
    answer = nb.cell(i).get_by_role('img', name='What was drawn about cat.png')
    expect(answer).to_be_visible(timeout=MINUTE)
    assert loaded(answer)


# ---- widgets
def test_quiz(open_lesson):
    nb = open_lesson('05_dog_breeds.ipynb')
    i = nb.find('quiz.ask()')
    nb.cell(i).locator('.cm-content').click()
    nb.menu('Run', 'Run All Above Selected Cell')
    nb.result(0, i - 1)
    nb.run(i)
    lists = nb.cell(i).locator('select')
    assert loaded(nb.cell(i).locator('img')) and lists.count() == 9
    assert [names.locator('option').count() for names in lists.all()] == [1 + 4]*9
    assert nb.cell(i).locator('.imgcourse-note').is_hidden()
    breeds = nb.says("print(*(data.classes[y] for y in data.val_y[quiz.idxs]), sep='\\n')").split()
    for k, breed in enumerate(breeds):
        lists.nth(k).select_option(breed)
    is_first = lists.nth(0).evaluate('l => l.selectedIndex') == 1
    lists.nth(0).select_option(index=2 if is_first else 1) # another of its names
    cell, out = nb.add('quiz.answers(np.eye(data.c)[data.val_y])')
    assert 'Right: the machine 9 of 9, you 8 of 9.' in out and loaded(cell.locator('img'))


LESSON = """from imgcourse.all import *
PATH, arch, sz, bs = lesson('dogscats')
set_seed(42)
data = ImageClassifierData.from_paths(PATH, tfms=tfms_from_model(arch, sz))"""


def test_cleaner(open_lesson):
    nb = open_lesson('08_own_classes.ipynb')
    nb.add(LESSON)
    nb.add('interp = Interpretation(data, np.log(np.full((len(data.val_ds), 2), .5)))')
    cell, _ = nb.add('cleaner = Cleaner(data, interp.top_losses(4))\ncleaner.show()')
    lists = cell.locator('select')
    assert lists.count() == 4 and loaded(cell.locator('img'))
    assert lists.first.locator('option').all_inner_texts() == ['keep', 'delete', 'cats', 'dogs']
    other = 'dogs' if 'cats' in nb.says('print(cleaner.rows.actual.iloc[2])') else 'cats'
    lists.nth(0).select_option('delete')
    lists.nth(2).select_option(other)
    assert nb.says('print(*cleaner.choice.values())').split() == ['delete', 'keep', other, 'keep']
    assert nb.says('print(*cleaner.changes().choice)').split() == ['delete', other]


# ---- long work, help
def test_long_work_is_interrupted_and_goes_on(open_lesson):
    "A bar while it lasts; nothing broken is left of it when the notebook is saved, closed and opened again."
    from playwright.sync_api import expect
    nb = open_lesson('92_all.ipynb')
    nb.add(LESSON.replace('(arch, sz)', '(arch, 4*sz)')) # large ones, so that an epoch lasts
    nb.add('learn = ConvLearner.pretrained(arch, data)')
    cell, _ = nb.add("learn.fit(.01, 2, resume='in the browser')", wait=False)
    bar = re.compile(r'Epoch 1, training: +\d+%')
    expect(cell.locator('.jp-OutputArea')).to_contain_text(bar, timeout=5*MINUTE)
    assert cell.locator('table tbody tr').count() == 1, 'the row of the first epoch'
    nb.button('notebook:interrupt-kernel')
    expect(cell.locator('.jp-OutputArea')).to_contain_text('KeyboardInterrupt', timeout=MINUTE)
    cell, out = nb.add("learn.fit(.01, 2, resume='in the browser')\nprint(len(learn.history), 'epochs')")
    assert "Going on with the run 'in the browser': epoch" in out and '2 epochs' in out
    assert cell.locator('table tbody tr').count() == 1
    assert not re.search(r'training: +\d+%', nb.page.inner_text('.jp-Notebook'))
    nb.save()
    nb.reopen()
    expect(nb.page.get_by_text('2 epochs', exact=True).last).to_be_visible(timeout=MINUTE)
    assert not nb.page.get_by_text('Error displaying widget').count()
    outputs = [o for c in nb.js('nb.content.model.toJSON().cells') for o in c.get('outputs', [])]
    assert not [kind for o in outputs for kind in o.get('data', {}) if 'widget' in kind]


def test_help(open_lesson):
    nb = open_lesson('92_all.ipynb')
    nb.add('from imgcourse.all import *')
    assert 'What a lesson starts with' in nb.says('?lesson')
    cell, _ = nb.add('lesson')
    cell.locator('.cm-content').click()
    nb.page.keyboard.press('Control+End')
    nb.page.keyboard.press('Shift+Tab')
    nb.page.locator('.jp-Tooltip', has_text='What a lesson starts with').wait_for(timeout=MINUTE)
