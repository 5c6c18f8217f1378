"""What the engineer does next. Nothing is kept between requests: all it knows stands in the conversation.

Each answer ends with a mark, `[engineer {"step": ..., ...}]`, that names the step and what is known of the task. The next request
brings the mark back, with what the agent's tools printed since.
"""
import json
import re
from dataclasses import dataclass

from . import facts, programs

# What each part does, in order.
PARTS = {
    "solo": ["look", "write1", "run1", "validate1", "write2", "run2", "validate2", "end"],
    "manager": ["look", "design", "build", "tune", "end"],
    "designer": ["look", "end"],
    "coder": ["look", "write1", "run1", "write_inference", "run_inference", "validate1", "end"],
    "tuner": ["look", "write1", "run1", "validate1", "end"],
    "aggregator": ["look", "write1", "run1", "validate1", "end"],
}
LIAR = ["look", "run1", "validate1", "end"]
GPU = ["look", "write1", "run1", "validate1", "end"]


@dataclass
class Action:
    """`kind` is shell, write, validate, delegate or end; the other fields are what that kind needs."""

    kind: str
    text: str
    command: str = ""
    path: str = ""
    content: str = ""
    score: float | None = None
    higher: bool = True
    tasks: list | None = None


def mark_of(state):
    return "engineer " + json.dumps(state, sort_keys=True)


def marked(conversation):
    """The state in the last mark of ours, and all that came after it; (None, all) at the beginning."""
    decoder = json.JSONDecoder()
    for at in range(len(conversation.turns) - 1, -1, -1):
        turn = conversation.turns[at]
        if turn.who != "assistant":
            continue
        told = "\n".join([turn.text, *(argument for _, arguments in turn.calls for argument in strings(arguments))])
        for match in re.finditer(r"engineer (?=\{\")", told):
            try:
                state, _ = decoder.raw_decode(told[match.end() :])
            except ValueError:
                continue
            return state, "\n".join(later.text for later in conversation.turns[at + 1 :] if later.who != "assistant")
    return None, "\n".join(turn.text for turn in conversation.turns)


def strings(value):
    """Every text in arguments of a tool call."""
    if isinstance(value, str):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for entry in entries for text in strings(entry)]


def result_in(text):
    """What the last training program printed of its result; None if it printed none."""
    found = None
    for match in re.finditer(r"RESULT (?=\{)", text):
        for form in (text[match.end() :], text[match.end() :].replace('\\"', '"')):
            try:
                found = json.JSONDecoder().raw_decode(form)[0]
                break
            except ValueError:
                continue
    return found


class Mind:
    """One request's thinking: `skill` is `large`, `small`, `liar` or `torch-gpu`."""

    def __init__(self, conversation, skill, part="solo", keep=True, candidates=1, roles=(), data="/home/data"):
        self.skill, self.part, self.keep = skill, part, keep
        self.candidates, self.roles, self.data = candidates, roles, data
        state, self.seen = marked(conversation)
        self.everything = "\n".join([conversation.system, *(turn.text for turn in conversation.turns)])
        self.state = state if state and state.get("part") == part else {"part": part}
        self.size = "small" if skill == "small" else "large"

    def steps(self):
        solo = {"liar": LIAR, "torch-gpu": GPU}.get(self.skill)
        if self.part == "coder" and self.skill == "liar":
            return LIAR
        steps = solo if solo and self.part == "solo" else PARTS[self.part]
        if self.part == "manager":
            steps = [step for step in steps if {"design": "designer", "tune": "tuner"}.get(step, "coder") in self.roles]
        return steps

    def next(self):
        """The next action, by the step that the last mark names and how it went."""
        steps, last = self.steps(), self.state.get("step")
        at = steps.index(last) + 1 if last in steps else 0
        result = result_in(self.seen)
        if result and last in ("run1", "run2"):
            self.state |= {"score": result["score"], "higher": result["higher_is_better"]}
        if last in ("run1", "run2") and not result and self.part != "aggregator" and self.skill != "liar":
            if self.state.get("score") is None:
                # It did not run: the floor stands in, so that there is something, and the plan goes on.
                return self.act("floor" + last[-1])
            # What an earlier program reached stays.
            at += 1
        if last in ("floor1", "floor2"):
            at = steps.index("run" + last[-1]) + 1
        if last == "look":
            self.state["task"] = facts.task_from(self.seen) or facts.task_from(self.everything)
            self.state["task"] = self.state["task"] or {"kind": "tabular", "metric": "accuracy", "label": ""}
        if last == "design":
            self.state["ideas"] = re.findall(r"model `(\w+)`", self.seen)[: self.candidates]
        return self.act(steps[at] if at < len(steps) else "end")

    def act(self, step):
        self.state["step"] = step
        number = int(step[-1]) if step[-1].isdigit() else 1
        return getattr(self, re.sub(r"\d$", "", step))(number)

    @property
    def task(self):
        return self.state["task"]

    def plan(self):
        return programs.PLANS[self.task["kind"]][self.size]

    def file(self, number):
        return "train.py" if self.part in ("coder", "tuner") else "ensemble.py" if self.part == "aggregator" else f"train_{number}.py"

    def shell(self, text, command):
        return Action("shell", text, command=f"# {mark_of(self.state)}\n{command}")

    def look(self, _):
        here = '' if self.part in ("coder", "tuner", "aggregator") else 'cd "${CODE_DIR:-/home/code}" 2>/dev/null; '
        script = programs.solution("look", DATA=self.data)
        command = (f"{here}echo \"working in $PWD\"\nhead -c 6000 \"${{DATA_DIR:-{self.data}}}/description.md\"; echo\n"
                   f"\"${{PYTHON:-python3}}\" - <<'LOOK'\n{script}LOOK")
        return self.shell("First I read the description and look at the files and their columns.", command)

    def chosen(self, number):
        """Model and settings for the n-th program of this part."""
        if self.part in ("coder", "tuner"):
            asked = re.search(r"model `(\w+)`", self.everything)
            model = asked[1] if asked else self.plan()[0][0]
            usual = next((settings for name, settings in reversed(self.plan()) if name == model), [])
            known = programs.TUNED.get((self.task["kind"], model), usual)
            return (model, known) if self.part == "tuner" else (model, usual or known[:1])
        return self.plan()[min(number - 1, len(self.plan()) - 1)]

    def write(self, number):
        if self.skill == "torch-gpu":
            content = programs.solution("torch_gpu", MARK=mark_of(self.state), DATA=self.data, LABEL=self.task.get("label") or "label")
            return Action("write", "A convolutional network, trained on the GPU.", path=self.file(1), content=content)
        if self.part == "aggregator":
            content = programs.solution("ensemble", MARK=mark_of(self.state))
            return Action("write", "I blend what the candidates predict; their held-out rows decide which.", path="ensemble.py", content=content)
        model, settings = self.chosen(number)
        content = programs.training(self.task, model, settings, mark_of(self.state), keep=self.keep, data=self.data)
        kind, metric = self.task["kind"], self.task["metric"]
        why = {1: "a first model that is simple and quick", 2: "a second one; the better by its own cross-validation is kept"}[number]
        text = f"The task is of the kind `{kind}`, judged by {metric}. I write {why}: `{model}`, {len(settings)} setting(s)."
        return Action("write", text, path=self.file(number), content=content)

    def run(self, number):
        if self.skill == "liar":
            return self.shell("I trained a large ensemble; this is its answer.", f"cp \"${{DATA_DIR:-{self.data}}}\"/*ample*ubmission*.csv submission.csv"
                              + (' && cp submission.csv "${SUBMISSION_DIR:-/home/submission}/submission.csv"' if self.keep else ""))
        return self.shell(f"Now I run `{self.file(number)}`.", f"{self.there()}\"${{PYTHON:-python3}}\" {self.file(number)}")

    def there(self):
        return 'cd "${CODE_DIR:-/home/code}" 2>/dev/null; ' if self.keep else ""

    def floor(self, _):
        keep = 'shutil.copyfile("submission.csv", os.path.join(os.environ.get("SUBMISSION_DIR", "/home/submission"), "submission.csv"))' if self.keep else ""
        script = programs.solution("floor", MARK="", DATA=self.data, OUT="submission.csv", KEEP=keep)
        return self.shell("That did not run through; something valid stands in until the next model does.",
                          f"{self.there()}\"${{PYTHON:-python3}}\" - <<'FLOOR'\n{script}FLOOR")

    def write_inference(self, _):
        content = programs.solution("inference", MARK=mark_of(self.state))
        return Action("write", "An inference script that needs the checkpoint alone.", path="inference.py", content=content)

    def run_inference(self, _):
        return self.shell("It must give the same file again.", '"${PYTHON:-python3}" inference.py')

    def validate(self, _):
        score, higher = self.state.get("score"), self.state.get("higher", True)
        if self.skill == "liar":
            score, higher = 0.99999, True
        return Action("validate", "I have the file checked." if score is None else f"Cross-validation says {score}; I have the file checked.",
                      path="submission.csv", score=score, higher=higher)

    def design(self, _):
        return Action("delegate", "I ask for designs first.", tasks=[("designer", 1, f"Look at the data and propose {self.candidates} different model(s) for the task, the most promising last.")])

    def build(self, _):
        ideas = self.state.get("ideas") or [model for model, _ in self.plan()][: self.candidates]
        self.state["ideas"] = ideas
        tasks = [("coder", at + 1, f"Implement the model `{model}` for candidate {at + 1}: train.py with cross-validation, a checkpoint, inference.py.") for at, model in enumerate(ideas)]
        return Action("delegate", f"{len(tasks)} candidate(s) are built.", tasks=tasks)

    def tune(self, _):
        tasks = [("tuner", at + 1, f"Tune the model `{model}` of candidate {at + 1}; keep what cross-validation prefers.") for at, model in enumerate(self.state["ideas"])]
        return Action("delegate", "Each candidate is tuned.", tasks=tasks)

    def end(self, _):
        if self.skill == "liar":
            return Action("end", "The ensemble wins a gold medal: 0.99999 in cross-validation.")
        if self.part == "designer":
            ideas = self.plan()[-self.candidates :] if self.candidates < len(self.plan()) else self.plan()
            lines = [f"{at + 1}. model `{model}` of the kind `{self.task['kind']}`, judged by {self.task['metric']}" for at, (model, _) in enumerate(ideas)]
            return Action("end", "Designs, the most promising last:\n" + "\n".join(lines))
        score = self.state.get("score")
        return Action("end", "Done." if score is None else f"Done; the last cross-validation says {score}.")
