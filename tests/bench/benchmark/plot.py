"""Plots, drawn by gnuplot as SVG."""

import os
import re
import shutil
import subprocess

OURS = 'lmdb'
COLOURS = {'maildir': '#888888', 'sdbox': '#1f77b4', 'mdbox': '#2ca02c', 'lmdb': '#d62728'}
HEAD = '''set terminal svg size %d,%d dynamic font "sans,11" background "#ffffff"
set output "%s"
set style fill solid
set border 3
set tics nomirror
'''


def quoted(text):
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"')


def gnuplot(directory, name, width, height, commands):
    script = HEAD % (width, height, name) + '\n'.join(commands) + '\n'
    subprocess.run(['gnuplot'], input=script, text=True, check=True, cwd=directory)
    path = os.path.join(directory, name)
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(smaller(text))
    return name


def smaller(svg):
    """Without what gnuplot says again and again: less than half of it."""
    for pattern, text in ((r' stroke-line(cap|join)="(butt|miter)"', ''), (r'<tspan font-family="sans" *>', '<tspan>'),
                          (r'\s+', ' '), (r'<g [^>]*> ?</g> ?', ''), (r'> <', '>\n<')):
        svg = re.sub(pattern, text, svg)
    return svg + '\n'


def block(name, lines):
    return ['$%s << EOD' % name] + lines + ['EOD']


def ratios(directory, table, others):
    """A bar for each row: how many times better than the best of the others."""
    rows = [(row, row.ratio(OURS, others)) for row in table.rows.values() if row.group != 'growth']
    rows = [(row, ratio) for row, ratio in rows if ratio][::-1]
    if not rows:
        return None
    colours = {True: COLOURS['mdbox'], False: COLOURS[OURS]}
    lines = ['%d %g %s 0x%s' % (number, min(max(ratio, 0.05), 50), quoted('%s: %s' % (row.group, row.name)),
                                colours[ratio >= 0.95][1:]) for number, (row, ratio) in enumerate(rows)]
    return gnuplot(directory, 'ratios.svg', 900, 60 + 15 * len(rows), block('rows', lines) + [
        'set title "lmdb against the best of %s (1: equal, longer to the right: better)"' % ', '.join(others),
        'set logscale x 2', 'set xrange [0.05:50]', 'set yrange [-1:%d]' % len(rows), 'set grid x', 'unset key',
        'plot $rows using 2:1:($2 < 1 ? $2 : 1):($2 < 1 ? 1 : $2):($1 - 0.35):($1 + 0.35):4:ytic(3) '
        'with boxxyerror lc rgb variable'])


def curves(name, points, formats):
    """Data blocks and the plot command of lines, one for each format; points: format -> [(x, y)]."""
    formats = [mail_format for mail_format in formats if points.get(mail_format)]
    commands, plots = [], []
    for mail_format in formats:
        key = '%s_%s' % (name, mail_format)
        commands += block(key, ['%g %g' % point for point in sorted(points[mail_format])])
        plots.append('$%s with linespoints pt 7 ps 0.5 lw 2 lc rgb "%s" title "%s"' % (
            key, COLOURS[mail_format], mail_format))
    return commands, 'plot ' + ', '.join(plots)


def panels(directory, name, series, formats, xlabel, logarithmic_x):
    """Several small plots in one; series: title -> (y label, points)."""
    if not series:
        return None
    columns = 3
    lines = -(-len(series) // columns)
    data, plots = [], ['set multiplot layout %d,%d' % (lines, columns), 'set grid', 'set key font ",9"',
                       'set xlabel "%s"' % xlabel, 'set logscale y']
    if logarithmic_x:
        plots += ['set logscale x', 'set format x "%.0s%c"']
    for number, (title, (unit, points)) in enumerate(series.items()):
        more, command = curves('p%d' % number, points, formats)
        data += more
        plots += ['unset key'] * (number == 1) + ['set title %s' % quoted(title), 'set ylabel "%s"' % unit, command]
    return gnuplot(directory, name, 1000, 260 * lines, data + plots + ['unset multiplot'])


def by_number(table, group, split):
    """title -> (unit, format -> [(number, median)]) of the rows of a group; split(row name) -> (title, number)."""
    series = {}
    for row in table.rows.values():
        place = split(row) if row.group in group else None
        if place is None:
            continue
        title, number = place
        _, points = series.setdefault(title, (row.unit, {}))
        for mail_format in row.samples:
            points.setdefault(mail_format, []).append((number, row.median(mail_format)))
    return {title: found for title, found in series.items()
            if max(len(points) for points in found[1].values()) > 1}


def growth_place(row):
    title, _, size = row.name.rpartition(', at ')
    return title, int(size.replace(',', ''))


def delay_place(row):
    if not row.name.startswith(('LMTP', 'APPEND')):
        return None
    if row.group == 'delivery':
        return row.name, 0
    title, _, delay = row.name.rpartition(', ')
    return title, float(delay.split()[0])


def draw(directory, table, formats):
    """Returns the names of the files; none without gnuplot."""
    if shutil.which('gnuplot') is None:
        return []
    others = [name for name in formats if name != OURS]
    slow = by_number(table, ('slow flushes', 'delivery'), delay_place)
    found = [ratios(directory, table, others) if OURS in formats and others else None,
             panels(directory, 'flushes.svg', slow, formats, 'ms added to each flush', False),
             panels(directory, 'growth.svg', by_number(table, ('growth',), growth_place), formats, 'messages', True)]
    return [name for name in found if name]
