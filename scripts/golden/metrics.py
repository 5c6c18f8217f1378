"""Writes tests/golden/grading/metric-<name>/: answers, submissions and what scikit-learn, scipy or numpy say of them, for the metrics
that no built-in competition has.

Run: python3 scripts/golden/metrics.py
Needs: scikit-learn 1.5.2, scipy 1.13.1, numpy 1.26.4 (the versions are in tests/golden/README.md).
"""

import csv
import json
import pathlib

import numpy as np
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "grading"
ROWS = 40


def write(name, entry, ids, truth, submissions, score, invalid=None):
    """truth, submissions: {column: list}; score: function of the two."""
    folder = ROOT / f"metric-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    targets = entry.pop("target_columns")
    options = entry.pop("options", None)
    direction = entry.pop("direction")
    lines = ["[grading]", f'metric = "{name}"', f'direction = "{direction}"', 'id_columns = ["id"]',
             f"target_columns = {json.dumps(targets)}", 'checks = ["id_columns", "target_columns", "row_count", "ids"]']
    if options:
        lines.append("options = { " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items()) + " }")
    (folder / "competition.toml").write_text("\n".join(lines) + "\n")

    def table(path, columns):
        with open(path, "w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["id", *columns])
            out.writerows(zip(ids, *columns.values()))

    table(folder / "answers.csv", truth)
    cases = []
    for case, columns in submissions.items():
        table(folder / f"{case}.csv", columns)
        raw = float(score(truth, columns))
        cases.append({"case": case, "valid": True, "score": round(raw, 5), "raw_score": raw})
    bad = {column: list(values) for column, values in next(iter(submissions.values())).items() if column in targets}
    bad[targets[0]] = bad[targets[0]][:-1]
    with open(folder / "invalid_short.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["id", *bad])
        out.writerows(list(zip(ids, *bad.values())))
    cases.append({"case": "invalid_short", "valid": False, "score": None, "raw_score": None})
    (folder / "cases.json").write_text("[\n" + ",\n".join("  " + json.dumps(case) for case in cases) + "\n]\n")


def numbers(rng, columns, positive=True):
    truth = {c: np.round(np.abs(rng.normal(20, 8, ROWS)) if positive else rng.normal(0, 8, ROWS), 3).tolist() for c in columns}
    noisy = {c: np.round(np.abs(np.array(v) + rng.normal(0, 3, ROWS)), 3).tolist() for c, v in truth.items()}
    constant = {c: [10.5] * ROWS for c in columns}
    return truth, {"noisy": noisy, "sample": constant, "perfect": {c: list(v) for c, v in truth.items()}}


def mean(columns, score):
    return lambda truth, predicted: np.mean([score(np.array(truth[c]), np.array(predicted[c])) for c in columns])


def smape(t, p):
    size = np.abs(t) + np.abs(p)
    return 100 * np.mean(np.where(size == 0, 0, 2 * np.abs(t - p) / np.where(size == 0, 1, size)))


def rmspe(t, p):
    return np.sqrt(np.mean((((t - p) / t)[t != 0]) ** 2))


def gini(t, p):
    order = np.argsort(-p, kind="stable")
    return (np.cumsum(t[order]).sum() / t.sum() - (len(t) + 1) / 2) / len(t)


def main():
    rng = np.random.default_rng(20261129)
    ids = [f"row{k:04}" for k in rng.permutation(ROWS)]
    two = ["x", "y"]
    for name, direction, score in [
        ("mse", "lower", metrics.mean_squared_error), ("msle", "lower", metrics.mean_squared_log_error),
        ("mape", "lower", metrics.mean_absolute_percentage_error), ("smape", "lower", smape), ("rmspe", "lower", rmspe),
        ("r2", "higher", metrics.r2_score), ("median_absolute_error", "lower", metrics.median_absolute_error),
        ("gini", "higher", gini), ("normalized_gini", "higher", lambda t, p: gini(t, p) / gini(t, t)),
    ]:
        truth, submissions = numbers(rng, two)
        # Equal predictions stay in the order of the ids, which counts for a Gini index.
        rows = sorted(ids) if "gini" in name else ids
        write(name, {"direction": direction, "target_columns": two}, rows, truth, submissions, mean(two, score))
    truth, submissions = numbers(rng, ["x"])
    write("pinball_loss", {"direction": "lower", "target_columns": ["x"], "options": {"quantile": 0.8}}, ids, truth, submissions,
          mean(["x"], lambda t, p: metrics.mean_pinball_loss(t, p, alpha=0.8)))
    for name, score in [
        ("weighted_mae", lambda t, p, w: metrics.mean_absolute_error(t, p, sample_weight=w)),
        ("weighted_rmse", lambda t, p, w: metrics.root_mean_squared_error(t, p, sample_weight=w)),
    ]:
        truth, submissions = numbers(rng, ["x"])
        weights = rng.integers(0, 5, ROWS).tolist()
        write(name, {"direction": "lower", "target_columns": ["x"], "options": {"weight": "w"}}, ids, {**truth, "w": weights}, submissions,
              lambda t, p, score=score: score(t["x"], p["x"], t["w"]))
    labels(rng, ids)
    ranked(rng, ids)
    sets(rng, ids)


def labels(rng, ids):
    words = np.array(["ant", "bee", "cat", "dog"])
    for kind, values in [("text", words), ("integers", np.arange(4))]:
        truth = values[rng.choice(4, ROWS, p=[0.5, 0.3, 0.15, 0.05])]
        noisy = np.where(rng.random(ROWS) < 0.6, truth, values[rng.integers(0, 4, ROWS)])
        submissions = {"noisy": {"x": noisy.tolist()}, "sample": {"x": [values[0].item()] * ROWS}}
        columns = {"x": truth.tolist()}
        if kind == "text":
            write("balanced_accuracy", {"direction": "higher", "target_columns": ["x"]}, ids, columns, submissions,
                  lambda t, p: metrics.balanced_accuracy_score(t["x"], p["x"]))
            weights = np.round(rng.random(ROWS), 3).tolist()
            write("weighted_accuracy", {"direction": "higher", "target_columns": ["x"], "options": {"weight": "w"}}, ids,
                  {**columns, "w": weights}, submissions,
                  lambda t, p: metrics.accuracy_score(t["x"], p["x"], sample_weight=t["w"]))
            write("f_beta", {"direction": "higher", "target_columns": ["x"], "options": {"beta": 2.0, "average": "weighted"}}, ids, columns,
                  submissions, lambda t, p: metrics.fbeta_score(t["x"], p["x"], beta=2, average="weighted", zero_division=0))
        else:
            write("cohen_kappa", {"direction": "higher", "target_columns": ["x"]}, ids, columns, submissions,
                  lambda t, p: metrics.cohen_kappa_score(t["x"], p["x"]))
    two = {c: rng.integers(0, 2, ROWS).tolist() for c in ["x", "y"]}
    noisy = {c: np.where(rng.random(ROWS) < 0.8, v, 1 - np.array(v)).tolist() for c, v in two.items()}
    write("hamming_loss", {"direction": "lower", "target_columns": ["x", "y"]}, ids, two, {"noisy": noisy, "sample": {c: [0] * ROWS for c in two}, "perfect": two},
          lambda t, p: metrics.hamming_loss(np.array([t["x"], t["y"]]).T, np.array([p["x"], p["y"]]).T))


def ranked(rng, ids):
    truth = {c: (rng.random(ROWS) < 0.3).astype(int).tolist() for c in ["x", "y"]}
    noisy = {c: np.round(np.clip(0.3 * np.array(v) + rng.random(ROWS) * 0.7, 0.001, 0.999), 2).tolist() for c, v in truth.items()}
    submissions = {"noisy": noisy, "sample": {c: [0.5] * ROWS for c in truth}}
    write("average_precision", {"direction": "higher", "target_columns": ["x", "y"]}, ids, truth, submissions,
          mean(["x", "y"], metrics.average_precision_score))
    write("columnwise_log_loss", {"direction": "lower", "target_columns": ["x", "y"]}, ids, truth, submissions, mean(["x", "y"], metrics.log_loss))


def sets(rng, ids):
    words = ["ant", "bee", "cat", "dog", "eel", "fox"]
    truth = [" ".join(rng.choice(words, rng.integers(1, 4), replace=False)) for _ in range(ROWS)]
    guesses = [" ".join(rng.choice(words, 4, replace=False)) for _ in range(ROWS)]
    columns, submissions = {"x": truth}, {"noisy": {"x": guesses}, "sample": {"x": ["ant bee"] * ROWS}}
    binarizer = MultiLabelBinarizer(classes=words).fit([])

    def indicators(cells):
        return binarizer.transform([cell.split() for cell in cells])

    write("mean_f_beta_sets", {"direction": "higher", "target_columns": ["x"], "options": {"beta": 2.0}}, ids, columns, submissions,
          lambda t, p: metrics.fbeta_score(indicators(t["x"]), indicators(p["x"]), beta=2, average="samples", zero_division=0))

    def scores(cell):
        order = cell.split()
        return [len(words) - order.index(word) if word in order else 0 for word in words]

    def ndcg(t, p):
        # Words that are not guessed share the lowest score; beyond the guesses none counts.
        total = []
        for truth_cell, cell in zip(t["x"], p["x"]):
            order, right = cell.split()[:3], set(truth_cell.split())
            gain = sum(1 / np.log2(place + 2) for place, word in enumerate(order) if word in right)
            best = sum(1 / np.log2(place + 2) for place in range(min(3, len(right))))
            total.append(gain / best)
        full = [row for row in range(len(t["x"])) if len(p["x"][row].split()) >= 3]
        if len(full) == len(t["x"]):
            expected = metrics.ndcg_score(indicators(t["x"]), [scores(cell) for cell in p["x"]], k=3)
            assert abs(expected - np.mean(total)) < 1e-12
        return np.mean(total)

    write("ndcg_at_k", {"direction": "higher", "target_columns": ["x"], "options": {"k": 3}}, ids, columns, submissions, ndcg)
    one = {"x": [cell.split()[0] for cell in truth]}
    write("top_k_error", {"direction": "lower", "target_columns": ["x"], "options": {"k": 2}}, ids, one, submissions,
          lambda t, p: 1 - np.mean([a in b.split()[:2] for a, b in zip(t["x"], p["x"])]))
    confidence = np.round(rng.random(ROWS), 4)
    sure = {"x": [f"{cell.split()[0]} {value}" for cell, value in zip(guesses, confidence)]}

    falling = {"x": [f"ant {1 - row / 100:.2f}" for row in range(ROWS)]}

    def gap(t, p):
        pairs = sorted(((float(cell.split()[1]), cell.split()[0] == a) for a, cell in zip(t["x"], p["x"])), key=lambda pair: -pair[0])
        hits = np.cumsum([hit for _, hit in pairs])
        return sum(h / (place + 1) for place, (h, (_, hit)) in enumerate(zip(hits, pairs)) if hit) / len(pairs)

    write("global_average_precision", {"direction": "higher", "target_columns": ["x"]}, ids, one, {"noisy": sure, "sample": falling}, gap)


if __name__ == "__main__":
    main()
