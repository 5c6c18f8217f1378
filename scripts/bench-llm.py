#!/usr/bin/env python3
"""Measure what the way to a language model adds: from a client in a sealed container through its init and the harness to a provider.

usage: scripts/bench-llm.py [--binary target/release/medalist] [--litellm DIR]

A provider on this machine answers with streams, one large answer and short ones (scripts/bench_llm.rs; needs rustc). A client asks it directly,
then as an agent of `medalist run` in a container without a network (needs Docker), first with transcript and recording, then with the bill alone. With --litellm the same client
asks through litellm's proxy: DIR is a virtual environment with `litellm[proxy]`. Memory and processor time are those of the harness, of the
container's init, and of the proxy, without provider and client.
"""

import argparse
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGE = "medalist-bench-llm:latest"
TICKS = os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Samples processor time and peak memory of processes; `find` gives their ids by name."""

    def __init__(self, find):
        super().__init__(daemon=True)
        self.find, self.samples, self.peaks, self.over = find, {}, {}, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            for name, pid in self.find().items():
                try:
                    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                self.samples.setdefault(name, []).append((time.time(), (int(stat[11]) + int(stat[12])) / TICKS))
                peak = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
                self.peaks[name] = max(self.peaks.get(name, 0), peak)

    def share(self, name, began, ended):
        """The share of one core that a process took between two times."""
        within = [(at, used) for at, used in self.samples.get(name, []) if began <= at <= ended]
        if len(within) < 2:
            return None
        return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0])

    def end(self):
        self.over.set()
        self.join()


def show(name, lines, watch=None):
    found = {line["what"]: line for line in lines}
    streams, calls, paced = found["streams"], found["calls"], found["paced"]
    print(f"{name}: {streams['events']} events of 100 streams: p50 {streams['p50_ms']:.3f} ms, p99 {streams['p99_ms']:.3f} ms; "
          f"a large answer {found['large']['megabytes_a_second']:.0f} MB/s; short calls p50 {calls['p50_ms']:.3f} ms, p99 {calls['p99_ms']:.3f} ms")
    for process in watch.peaks if watch else ():
        share = watch.share(process, paced["began"], paced["ended"])
        used = "unknown" if share is None else f"{share:.1%} of a core"
        print(f"  {process}: peak {watch.peaks[process]:.0f} MiB, {used} at 100 calls a second")


def measured(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"what"')]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def container(binary, program, port, work, record):
    """The client as an agent in a sealed container; `record` says whether transcript and recording are written."""
    work.mkdir()
    engine = subprocess.Popen(["docker", "import", "-", IMAGE], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with tarfile.open(fileobj=engine.stdin, mode="w|") as tar:
        data = program.read_bytes()
        entry = tarfile.TarInfo("home/agent/bench")
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
    engine.stdin.close()
    if engine.wait():
        sys.exit("the image cannot be made")
    agent = work / "agents/bench"
    agent.mkdir(parents=True)
    (agent / "agent.toml").write_text(
        f'id = "bench"\nbuild = "image"\nimage = "{IMAGE}"\n'
        'command = ["/home/agent/bench", "client", "http://localhost:4000/openai/v1"]\n')
    (work / "llm.toml").write_text(
        f'[upstreams.openai]\nbase_url = "http://127.0.0.1:{port}/v1"\n[prices.bench]\ninput = "1"\noutput = "1"\n[budget.attempt]\ndollars = "1000"\n'
        f"[record]\ntranscript = {str(record).lower()}\nrecording = {str(record).lower()}\n")
    env = os.environ | {"MEDALIST_DATA_DIR": str(work / "data"), "MEDALIST_RUNS_DIR": str(work / "runs")}
    subprocess.run([binary, "prepare", "-c", "demo-bikes", "--quiet"], env=env, check=True, capture_output=True)
    harness = subprocess.Popen(
        [binary, "run", "--agent", str(agent), "-c", "demo-bikes", "--llm", str(work / "llm.toml"), "--no-progress", "--timeout", "5min"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    known = {"harness": harness.pid}

    def processes():
        # Asked for until it is there and then no more: the engine's client takes a processor from what is measured.
        if "init" not in known:
            listed = subprocess.run(["docker", "ps", "-q", "--filter", f"ancestor={IMAGE}"], capture_output=True, text=True).stdout.split()
            for one in listed:
                shown = subprocess.run(["docker", "inspect", "-f", "{{.State.Pid}}", one], capture_output=True, text=True).stdout
                if int(shown or 0):
                    known["init"] = int(shown)
        return known

    watch = Watch(processes)
    out, errors = harness.communicate()
    watch.end()
    subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True)
    log = next((work / "runs").glob("*/demo-bikes_*/run.log"), None)
    lines = measured(log.read_text()) if log else []
    if len(lines) != 4:
        sys.exit(f"the agent measured nothing: exit {harness.returncode}\n{out}\n{errors}\n{log and log.read_text()}")
    show("container, init and harness" + ("" if record else ", with the bill alone"), lines, watch)


def proxy(environment, program, port, work):
    """The same client through litellm's proxy, as it comes."""
    own = free_port()
    (work / "proxy.yaml").write_text(
        f"model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench\n      api_base: http://127.0.0.1:{port}/v1\n      api_key: dummy\n")
    process = subprocess.Popen(
        [environment / "bin/litellm", "--config", work / "proxy.yaml", "--host", "127.0.0.1", "--port", str(own)],
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{own}/health/liveliness", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        watch = Watch(lambda: {"proxy": process.pid})
        done = subprocess.run([program, "client", f"http://127.0.0.1:{own}/v1"], capture_output=True, text=True, timeout=600)
        watch.end()
        lines = measured(done.stdout)
        if len(lines) != 4:
            sys.exit(f"the proxy did not answer all: {done.stdout}\n{done.stderr}")
        show("litellm's proxy", lines, watch)
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/medalist"))
    parser.add_argument("--litellm", type=pathlib.Path, metavar="DIR", help="a virtual environment with `litellm[proxy]`")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        program = work / "bench"
        target = f"{os.uname().machine}-unknown-linux-gnu"
        subprocess.run(["rustc", "--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "--target", target,
                        "-o", program, ROOT / "scripts/bench_llm.rs"], check=True)
        provider = subprocess.Popen([program, "provider"], stdout=subprocess.PIPE, text=True)
        try:
            port = int(provider.stdout.readline())
            print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
            bare = subprocess.run([program, "client", f"http://127.0.0.1:{port}/v1"], capture_output=True, text=True, check=True)
            show("bare provider", measured(bare.stdout))
            for record in (True, False):
                container(binary, program, port, work / f"recorded-{record}", record)
            if options.litellm:
                proxy(options.litellm.absolute(), program, port, work)
        finally:
            provider.kill()


main()
