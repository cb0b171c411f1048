"""How fast imgcourse is, against others and against the machine's limits:
`python tests/bench/bench.py --photos FOLDER --cifar FOLDER`. Writes table.md, table.json and ratios.png.

FOLDER of photos holds train/ and valid/ with class folders of JPEGs; that of CIFAR-10 holds train/ and test/
(`get_dataset('cifar10', full=True)` makes one). What is measured stands in rows.py.
"""
import argparse
import json
import shutil
import tempfile
from pathlib import Path

import table
from rows import Work, all_rows
from samples import HERE, environment, sample


class Bench:
    "Takes the samples of rows, in turn."
    def __init__(self, pairs, checkouts, folder):
        self.pairs, self.checkouts, self.folder = pairs, checkouts, folder
        self.kept, self.engines, self.warm = {}, {}, {}

    def pieces(self, row):
        "The work by its label, with the name of the checkout."
        found = {'ours': (row.ours, 'ours')} | {w.label: (w, 'ours') for w in row.peers}
        if row.limit:
            found['limit'] = row.limit, 'ours'
        if 'before' in self.checkouts:
            found['before'] = row.ours, 'before'
            found |= {f'before, {w.label}': (w, 'before') for w in row.peers if w.mine}
        return found

    def measure(self, row):
        "The samples of each piece of work, a list for each label. What fails in its warm-up is not tried again."
        pieces, samples = self.pieces(row), {}
        for label, (work, checkout) in pieces.items():
            failed = self.warm_up(work, checkout)
            samples[label] = [failed] if failed else []
        for turn in range(self.pairs):
            for label, (work, checkout) in pieces.items():
                if not any('error' in s for s in samples[label][:1]):
                    samples[label].append(work.then(self.take(work, checkout, turn)))
        return samples

    def warm_up(self, work, checkout):
        "Returns what was found if it has failed."
        key = work.key, checkout
        if key not in self.warm:
            self.engines[key] = self.folder/f'engines{len(self.engines)}'
            found = self.run(work._replace(beside=0), work.args | work.warm, key)
            self.warm[key] = found if 'error' in found else None
        return self.warm[key]

    def take(self, work, checkout, turn):
        key = work.key, checkout
        if not work.keep:
            return self.run(work, work.args, key)
        if (*key, turn) not in self.kept:
            self.kept[*key, turn] = self.run(work, work.args, key)
        return self.kept[*key, turn]

    def run(self, work, args, key):
        return sample(work, args, self.checkouts[key[1]], self.engines[key])


def few_photos(photos, folder):
    "Copies of a few: 80 and 40."
    for part, n in (('train', 80), ('valid', 40)):
        classes = [f for f in sorted((photos/part).iterdir()) if f.is_dir()]
        for c in classes:
            (folder/part/c.name).mkdir(parents=True)
            for f in sorted(c.iterdir())[:n//len(classes)]:
                shutil.copy(f, folder/part/c.name)
    return folder


def write(out, machine, found, samples):
    out.mkdir(parents=True, exist_ok=True)
    everything = {'environment': machine, 'rows': found, 'samples': samples}
    (out/'table.json').write_text(json.dumps(everything, indent=1), encoding='utf-8')
    (out/'table.md').write_text(table.markdown(machine, found), encoding='utf-8')
    table.plot(found, out/'ratios.png')


def measure_all(rows, bench, out):
    here = sample(Work('machine', {}), {}, bench.checkouts['ours'], bench.folder/'none')
    machine, found, samples = environment(here, bench.checkouts), {}, {}
    bfloat16 = bool({'avx512_bf16', 'amx_bf16'} & set(machine['flags']))
    for row in rows:
        samples[row.name] = bench.measure(row)
        found[row.name] = table.summary(row, samples[row.name], bfloat16)
        print(table.line(row.name, found[row.name]), flush=True)
        write(out, machine, found, samples)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--photos', type=Path, required=True)
    parser.add_argument('--cifar', type=Path, required=True)
    parser.add_argument('--pairs', type=int, default=3, help='how many turns (%(default)s)')
    parser.add_argument('--rows', nargs='+', default=[''], metavar='NAME', help='how the names of rows begin')
    parser.add_argument('--out', type=Path, default='bench-results', help='folder for the results (%(default)s)')
    parser.add_argument('--before', type=Path, help='an older checkout, to be measured too')
    parser.add_argument('--small', action='store_true', help='a few pictures, to try out the suite itself')
    return parser.parse_args()


def main():
    args = arguments()
    checkouts = {'ours': HERE.parents[1]} | ({'before': args.before.resolve()} if args.before else {})
    with tempfile.TemporaryDirectory() as tmp:
        photos, tmp = args.photos.resolve(), Path(tmp)
        if args.small:
            photos = few_photos(photos, tmp/'photos')
        n = sum(f.is_file() for f in photos.rglob('*'))
        rows = all_rows(str(photos), n, str(args.cifar.resolve()), args.small)
        chosen = [r for r in rows if r.name.startswith(tuple(args.rows))]
        if not chosen:
            raise SystemExit('\n'.join(['There are the rows', *(r.name for r in rows)]))
        measure_all(chosen, Bench(args.pairs, checkouts, tmp), args.out)


if __name__ == '__main__':
    main()
