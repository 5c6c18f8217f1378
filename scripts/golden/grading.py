"""Asks MLE-bench itself what tests/golden/grading and tests/golden/boards.json must say.

usage: grading.py CHECKOUT [--write] [--boards] [ID ...]

CHECKOUT is a checkout of openai/mle-bench; tests/golden/README.md names the commit. For each competition's folder in
tests/golden/grading every `<case>.csv` is graded with the checkout's own grader against `answers.csv` (or `.jsonl`)
and compared with cases.json; --write writes the file instead. To add a case, put its CSV there and use --write.
--boards does the same for boards.json, with the leaderboards in competitions/catalog.

Needs Python 3.11 and the versions that the checkout ran with:
  pip install pandas==2.2.3 numpy==1.26.4 scikit-learn==1.5.2 scipy==1.13.1 tqdm appdirs py7zr pyyaml diskcache
and for some competitions what their grader imports: pyquaternion shapely Levenshtein pycocotools
"""

import argparse
import contextlib
import importlib
import io
import json
import math
import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]


def verdict(grade, submission, answers, utils):
    """What the reference says of one file, as a case of cases.json without its name."""
    nothing = {"valid": False, "score": None, "raw_score": None}
    try:
        raw = float(grade(utils.read_csv(submission), utils.load_answers(answers)))
    except Exception:  # The reference takes every exception of a grader for an invalid submission.
        return nothing
    if math.isnan(raw):
        return {"valid": True, "score": None, "raw_score": None, "nan": True}
    if math.isinf(raw):
        return {"valid": True, "score": None, "raw_score": None, "special": "inf" if raw > 0 else "-inf"}
    return {"valid": True, "score": round(raw, 5), "raw_score": raw}


def cases(folder, checkout, utils):
    config = utils.load_yaml(checkout / "mlebench/competitions" / folder.name / "config.yaml")
    grade = utils.import_fn(config["grader"]["grade_fn"])
    answers = next(path for path in (folder / "answers.csv", folder / "answers.jsonl") if path.is_file())
    old = json.loads((folder / "cases.json").read_text()) if (folder / "cases.json").is_file() else []
    order = [case["case"] for case in old]
    order += sorted({path.stem for path in folder.glob("*.csv")} - {"answers", *order})
    new = []
    for name in order:
        case, own = {"case": name}, folder / f"{name}.answers.csv"
        if name.endswith(".answers"):
            continue
        if own.is_file():
            case |= {"submission": f"{name}.csv", "answers": own.name}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            case |= verdict(grade, folder / f"{name}.csv", own if own.is_file() else answers, utils)
        new.append(case)
    return old, new


def agree(old, new):
    """Whether two cases say the same; raw scores differ in their last bits between processors."""
    facts = [case.get(key) for case in (old, new) for key in ("case", "valid")]
    numbers = [(old.get(key), new.get(key)) for key in ("score", "raw_score")]
    return facts[:2] == facts[2:] and all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9))
        for a, b in numbers)


def board(path, grader, pandas):
    table = pandas.read_csv(path)
    ranks = grader.rank_score(None, table)
    medals = {name: ranks[f"{name}_threshold"] for name in ("gold", "silver", "bronze", "median")}
    return {"rows": len(table), **medals, "lower_is_better": grader.is_lower_better(table)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--boards", action="store_true")
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args()
    sys.path.insert(0, str(options.checkout))
    # Grading downloads nothing, so the reference's import of Kaggle's client may stay empty.
    for name in ("kaggle", "kaggle.api", "kaggle.api.kaggle_api_extended"):
        sys.modules.setdefault(name, types.ModuleType(name))
    utils = importlib.import_module("mlebench.utils")
    failed = 0
    if options.boards:
        import pandas
        helpers = importlib.import_module("mlebench.grade_helpers")
        grader = helpers.Grader("any", "mlebench.utils:read_csv")
        path = ROOT / "tests/golden/boards.json"
        old = json.loads(path.read_text())
        catalog = ROOT / "competitions/catalog"
        new = {name: board(catalog / name / "leaderboard.csv", grader, pandas) for name in old}
        if options.write:
            lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(facts)}" for name, facts in new.items())
            path.write_text("{\n" + lines + "\n}\n")
        differing = [name for name in old if old[name] != new[name]]
        failed += len(differing)
        print(f"boards: {len(new)}, differing: {differing}")
        return failed
    for folder in sorted((ROOT / "tests/golden/grading").iterdir()):
        if not folder.is_dir() or (options.ids and folder.name not in options.ids):
            continue
        if (folder / "competition.toml").exists():
            continue  # a metric that no competition of MLE-bench uses has another reference
        try:
            old, new = cases(folder, options.checkout, utils)
        except ImportError as error:
            print(f"{folder.name}: {error}")
            failed += 1
            continue
        differing = [b["case"] for a, b in zip(old, new) if not agree(a, b)] + [c["case"] for c in new[len(old):]]
        if options.write and differing:
            lines = ",\n".join(f"  {json.dumps(case)}" for case in new)
            (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
        failed += len(differing)
        print(f"{folder.name}: {len(new)} cases" + (f", differing: {differing}" if differing else ""), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(bool(main()))
