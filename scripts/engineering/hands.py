"""How each agent takes an answer: its tools, or the form of text that it parses."""
import json
import re
import shlex

from . import facts, forms, mind, programs, wire

SHELLS = ["Bash", "bash", "shell", "shell_command", "exec_command", "local_shell", "execute_bash", "terminal", "run_command", "execute_command"]
ENDS = ["finish", "submit", "complete", "attempt_completion", "final_answer"]
ROLES = ("manager", "designer", "coder", "tuner", "aggregator")


def answer(conversation, skill):
    """The reply to a conversation, with `note["agent"]` saying which agent it was taken for."""
    for recognise in (review, reference, by_tools, smolagents, mini_swe, aide, edit_script, mlagentbench, forms.coder, forms.answer):
        reply = recognise(conversation, skill)
        if reply is not None:
            reply.note.setdefault("agent", recognise.__name__)
            return reply
    return aside(conversation)


def everything(conversation):
    return "\n".join([conversation.system, *(turn.text for turn in conversation.turns)])


def reply_with(thinker, action, calls, agent, text=None):
    """`text` is for agents that take text alone; the mark is part of it."""
    said = f"{action.text}\n[{mind.mark_of(thinker.state)}]" if text is None else text
    return wire.Reply(said, calls, {"agent": agent, "step": thinker.state["step"], "part": thinker.part})


def reference(conversation, skill):
    """The reference agents: shell, write_file, read_file, validate, finish, and the manager's delegate."""
    if not {"shell", "write_file", "validate", "finish"} <= set(conversation.tools) and "delegate" not in conversation.tools:
        return None
    said = re.search(r"You are the (\w+)", conversation.system)
    part = said[1] if said and said[1] in ROLES else "solo"
    delegate = conversation.tools.get("delegate", {}).get("parameters", {}).get("properties", {})
    roles = delegate.get("role", {}).get("enum", [])
    count = re.search(r"(?:candidates? 1 to|at most|propose) (\d+)", everything(conversation))
    limit = delegate.get("candidate", {}).get("maximum") or (int(count[1]) if count else 3)
    thinker = mind.Mind(conversation, skill, part, keep=False, candidates=min(int(limit), 3), roles=roles)
    action = thinker.next()
    if action.kind == "shell":
        calls = [("shell", {"command": action.command})]
    elif action.kind == "write":
        calls = [("write_file", {"path": action.path, "content": action.content})]
    elif action.kind == "validate":
        score = {} if action.score is None else {"score": action.score, "higher_is_better": action.higher}
        calls = [("validate", {"path": action.path, **score})]
    elif action.kind == "delegate":
        calls = [("delegate", {"role": role, "candidate": at, "task": task}) for role, at, task in action.tasks]
    else:
        calls = [("finish", {"summary": action.text})]
    return reply_with(thinker, action, calls, "reference")


def as_command(action, here):
    """An action as one line of work for a shell."""
    if action.kind == "write":
        return f'{here}cat > {action.path} <<\'PROGRAM\'\n{action.content}PROGRAM\necho "wrote {action.path}"'
    if action.kind == "validate":
        return ('file="${SUBMISSION_DIR:-/home/submission}/submission.csv"\n'
                'if [ -f /home/validate_submission.sh ]; then bash /home/validate_submission.sh "$file"; '
                'else curl -s -F "file=@$file" "${MEDALIST_VALIDATE_URL:-http://localhost:5000/validate}"; fi')
    return action.command


def shell_arguments(name, tool, command):
    """Arguments of a shell tool by its schema: also what it requires besides the command, and a long time limit."""
    schema = tool["parameters"]
    properties = schema.get("properties", {})
    if name in ("terminal", "execute_bash"):
        # OpenHands takes one command at a time.
        command = f"bash -c {shlex.quote(command)}"
    key = next((key for key in ("command", "cmd", "script") if key in properties), "command")
    arguments = {key: ["bash", "-lc", command] if properties.get(key, {}).get("type") == "array" else command}
    for other, about in properties.items():
        milliseconds = "ms" in other or re.search(r"millisec|\bms\b", about.get("description") or "")
        if other in ("timeout", "timeout_ms"):
            arguments[other] = 600000 if milliseconds else 600
        elif other == "yield_time_ms":
            arguments[other] = 30000
        elif other in schema.get("required", []) and other != key:
            arguments[other] = about["enum"][0] if about.get("enum") else "work on the task" if about.get("type") == "string" else False
    return arguments


def by_tools(conversation, skill):
    """Agents with a shell tool: Claude Code, Codex, OpenHands, mini-swe-agent 2 and the like."""
    tools = conversation.tools
    name = next((name for name in SHELLS if name in tools), None)
    if name is None:
        return None
    agent = {"Bash": "claude-code"}.get(name, "codex" if "apply_patch" in tools or "exec_command" in tools else "tools")
    thinker = mind.Mind(conversation, skill)
    waiting = re.findall(r"session ID (\d+)", thinker.seen)
    if waiting and "write_stdin" in tools and "exited with code" not in thinker.seen.rsplit("session ID", 1)[1]:
        more = {"session_id": int(waiting[-1]), "chars": "", "yield_time_ms": 30000}
        return wire.Reply("", [("write_stdin", more)], {"agent": agent, "step": "wait"})
    action = thinker.next()
    end = next((end for end in ENDS if end in tools), None)
    if action.kind == "end":
        if "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" in everything(conversation):
            calls = [(name, shell_arguments(name, tools[name], "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"))]
            return reply_with(thinker, action, calls, "mini-swe-agent")
        calls = []
        if end:
            properties = tools[end]["parameters"].get("properties", {})
            required = tools[end]["parameters"].get("required", list(properties)[:1])
            calls = [(end, {key: properties.get(key, {}).get("enum", [action.text])[0] for key in required})]
        return reply_with(thinker, action, calls, agent)
    write = tools.get("Write")
    if action.kind == "write" and write and {"file_path", "content"} <= set(write["parameters"].get("properties", {})):
        where = re.findall(r"working in (/[^\s\"\\]+)", everything(conversation))
        path = f"{where[-1] if where else '/home/code'}/{action.path}"
        return reply_with(thinker, action, [("Write", {"file_path": path, "content": action.content})], agent)
    command = as_command(action, thinker.there())
    if tools[name]["freeform"]:
        return reply_with(thinker, action, [(name, command)], agent)
    return reply_with(thinker, action, [(name, shell_arguments(name, tools[name], command))], agent)


def mini_swe(conversation, skill):
    """mini-swe-agent's text form: one fenced command."""
    text = everything(conversation)
    fence = "mswea_bash_command" if "mswea_bash_command" in text else "bash"
    if "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" not in text and not re.search(r"(one|single) bash code block", text, re.I):
        return None
    thinker = mind.Mind(conversation, skill)
    action = thinker.next()
    command = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" if action.kind == "end" else as_command(action, thinker.there())
    said = f"THOUGHT: {action.text}\n[{mind.mark_of(thinker.state)}]\n\n```{fence}\n{command}\n```"
    return reply_with(thinker, action, [], "mini-swe-agent", said)


def smolagents(conversation, skill):
    """smolagents' code agent: a thought and one block of Python between its tags."""
    tags = re.search(r"must be opened with '(.+?)', and closed with '(.+?)'", conversation.system)
    if not tags:
        return None
    thinker = mind.Mind(conversation, skill)
    action = thinker.next()
    if action.kind == "end":
        work = f"final_answer({action.text!r})"
    else:
        command = as_command(action, thinker.there())
        own = re.search(r"def (\w*(?:shell|bash|command|terminal)\w*)\((\w+): ", conversation.system)
        work = f"command = {command!r}\n"
        if own:
            work += f"print({own[1]}({own[2]}=command))"
        else:
            work += "import subprocess\ndone = subprocess.run(['bash', '-c', command], capture_output=True, text=True)\nprint(done.stdout[-8000:], done.stderr[-4000:])"
    said = f"Thought: {action.text}\n[{mind.mark_of(thinker.state)}]\n{tags[1]}\n{work}\n{tags[2]}"
    return reply_with(thinker, action, [], "smolagents", said)


def review(conversation, skill):
    """AIDE's review of a run, by a function."""
    if "submit_review" not in conversation.tools:
        return None
    result = mind.result_in(everything(conversation))
    if result is None:
        values = {"is_bug": True, "summary": "The run printed no result; a simpler model should be tried.", "metric": None, "lower_is_better": True}
    else:
        values = {"is_bug": False, "summary": f"The model {result['model']} reaches {result['metric']} {result['score']} in cross-validation.",
                  "metric": float(result["score"]), "lower_is_better": not result["higher_is_better"]}
    properties = conversation.tools["submit_review"]["parameters"].get("properties", values)
    extra = {"has_csv_submission": result is not None}
    values = {key: value for key, value in (values | extra).items() if key in properties}
    return wire.Reply("", [("submit_review", values)], {"agent": "aide", "step": "review"})


def aide(conversation, skill):
    """AIDE's drafts, improvements and fixes: a plan in words, then one program."""
    text = everything(conversation)
    if "single markdown code block" not in text:
        return None
    task = facts.described(text, facts.metric_of(text)) or {"kind": "tabular", "metric": "accuracy", "label": ""}
    plan = programs.PLANS[task["kind"]]["small" if skill == "small" else "large"]
    before = re.findall(r'^MODEL = "(\w+)"', text, re.M)
    if "Previous solution" in text and before:
        model, settings, step = before[-1], programs.TUNED.get((task["kind"], before[-1]), dict(plan).get(before[-1])), "improve"
        why = f"The settings of `{before[-1]}` were chosen without a comparison. I let cross-validation choose among {len(settings)} of them, which is one change that can be measured."
    elif before:
        (model, settings), step = plan[0], "debug"
        why = f"The previous program did not run. I go back to the simple model `{model}`, keep the evaluation as it was, and write the same file."
    else:
        drafts = len(re.findall(r"^Design: ", text, re.M))
        (model, settings), step = plan[drafts % len(plan)], "draft"
        why = (f"The task is of the kind `{task['kind']}` and is judged by {task['metric']}. I use the model `{model}` on features made from the given columns. "
               "Folds that are held out give the metric, and the model that is fitted on all rows predicts the test rows.")
    folder = "./submission" if "./submission" in text else "./working"
    program = programs.training(task, model, settings, f"engineer-{step}", one_file=True, out=f"{folder}/submission.csv", data="./input")
    return wire.Reply(f"{why}\n\n```python\n{program}```", [], {"agent": "aide", "step": step})


def mlagentbench(conversation, skill):
    """MLAgentBench's agent: an action and its input as JSON, in text."""
    text = everything(conversation)
    if "Action Input:" not in text or "Execute Script" not in text:
        return None
    # Its own log is part of the prompt: what it has done stands there with our marks.
    turns = [wire.Turn("assistant" if at % 2 else "user", part) for at, part in enumerate(re.split(r"(?s)(\[engineer .*?\]\n)", text))]
    thinker = mind.Mind(wire.Conversation(conversation.model, "", turns, {}, False, {}), skill)
    action = thinker.next()
    name, given = "Final Answer", {"final_answer": action.text}
    if action.kind == "write":
        instruction = f"Replace the whole script by a training program. [{mind.mark_of(thinker.state)}]"
        name, given = "Edit Script (AI)", {"script_name": action.path, "edit_instruction": instruction, "save_name": action.path}
    elif thinker.state["step"].startswith("run"):
        name, given = "Execute Script", {"script_name": thinker.file(int(thinker.state["step"][-1]))}
    elif thinker.state["step"] == "look":
        name, given = "Inspect Script Lines", {"script_name": "data/description.md", "start_line_number": 1, "end_line_number": 90}
    elif action.kind == "validate":
        name, given = "List Files", {"dir_path": "."}
    said = (f"Reflection: {action.text}\nResearch Plan and Status: {thinker.state['step']}\nFact Check: none needed\n"
            f"Thought: {action.text} [{mind.mark_of(thinker.state)}]\nAction: {name}\nAction Input: {json.dumps(given, indent=1)}\n")
    return reply_with(thinker, action, [], "mlagentbench", said)


def edit_script(conversation, skill):
    """MLAgentBench's second call: the program that its instruction asks for."""
    text = everything(conversation)
    asked = re.search(r"engineer (?=\{\")", text)
    if not asked or not re.search(r"(Provide|Write) the full code after the edit", text):
        return None
    state, _ = json.JSONDecoder().raw_decode(text[asked.end() :])
    thinker = mind.Mind(conversation, skill)
    thinker.state = state
    action = thinker.act(state["step"])
    return wire.Reply(f"```python\n{action.content}```", [], {"agent": "mlagentbench", "step": "edit"})


def aside(conversation):
    """Calls beside the work, such as titles of sessions."""
    text = everything(conversation).lower()
    if "title" in text and "json" in text:
        said = json.dumps({"title": "Train a model", "isNewTopic": True})
    elif "json" in text:
        said = json.dumps({"answer": "nothing to add"})
    else:
        said = "Hello. Give me a competition and a shell, and I train a model for it."
    return wire.Reply(said, [], {"agent": "aside", "step": "aside"})
