"""What scripts/llm-check --sealed runs: the same clients as agents of `medalist run`, in a container without a network.

DIR has the environments `new`, `old`, `chain`, `litellm` and `model`, perhaps `agents`; MEDALIST is the program. An image is made of this machine's
Python, the clients, Claude Code and Codex, and the libraries that they need.
"""
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import ThreadingHTTPServer

import llm_check
from llm_check import DIR, GEMINI, KEY, LIBRARIES, MODEL, Scripted, compare_bill, counters, start_model

MEDALIST = sys.argv[2]
IMAGE = 'medalist-llm-check:latest'
WORK = DIR / 'sealed'

CLAUDE = "claude -p 'say hi' --output-format json"
CODEX = "codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox -m gpt-5 'say hi'"

STEP = 'step() { name=$1; shift; "$@" && echo "step $name: ok" || echo "step $name: failed $?"; }'

# What the container runs; each step says on a line of its own how it ended.
STEPS = {
    'model': f'''
{STEP}
for name in {' '.join(LIBRARIES)}; do step $name env PYTHONPATH=/opt/$name python3 /home/agent/clients_$name.py; done
''',
    # Providers by their own names: no variable tells a client where to go.
    'names': f'''
{STEP}
bare() {{ env -u OPENAI_BASE_URL -u OPENAI_API_BASE -u ANTHROPIC_BASE_URL -u ANTHROPIC_API_BASE -u ANTHROPIC_API_URL -u GOOGLE_GEMINI_BASE_URL "$@"; }}
for name in {' '.join(LIBRARIES)}; do step $name bare PYTHONPATH=/opt/$name python3 /home/agent/clients_$name.py; done
''',
    'agents': f'''
{STEP}
export DISABLE_AUTOUPDATER=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 HOME=/home/agent
step gemini env PYTHONPATH=/opt/new python3 /home/agent/gemini.py
step claude-by-url {CLAUDE}
step claude-by-name env -u ANTHROPIC_BASE_URL {CLAUDE}
step codex-by-name {CODEX}
''',
}


def libraries(program):
    """The shared libraries that a program needs, and its loader."""
    out = subprocess.run(['ldd', program], text=True, capture_output=True).stdout
    words = (word for line in out.splitlines() for word in line.split())
    return {word for word in words if word.startswith('/')}


def image():
    """One layer: programs at the paths that they have here, packages below /opt."""
    python = pathlib.Path(os.path.realpath(DIR / 'new/bin/python'))
    version = python.name if python.name.startswith('python3.') else 'python3.%d' % sys.version_info[1]
    prefix = python.parent.parent
    programs = [python, *(shutil.which(name) for name in ('bash', 'env', 'cat', 'git') if shutil.which(name))]
    files, trees = {}, {f'{prefix}/lib/{version}': prefix / 'lib' / version}
    for name in LIBRARIES:
        trees[f'/opt/{name}'] = next((DIR / name / 'lib').glob('python3.*')) / 'site-packages'
    agents = DIR / 'agents'
    if agents.exists():
        claude = next(agents.rglob('_bundled/claude'))
        large = lambda path: path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 10 << 20
        codex = next(path for path in agents.rglob('codex*') if large(path))
        files |= {'/usr/bin/claude': claude, '/usr/bin/codex': codex}
        programs += [claude, codex]
    for program in programs:
        files.setdefault(str(program), program)
    shared = [path for tree in trees.values() for path in tree.rglob('*.so*')]
    for path in [*programs, *shared]:
        # One library may be named in several ways, and those of packages are in the trees already.
        named = map(os.path.normpath, libraries(path))
        files |= {name: name for name in named if not any(pathlib.Path(name).is_relative_to(tree) for tree in trees)}
    files |= {'/usr/bin/python3': python, '/bin/sh': shutil.which('bash')}
    files['/etc/ssl/certs/ca-certificates.crt'] = '/etc/ssl/certs/ca-certificates.crt'
    texts = {f'clients_{name}.py': code for name, code in LIBRARIES.items()} | {'gemini.py': GEMINI} | {f'{name}.sh': text for name, text in STEPS.items()}

    engine = subprocess.Popen(['docker', 'import', '-', IMAGE], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with tarfile.open(fileobj=engine.stdin, mode='w|') as tar:
        def plain(entry):
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ''
            entry.mode |= 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry
        skip = lambda entry: None if '__pycache__' in entry.name or '/test/' in entry.name else plain(entry)
        for target, source in sorted(trees.items()):
            tar.add(source, target.lstrip('/'), filter=skip)
        for target, source in sorted(files.items()):
            entry = plain(tar.gettarinfo(os.path.realpath(source), target.lstrip('/')))
            entry.type, entry.linkname = tarfile.REGTYPE, ''
            entry.size = os.stat(source).st_size
            with open(source, 'rb') as data:
                tar.addfile(entry, data)
        for name, text in texts.items():
            entry = tarfile.TarInfo(f'home/agent/{name}')
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    engine.stdin.close()
    if engine.wait():
        sys.exit('the image cannot be made')


def run(name, settings, *flags):
    """Runs the steps `name` in a sealed container; gives the attempt's folder."""
    agent = WORK / 'agents' / name
    agent.mkdir(parents=True, exist_ok=True)
    (agent / 'agent.toml').write_text(
        f'id = "{name}"\nbuild = "image"\nimage = "{IMAGE}"\ncommand = ["bash", "/home/agent/{name}.sh"]\n'
        f'[env]\nMODEL = "{MODEL}"\n')
    (WORK / f'{name}.toml').write_text(settings)
    env = {'PATH': os.environ['PATH'], 'HOME': str(WORK), 'CHECK_KEY': KEY,
           'MEDALIST_DATA_DIR': str(WORK / 'data'), 'MEDALIST_RUNS_DIR': str(WORK / 'runs')}
    subprocess.run([MEDALIST, 'prepare', '-c', 'demo-bikes'], env=env, check=True, capture_output=True)
    before = set((WORK / 'runs').glob('*'))
    settled = ['--llm', str(WORK / f'{name}.toml')] if settings else []
    done = subprocess.run(
        [MEDALIST, 'run', '--agent', str(agent), '-c', 'demo-bikes', '--timeout', '10min', '--memory', '2GiB', '--no-progress',
         *settled, *flags], env=env, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f'{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}')
    group = (set((WORK / 'runs').glob('*')) - before).pop()
    attempt = next(path for path in group.glob('demo-bikes_*') if path.is_dir())
    log = (attempt / 'run.log').read_text(errors='replace')
    steps = [line.removeprefix('step ') for line in log.splitlines() if line.startswith('step ')]
    for step in steps:
        print(f'  {name}: {step}', flush=True)
    if not steps or not all(step.endswith(': ok') for step in steps):
        sys.exit(f'{name}:\n{log}\n{done.stderr}')
    return attempt


def calls(attempt):
    lines = [json.loads(line) for line in open(attempt / 'llm/calls.jsonl')]
    return list({line['id']: line for line in lines}.values())


def upstream(name, base, more=''):
    return f'[upstreams.{name}]\nbase_url = "{base}"\nkey = {{ env = "CHECK_KEY" }}\n{more}'


def stock_clients():
    process, port = start_model()
    try:
        base, models = f'http://127.0.0.1:{port}', f'models = ["{MODEL}"]\n'
        settings = upstream('openai', base + '/v1', models) + upstream('anthropic', base, models) + f'[prices."{MODEL}"]\ninput = "1"\noutput = "10"\n'
        first = None
        for name in ('model', 'names'):
            before = counters(port)
            attempt = run(name, settings)
            first = first or attempt
            after = counters(port)
            llm = json.loads((attempt / 'attempt.json').read_text())['llm']['totals']
            dollars = json.loads((attempt / 'grade.json').read_text())['llm']['dollars']
            print(f'{name}: {llm["calls"]} calls, ${dollars:.6f}')
            compare_bill(name, calls(attempt), before, after)
            assert llm['tokens']['output'] == after['written'] - before['written'], 'the record differs from the model server'
    finally:
        process.kill()
    replayed = run('model', '', '--llm-replay', first.parent.name)
    totals = json.loads((replayed / 'attempt.json').read_text())['llm']['totals']
    same = (replayed / 'run.log').read_bytes() == (first / 'run.log').read_bytes()
    print(f'replay: {totals["replayed_calls"]} calls without a provider, run.log is {"the same" if same else "different"}')
    assert same and totals['calls'] == 0


def coding_agents():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f'http://127.0.0.1:{server.server_port}'
    settings = upstream('gemini', base) + upstream('openai', base + '/v1') + upstream('anthropic', base)
    attempt = run('agents', settings)
    log = (attempt / 'run.log').read_text(errors='replace')
    print(f'agents: answered {log.count("hello from afar")} times')
    assert log.count('hello from afar') >= 3, log
    for call in calls(attempt):
        print(f'  {call["route"]}: {call["tokens"]}, stripped {call.get("stripped", [])}')


def key_is_nowhere():
    for path in WORK.rglob('*'):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    print('the key is in no file')


shutil.rmtree(WORK, ignore_errors=True)
(WORK / 'runs').mkdir(parents=True)
image()
stock_clients()
if (DIR / 'agents').exists():
    coding_agents()
key_is_nowhere()
print('all is well')
