"""What kind of task it is, from what an agent's tools and prompts have shown."""
import json
import re

METRICS = [
    ("rmsle", r"rmsle|squared log(arithmic)? error"),
    ("log_loss", r"log[- ]?loss|logarithmic loss|cross[- ]entropy"),
    ("roc_auc", r"roc|area under|\bauc\b"),
    ("f1", r"\bf1\b|f-score"),
    ("accuracy", r"accuracy|share of .{0,30}right"),
    ("mae", r"mean absolute error|\bmae\b"),
    ("rmse", r"root mean squared error|\brmse\b|mean squared error"),
]


def metric_of(text):
    """The metric that a description asks for: the first one named after a heading on metrics, else anywhere; None if none."""
    parts = re.split(r"\n#+\s*(?:metric|evaluation)", text, flags=re.I)
    for part in (*[part[:600] for part in parts[1:]], text):
        found = [(match.start(), name) for name, pattern in METRICS if (match := re.search(pattern, part, re.I))]
        if found:
            return min(found)[1]
    return None


def listed(text):
    """The last list of files and columns that the look at the data printed, also from within a JSON string; None if there is none."""
    read = json.JSONDecoder().raw_decode
    for match in reversed(list(re.finditer(r"FACTS (?=\{)", text))):
        rest = text[match.end() :]
        for form in (rest, rest.replace('\\"', '"')):
            try:
                return read(form)[0]
            except ValueError:
                continue
    return None


def task_from(text):
    """The task as far as it is known: kind, metric and the columns that matter; None if nothing says what is asked."""
    facts, metric = listed(text), metric_of(text)
    if facts is None:
        return described(text, metric)
    tables = facts["tables"]
    sample = next((table for name, table in tables.items() if re.search(r"sample.*ubmission", name, re.I)), None)
    train = tables.get("train.csv")
    if sample is None or train is None:
        return None
    columns, asked = train["columns"], list(sample["columns"])
    key, targets = asked[0], asked[1:]
    test = tables.get("test.csv", {"columns": {}})["columns"]
    label = targets[0] if targets[0] in columns else next((name for name in columns if name != key and name not in test), targets[0])
    numeric, whole, unique, _ = columns.get(label, [True, True, 2, 1])
    task = {"label": label}
    if facts["pictures"] and not test:
        folders = list(facts["pictures"])
        task |= {"kind": "image", "train": next((name for name in folders if "train" in name), folders[0])}
        task["test"] = next((name for name in folders if "test" in name), folders[-1])
    elif texts := [name for name, about in columns.items() if name in test and about[3] >= 4]:
        task |= {"kind": "text", "texts": texts}
    elif numeric and unique > 30 and (dates := [name for name in test if name in columns and re.search("date|time", name, re.I)]):
        task |= {"kind": "series", "date": dates[0]}
    else:
        task |= {"kind": "tabular"}
    is_number = numeric and (unique > 30 or not whole)
    usual = "log_loss" if len(targets) > 1 else "rmse" if is_number else "accuracy"
    return task | {"metric": metric or usual}


def described(text, metric):
    """The same from words alone, for agents that show a description and no list."""
    if metric is None:
        return None
    word = lambda pattern: re.search(pattern, text, re.I)
    if word(r"\b(pictures|images)\b.{0,80}\bpng\b|\.png\b"):
        return {"kind": "image", "metric": metric, "label": "label", "train": "train", "test": "test"}
    if metric in ("rmsle", "rmse", "mae") and word("forecast") and (date := word(r"`?(\w*date\w*)`?")):
        return {"kind": "series", "metric": metric, "date": date[1], "label": ""}
    if metric in ("accuracy", "f1", "log_loss", "roc_auc") and word(r"`text`|-> text|\btext \("):
        label = word(r"`text`[^`]*`(\w+)`")
        return {"kind": "text", "metric": metric, "texts": ["text"], "label": label[1] if label else "label"}
    return {"kind": "tabular", "metric": metric, "label": ""}
