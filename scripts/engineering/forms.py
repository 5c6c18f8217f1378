"""Answers in JSON, for agents that ask for nothing else: R&D-Agent's loop of proposals, programs and reviews.

A form is filled as it is given: a JSON schema, or an example whose values say what belongs there.
"""
import json
import re

from . import facts, mind, programs, wire

PROSE = "The simplest change that cross-validation can judge comes first; folds stay as they are, so that results can be compared."

# R&D-Agent forbids its programs the sample submission, wants its scores in a file, and reads what is between these lines.
ROWS = """TARGETS = {{TARGETS}}
_rows = pd.read_csv(DATA / "test.csv").iloc[:, 0] if (DATA / "test.csv").exists() else pd.Series(sorted(path.stem for path in (DATA / "test").iterdir()))
SAMPLE = pd.DataFrame({"{{ID}}": _rows, **{name: 0 for name in TARGETS}})"""
SCORES = """pd.DataFrame({"{{NAME}}": [value, value]}, index=[MODEL, "ensemble"]).to_csv("scores.csv")
    print(f"=== Start of EDA part ===\\n{len(y)} training rows, {test.shape[0]} test rows\\n=== End of EDA part ===")
    took = time.monotonic() - STARTED
    print(f"=== Start of Debug Information ===\\ndebug_time: {took:.1f}\\nestimated_time: {took:.1f}\\n=== End of Debug Information ===")"""


# How R&D-Agent names kinds of tasks.
KINDS = {"image": "Image (Computer Vision)", "text": "Text (Natural Language Processing)", "series": "Time Series", "tabular": "Tabular"}


def summed_up(text):
    """The task as R&D-Agent sums it up for its programs, without the description: kind, metric, key and targets; None if it does not."""
    metric = re.search(r'exactly the same as "([^"]+)"', text)
    kind = re.search(r"The data type used in this competition is \*\*(.+?)\*\*", text)
    header = re.search(r"### sample_submission\.csv:.*?columns\)\n +(\S[^\n]*)\n", text, re.S)
    if not (metric and kind and header):
        return None
    key, *targets = header[1].split()
    named = next((name for name, words in KINDS.items() if words == kind[1]), "tabular")
    if named == "text" and not re.search(r"^text \(", text, re.M):
        # It was summed up from a description that has the word; the columns know better.
        named = "tabular"
    return {"kind": named, "metric": metric[1], "label": targets[0], "date": key, "texts": ["text"], "train": "train", "test": "test"}, key, targets


def instance(schema, roots=None):
    """A value that a JSON schema allows."""
    roots = roots or schema
    if "$ref" in schema:
        target = roots
        for part in schema["$ref"].lstrip("#/").split("/"):
            target = target[part]
        return instance(target, roots)
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return instance(schema[several][0], roots)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: instance(about, roots) for name, about in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema.get("items", {}), roots)]
    return {"integer": 1, "number": 7.0, "boolean": True, "null": None}.get(kind, PROSE)


def example_in(text):
    """The last example of an object in a prompt: keys, and as values what stands there (text, or an object); None if there is none."""
    starts = [match.start() for match in re.finditer(r"\{(?=\s*\"[^\"\n]+\"\s*:)", text)]
    closed = None
    for start in starts:
        # An object within another is a part of it.
        if closed is None or start >= closed[1]:
            found, end = read_object(text, start)
            closed = found, end
    return closed[0] if closed else None


def read_object(text, at):
    """An object that need not be JSON, such as `{"a": <true/false>, "b": {...}}`, and where it ends."""
    found, at = {}, at + 1
    while at < len(text):
        if text[at] == "}":
            return found, at + 1
        key = re.compile(r'\s*,?\s*"([^"\n]+)"\s*:\s*').match(text, at)
        if not key:
            at += 1
        elif text[key.end()] == "{":
            found[key[1]], at = read_object(text, key.end())
        else:
            value = re.compile(r'"(?:[^"\\]|\\.)*"|[^,\n}]*').match(text, key.end())
            found[key[1]], at = value[0], value.end()
    return found, at


def answer(conversation, skill):
    """The reply to a request for JSON; None if this is none."""
    form = (conversation.body.get("response_format") or {}).get("json_schema") or {}
    wants_json = re.search(r"json", conversation.system, re.I) and not conversation.tools
    if not form and not (wants_json and re.search(r"kaggle|data scien|final_decision", conversation.system, re.I)):
        return None
    text = "\n".join([conversation.system, *(turn.text for turn in conversation.turns)])
    inline = re.search(r"JSON Schema:\s*(?=\{)", conversation.system)
    if form.get("schema"):
        value = instance(form["schema"])
    elif inline:
        value = instance(json.JSONDecoder().raw_decode(conversation.system[inline.end() :])[0])
    else:
        value = filled(example_in(conversation.system) or {"answer": ""}, text, skill)
    step = "program" if isinstance(value, dict) and set(value) == {"code"} else "form"
    return wire.Reply(json.dumps(value), [], {"agent": "rd-agent", "step": step})


def coder(conversation, skill):
    """The reply to R&D-Agent's request for a program, which it takes from a block of Python; None if this is none."""
    text = "\n".join([conversation.system, *(turn.text for turn in conversation.turns)])
    if "The return code should be like" not in text:
        return None
    return wire.Reply(f"```python\n{program(text, skill)}\n```", [], {"agent": "rd-agent", "step": "program"})


def filled(form, text, skill):
    """The form with values: of what is known of the task where a key asks for it."""
    if list(form) == ["code"]:
        return {"code": program(text, skill)}
    ran = "RESULT {" in text and "Traceback" not in text.rsplit("RESULT {", 1)[1]
    task = facts.described(text, facts.metric_of(text)) or {"kind": "tabular", "metric": "accuracy"}
    known = {
        "Task Type": "Regression" if task["metric"] in ("rmsle", "rmse", "mae") else "Classification",
        "Data Type": KINDS[task["kind"]],
        "Metric Name": task["metric"],
        "Metric Direction": task["metric"] not in ("log_loss", "rmsle", "rmse", "mae"),
        "component": "Model",
    }
    result = {}
    for key, about in form.items():
        if isinstance(about, dict):
            # A name that stands for many is given once.
            result[re.sub(r" (name )?\d+\b.*", "", key) if "problem name" in key else key] = filled(about, text, skill)
        elif key in known:
            result[key] = known[key]
        elif re.search(r"true\s*/\s*false|boolean", about, re.I):
            result[key] = ran
        elif re.search(r"yes or no|yes/no", about, re.I):
            result[key] = "yes" if ran or "Format" in key else "no"
        elif re.search(r"integer|channel number", about + key, re.I):
            result[key] = 1
        elif "score" in key:
            result[key] = 7
        else:
            result[key] = PROSE
    return result


def program(text, skill):
    """R&D-Agent's `main.py`: the model after the one that it has, and the files that it reads."""
    task = facts.described(text, facts.metric_of(text)) or {"kind": "tabular", "metric": "accuracy", "label": ""}
    header = re.search(r"```\n(\w+(?:,\w+)+)\n", text)
    key, *targets = header[1].split(",") if header else ("id", "target")
    if known := summed_up(text):
        task, key, targets = known
    plan = programs.PLANS[task["kind"]]["small" if skill == "small" else "large"]
    tried = re.findall(r'^MODEL = "(\w+)"', text, re.M)
    model, settings = plan[min(len(set(tried)), len(plan) - 1)]
    name = re.search(r'exactly the same as "([^"]+)"|exact metric name: "([^"]+)"', text)
    written = programs.training(task, model, settings, "engineer", one_file=True, data="./workspace_input")
    sample = re.search(r"^SAMPLE = .*\nID, TARGETS = .*$", written, re.M)
    values = {"TARGETS": json.dumps(targets), "ID": key, "NAME": next(filter(None, name.groups())) if name else task["metric"]}
    rows = programs.filled(ROWS, values) + f'\nID = "{key}"'
    written = written[: sample.start()] + rows + written[sample.end() :]
    return written.replace('    print("RESULT "', "    " + programs.filled(SCORES, values) + '\n    print("RESULT "')
