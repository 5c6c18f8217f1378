#!/usr/bin/env python3
"""Train the ladder of real models whose scores are the leaderboards of the demo competitions.

usage: ladder.py [--catalog competitions/catalog] [ID ...]

For each competition writes, in its catalogue folder: `ladder.csv` (model, score; best first), `leaderboard.csv` (the
scores alone) and `checksums.toml` (md5 of raw.zip and of every prepared table), and prints the medal thresholds that follow by
MLE-bench's rule. Every model is trained on public/train.csv and scored on exactly the private answers. All seeds are
fixed, one thread; versions are pinned in requirements.txt. Takes about ten minutes on a free core.
"""
import argparse
import csv
import hashlib
import pathlib
import time
import warnings

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_log_error, roc_auc_score

import ladder_bikes
import ladder_definitions
import ladder_digits
import ladder_flights
import prepared

LADDERS = {
    "demo-digits": (ladder_digits.entries, lambda truth, guess: log_loss(truth, guess / guess.sum(axis=1, keepdims=True)), min),
    "demo-definitions": (ladder_definitions.entries, accuracy_score, max),
    "demo-flights": (ladder_flights.entries, roc_auc_score, max),
    "demo-bikes": (ladder_bikes.entries, lambda truth, guess: root_mean_squared_log_error(truth, np.maximum(guess, 0)), min),
}


def truth(name, answers):
    if name == "demo-digits":
        return answers[prepared.DIGIT_COLUMNS].to_numpy().argmax(axis=1)
    return answers.iloc[:, 1].to_numpy()


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
    parser.add_argument("ids", nargs="*", default=list(LADDERS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in options.ids or list(LADDERS):
        began = time.monotonic()
        entries, metric, best = LADDERS[name]
        data = prepared.PREPARE[name](options.catalog)
        expected = truth(name, data.answers)
        rows = []
        for model, guess in entries(data):
            rows.append((model, round(float(metric(expected, guess)), 5)))
        names = [model for model, _ in rows]
        assert len(set(names)) == len(names), "two rungs share a name"
        rows.sort(key=lambda row: (row[1] if best is min else -row[1], row[0]))
        folder = options.catalog / name
        with open(folder / "ladder.csv", "w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows([("model", "score"), *rows])
        with open(folder / "leaderboard.csv", "w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows([("score",), *((score,) for _, score in rows)])
        with open(folder / "checksums.toml", "w") as out:
            out.write(f'zip = "{hashlib.md5((folder / "raw.zip").read_bytes()).hexdigest()}"\n\n')
            for part in ("public", "private"):
                out.write(f"{'' if part == 'public' else chr(10)}[{part}]\n")
                for path, content in sorted(data.files.items()):
                    if path.startswith(part + "/") and path.endswith(".csv"):
                        out.write(f'"{path[len(part) + 1:]}" = "{hashlib.md5(content).hexdigest()}"\n')
        gold, silver, bronze, median = thresholds([score for _, score in rows])
        print(f"{name}: {len(rows)} rows, gold {gold}, silver {silver}, bronze {bronze}, median {median:.7g}"
              f" ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
