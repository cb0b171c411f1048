"The lessons in JupyterLab, in a browser, as a learner has them: `imgcourse lab`, the kernel, plots, help, and the widgets, which no other test clicks."
import json, os, re, shutil, signal, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import pytest

TOKEN, MINUTE = 'token-of-the-tests', 60_000 # milliseconds
PROGRAMS = 'chromium', 'chromium-browser', 'google-chrome', *(f'/Applications/{n}.app/Contents/MacOS/{n}' for n in ('Chromium', 'Google Chrome'))
SETTINGS = {
    'jupyter_server_config.json': {'ServerApp': {'ip': '127.0.0.1', 'port_retries': 0, 'open_browser': False, 'allow_root': True, 'answer_yes': True}, 'IdentityProvider': {'token': TOKEN}},
    'jupyter_lab_config.json': {'LabApp': {'expose_app_in_browser': True}}, # what `Notebook.js` asks
    'lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings': {'fetchNews': 'false'}} # a box in the corner asks for it otherwise

def answers(url):
    try: return urllib.request.urlopen(f'{url}/api/status?token={TOKEN}', timeout=5).status == 200
    except OSError: return False

@pytest.fixture(scope='module')
def lab(tmp_path_factory, cache):
    "The address of a running `imgcourse lab`, free of the settings of whoever runs the tests; at the end it is stopped as by Ctrl-C."
    home = tmp_path_factory.mktemp('jupyter')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    for name, settings in SETTINGS.items(): (home/name).parent.mkdir(parents=True, exist_ok=True); (home/name).write_text(json.dumps(settings))
    env = os.environ | {'JUPYTER_PORT': str(port), 'JUPYTER_CONFIG_DIR': str(home), 'JUPYTER_DATA_DIR': str(home/'data'), 'JUPYTER_RUNTIME_DIR': str(home/'runtime'), 'IPYTHONDIR': str(home/'ipython')}
    url, log = f'http://127.0.0.1:{port}', home/'log'
    with open(log, 'w') as out: p = subprocess.Popen([Path(sys.executable).parent/'imgcourse', 'lab', str(home/'my lessons')], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) # Ctrl-C works even where the tests run in the background
    try:
        end = time.monotonic() + 120
        while not answers(url): assert p.poll() is None and time.monotonic() < end, 'imgcourse lab does not answer'; time.sleep(.2)
        yield url
        os.killpg(p.pid, signal.SIGINT)
        assert p.wait(60) == 0
    finally:
        if p.poll() is None: os.killpg(p.pid, signal.SIGKILL); p.wait()
        print(log.read_text()) # pytest shows it where something fails

@pytest.fixture(scope='module') # not longer: playwright's event loop is in the way of nbclient's
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    missing = pytest.fail if os.environ.get('IMGCOURSE_BROWSER') == '1' else pytest.skip # where there must be one, as on GitHub, a missing one is a fault
    if not program: missing('needs Chromium or Chrome (Debian: apt-get install chromium; macOS: brew install --cask chromium)')
    try: from playwright.sync_api import sync_playwright
    except ImportError: pytest.fail('The tests in a browser need playwright: pip install playwright (without its own browsers)')
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield b
        b.close()

@pytest.fixture
def open_lesson(browser, lab):
    "A function that opens a notebook, in a window of its own. Afterwards its kernel is stopped."
    opened = []
    def open_it(name): opened.append(Notebook(browser.new_page(viewport={'width': 1300, 'height': 1000}), lab, name)); return opened[-1]
    yield open_it
    for nb in opened: nb.js('nb.sessionContext.shutdown()'); nb.page.close()

class Notebook:
    "A notebook in JupyterLab, opened by a double click."
    def __init__(self, page, url, name):
        self.page, self.name = page, name
        page.goto(f'{url}/lab?token={TOKEN}&reset', timeout=MINUTE)
        page.locator('.jp-DirListing-item', has_text=name).dblclick(timeout=MINUTE)
        self.opened()
        self.stored = self.js('nb.content.model.toJSON().cells')

    def opened(self):
        self.wait(f'nb?.context?.path == "{self.name}" && (document.querySelector(".jp-Dialog") || nb.sessionContext.session?.kernel?.status == "idle")')

    def save(self): self.js('nb.context.save()')

    def reopen(self): self.page.keyboard.press('Alt+W'); self.page.locator('.jp-DirListing-item', has_text=self.name).dblclick(); self.opened()

    def js(self, code): return self.page.evaluate(f'() => {{const nb = jupyterapp.shell.currentWidget; return {code}}}')

    def wait(self, code, minutes=1): self.page.wait_for_function(f'() => {{const nb = window.jupyterapp?.shell.currentWidget; return {code}}}', timeout=minutes*MINUTE)

    def menu(self, menu, item): self.page.get_by_role('menuitem', name=menu, exact=True).click(); self.page.get_by_role('menuitem', name=item, exact=True).click()

    def button(self, command): self.page.locator(f'[data-command="{command}"]:visible').first.click()

    def find(self, text): return next(i for i, c in enumerate(self.stored) if text in c['source'])

    def cell(self, i): return self.page.locator('.jp-Notebook-cell').nth(i)

    def result(self, first, last):
        "Wait until cells have run; the cells with what came out. Fails if there is an error, anything in stderr or a widget that cannot be shown."
        cells = f'nb.content.model.toJSON().cells.slice({first}, {last + 1})'
        failed = 'cells.some(c => c.outputs?.some(o => o.output_type == "error"))'
        ran = 'nb.sessionContext.session.kernel.status == "idle" && cells.every(c => c.cell_type != "code" || !c.source || c.execution_count)'
        self.wait(f'(cells => {failed} || {ran})({cells})', 10)
        found = self.js(cells)
        bad = ['\n'.join(o['traceback']) if o['output_type'] == 'error' else text(o) for c in found for o in c.get('outputs', []) if o['output_type'] == 'error' or o.get('name') == 'stderr']
        assert not bad, re.sub(r'\x1b\[[\d;]*m', '', '\n'.join(bad))
        assert not self.page.get_by_text('Error displaying widget').count()
        return found

    def run(self, i, wait=True):
        "Run a cell, as by a click into it and Ctrl-Enter; all that it printed."
        self.cell(i).locator('.cm-content').click()
        self.page.keyboard.press('Control+Enter')
        return printed(self.result(i, i)) if wait else None

    def add(self, code, wait=True):
        "Write a new cell below the active one and run it: the cell, and what it printed (`None` at once, without waiting for its end)."
        self.button('notebook:insert-cell-below')
        i = self.js('nb.content.activeCellIndex')
        self.cell(i).locator('.cm-content').click()
        self.page.keyboard.insert_text(code)
        return self.cell(i), self.run(i, wait)

def text(out): return ''.join(out.get('text', out.get('data', {}).get('text/plain', '')))

def printed(cells): return '\n'.join(text(o) for c in cells for o in c.get('outputs', []))

def kinds(cell): return {k for o in cell.get('outputs', []) for k in o.get('data', {}) if k == 'text/html' or k.startswith('image/')}

def loaded(image): return image.evaluate('im => im.decode().then(() => im.naturalWidth > 100)')

def test_lesson_from_top_to_bottom(open_lesson):
    nb = open_lesson('02_three_lines.ipynb')
    assert nb.page.locator('.jp-Dialog').count() == 0, 'nobody is asked which kernel to take'
    assert nb.js('nb.sessionContext.session.kernel.name') == 'python3' and not nb.js('nb.context.model.dirty'), 'to open it does not change it'
    nb.page.locator('.jp-NotebookPanel-toolbar').get_by_text('Python 3 (ipykernel)').wait_for()
    nb.menu('Run', 'Run All Cells')
    cells = nb.result(0, len(nb.stored) - 1)
    assert re.search(r'^In short: \d', printed(cells), re.M)
    for before, after in zip(nb.stored, cells): assert kinds(before) <= kinds(after), f'tables and plots as in the book:\n{after["source"]}'
    assert nb.page.locator('.jp-OutputArea-output table').count() >= 5

def test_quiz(open_lesson):
    nb = open_lesson('05_dog_breeds.ipynb')
    i = nb.find('quiz.ask()')
    nb.cell(i).locator('.cm-content').click()
    nb.menu('Run', 'Run All Above Selected Cell')
    nb.result(0, i - 1)
    nb.run(i)
    lists = nb.cell(i).locator('select')
    assert loaded(nb.cell(i).locator('img')) and lists.count() == 9
    breeds = nb.add("print(*(data.classes[y] for y in data.val_y[quiz.idxs]), sep='\\n')")[1].split()
    for k, breed in enumerate(breeds): lists.nth(k).select_option(breed)
    lists.nth(0).select_option(index=1 + (lists.nth(0).evaluate('l => l.selectedIndex') == 1)) # another breed
    cell, out = nb.add('quiz.answers(np.eye(data.c)[data.val_y])')
    assert 'Right: the machine 9 of 9, you 8 of 9.' in out and loaded(cell.locator('img'))

def test_kernel_grid(open_lesson):
    nb = open_lesson('09_inside.ipynb')
    nb.add('from imgcourse.all import *')
    cell, _ = nb.add("grid = KernelGrid(draw_sketch('cat', 1)); grid.show()")
    from playwright.sync_api import expect
    fields, live = cell.locator('input[type=number]'), cell.locator('img:visible')
    assert fields.count() == 9 and live.count() == 1 and loaded(live)
    def numbers(): return [float(f.input_value()) for f in fields.all()]
    assert numbers() == [-1]*4 + [8] + [-1]*4
    before = live.get_attribute('src')
    fields.nth(5).click(); nb.page.keyboard.press('Control+A'); nb.page.keyboard.type('2.5'); nb.page.keyboard.press('Enter')
    expect(live).not_to_have_attribute('src', before, timeout=MINUTE)
    assert live.count() == 1 and loaded(live) and nb.add('print(*grid.kernel.flat)')[1].split() == '-1.0 -1.0 -1.0 -1.0 8.0 2.5 -1.0 -1.0 -1.0'.split()
    nb.save(); nb.page.reload(); nb.opened()
    changed = live.get_attribute('src')
    cell.locator('select').select_option('sharpen')
    expect(live).not_to_have_attribute('src', changed, timeout=MINUTE)
    expect(fields.last).to_have_value('0', timeout=MINUTE)
    assert live.count() == 1 and numbers() == [0, -1, 0, -1, 5, -1, 0, -1, 0]
    assert nb.add('print(*grid.kernel.flat)')[1].split() == '0.0 -1.0 0.0 -1.0 5.0 -1.0 0.0 -1.0 0.0'.split()
    nb.save(); nb.js('nb.sessionContext.shutdown()'); nb.reopen()
    still = nb.page.locator('.jp-Notebook-cell', has_text="draw_sketch('cat', 1)); grid.show()").locator('img:visible')
    expect(still).to_have_attribute('class', re.compile('^still-'), timeout=MINUTE) # without the kernel the last picture is there
    assert loaded(still)

def test_playground(open_lesson):
    from playwright.sync_api import expect
    nb = open_lesson('07_plain_english.ipynb')
    nb.add('from imgcourse.all import *')
    cell, _ = nb.add("play = Playground('circles'); play.show()")
    picture, lists = cell.locator('img:visible'), cell.locator('select')
    def state(): return nb.add("print(play.epoch, *play.settings.values(), sep='; ')")[1].strip()
    assert lists.count() == 3 and picture.count() == 1 and loaded(picture)
    before = picture.get_attribute('src')
    cell.get_by_role('button', name='20 epochs').click()
    expect(picture).not_to_have_attribute('src', before, timeout=MINUTE)
    assert state() == '20; circles; (4, 2); 0.03; 0' and picture.count() == 1
    lists.nth(1).select_option('none'); lists.nth(0).select_option('moons')
    assert state() == '0; moons; (); 0.03; 0'
    cell.get_by_role('button', name='20 epochs').click(); cell.get_by_role('button', name='anew').click()
    assert state() == '0; moons; (); 0.03; 0' and loaded(picture)

def test_cleaner(open_lesson):
    nb = open_lesson('08_own_classes.ipynb')
    nb.add("from imgcourse.all import *\nPATH, arch, sz, bs = lesson('dogscats')\ndata = ImageClassifierData.from_paths(PATH, tfms=tfms_from_model(arch, sz))")
    cell, _ = nb.add('cleaner = Cleaner(Interpretation(data, np.log(np.full((len(data.val_ds), 2), .5))), 4)\ncleaner.show()')
    lists = cell.locator('select')
    assert lists.count() == 4 and loaded(cell.locator('img')) and lists.first.locator('option').all_inner_texts() == ['keep', 'delete', 'cats', 'dogs']
    other = 'dogs' if 'cats' in nb.add('print(cleaner.rows.actual.iloc[2])')[1] else 'cats'
    lists.nth(0).select_option('delete'); lists.nth(2).select_option(other)
    assert nb.add('print(*cleaner.choice.values(), *cleaner.changes().choice)')[1].split() == ['delete', 'keep', other, 'keep', 'delete', other]

def test_long_work_is_interrupted_and_goes_on(open_lesson):
    "A bar while it lasts; nothing broken is left of it when the notebook is saved, closed and opened again."
    from playwright.sync_api import expect
    nb = open_lesson('92_all.ipynb')
    nb.add("from imgcourse.all import *\nPATH, arch, sz, bs = lesson('dogscats')\nset_seed(42)")
    nb.add('data = ImageClassifierData.from_paths(PATH, tfms=tfms_from_model(arch, sz))\nlearn = ConvLearner.pretrained(arch, data)')
    cell, _ = nb.add("learn.fit(.01, 2, resume='in the browser')", wait=False)
    expect(cell.locator('.jp-OutputArea')).to_contain_text(re.compile(r'Epoch 1, training: +\d+%'), timeout=5*MINUTE)
    assert cell.locator('table tbody tr').count() == 1, 'the row of the first epoch'
    nb.button('notebook:interrupt-kernel')
    expect(cell.locator('.jp-OutputArea')).to_contain_text('KeyboardInterrupt', timeout=MINUTE)
    cell, out = nb.add("learn.fit(.01, 2, resume='in the browser')\nprint(len(learn.history), 'epochs')")
    assert "Going on with the run 'in the browser': epoch" in out and '2 epochs' in out and cell.locator('table tbody tr').count() == 1
    assert not re.search(r'training: +\d+%', nb.page.inner_text('.jp-Notebook'))
    nb.save(); nb.reopen()
    expect(nb.page.get_by_text('2 epochs', exact=True).last).to_be_visible(timeout=MINUTE)
    assert not nb.page.get_by_text('Error displaying widget').count() and not any('widget' in k for c in nb.js('nb.content.model.toJSON().cells') for o in c.get('outputs', []) for k in o.get('data', {}))

def test_help(open_lesson):
    nb = open_lesson('92_all.ipynb')
    nb.add('from imgcourse.all import *')
    assert 'What a lesson starts with' in nb.add('?lesson')[1]
    cell, _ = nb.add('lesson')
    cell.locator('.cm-content').click(); nb.page.keyboard.press('Control+End'); nb.page.keyboard.press('Shift+Tab')
    nb.page.locator('.jp-Tooltip', has_text='What a lesson starts with').wait_for(timeout=MINUTE)
