"""What is printed, and the files of the report."""

import dataclasses
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys

from harness.server import find_program

from . import goals, plot

OURS = 'lmdb'


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        return 'none'
    return (done.stdout or done.stderr).split('\n')[0]


def file_system(path):
    return first_line(['findmnt', '-n', '-o', 'FSTYPE,SOURCE,OPTIONS', '-T', path])


def read_ahead(path):
    """What the kernel reads ahead from the disk: rows with dropped caches depend on it."""
    device = os.stat(path).st_dev
    disk = '/sys/dev/block/%d:%d' % (os.major(device), os.minor(device))
    # that of a partition is its disk's
    for name in (disk + '/queue/read_ahead_kb', disk + '/../queue/read_ahead_kb'):
        try:
            with open(name) as file:
                return file.read().strip() + ' KB'
        except OSError:
            continue
    return 'unknown'


def processor():
    with open('/proc/cpuinfo') as file:
        names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    return '%d x %s' % (os.cpu_count(), names[0] if names else platform.machine())


def memory():
    with open('/proc/meminfo') as file:
        return '%.1f GB' % (int(file.readline().split()[1]) / 1e6)


def release():
    with open('/etc/os-release') as file:
        names = dict(line.rstrip().split('=', 1) for line in file if '=' in line)
    return names['PRETTY_NAME'].strip('"')


def facts(args, run, began, where):
    lasted = datetime.datetime.now(datetime.timezone.utc) - began
    return {
        'command': os.environ.get('BENCH_COMMAND') or shlex.join(['tests/bench/run'] + sys.argv[1:]),
        'date': began.strftime('%Y-%m-%d %H:%M UTC'), 'minutes': round(lasted.total_seconds() / 60, 1),
        'mode': args.mode, 'processor': processor(), 'memory': memory(), 'system': release(),
        'kernel': platform.release(), 'dovecot': first_line([find_program('dovecot'), '--version']),
        'file system': where, 'mail_fsync': args.fsync, 'flush delay': '%d us' % args.flush_delay,
        'mail': run.corpus.describe(), 'sizes': dataclasses.asdict(run.sizes),
        'load average': '%.1f before, %.1f after' % (run.load_average, os.getloadavg()[0]),
        'CPU seconds of the client': round(run.client_cpu, 2)}


def number(value):
    if value is None:
        return '-'
    if value >= 1000:
        return '{:,.0f}'.format(value)
    return '%.3g' % value


def others_of(formats):
    return [name for name in formats if name != OURS]


def ratio_cells(row, formats):
    others = others_of(formats)
    found = [row.ratio(OURS, others), row.ratio(OURS, [name for name in others if name == 'maildir'])]
    return ['-' if ratio is None else '%.2f' % ratio for ratio in found]


def text(table, formats):
    """The table for a terminal."""
    lines = []
    head = ['unit'] + list(formats) + ['to best', 'to maildir']
    width = max((len(row.name) for row in table.rows.values()), default=0)
    layout = '%-*s' + ' %10s' * len(head)
    for group, rows in table.groups().items():
        lines.append(layout % (width, group, *head))
        for row in rows:
            values = [number(row.median(name)) for name in formats]
            lines.append(layout % (width, row.name, row.unit, *values, *ratio_cells(row, formats)))
        lines.append('')
    return '\n'.join(lines + missed_lines(table, formats))


def missed_lines(table, formats):
    lines = []
    for row in table.rows.values():
        for against, goal, ratio in goals.missed(row, OURS, others_of(formats)):
            lines.append('goal missed: %s: %.2f times %s, not %g' % (row.name, ratio, against, goal))
    return lines


def as_data(table, formats):
    return [dict(group=row.group, row=row.name, unit=row.unit, ratio_to_best=row.ratio(OURS, others_of(formats)),
                 missed=[dict(against=against, goal=goal, reached=ratio)
                         for against, goal, ratio in goals.missed(row, OURS, others_of(formats))],
                 formats={name: row.summary(name) for name in formats if name in row.samples})
            for row in table.rows.values()]


def markdown_table(head, rows):
    return ['| %s |' % ' | '.join(head), '|%s' % ('---|' * len(head))] + ['| %s |' % ' | '.join(row) for row in rows]


def value_cell(row, name):
    """The median of the rounds, how far apart they were, and the times of single operations."""
    if name not in row.samples:
        return '-'
    found = row.summary(name)
    cell = number(found['median'])
    if found['rounds'] > 1:
        cell += ' (%s-%s)' % (number(found['least']), number(found['greatest']))
    if found.get('times', 0) >= 20:
        cell += ', p50 %s p99 %s ms' % (number(found['p50']), number(found['p99']))
    return cell


def group_section(group, rows, formats):
    head = [group, 'unit'] + list(formats) + ['to best', 'to maildir']
    yield from markdown_table(head, ([row.name, row.unit] + [value_cell(row, name) for name in formats] +
                                     ratio_cells(row, formats) for row in rows))


def counts_section(table, formats):
    """Flushes, kilobytes written, and milliseconds of processor time."""
    rows = []
    for row in table.rows.values():
        found = [row.summary(name) if name in row.samples else {} for name in formats]
        if any('flushes' in summary for summary in found):
            rows.append([row.name] + [counts_cell(summary) for summary in found])
    return markdown_table([''] + list(formats), rows)


def counts_cell(summary):
    if 'flushes' not in summary:
        return '-'
    return '%s, %s, %s' % (number(round(summary['flushes'], 2)), number(round(summary['written'] / 1000, 1)),
                           number(summary['processor'] / 1e6))


def markdown(facts, table, formats, plots):
    lines = ['# Benchmark', '', 'Made by `%s`.' % facts['command'], '']
    lines += markdown_table(['', ''], ([name, describe(value)] for name, value in facts.items() if name != 'command'))
    for path in plots:
        lines += ['', '![%s](%s)' % (path.rpartition('.')[0], path)]
    lines += ['', '## Results', '',
              'Median of the rounds (least-greatest), and of the single operations p50 and p99. The last columns say how '
              'many times better %s is: than the best of the others, and than Maildir.' % OURS]
    for group, rows in table.groups().items():
        lines += [''] + list(group_section(group, rows, formats))
    lines += ['', '## Flushes, kilobytes written and milliseconds of the server\'s processor time, for each operation', ''] + counts_section(table, formats)
    lines += ['', '## Goals that were missed', ''] + missed_section(table, formats)
    return '\n'.join(lines) + '\n'


def missed_section(table, formats):
    rows = [[row.name, against, number(ratio), '%g' % goal, goals.reason(row.name)] for row in table.rows.values()
            for against, goal, ratio in goals.missed(row, OURS, others_of(formats))]
    if not rows:
        return ['None.']
    return markdown_table(['', 'against', 'times as good', 'goal', 'where the time goes'], rows)


def describe(value):
    if isinstance(value, dict):
        return ', '.join('%s %s' % (name.replace('_', ' '), describe(part)) for name, part in value.items())
    if isinstance(value, (tuple, list)):
        return ' '.join(describe(part) for part in value) or 'none'
    return '{:,}'.format(value) if isinstance(value, int) else str(value)


def write(directory, facts, table, formats, bad):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, 'results.json'), 'w') as file:
        json.dump(dict(facts=facts, rows=as_data(table, formats), log=bad), file, indent=1)
        file.write('\n')
    plots = plot.draw(directory, table, formats)
    with open(os.path.join(directory, 'report.md'), 'w') as file:
        file.write(markdown(facts, table, formats, plots))
