"""Takes over the submission of the solution that AIRA-dojo found best by its own validation.

usage: best.py RUN VALIDATED BEST

It removes each submission after it was judged. The stand-in for `mlebench` kept those that were valid by number, and put that number into
the report that AIRA-dojo keeps with each solution in checkpoint/journal.jsonl below RUN.
"""
import json
import pathlib
import shutil
import sys

run, validated, best = map(pathlib.Path, sys.argv[1:])
nodes = []
for journal in run.glob('**/checkpoint/journal.jsonl'):
    for line in journal.read_text().splitlines():
        try:
            nodes.append(json.loads(line))
        except ValueError:
            # The last line of a program that was killed.
            continue


def worth(node):
    return node['metric'] if node.get('metric_maximize') else -node['metric']


def kept(node):
    number = (node.get('metric_info') or {}).get('kept')
    return validated / f'{int(number):04}' / 'submission.csv' if number is not None else None


good = [node for node in nodes if not node.get('is_buggy') and isinstance(node.get('metric'), (int, float)) and kept(node) and kept(node).is_file()]
if good:
    chosen = max(good, key=worth)
    best.mkdir(exist_ok=True)
    (best / 'solution.py').write_text(chosen.get('code') or '')
    shutil.copyfile(kept(chosen), best / '.submission.csv')
    (best / '.submission.csv').replace(best / 'submission.csv')
    print(f'the best of {len(good)} solutions by its own validation: {chosen["metric"]}')
else:
    print('no journal names a solution: the newest valid submission stays')
