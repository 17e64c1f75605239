"""What the runs of a comparison say: medians, spread, bars that are met or missed, as the page docs/PERFORMANCE.md."""
import shlex
import statistics

FIGURES = {  # of a run's JSON: where it is, what it is called, and whether less of it is better
    'cpu': (('server_cpu_us_each',), 'CPU µs each', True), 'rate': (('per_second',), 'each second', False),
    'rss': (('filled', 'server_rss_bytes_each'), 'bytes each', True), 'p50_us': (('p50_us',), 'p50 µs', True),
    'p99_us': (('p99_us',), 'p99 µs', True)}


def sides(row):
    return [side for side in (row.get('peer', 'mosquitto'), row.get('ours', 'sallyport')) if side]


def value(result, figure):
    for key in FIGURES[figure][0]:
        result = result.get(key) if result is not None else None
    return result


def spread(results, figure):
    """(median, least, most), or None."""
    values = [one for one in (value(result, figure) for result in results) if one is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def is_right(one):
    return one['result'] is not None


def runs_of(runs, row, side):
    """(what counts, whether it was undisturbed): of each pair the first clean run; where no pair has one, all that there are."""
    mine = [one for one in runs if one['row'] == row['name'] and one['side'] == side and is_right(one)]
    clean = [one for one in mine if not one['disturbed']]
    first = {}
    for one in clean:
        first.setdefault(one['pair'], one['result'])
    return list(first.values()) or [one['result'] for one in mine], bool(clean) or not mine


def judge(bar, ours, peer):
    """(the ratio, the bar as text, by which factor it is missed: 1 or less when met); None: nothing to tell or to judge."""
    is_less_better = FIGURES[bar['figure']][2]
    ratio = None
    if ours and peer and ours[0] > 0 and peer[0] > 0:
        ratio = peer[0] / ours[0] if is_less_better else ours[0] / peer[0]
    if 'most' in bar:
        return ratio, f'at most {bar["most"]:,}', ours[0] / bar['most'] if ours else None
    if 'least_ratio' in bar:
        return ratio, f'{bar["least_ratio"]}x', bar['least_ratio'] / ratio if ratio else None
    return ratio, '-', None


def number(spreading):
    return '-' if spreading is None else f'{spreading[0]:.4g} ({spreading[1]:.4g} to {spreading[2]:.4g})'


def met(missed_by):
    return '-' if missed_by is None else 'yes' if missed_by <= 1 else f'**no**, by {(missed_by - 1) * 100:.0f} %'


def table(rows, runs):
    """The lines of the table, how many bars are judged, and what is missed: [(by which factor, row, figure, what the profile shows)]."""
    lines, n_judged, missed = [], 0, []
    for row in rows:
        peer, ours = row.get('peer', 'mosquitto'), row.get('ours', 'sallyport')
        theirs, is_clean = runs_of(runs, row, peer) if peer else ([], True)
        mine, is_mine_clean = runs_of(runs, row, ours) if ours else ([], True)
        for bar in row['bars']:
            x, y = spread(theirs, bar['figure']), spread(mine, bar['figure'])
            ratio, wanted, missed_by = judge(bar, y, x)
            n_judged += missed_by is not None
            if missed_by is not None and missed_by > 1:
                missed.append((missed_by, row['name'], FIGURES[bar['figure']][1], bar.get('profile')))
            lines.append(f'| {row["name"]}{"" if is_clean and is_mine_clean else " ~"} | {FIGURES[bar["figure"]][1]} | {peer or "-"} | '
                         f'{number(x)} | {number(y)} | {len(theirs)}/{len(mine)} | {"-" if ratio is None else f"{ratio:.2f}x"} | {wanted} | '
                         f'{met(missed_by)} |')
    return lines, n_judged, sorted(missed, key=lambda one: -one[0])


def wrong_runs(rows, runs):
    names = [row['name'] for row in rows]
    return [f'{one["row"]}, {one["side"]}, pair {one["pair"]}: {one["why"]}' for one in runs
            if not is_right(one) and one['row'] in names]


def page(rows, about, runs, notes=()):
    named = {row['name'] for row in rows}
    of_these = [one for one in runs if one['row'] in named]
    n_disturbed = sum(one['disturbed'] for one in of_these)
    lines, n_judged, missed = table(rows, runs)
    of_rows = {}
    for one in of_these:
        of_rows[one['row']] = max(one['pair'], of_rows.get(one['row'], 0))
    least, most = min(of_rows.values(), default=0), max(of_rows.values(), default=0)
    pairs = str(most) if least == most else f'{least} to {most}'
    yield '# Performance'
    yield ''
    yield ('Written by `tests/bench/compare`; nothing here is typed by hand, but what stands behind a missed bar: what its profile showed, and what '
           'would close the gap (`profile` in `tests/bench/bars.json`).')
    if about['quick']:
        yield ''
        yield '**Written with `--quick`: these figures show that it runs, and mean nothing.**'
    yield ''
    yield f'- Measured on {about["day"]}: {about["machine"]}.'
    yield f'- {about["versions"][0]}, commit {about["commit"]}'
    yield from (f'- {line}' for line in about['versions'][1:])
    yield (f'- {pairs} pairs of {about["seconds"]} s behind 0.5 s of warm-up, the servers in turn, each run at a fresh one. Medians, in brackets '
           'the least and the most; runs: theirs/ours.')
    yield '- Servers on cpu 0, generator on cpu 1, but for two workers against one, where nothing is pinned. One worker, but there.'
    yield (f'- Left out: {n_disturbed} of {len(of_these)} runs, during which other processes took more than {about["others"]} % of a core. '
           '~: none of a side was without that; such runs are what is told.')
    yield ('- Configuration: `tests/bench/policy.yaml` (policy and events on, limits at twice the load), `tests/bench/mosquitto.conf`. Rows over '
           'TCP, and TLS without a client certificate, go through an exception.')
    yield ('- CPU is user and system time of all processes of a server. Ratio: how many times better ours is. Bars: '
           '`tests/bench/bars.json`; "no, by 25 %": 1.25 times what it may be.')
    yield ''
    yield '| row | figure | peer | theirs | ours | runs | ratio | bar | met |'
    yield '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
    yield from lines
    yield ''
    yield f'Of {n_judged} bars {n_judged - len(missed)} are met and {len(missed)} missed{", the farthest first:" if missed else "."}'
    if missed:
        yield ''
    yield from (f'- {name}, {figure}: by {(factor - 1) * 100:.0f} %.{" " + profile if profile else ""}' for factor, name, figure, profile in missed)
    wrong = [*notes, *wrong_runs(rows, runs)]
    if wrong:
        yield ''
        yield '## Runs that were not right'
        yield ''
        yield from (f'- {note}' for note in wrong)
    yield ''
    yield '## Commands'
    yield ''
    yield 'Each with `--json bench --seconds S --pid …` and where the server is.'
    yield ''
    for row in rows:
        yield f'- {row["name"]}: `sallyport bench {shlex.join(options(row, about["quick"]))}`, {row["way"]}'


def options(row, is_quick):
    return [*row['bench'], *(row.get('quick', []) if is_quick else [])]
