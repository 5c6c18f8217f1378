"""Asks an agent that speaks the Agent Client Protocol (version 1, JSON-RPC over stdin and stdout) to solve the task.

usage: acp.py --prompt TEXT -- COMMAND...

It opens one session in the working folder, sends one prompt, and answers what the agent asks meanwhile: files are read, and written below the
attempt's own folders; permissions are given, but not for changes elsewhere; there is no terminal, since the agent has a shell of its own.
What the agent says is printed, and every message is kept in acp.jsonl below LOGS_DIR. SIGTERM cancels the prompt; the agent then has some
seconds to end its turn. The exit code is 0 if the turn ended, and 1 if the agent broke off, refused, or speaks another version.
"""
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

VERSION = 1
# After a cancel, and after its stdin was closed, the agent has so many seconds; the launcher's own patience is thirty.
PATIENCE_S = 10
# A record of messages that is larger tells nobody more, and a file that is larger is no text for a model.
RECORD_BYTES, FILE_BYTES = 64 << 20, 64 << 20
CHANGES = ('edit', 'delete', 'move')
INVALID, UNKNOWN = -32602, -32601


class Broken(Exception):
    """The agent did what the protocol does not allow, or ended."""


class Refused(Exception):
    """A request of the agent's that is answered with an error."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def folders():
    """Where an agent may change files."""
    home = pathlib.Path(os.environ['AGENT_DIR']).parent
    own = [os.environ[name] for name in ('SUBMISSION_DIR', 'CODE_DIR', 'LOGS_DIR')]
    return [pathlib.Path(place).resolve() for place in (home / 'work', *own, tempfile.gettempdir())]


def is_own(path):
    return any(pathlib.Path(path).resolve().is_relative_to(place) for place in folders())


def absolute(params):
    path = params.get('path')
    if not isinstance(path, str) or not os.path.isabs(path):
        raise Refused(INVALID, f'`path` is {path!r}, expected an absolute path')
    return pathlib.Path(path)


def read_file(params):
    path, line, limit = absolute(params), params.get('line'), params.get('limit')
    if not path.is_file():
        raise Refused(INVALID, f'{path} is no file')
    if path.stat().st_size > FILE_BYTES:
        raise Refused(INVALID, f'{path} has more than {FILE_BYTES} bytes')
    text = path.read_text(errors='replace')
    if line is None and limit is None:
        return {'content': text}
    lines, first = text.splitlines(keepends=True), max(int(line or 1), 1) - 1
    return {'content': ''.join(lines[first:None if limit is None else first + int(limit)])}


def write_file(params):
    path = absolute(params)
    if not is_own(path):
        raise Refused(INVALID, f'{path} is outside of the folders that may be changed')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(params.get('content') or '')
    return None


def permit(params, is_cancelled):
    """The option that is chosen: an agent in a container may do what it likes, and need not change files of others."""
    call = params.get('toolCall') or {}
    named = [*(call.get('locations') or []), *(part for part in call.get('content') or [] if part.get('type') == 'diff')]
    outside = call.get('kind') in CHANGES and not all(is_own(place['path']) for place in named if place.get('path'))
    wanted = ('reject_once', 'reject_always') if outside else ('allow_once', 'allow_always')
    for kind in () if is_cancelled else wanted:
        for option in params.get('options') or []:
            if option.get('kind') == kind:
                return {'outcome': {'outcome': 'selected', 'optionId': option['optionId']}}
    return {'outcome': {'outcome': 'cancelled'}}


class Connection:
    """The agent's process and the messages to and from it."""

    def __init__(self, command):
        # A session of its own: a signal for all that the launcher started reaches this program, which cancels in the protocol's way.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.lines, self.last, self.session, self.cancelled, self.in_text, self.recorded = queue.Queue(), 0, None, None, False, 0
        self.record = open(pathlib.Path(os.environ['LOGS_DIR']) / 'acp.jsonl', 'a', encoding='utf-8')
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _note(self, sender, message):
        line = json.dumps({'at': round(time.time(), 3), 'from': sender, 'message': message}) + '\n'
        self.recorded += len(line)
        if self.recorded <= RECORD_BYTES:
            self.record.write(line)
            self.record.flush()

    def send(self, message):
        message = {'jsonrpc': '2.0', **message}
        self._note('client', message)
        try:
            self.process.stdin.write(json.dumps(message).encode() + b'\n')
            self.process.stdin.flush()
        except OSError as error:
            raise Broken(f'the agent no longer reads: {error}') from error

    def call(self, method, params):
        """Sends a request and answers the agent's own until its result is here."""
        self.last += 1
        self.send({'id': self.last, 'method': method, 'params': params})
        while True:
            message = self.next()
            if message.get('method'):
                self.answer(message)
            elif message.get('id') == self.last:
                if 'error' in message:
                    raise Broken(f'{method}: {json.dumps(message["error"])[:2000]}')
                return message.get('result') or {}

    def next(self):
        while True:
            self._cancel_if_asked()
            try:
                line = self.lines.get(timeout=0.5)
            except queue.Empty:
                continue
            if line is None:
                raise Broken(f'the agent ended with exit code {self.process.wait()}')
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict):
                self._note('agent', message)
                return message
            # Some programs print other things to stdout before they speak.
            self.say(line.decode(errors='replace').rstrip('\n'))

    def _cancel_if_asked(self):
        if self.cancelled == 'asked':
            if self.session is None:
                raise Broken('stopped before the session began')
            self.send({'method': 'session/cancel', 'params': {'sessionId': self.session}})
            self.cancelled = time.monotonic() + PATIENCE_S
        elif self.cancelled and time.monotonic() > self.cancelled:
            raise Broken(f'the agent did not end its turn within {PATIENCE_S} s of the cancel')

    def answer(self, message):
        method, params = message['method'], message.get('params') or {}
        if 'id' not in message:
            if method == 'session/update':
                self.show(params.get('update') or {})
            return
        try:
            if method == 'session/request_permission':
                result = permit(params, self.cancelled)
            elif method in ('fs/read_text_file', 'fs/write_text_file'):
                result = (read_file if method == 'fs/read_text_file' else write_file)(params)
            else:
                raise Refused(UNKNOWN, f'there is no method `{method}`')
            self.send({'id': message['id'], 'result': result})
        except Refused as error:
            self.send({'id': message['id'], 'error': {'code': error.code, 'message': str(error)}})
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            self.send({'id': message['id'], 'error': {'code': INVALID, 'message': repr(error)}})

    def show(self, update):
        kind, content = update.get('sessionUpdate'), update.get('content')
        if kind in ('agent_message_chunk', 'agent_thought_chunk') and isinstance(content, dict):
            print(content.get('text') or '', end='', flush=True)
            self.in_text = True
        elif kind == 'tool_call':
            self.say(f'[{update.get("kind") or "tool"}] {update.get("title")}')
        elif kind == 'tool_call_update' and update.get('status') == 'failed':
            self.say(f'[failed] {update.get("title") or update.get("toolCallId")}')
        elif kind == 'plan':
            for entry in update.get('entries') or []:
                self.say(f'[plan] {entry.get("status")}: {entry.get("content")}')

    def say(self, line):
        print(f'\n{line}' if self.in_text else line, flush=True)
        self.in_text = False

    def end(self):
        """Ends the agent with all that it started: by the end of its input, else by signals."""
        steps = [self.process.stdin.close] + [lambda s=s: os.killpg(self.process.pid, s) for s in (signal.SIGTERM, signal.SIGKILL)]
        for step in steps:
            try:
                step()
                self.process.wait(PATIENCE_S / 2)
            except (OSError, subprocess.TimeoutExpired):
                continue


def main():
    words = sys.argv[1:]
    if len(words) < 4 or words[0] != '--prompt' or words[2] != '--':
        sys.exit(__doc__)
    try:
        agent = Connection(words[3:])
    except OSError as error:
        sys.exit(f'acp: cannot start the agent: {error}')

    def cancel(*_):
        agent.cancelled = agent.cancelled or 'asked'

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, cancel)
    try:
        can = {'fs': {'readTextFile': True, 'writeTextFile': True}, 'terminal': False}
        about = {'name': 'medalist', 'title': 'medalist', 'version': '1'}
        speaks = agent.call('initialize', {'protocolVersion': VERSION, 'clientCapabilities': can, 'clientInfo': about})
        if speaks.get('protocolVersion') != VERSION:
            raise Broken(f'the agent speaks version {speaks.get("protocolVersion")} of the protocol, expected {VERSION}')
        agent.session = agent.call('session/new', {'cwd': os.getcwd(), 'mcpServers': []}).get('sessionId')
        if not isinstance(agent.session, str):
            raise Broken('session/new gave no sessionId')
        prompt = [{'type': 'text', 'text': words[1]}]
        reason = agent.call('session/prompt', {'sessionId': agent.session, 'prompt': prompt}).get('stopReason')
        agent.say(f'acp: the turn ended: {reason}')
        status = 1 if reason == 'refusal' else 0
    except Broken as error:
        agent.say(f'acp: {error}')
        status = 1
    agent.end()
    sys.exit(status)


if __name__ == '__main__':
    main()
