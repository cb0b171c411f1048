"""The life of a notebook: interrupted in its long cells, cells run twice or out of order, two notebooks on one cache, a
kernel that ends while it trains."""
import os
import random
import threading
import time
from pathlib import Path
from trials import Silent, Trial

os.environ.setdefault('JUPYTER_PREFER_ENV_PATH', '1')


def notebook(name, front=True):
    "A lesson, or its front."
    import nbformat
    from imgcourse.cli import lesson_files
    file, = lesson_files(name)
    nb = nbformat.read(file, 4)
    if front:
        hood = [i for i, c in enumerate(nb.cells) if c.source.startswith('## Under the hood')]
        nb.cells = nb.cells[:hood[0] if hood else None]
    return nb


class Kernel:
    "A notebook in a kernel; its cells are run one by one."
    def __init__(self, nb, folder, cache):
        from nbclient import NotebookClient
        self.nb, self.cells = nb, [(i, c) for i, c in enumerate(nb.cells) if c.cell_type == 'code']
        self.client = NotebookClient(nb, timeout=None, kernel_name='python3', allow_errors=True,
                                     extra_arguments=['--log-level=ERROR'], resources={'metadata': {'path': folder}})
        self.env = {**os.environ, 'IMGCOURSE_CACHE': str(cache), 'OMP_NUM_THREADS': '1'}

    def __enter__(self):
        self.setup = self.client.setup_kernel(env=self.env)
        self.setup.__enter__()
        return self

    def __exit__(self, *args): self.setup.__exit__(None, None, None)

    def run(self, i, cell, interrupt_after=None):
        "The name of the error that the cell ended with, or ''."
        if interrupt_after is None:
            self.client.execute_cell(cell, i)
        else:
            self.run_and_interrupt(i, cell, interrupt_after)
        return next((o.ename for o in cell.outputs if o.output_type == 'error'), '')

    def run_and_interrupt(self, i, cell, seconds):
        from nbclient.exceptions import CellTimeoutError
        timer = threading.Timer(seconds, os.kill, (self.client.km.provisioner.pid, 2))
        timer.start()
        self.client.timeout = 60
        try:
            self.client.execute_cell(cell, i)
        except CellTimeoutError: # it came when the kernel was about to say that it has ended, and that word was lost
            pass
        self.client.timeout = None
        timer.cancel()
        timer.join()


def run_all(kernel, cells, *allowed):
    "Each ends without an error, or with an allowed one."
    for i, cell in cells:
        error = kernel.run(i, cell)
        if error not in ('', *allowed):
            raise Silent(f'cell {i} ended with {error}: {cell.source[:80]!r}')


def place(folder, name):
    folder = Path(folder)/name
    folder.mkdir()
    return str(folder)


def warm_cache(folder): return Path(folder)/'cache'


def interrupted(folder, name, seed):
    "Ctrl-C at a random moment of each cell; then the cell is run again, and does what it does."
    rng, hits = random.Random(seed), 0
    with Kernel(notebook(name), place(folder, f'{name} {seed}'), warm_cache(folder)) as kernel:
        for i, cell in kernel.cells:
            error = kernel.run(i, cell, interrupt_after=rng.choice((.05, .2, .5, 1, 2))*rng.random())
            if error not in ('', 'KeyboardInterrupt'):
                raise Silent(f'cell {i} ended with {error}: {cell.source[:80]!r}')
            hits += error == 'KeyboardInterrupt'
            run_all(kernel, [(i, cell)])
    if not hits:
        raise Silent('no cell was interrupted')
    return 'right'


def twice(folder, name):
    "Each cell is run twice."
    with Kernel(notebook(name), place(folder, f'{name} twice'), warm_cache(folder)) as kernel:
        run_all(kernel, [one for one in kernel.cells for _ in range(2)])
    return 'right'


def out_of_order(folder, name, seed):
    "After its first cells, the others in any order: an error that Python names, or the result; the kernel stays alive."
    with Kernel(notebook(name), place(folder, f'{name} in disorder {seed}'), warm_cache(folder)) as kernel:
        first, rest = kernel.cells[:3], kernel.cells[3:]
        random.Random(seed).shuffle(rest)
        run_all(kernel, [*first, *rest], 'NameError', 'AttributeError', 'ValueError')
    return 'right'


def restarted(folder, name):
    "A new kernel in the middle of a lesson: what is missing is named, and from its top the lesson runs in that kernel."
    where, nb = place(folder, f'{name} restarted'), notebook(name)
    with Kernel(nb, where, warm_cache(folder)) as kernel:
        middle = len(kernel.cells)//2
        run_all(kernel, kernel.cells[:middle])
    with Kernel(nb, where, warm_cache(folder)) as kernel:
        run_all(kernel, kernel.cells[middle:], 'NameError')
        run_all(kernel, kernel.cells)
    return 'right'


def side_by_side(folder, name):
    "Two notebooks that find an empty cache."
    faults = []
    def one(k):
        with Kernel(notebook(name), place(folder, f'{name} beside {k}'), Path(folder)/'shared cache') as kernel:
            faults.extend(f'{k}: cell {i}: {e}' for i, cell in kernel.cells if (e := kernel.run(i, cell)))
    both = [threading.Thread(target=one, args=(k,)) for k in (0, 1)]
    for t in both:
        t.start()
    for t in both:
        t.join()
    if faults:
        raise Silent(faults)
    return 'right'


CLOSED = '''
import warnings
from imgcourse.all import *
warnings.simplefilter('ignore')
from hard_disks import learner
learn = learner(Path('.'), precompute=False)
class Slow(Callback):
    def before_batch(self, learn): time.sleep(.05)
import time
learn.fit(.01, 6, cbs=[Checkpoint(part=1), *slow()])
print('trained', [h['validation loss'] for h in learn.history])
'''


def closed(folder, seed):
    "A kernel is ended while it trains, as when JupyterLab is closed; the same cell goes on."
    import nbformat
    def ran(name, slow, end_after=None):
        where = Path(folder)/name
        where.mkdir(exist_ok=True)
        code = f'slow = lambda: [{"Slow()" if slow else ""}]\n{CLOSED}'
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        with Kernel(nb, str(where), warm_cache(folder)) as kernel:
            if end_after:
                def end():
                    while not list(where.glob('models/run.*')):
                        time.sleep(.05)
                    time.sleep(end_after)
                    os.kill(kernel.client.km.provisioner.pid, 9)
                thread = threading.Thread(target=end)
                thread.start()
            try:
                kernel.run(0, nb.cells[0])
            except Exception:
                if not end_after:
                    raise
            if end_after:
                thread.join()
        return ''.join(o.get('text', '') for o in nb.cells[0].get('outputs', []))
    ran(f'closed {seed}', True, random.Random(seed).uniform(.1, 3))
    got, want = ran(f'closed {seed}', False), ran(f'whole {seed}', False)
    if 'Going on with the run' not in got or got.split('trained')[1] != want.split('trained')[1]:
        raise Silent(f'{got[-300:]!r} instead of {want[-300:]!r}')
    return 'right'


def make(folder, quick, rng):
    where = str(folder)
    yield Trial('closed while it trains', closed, (where, 1), 200)
    if quick:
        return
    yield Trial('two notebooks on an empty cache', side_by_side, (where, '02_'), 300)
    for name in ('01', '02_', '02b', '03', '05'):
        yield Trial(f'interrupted: {name}', interrupted, (where, name, name), 500)
    for name in ('01', '02_', '04', '08', '09'):
        yield Trial(f'cells twice: {name}', twice, (where, name), 500)
    for name in ('02_', '03'):
        yield Trial(f'out of order: {name}', out_of_order, (where, name, 7), 300)
    yield Trial('restarted in the middle: 02_', restarted, (where, '02_'), 300)
