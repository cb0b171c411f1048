"""The hard world: damaged and hostile files, full disks, kills, several processes. Prints what became of each trial.

    python tests/hard             all of it, at most half an hour on two cores
    python tests/hard --quick     what continuous integration runs, at most five minutes
    python tests/hard pictures    some areas
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get('PYTHONPATH')]))
os.environ.setdefault('OMP_NUM_THREADS', '1') # two trials at a time, on two cores
os.environ['PYTHONWARNINGS'] = 'ignore:resource_tracker' # processes that were killed leave their semaphores


def main():
    from areas import AREAS
    from trials import print_table
    parser = argparse.ArgumentParser('python tests/hard', description=__doc__.split('\n')[0])
    parser.add_argument('areas', nargs='*', metavar='AREA', help=', '.join(a.name for a in AREAS))
    parser.add_argument('--quick', action='store_true', help='a share of at most five minutes')
    parser.add_argument('--seed', type=int, default=19, help='of what is drawn at random (%(default)s)')
    args = parser.parse_args()
    if sys.platform != 'linux':
        parser.error('the trials are made for Linux: its /proc says how much memory they take')
    unknown = set(args.areas) - {a.name for a in AREAS}
    if unknown:
        parser.error(f'there is no area {", ".join(unknown)}')
    chosen, start = [a for a in AREAS if not args.areas or a.name in args.areas], time.perf_counter()
    share = 'a quick share' if args.quick else 'all trials'
    print(f'{share} of {", ".join(a.name for a in chosen)}; seed {args.seed}', flush=True)
    with tempfile.TemporaryDirectory(prefix='hard-', ignore_cleanup_errors=True) as folder:
        os.environ['IMGCOURSE_CACHE'] = f'{folder}/cache'
        for area in chosen:
            place = Path(folder)/area.name
            place.mkdir()
            print(f'{area.name} …', flush=True)
            area.run(place, args.quick, args.seed)
        print_table(chosen)
    bad = sum(len(a.bad()) for a in chosen)
    print(f'{sum(len(a.outcomes) for a in chosen)} trials in {time.perf_counter() - start:.0f} s, {bad} bad')
    return 1 if bad or not all(a.outcomes for a in chosen) else 0


if __name__ == '__main__':
    sys.exit(main())
