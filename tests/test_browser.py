"""The lessons in JupyterLab, in a browser, as a learner has them: `imgcourse lab`, the kernel, plots, help, and the
widgets, which no other test clicks."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
TOKEN = 'token-of-the-tests'
MINUTE = 60_000 # milliseconds
MAC = [f'/Applications/{n}.app/Contents/MacOS/{n}' for n in ('Chromium', 'Google Chrome')]
PROGRAMS = 'chromium', 'chromium-browser', 'google-chrome', *MAC
SERVER = {'ip': '127.0.0.1', 'port_retries': 0, 'open_browser': False, 'allow_root': True, 'answer_yes': True}
NOTES = 'lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings'
SETTINGS = {
    'jupyter_server_config.json': {'ServerApp': SERVER, 'IdentityProvider': {'token': TOKEN}},
    'jupyter_lab_config.json': {'LabApp': {'expose_app_in_browser': True}}, # what `Notebook.js` asks
    NOTES: {'fetchNews': 'false'}, # a box in the corner asks for it otherwise
}


# ---- JupyterLab and a browser
def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def environment(home, port):
    "Free of the settings of whoever runs the tests."
    for name, settings in SETTINGS.items():
        (home/name).parent.mkdir(parents=True, exist_ok=True)
        (home/name).write_text(json.dumps(settings))
    folders = {
        'JUPYTER_CONFIG_DIR': home,
        'JUPYTER_DATA_DIR': home/'data',
        'JUPYTER_RUNTIME_DIR': home/'runtime',
        'IPYTHONDIR': home/'ipython',
    }
    return os.environ | {'JUPYTER_PORT': str(port)} | {name: str(folder) for name, folder in folders.items()}


def answers(url):
    try:
        return urllib.request.urlopen(f'{url}/api/status?token={TOKEN}', timeout=5).status == 200
    except OSError:
        return False


def wait_for(url, process):
    end = time.monotonic() + 120
    while not answers(url):
        assert process.poll() is None and time.monotonic() < end, 'imgcourse lab does not answer'
        time.sleep(.2)


@pytest.fixture(scope='module')
def lab(tmp_path_factory, cache):
    "The address of a running `imgcourse lab`; at the end it is stopped as by Ctrl-C."
    home, port = tmp_path_factory.mktemp('jupyter'), free_port()
    url, log = f'http://127.0.0.1:{port}', home/'log'
    with open(log, 'w') as out:
        process = subprocess.Popen(
            [Path(sys.executable).parent/'imgcourse', 'lab', str(home/'my lessons')],
            env=environment(home, port), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
            # Ctrl-C works even where the tests run in the background
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_for(url, process)
        yield url
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        print(log.read_text()) # pytest shows it where something fails


@pytest.fixture(scope='module') # not longer: playwright's event loop is in the way of nbclient's
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not program:
        # where there must be one, as on GitHub, a missing one is a fault
        missing = pytest.fail if os.environ.get('IMGCOURSE_BROWSER') == '1' else pytest.skip
        missing('needs Chromium or Chrome (Debian: apt-get install chromium; macOS: brew install --cask chromium)')
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail('The tests in a browser need playwright: pip install playwright (without its own browsers)')
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture
def open_lesson(browser, lab):
    "A function that opens a notebook, in a window of its own. Afterwards its kernel is stopped."
    opened = []

    def open_it(name):
        opened.append(Notebook(browser.new_page(viewport={'width': 1300, 'height': 1000}), lab, name))
        return opened[-1]

    yield open_it
    for nb in opened:
        nb.js('nb.sessionContext.shutdown()')
        nb.page.close()


class Notebook:
    "A notebook in JupyterLab, opened by a double click."
    def __init__(self, page, url, name):
        self.page, self.name = page, name
        page.goto(f'{url}/lab?token={TOKEN}&reset', timeout=MINUTE)
        page.locator('.jp-DirListing-item', has_text=name).dblclick(timeout=MINUTE)
        self.opened()
        self.stored = self.js('nb.content.model.toJSON().cells')

    def opened(self):
        idle = 'nb.sessionContext.session?.kernel?.status == "idle"'
        self.wait(f'nb?.context?.path == "{self.name}" && (document.querySelector(".jp-Dialog") || {idle})')

    def save(self):
        self.js('nb.context.save()')

    def reopen(self):
        self.page.keyboard.press('Alt+W')
        self.page.locator('.jp-DirListing-item', has_text=self.name).dblclick()
        self.opened()

    def js(self, code):
        return self.page.evaluate(f'() => {{const nb = jupyterapp.shell.currentWidget; return {code}}}')

    def wait(self, code, minutes=1):
        code = f'() => {{const nb = window.jupyterapp?.shell.currentWidget; return {code}}}'
        self.page.wait_for_function(code, timeout=minutes*MINUTE)

    def menu(self, menu, item):
        self.page.get_by_role('menuitem', name=menu, exact=True).click()
        self.page.get_by_role('menuitem', name=item, exact=True).click()

    def button(self, command):
        self.page.locator(f'[data-command="{command}"]:visible').first.click()

    def find(self, text):
        return next(i for i, c in enumerate(self.stored) if text in c['source'])

    def cell(self, i):
        return self.page.locator('.jp-Notebook-cell').nth(i)

    def result(self, first, last):
        """Wait until cells have run; the cells with what came out. Fails if there is an error, anything in stderr or
        a widget that cannot be shown."""
        cells = f'nb.content.model.toJSON().cells.slice({first}, {last + 1})'
        failed = 'cells.some(c => c.outputs?.some(o => o.output_type == "error"))'
        idle = 'nb.sessionContext.session.kernel.status == "idle"'
        ran = f'{idle} && cells.every(c => c.cell_type != "code" || !c.source || c.execution_count)'
        self.wait(f'(cells => {failed} || {ran})({cells})', 10)
        found = self.js(cells)
        bad = '\n'.join(complaint(o) for c in found for o in c.get('outputs', []))
        assert not bad.strip(), re.sub(r'\x1b\[[\d;]*m', '', bad)
        assert not self.page.get_by_text('Error displaying widget').count()
        return found

    def run(self, i, wait=True):
        "Run a cell, as by a click into it and Ctrl-Enter; all that it printed."
        self.cell(i).locator('.cm-content').click()
        self.page.keyboard.press('Control+Enter')
        return printed(self.result(i, i)) if wait else None

    def add(self, code, wait=True):
        """Write a new cell below the active one and run it: the cell, and what it printed (`None` at once, without
        waiting for its end)."""
        self.button('notebook:insert-cell-below')
        i = self.js('nb.content.activeCellIndex')
        self.cell(i).locator('.cm-content').click()
        self.page.keyboard.insert_text(code)
        return self.cell(i), self.run(i, wait)

    def says(self, code):
        "What a new cell prints."
        return self.add(code)[1].strip()


def text(out):
    return ''.join(out.get('text', out.get('data', {}).get('text/plain', '')))


def complaint(out):
    "An error or what is in stderr; else nothing."
    if out['output_type'] == 'error':
        return '\n'.join(out['traceback'])
    return text(out) if out.get('name') == 'stderr' else ''


def printed(cells):
    return '\n'.join(text(o) for c in cells for o in c.get('outputs', []))


def kinds(cell):
    "Which tables and pictures a cell shows."
    found = {k for o in cell.get('outputs', []) for k in o.get('data', {})}
    return {k for k in found if k == 'text/html' or k.startswith('image/')}


def loaded(image):
    return image.evaluate('im => im.decode().then(() => im.naturalWidth > 100)')


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
    breeds = nb.says("print(*(data.classes[y] for y in data.val_y[quiz.idxs]), sep='\\n')").split()
    for k, breed in enumerate(breeds):
        lists.nth(k).select_option(breed)
    is_first = lists.nth(0).evaluate('l => l.selectedIndex') == 1
    lists.nth(0).select_option(index=2 if is_first else 1) # another breed
    cell, out = nb.add('quiz.answers(np.eye(data.c)[data.val_y])')
    assert 'Right: the machine 9 of 9, you 8 of 9.' in out and loaded(cell.locator('img'))


SHOW_GRID = "grid = KernelGrid(draw_sketch('cat', 1)); grid.show()"


def numbers(cell):
    return [float(field.input_value()) for field in cell.locator('input[type=number]').all()]


def redrawn(live, action, *args):
    "Do something, and wait until the picture is another one; the last, should the still be there for a moment, too."
    from playwright.sync_api import expect
    before = live.get_attribute('src')
    action(*args)
    expect(live.last).not_to_have_attribute('src', before, timeout=MINUTE)
    expect(live).to_have_count(1, timeout=MINUTE)


def type_number(field, number):
    field.click()
    for key in ('Control+A', *number, 'Enter'):
        field.page.keyboard.press(key)


def test_kernel_grid(open_lesson):
    "Numbers are typed; after a reload a kernel is chosen; without Python's kernel the last picture is there."
    from playwright.sync_api import expect
    nb = open_lesson('09_inside.ipynb')
    nb.add('from imgcourse.all import *')
    cell, _ = nb.add(SHOW_GRID)
    fields, live = cell.locator('input[type=number]'), cell.locator('img:visible')
    assert live.count() == 1 and loaded(live) and numbers(cell) == [-1]*4 + [8] + [-1]*4

    redrawn(live, type_number, fields.nth(5), '2.5')
    assert live.count() == 1 and loaded(live)
    assert nb.says('print(*grid.kernel.flat)') == '-1.0 -1.0 -1.0 -1.0 8.0 2.5 -1.0 -1.0 -1.0'

    nb.save()
    nb.page.reload()
    nb.opened()
    redrawn(live, cell.locator('select').select_option, 'sharpen')
    expect(fields.last).to_have_value('0', timeout=MINUTE)
    assert live.count() == 1 and numbers(cell) == [0, -1, 0, -1, 5, -1, 0, -1, 0]
    assert nb.says('print(*grid.kernel.flat)') == '0.0 -1.0 0.0 -1.0 5.0 -1.0 0.0 -1.0 0.0'

    nb.save()
    nb.js('nb.sessionContext.shutdown()')
    nb.reopen()
    still = nb.page.locator('.jp-Notebook-cell', has_text=SHOW_GRID).locator('img:visible')
    expect(still).to_have_attribute('class', re.compile('^still-'), timeout=MINUTE)
    assert loaded(still)


def test_playground(open_lesson):
    nb = open_lesson('07_plain_english.ipynb')
    nb.add('from imgcourse.all import *')
    cell, _ = nb.add("play = Playground('circles'); play.show()")
    picture, lists = cell.locator('img:visible'), cell.locator('select')
    state = "print(play.epoch, *play.settings.values(), sep='; ')"
    assert lists.count() == 3 and picture.count() == 1 and loaded(picture)
    redrawn(picture, cell.get_by_role('button', name='20 epochs').click)
    assert nb.says(state) == '20; circles; (4, 2); 0.03; 0' and picture.count() == 1
    lists.nth(1).select_option('none')
    lists.nth(0).select_option('moons')
    assert nb.says(state) == '0; moons; (); 0.03; 0'
    cell.get_by_role('button', name='20 epochs').click()
    cell.get_by_role('button', name='anew').click()
    assert nb.says(state) == '0; moons; (); 0.03; 0' and loaded(picture)


LESSON = """from imgcourse.all import *
PATH, arch, sz, bs = lesson('dogscats')
set_seed(42)
data = ImageClassifierData.from_paths(PATH, tfms=tfms_from_model(arch, sz))"""


def test_cleaner(open_lesson):
    nb = open_lesson('08_own_classes.ipynb')
    nb.add(LESSON)
    nb.add('interp = Interpretation(data, np.log(np.full((len(data.val_ds), 2), .5)))')
    cell, _ = nb.add('cleaner = Cleaner(interp, 4)\ncleaner.show()')
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
    nb.add(LESSON)
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
