"""Runs AIDE's own agent and interpreter in a loop, without its full-screen display.

Its program keeps the code of the best solution and not what that wrote, so the submission of a step that is the best so far is kept here.
"""
import os
import shutil
import time
from pathlib import Path

from aide.agent import Agent
from aide.interpreter import Interpreter
from aide.journal import Journal
from aide.utils.config import load_cfg, load_task_desc, prep_agent_workspace, save_run
from omegaconf import OmegaConf

started = time.monotonic()
cfg = load_cfg()
prep_agent_workspace(cfg)
journal = Journal()
agent = Agent(task_desc=load_task_desc(cfg), cfg=cfg, journal=journal)
interpreter = Interpreter(cfg.workspace_dir, **OmegaConf.to_container(cfg.exec))
made = Path(cfg.workspace_dir) / 'working' / 'submission.csv'
kept = Path(os.environ['SUBMISSION_DIR']) / 'submission.csv'

for step in range(cfg.agent.steps):
    left = float(os.environ['AIDE_SECONDS']) - (time.monotonic() - started)
    if step and left < 30:
        print(f'step {step}: the time is up')
        break
    interpreter.timeout = int(max(left, 1))
    made.unlink(missing_ok=True)
    agent.step(exec_callback=interpreter.run)
    save_run(cfg, journal)
    node = journal.nodes[-1]
    best = node is journal.get_best_node()
    print(f'step {step}: {node.stage_name}, {"buggy" if node.is_buggy else node.metric}, {"the best so far" if best else "not the best"}', flush=True)
    if made.is_file() and (best or not kept.exists()):
        shutil.copy(made, kept.with_name('.submission.csv'))
        kept.with_name('.submission.csv').replace(kept)
interpreter.cleanup_session()
