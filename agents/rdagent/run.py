"""Runs R&D-Agent's loop for data science on one competition, in this container.

Its programs run in an environment of its own, Docker or Conda. Where it is told of Conda and there is none, it takes the programs of PATH, so
that they run beside it. Whatever experiment it would submit is kept each time that it records one, and the first one that ran until then.
"""
import argparse
import asyncio
import os
import pathlib
import shutil

parser = argparse.ArgumentParser()
parser.add_argument('--competition', required=True)
parser.add_argument('--seconds', type=int, required=True)
parser.add_argument('--loops', type=int, required=True)
options = parser.parse_args()

work = pathlib.Path.cwd()
data = work / 'dataset' / options.competition
data.parent.mkdir(exist_ok=True)
if not data.exists():
    data.symlink_to(os.environ['DATA_DIR'])
# A run of a program may take what the attempt has; its own defaults are an hour, and ten minutes for a look at a part of the data.
full = max(options.seconds // 2, 60)
settings = {
    'DS_LOCAL_DATA_PATH': str(data.parent), 'DS_SCEN': 'rdagent.scenarios.data_science.scen.DataScienceScen', 'DS_CODER_COSTEER_ENV_TYPE': 'conda',
    'DS_IF_USING_MLE_DATA': 'False', 'DS_FULL_TIMEOUT': str(full), 'DS_FULL_RECOMMEND_TIMEOUT': str(full),
    'DS_DEBUG_TIMEOUT': str(min(full, 600)), 'DS_DEBUG_RECOMMEND_TIMEOUT': str(min(full, 600)), 'DS_SAMPLE_DATA_BY_LLM': 'True',
    'DS_CODER_MAX_LOOP': '3', 'WORKSPACE_PATH': str(work / 'workspace'), 'LOG_TRACE_PATH': str(work / 'log'),
}
os.environ.update({name: value for name, value in settings.items() if name not in os.environ})

# The settings above are read while these are imported.
from rdagent.app.data_science.conf import DS_RD_SETTING  # noqa: E402
from rdagent.scenarios.data_science.loop import DataScienceRDLoop  # noqa: E402

TARGET = pathlib.Path(os.environ['SUBMISSION_DIR']) / 'submission.csv'


def keep(experiment, always):
    """Takes over the submission of an experiment."""
    folder = getattr(getattr(experiment, 'experiment_workspace', None), 'workspace_path', None)
    made = pathlib.Path(folder, 'submission.csv') if folder else None
    if made and made.is_file() and (always or not TARGET.exists()):
        shutil.copyfile(made, TARGET.with_name('.submission.csv'))
        TARGET.with_name('.submission.csv').replace(TARGET)
        for program in pathlib.Path(folder).glob('*.py'):
            shutil.copy(program, os.environ['CODE_DIR'])
        print(f'kept the submission of {made.parent.name}', flush=True)


def after(name, then):
    """Has something done after a step of the loop, whose name and place stay."""
    step = getattr(DataScienceRDLoop, name)

    def both(self, prev_out):
        result = step(self, prev_out)
        then(self, result)
        return result

    setattr(DataScienceRDLoop, name, both)


after('running', lambda loop, experiment: keep(experiment, always=False))
after('record', lambda loop, _: keep(loop.trace.sota_exp_to_submit, always=True))
DS_RD_SETTING.competition = options.competition
asyncio.run(DataScienceRDLoop(DS_RD_SETTING).run(loop_n=options.loops, all_duration=f'{options.seconds}s'))
