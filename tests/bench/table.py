"""The table, as Markdown and as a picture."""
from statistics import median

from rows import faster, more_ms

BUSY = .1 # processors that others used during a sample; above this there is a warning
NOTES = f'''Each sample is a fresh process; the pieces of a row take turns, after a warm-up of each. Ratios are medians
over the turns, with the least and the largest: how many times as fast as theirs ours is, where a row is wanted *≥*;
how many times as long ours takes, or as much memory, where it is wanted *≤*. Of several peers the fastest counts.
*Limit* is what the machine could do. *Before* is the older checkout. Each sample has a cache of its own, empty but for
the folder `engines` (what a race between engines has found), which comes from the warm-up. A warning means that during
a sample other processes used more than {BUSY} processors. The rows of three lines and of `imgcourse train` share the
samples of fastai.'''


def middle(numbers):
    found = [n for n in numbers if n is not None]
    return median(found) if found else None


def spread(ours, theirs, compare):
    "Median, least and largest of the ratios over the turns, or None."
    ratios = [compare(a, b) for a, b in zip(ours, theirs) if None not in (a, b)]
    return [median(ratios), min(ratios), max(ratios)] if ratios else None


def summary(row, samples, bfloat16):
    "What a row says. `samples`: lists, by the labels of the pieces of work."
    costs = {label: [row.cost(s) for s in found] for label, found in samples.items()}
    medians = {label: middle(c) for label, c in costs.items()}
    there = [w.label for w in row.peers if medians[w.label] is not None]
    best = min(there, key=medians.get, default=None)
    wanted = row.wanted[bfloat16] if isinstance(row.wanted, tuple) else row.wanted
    found = {'unit': row.unit, 'at_least': row.compare is faster, 'wanted': wanted, 'medians': medians, 'peer': best}
    found['difference'], found['note'] = row.compare is more_ms, row.note
    found['ratio'] = spread(costs['ours'], costs.get(best, []), row.compare)
    their_before = costs.get(f'before, {best}', costs.get(best, []))
    found['before'] = spread(costs.get('before', []), their_before, row.compare)
    if wanted and found['ratio']:
        ratio = found['ratio'][0]
        found['reached'] = ratio >= wanted if row.compare is faster else ratio <= wanted
    found['errors'] = {label: s['error'] for label, each in samples.items() for s in each if 'error' in s}
    found['others'] = max((s.get('others', 0) for each in samples.values() for s in each), default=0)
    found['load'] = max((s.get('load', 0) for each in samples.values() for s in each), default=0)
    return found


def shown(cost, unit):
    "A cost (seconds, seconds for a picture, MB), in the row's unit."
    if cost is None:
        return '–'
    number = {'pictures/s': 1/cost, 'ms': 1000*cost}.get(unit, cost)
    return f'{number:,.0f} {unit}' if number >= 100 else f'{number:.3g} {unit}'


def shown_ratio(ratio):
    return f'{ratio[0]:.3g} ({ratio[1]:.3g}–{ratio[2]:.3g})' if ratio else '–'


def columns(name, found):
    medians, unit = found['medians'], found['unit']
    theirs, limit, before = (medians.get(k) for k in (found['peer'], 'limit', 'before'))
    of_limit = f"{shown(limit, unit)}, {limit/medians['ours']:.2g} of it" if limit and medians['ours'] else '–'
    wanted = f"{'≥' if found['at_least'] else '≤'} {found['wanted']}" if found['wanted'] else '–'
    return {
        'row': name, 'ours': shown(medians['ours'], unit),
        'theirs': f"{shown(theirs, unit)} ({found['peer']})" if theirs else '–',
        'ratio': shown_ratio(found['ratio']), 'wanted': wanted,
        'reached': {True: 'yes', False: 'no', None: '–'}[found.get('reached')], 'limit': of_limit,
        'before': f"{shown_ratio(found['before'])}, {shown(before, unit)}" if before else '–',
    }


def remarks(found):
    errors = [f'{label}: {error}' for label, error in found['errors'].items()]
    if found['others'] > BUSY:
        errors.append(f"WARNING: others used up to {found['others']:.1f} processors during a sample "
                      f"(load before a sample up to {found['load']:.1f})")
    return errors


def line(name, found):
    cells = columns(name, found)
    parts = [f'{k} {v}' for k, v in cells.items() if v != '–' and k != 'row']
    return '\n'.join([f'{name}: {"; ".join(parts)}', *(f'    {r}' for r in remarks(found))])


def markdown(environment, rows):
    tables = [columns(name, found) for name, found in rows.items()]
    head = list(tables[0])
    lines = ['# Benchmarks', '', NOTES, '', ' | '.join(head), ' | '.join('---' for _ in head)]
    lines += [' | '.join(cells.values()) for cells in tables]
    lines += ['', '## Notes', '']
    for name, found in rows.items():
        lines += [f'- {name}: {text}' for text in [found['note'], *remarks(found)] if text]
    lines += ['', '## Machine', '']
    return '\n'.join([*lines, *(f'- {k}: {flat(v)}' for k, v in environment.items()), ''])


def flat(value):
    if isinstance(value, dict):
        return ', '.join(f'{k} {v}' for k, v in value.items())
    return ', '.join(value) if isinstance(value, list) else value


def plot(rows, file):
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator
    drawn = {name: r for name, r in rows.items() if r['ratio'] and not r['difference']}
    if not drawn:
        return
    _, ax = plt.subplots(figsize=(8, 1.2 + .3*len(drawn)), layout='constrained')
    colors = {True: 'tab:green', False: 'firebrick', None: 'tab:gray'}
    for i, r in enumerate(drawn.values()):
        mid, low, high = r['ratio']
        ax.errorbar(mid, i, xerr=[[mid - low], [high - mid]], fmt='o', color=colors[r.get('reached')], capsize=3)
        if r['wanted']:
            ax.plot(r['wanted'], i, marker='>' if r['at_least'] else '<', color='black', markersize=7, fillstyle='none')
    ax.set_xscale('log')
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter('{x:g}')
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(drawn)), drawn)
    ax.invert_yaxis()
    ax.grid(axis='x', alpha=.3)
    ax.set_xlabel('ratio; wanted: to the right of > or to the left of <')
    plt.savefig(file, dpi=120)
    plt.close()
