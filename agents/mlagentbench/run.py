"""A research agent in the manner of MLAgentBench's: it reports in a fixed form, names one action, and sees what the action gave.

Its actions work on the files of one folder: list, copy, look at, understand, edit and undo, execute a script, and answer. Edits are written by
a model that is told what to change; what is long is summed up by a model before the next step. The last steps stay in the prompt, and the
plan is carried from step to step in the agent's own words.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

ENTRIES = {
    'Reflection': 'what the last observation means, and how to mend what went wrong',
    'Research Plan and Status': 'the whole plan, with what is done and what was really observed of each step',
    'Fact Check': 'for each new statement of the status, whether an observation confirmed it or it is a guess',
    'Thought': 'what comes next, and why',
    'Action': 'the name of one tool',
    'Action Input': 'the input of the tool as JSON',
}
# Steps that stay in the prompt, characters of an observation that need no summary, and of a part that is summed up at a time.
STEPS_SHOWN, LONG, PART = 3, 5_000, 10_000
LINES, TRIES = 100, 5


class Mistake(Exception):
    """An action that cannot be done as asked; the words go back to the agent."""


class Agent:
    def __init__(self, options):
        self.options, self.ends = options, time.monotonic() + options.seconds
        self.work, self.backups, self.final = pathlib.Path.cwd(), [], None
        self.log = open(pathlib.Path(os.environ['LOGS_DIR']) / 'main_log', 'a', encoding='utf-8')
        self.tools = {
            'List Files': (self.list_files, 'lists a folder', {'dir_path': 'a folder, such as `.`'}),
            'Copy File': (self.copy_file, 'copies a file', {'source': 'a file', 'destination': 'its new name'}),
            'Understand File': (self.understand, 'reads a whole file and says what was asked of it', {'file_name': 'a file', 'things_to_look_for': 'what to look for, in detail'}),
            'Inspect Script Lines': (self.inspect, f'shows at most {LINES} lines of a file', {'script_name': 'a file', 'start_line_number': 'a number', 'end_line_number': 'a number'}),
            'Edit Script (AI)': (self.edit, 'has a script written or changed by an assistant, who sees the script and the instruction alone',
                                 {'script_name': 'a script, which is made if it is not there', 'edit_instruction': 'what to change, step by step', 'save_name': 'where the result goes'}),
            'Undo Edit Script': (self.undo, 'takes back the last edit of a script', {'script_name': 'a script'}),
            'Execute Script': (self.execute, 'runs a Python script and shows what it prints', {'script_name': 'a script'}),
            'Final Answer': (self.answer, 'ends the work; there is no way back', {'final_answer': 'what was reached'}),
        }

    def note(self, text):
        print(text, flush=True)
        self.log.write(text + '\n')
        self.log.flush()

    def ask(self, prompt, model):
        body = {'model': model, 'messages': [{'role': 'user', 'content': prompt}]}
        headers = {'content-type': 'application/json', 'authorization': f'Bearer {os.environ["OPENAI_API_KEY"]}'}
        request = urllib.request.Request(os.environ['OPENAI_BASE_URL'].rstrip('/') + '/chat/completions', json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)['choices'][0]['message']['content'] or ''

    # Actions.

    def path(self, name, there=True):
        path = (self.work / str(name)).absolute()
        # Links lead out of the folder by intent: the data are one.
        if not pathlib.Path(os.path.normpath(path)).is_relative_to(self.work):
            raise Mistake(f'{name} is outside of the working folder')
        if there and not path.exists():
            raise Mistake(f'there is no {name}')
        return path

    def list_files(self, dir_path):
        path = self.path(dir_path)
        if not path.is_dir():
            raise Mistake(f'{dir_path} is no folder')
        return '\n'.join(sorted(entry.name + ('/' if entry.is_dir() else '') for entry in path.iterdir()))

    def copy_file(self, source, destination):
        shutil.copyfile(self.path(source), self.path(destination, there=False))
        return f'{source} was copied to {destination}'

    def inspect(self, script_name, start_line_number, end_line_number):
        first, last = int(start_line_number), int(end_line_number)
        if last - first >= LINES:
            raise Mistake(f'at most {LINES} lines are shown at a time')
        lines = self.path(script_name).read_text(errors='replace').splitlines()
        return f'(the file has {len(lines)} lines)\n' + '\n'.join(lines[max(first - 1, 0):last])

    def understand(self, file_name, things_to_look_for):
        text = self.path(file_name).read_text(errors='replace')
        return self.summed_up(text, f'This is part of the file {file_name}. Say briefly what it has of the following, with the lines that show it, and what cannot be found '
                                    f'in it: {things_to_look_for}')

    def edit(self, script_name, edit_instruction, save_name):
        source, target = self.path(script_name, there=False), self.path(save_name, there=False)
        before = source.read_text(errors='replace') if source.is_file() else ''
        said = self.ask(f'Here is a Python script:\n```python\n{before}\n```\nChange it by this instruction:\n{edit_instruction}\n'
                        'Write the full code after the edit, and change nothing else. Begin it with "```python".', self.options.edit_model)
        found = re.search(r'```python\n(.*?)```', said, re.S)
        if not found:
            raise Mistake('the assistant gave no code; say the instruction in other words')
        self.backups.append((target, target.read_text(errors='replace') if target.is_file() else None))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(found[1])
        return f'The result is in {save_name}, {len(found[1].splitlines())} lines:\n```python\n{found[1]}```'

    def undo(self, script_name):
        path = self.path(script_name, there=False)
        for at in range(len(self.backups) - 1, -1, -1):
            if self.backups[at][0] == path:
                before = self.backups.pop(at)[1]
                path.unlink() if before is None else path.write_text(before)
                return f'{script_name} is as before its last edit'
        raise Mistake(f'{script_name} was not edited')

    def execute(self, script_name):
        path, left = self.path(script_name), self.ends - time.monotonic()
        try:
            done = subprocess.run([os.environ.get('PYTHON', 'python3'), '-u', path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=max(left, 1))
        except subprocess.TimeoutExpired as late:
            return f'The script was ended: the time is up. It printed:\n{(late.stdout or b"").decode(errors="replace")}'
        return f'The script ended with exit code {done.returncode}. It printed:\n{done.stdout.decode(errors="replace")}'

    def answer(self, final_answer):
        self.final = str(final_answer)
        return 'the end'

    # The loop.

    def summed_up(self, text, question):
        """What a model says of a long text: of its parts, and then of what it said of these."""
        while True:
            parts = [text[at:at + PART] for at in range(0, len(text), PART)] or ['']
            said = [self.ask(f'{question}\n```\n{part}\n```\nSay nothing that the text does not show.', self.options.fast_model) for part in parts]
            text = '\n\n'.join(said)
            if len(parts) == 1:
                return text

    def beginning(self):
        tools = '\n'.join(f'- {name}: {does}.\n  Action Input: {json.dumps(given)}' for name, (_, does, given) in self.tools.items())
        form = '\n'.join(f'{name}: {about}' for name, about in ENTRIES.items())
        return (f'You are a research assistant for machine learning, with these tools:\n{tools}\n\nThe research problem: {self.options.problem}\n\n'
                'Begin with a plan and keep it in the status. Only what an observation showed may stand there as done, and numbers only if a script printed them. '
                'Measure something simple before you improve it. No package can be installed. When the problem is solved, give the Final Answer.\n\n'
                f'Answer in exactly this form:\n{form}\nObservation:\n(what the action gives; you do not write this)\n')

    def step(self, steps):
        prompt = self.beginning() + ''.join(f'\n\nAssistant:\n{said}\nObservation:\n```\n{seen}\n```\n' for said, seen in steps[-STEPS_SHOWN:])
        for _ in range(TRIES):
            said = self.ask(prompt, self.options.model).split('\nObservation:')[0].strip()
            entries = entries_of(said)
            if entries and entries['Action'] in self.tools:
                break
            prompt += '\n\nThat was not in the form that is asked for; give every entry: ' + ', '.join(ENTRIES) + '\n'
        else:
            raise SystemExit(f'no answer in the right form in {TRIES} tries')
        self.note(f'Step {len(steps)}:\n{said}\nObservation:')
        seen = self.act(entries)
        if len(seen) > LONG and entries['Action'] != 'Execute Script':
            seen = self.summed_up(seen, f'This is what the action `{entries["Action"]}` gave. Sum it up.')
        elif len(seen) > LONG:
            # What a script prints last is its result; a summary could lose a digit.
            seen = self.summed_up(seen[:-LONG], 'This is the beginning of what a script printed. Sum it up.') + '\n...\n' + seen[-LONG:]
        self.note(f'```\n{seen}\n```')
        return said, seen

    def act(self, entries):
        work, _, wanted = self.tools[entries['Action']]
        try:
            given = json.loads(entries['Action Input'].strip().strip('`').removeprefix('json'))
            return work(**{name: given[name] for name in wanted})
        except Mistake as error:
            return f'Error: {error}'
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f'Error: the action needs {json.dumps({name: about for name, about in wanted.items()})}: {error!r}'


def entries_of(said):
    """The entries of an answer by name; None if one is missing."""
    marks = [re.search(rf'^{re.escape(name)}:', said, re.M) for name in ENTRIES]
    if not all(marks):
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(said)]
    return {name: said[mark.end():end].strip() for name, mark, end in zip(ENTRIES, marks, ends)}


def main():
    parser = argparse.ArgumentParser()
    for name in ('model', 'fast-model', 'edit-model', 'problem'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--steps', type=int, required=True)
    parser.add_argument('--seconds', type=int, required=True)
    agent, steps = Agent(parser.parse_args()), []
    data = pathlib.Path('data')
    if not data.exists():
        data.symlink_to(os.environ['DATA_DIR'])
    while agent.final is None and len(steps) < agent.options.steps and time.monotonic() < agent.ends - 10:
        steps.append(agent.step(steps))
    agent.note(f'Final message: {agent.final}' if agent.final else 'the steps or the time are over')
    for script in pathlib.Path.cwd().glob('*.py'):
        shutil.copy(script, os.environ['CODE_DIR'])


if __name__ == '__main__':
    sys.exit(main())
