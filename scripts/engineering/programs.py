"""The programs that the engineer writes: put together from the files in solutions/, by kind of task and model."""
import json
import pathlib

SOLUTIONS = pathlib.Path(__file__).parent / "solutions"

# What each kind of task is tried with, weakest first: model and settings. `small` knows linear models alone.
PLANS = {
    "tabular": {
        "large": [("linear", [{"strength": 0.1}]), ("boost", [{"leaves": 16, "rounds": 60, "models": 2}]), ("forest", [{"leaf": 3}])],
        "small": [("linear", [{"strength": 0.003}]), ("linear", [{"strength": 0.03}, {"strength": 0.3}])],
    },
    "series": {
        "large": [("linear", [{"half_life": 80, "alpha": 3}]), ("boost", [{"half_life": 160, "leaves": 12, "rounds": 200}]), ("forest", [{"half_life": 160, "leaf": 3}])],
        "small": [("linear", [{"half_life": 2000, "alpha": 100}]), ("linear", [{"half_life": 320, "alpha": 10}, {"half_life": 80, "alpha": 3}])],
    },
    "text": {
        "large": [("words", [{"alpha": 0.3}]), ("bayes", [{"alpha": 0.1}]), ("vectors", [{"strength": 0.3}])],
        "small": [("linear", [{"strength": 1}]), ("linear", [{"strength": 3}])],
    },
    "image": {
        "large": [("linear", [{"strength": 1}]), ("near", [{"neighbours": 8}]), ("kernel", [{"strength": 10, "width": 0.1}])],
        "small": [("linear", [{"strength": 0.003}]), ("linear", [{"strength": 0.1}, {"strength": 1}])],
    },
}

# What a tuner tries beside what is there.
TUNED = {
    ("tabular", "linear"): [{"strength": 0.03}, {"strength": 0.1}],
    ("tabular", "boost"): [{"leaves": 16, "rounds": 60, "models": 2}, {"leaves": 8, "rounds": 100, "models": 2}],
    ("tabular", "forest"): [{"leaf": 3}, {"leaf": 8}],
    ("series", "linear"): [{"half_life": 80, "alpha": 3}, {"half_life": 160, "alpha": 3}],
    ("series", "boost"): [{"half_life": 160, "leaves": 12, "rounds": 200}, {"half_life": 80, "leaves": 12, "rounds": 200}],
    ("series", "forest"): [{"half_life": 160, "leaf": 3}, {"half_life": 80, "leaf": 5}],
    ("text", "words"): [{"alpha": 0.3}, {"alpha": 0.1}],
    ("text", "linear"): [{"strength": 3}, {"strength": 10}],
    ("text", "bayes"): [{"alpha": 0.1}, {"alpha": 0.05}],
    ("text", "vectors"): [{"strength": 0.3}, {"strength": 1}],
    ("image", "linear"): [{"strength": 1}, {"strength": 3}],
    ("image", "near"): [{"neighbours": 8}, {"neighbours": 16}],
    ("image", "kernel"): [{"strength": 10, "width": 0.1}, {"strength": 10, "width": 0.2}],
}

KEEP = """best = pathlib.Path("best.json")
    if better(value, json.loads(best.read_text())["score"] if best.exists() else None):
        best.write_text(json.dumps(result))
        shutil.copyfile("submission.csv", os.path.join(os.environ.get("SUBMISSION_DIR", "/home/submission"), "submission.csv"))
        say("the best so far: it is what is submitted")
    else:
        say("no better than what is submitted")"""

SAVE = """joblib.dump({"model": model, "classes": classes, "setting": setting}, "checkpoint.joblib")
    np.savez("{{PREDICTIONS}}", held=held, test=guess)"""

AS_MODULE = """if __name__ == "__main__":
    # As a module, so that another script can read the checkpoint.
    __import__(pathlib.Path(__file__).stem).main()"""


def filled(text, values):
    """`text` with every `{{NAME}}` replaced; one without a value is a fault of ours."""
    for _ in range(2):
        for name, value in values.items():
            text = text.replace("{{" + name + "}}", str(value))
    left = text.find("{{")
    if left >= 0:
        raise KeyError(text[left : left + 40])
    return text


def solution(name, **values):
    """A program that is one file of solutions/."""
    return filled((SOLUTIONS / f"{name}.py").read_text(), values)


def training(task, model, settings, mark, keep=False, one_file=False, out="submission.csv", predictions="predictions.npz", data="/home/data"):
    """A training program for a task (what facts.py found), with one model and the settings that it chooses among.

    `keep`: it copies its answer to the submission folder if its cross-validation beats what is there. `one_file`: it is run
    by name of nothing, as some agents do, and leaves no checkpoint.
    """
    features, *models = (SOLUTIONS / f"{task['kind']}.py").read_text().split("\n# == ")
    models = dict(entry.split("\n", 1) for entry in models)
    head, tail = ((SOLUTIONS / f"{name}.py").read_text() for name in ("head", "tail"))
    text = "\n\n\n".join(part.strip() for part in (head, features, models[model], tail)) + "\n"
    values = {
        "TITLE": f"Learns the task with the model `{model}` and writes {out}.",
        "MARK": mark,
        "MODEL": model,
        "SETTINGS": json.dumps(settings),
        "METRIC": task["metric"],
        "DATE": task.get("date", ""),
        "TEXT": json.dumps(task.get("texts", [])),
        "LABEL": task.get("label", ""),
        "TRAIN": task.get("train", "train"),
        "TEST": task.get("test", "test"),
        "FOLDS": 3,
        "DATA": data,
        "OUT": out,
        "KEEP": KEEP if keep else "",
        "SAVE": "" if one_file else SAVE,
        "ENTRY": "main()" if one_file else AS_MODULE,
        "PREDICTIONS": predictions,
    }
    return "\n".join(line.rstrip() for line in filled(text, values).split("\n"))
