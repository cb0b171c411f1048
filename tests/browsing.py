"""JupyterLab in a browser, as a learner has it: what the tests in a browser share."""
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
from contextlib import suppress
from pathlib import Path

import pytest

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
        for _ in range(3): # once JupyterLab has missed one; we do not know why
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
                break
        assert process.poll() == 0
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
        camera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'] # one that Chromium plays
        chromium = p.chromium.launch(executable_path=program, args=['--no-sandbox', *camera])
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

    def reopen_without_kernel(self):
        "Save and close it, open it again, and choose no kernel, as for a notebook of a language that is not here."
        self.js("nb.context.model.setMetadata('kernelspec', {name: 'none', display_name: 'None'})")
        self.js("nb.context.model.setMetadata('language_info', {name: 'none'})")
        self.save()
        self.js('nb.sessionContext.shutdown()')
        self.reopen()
        self.page.locator('.jp-Dialog select').first.select_option(label='No Kernel')
        self.page.locator('.jp-Dialog .jp-mod-accept').click()
        self.page.locator('.jp-Dialog').wait_for(state='detached')
        assert self.js('!nb.sessionContext.session')

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
