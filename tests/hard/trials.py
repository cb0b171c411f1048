"""Trials: a function is called in a process of its own, which may crash, hang, or take all the memory there is; what
became of it is counted."""
import math
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from queue import SimpleQueue

GOOD = 'right', 'refused'
BAD = 'lost', 'silent', 'crashed', 'hung'


class Silent(AssertionError):
    "A wrong result, and not a word about it; or words that do not say what is wrong."


class Lost(AssertionError):
    "Something that was complete is gone or damaged."


@dataclass
class Trial:
    "A function that returns 'right' or 'refused', or raises; how long it may take, and how much memory."
    name: str
    do: Callable
    args: tuple = ()
    seconds: float = 20
    megabytes: float = math.inf


@dataclass
class Outcome:
    "What became of a trial: one of `GOOD` or `BAD`; seconds, megabytes beyond what was there before, and a word why."
    trial: Trial
    what: str
    seconds: float
    megabytes: float
    why: str = ''


def refused(e, *names):
    "'refused', if the message of an exception is one for people: not long, and each of the names in it."
    words = str(e)
    missing = [n for n in names if str(n) not in words]
    if missing or not words or len(words) > 2000 or 'Traceback' in words:
        raise Silent(f'{type(e).__name__} does not name {", ".join(map(str, missing)) or "anything"}: {words[:300]!r}')
    return 'refused'


def _memory(line):
    "A figure of this process in megabytes, of Linux."
    with open('/proc/self/status') as f:
        return int(re.search(rf'^{line}:\s+(\d+)', f.read(), re.M)[1])/1024


def _begin_peak():
    with open('/proc/self/clear_refs', 'w') as f:
        f.write('5')
    return _memory('VmRSS')


def _work(connection):
    "Life of a worker: trials come, outcomes go. What they print is not wanted."
    os.setpgrp() # with the programs that trials start
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import imgcourse.pictures # noqa: F401, its time and memory are no trial's
    connection.send('ready')
    while (trial := connection.recv()) is not None:
        before, start, why = _begin_peak(), time.perf_counter(), ''
        try:
            what = trial.do(*trial.args)
            if what not in GOOD:
                what, why = 'crashed', f'the trial itself is wrong: it returned {what!r}'
        except (Silent, Lost) as e:
            what, why = type(e).__name__.lower(), str(e)
        except BaseException as e:
            last = traceback.extract_tb(e.__traceback__)[-1]
            what, why = 'crashed', f'{type(e).__name__}: {e} ({os.path.basename(last.filename)}:{last.lineno})'
        seconds = time.perf_counter() - start
        connection.send(Outcome(trial, what, seconds, max(0, _memory('VmHWM') - before), why))


class Worker:
    "A process that does trials; it is replaced when it has died or had to be killed."
    def __init__(self): self.process = None

    def begin(self):
        context = multiprocessing.get_context('spawn')
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=False)
        self.process.start()
        theirs.close()
        self.busy = True
        if not wait([self.connection], 120):
            raise EOFError
        self.connection.recv()

    def end(self):
        "With the programs that a trial has started, if it is still at work."
        if self.process:
            with suppress(OSError): # it may be gone
                self.connection.send(None)
            self.process.join(0 if self.busy else 5)
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None

    def do(self, trial):
        start = time.perf_counter()
        try:
            if not self.process:
                self.begin()
                start = time.perf_counter()
            self.busy = True
            self.connection.send(trial)
            if not wait([self.connection], trial.seconds):
                self.end()
                return Outcome(trial, 'hung', time.perf_counter() - start, 0, f'still at work after {trial.seconds} s')
            outcome = self.connection.recv()
            self.busy = False
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            self.end()
            return Outcome(trial, 'crashed', time.perf_counter() - start, 0, f'the process ended with {code}')
        if outcome.seconds > trial.seconds and outcome.what in GOOD:
            outcome.what, outcome.why = 'hung', f'{outcome.seconds:.0f} s instead of at most {trial.seconds}'
        if outcome.megabytes > trial.megabytes and outcome.what in GOOD: # on a smaller machine it would
            outcome.what, outcome.why = 'crashed', f'{outcome.megabytes:.0f} MB, not at most {trial.megabytes}'
        return outcome


def run_trials(trials, workers=2):
    "The outcomes of trials, in their order."
    trials, free = list(trials), SimpleQueue()
    crew = [Worker() for _ in range(min(workers, len(trials)))]
    for worker in crew:
        free.put(worker)

    def do(trial):
        worker = free.get()
        try:
            return worker.do(trial)
        finally:
            free.put(worker)

    try:
        with ThreadPoolExecutor(max(1, len(crew))) as pool:
            return list(pool.map(do, trials))
    finally:
        for worker in crew:
            worker.end()


@dataclass
class Area:
    "Trials of one kind. `make(folder, quick, seed)` gives them; `workers` do them, side by side."
    name: str
    make: Callable
    workers: int = 2
    outcomes: list = field(default_factory=list)
    skipped: list = field(default_factory=list) # what this machine does not allow, with the reason
    seconds: float = 0

    def run(self, folder, quick, seed):
        start = time.perf_counter()
        trials = list(self.make(folder, quick, random.Random(seed)))
        self.skipped = [t for t in trials if isinstance(t, str)]
        self.outcomes = run_trials([t for t in trials if isinstance(t, Trial)], self.workers)
        self.seconds = time.perf_counter() - start
        return self

    def bad(self): return [o for o in self.outcomes if o.what in BAD]


def print_table(areas, file=sys.stdout):
    """A line for each area: how many trials, what became of them, the slowest, the largest (megabytes that the process
    of a trial takes, without the programs that it starts)."""
    print(f'{"area":<12} {"tried":>6} {"right":>6} {"refused":>8} ' + ' '.join(f'{b:>7}' for b in BAD)
          + f' {"slowest":>9} {"memory":>8} {"all":>7}', file=file)
    for area in areas:
        n = Counter(o.what for o in area.outcomes)
        slowest = max((o.seconds for o in area.outcomes), default=0)
        largest = max((o.megabytes for o in area.outcomes), default=0)
        print(f'{area.name:<12} {len(area.outcomes):>6} {n["right"]:>6} {n["refused"]:>8} '
              + ' '.join(f'{n[b]:>7}' for b in BAD) + f' {slowest:>7.1f} s {largest:>5.0f} MB {area.seconds:>5.0f} s',
              file=file)
    for area in areas:
        for note in area.skipped:
            print(f'{area.name}: NOT TRIED: {note}', file=file)
        for o in area.bad():
            print(f'{area.name}: {o.what.upper()}: {o.trial.name}: {o.why}', file=file)
