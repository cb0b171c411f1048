"The trials of the hard world notice what they are to notice."
import io
import os
import signal
import sys
import time
from pathlib import Path
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent/'hard'))
from trials import Area, Lost, Silent, Trial, print_table, refused, run_trials


def right(): return 'right'
def said(): return refused(ValueError('cat.jpg: damaged'), 'cat.jpg')
def unclear(): return refused(ValueError('list index out of range'), 'cat.jpg')
def wrong(): raise Silent('another result')
def gone(): raise Lost('the old file')
def broken(): return [][1]
def killed(): os.kill(os.getpid(), signal.SIGKILL)
def long(): time.sleep(600)
def a_little_long(): return time.sleep(1.2) or 'right'
def large(): return 'right' if np.ones(30_000_000).sum() else ''
def nothing(): return None


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != 'linux', reason='the trials are made for Linux')
def test_each_kind_of_outcome():
    "And after a crash the next trial has a process again."
    want = {right: 'right', said: 'refused', unclear: 'silent', wrong: 'silent', gone: 'lost', broken: 'crashed',
            killed: 'crashed', long: 'hung', a_little_long: 'hung', large: 'crashed', nothing: 'crashed'}
    trials = [Trial(do.__name__, do, (), 1 if do in (long, a_little_long) else 60, 100) for do in want]
    outcomes = run_trials([*trials, Trial('after', right)])
    assert [o.what for o in outcomes] == [*want.values(), 'right']
    by_name = {o.trial.name: o for o in outcomes}
    assert 'IndexError' in by_name['broken'].why and '-9' in by_name['killed'].why
    assert 200 < by_name['large'].megabytes < 400 and by_name['right'].megabytes < 20
    area = Area('all', lambda folder, quick, rng: [*trials, 'no second machine here']).run(None, True, 0)
    out = io.StringIO()
    print_table([area], out)
    head, row, *more = out.getvalue().split('\n')
    counts = dict(zip(head.split()[1:8], row.split()[1:8]))
    row = ' '.join(f'{k} {n}' for k, n in counts.items())
    assert row == 'tried 11 right 1 refused 1 lost 1 silent 2 crashed 4 hung 2'
    assert 'all: NOT TRIED: no second machine here' in more and sum('CRASHED' in line for line in more) == 4
