"""Runs OpenHands' agent on a task with its own tools for a terminal, files and a list of tasks, without a browser and without a person."""
import argparse
import os
import pathlib

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.preset.default import get_default_condenser
from openhands.tools.task_tracker import TaskTrackerTool
from openhands.tools.terminal import TerminalTool
from pydantic import SecretStr

parser = argparse.ArgumentParser()
parser.add_argument('--model', required=True)
parser.add_argument('--prompt', required=True)
parser.add_argument('--steps', type=int, required=True)
parser.add_argument('--seconds', type=int, required=True, help='for one command that prints nothing')
options = parser.parse_args()

# The gateway waits for overloaded providers; the client is not to ask a second time meanwhile.
llm = LLM(usage_id='agent', model=f'openai/{options.model}', base_url=os.environ['OPENAI_BASE_URL'], api_key=SecretStr(os.environ['OPENAI_API_KEY']),
          num_retries=0, timeout=options.seconds)
# Not tmux, which the image need not have.
terminal = Tool(name=TerminalTool.name, params={'terminal_type': 'subprocess', 'no_change_timeout_seconds': options.seconds})
agent = Agent(llm=llm, tools=[terminal, Tool(name=FileEditorTool.name), Tool(name=TaskTrackerTool.name)], system_prompt_kwargs={'cli_mode': True},
              condenser=get_default_condenser(llm.model_copy(update={'usage_id': 'condenser'})))
conversation = Conversation(agent=agent, workspace=str(pathlib.Path.cwd()), persistence_dir=str(pathlib.Path(os.environ['LOGS_DIR']) / 'openhands'),
                            max_iteration_per_run=max(options.steps, 30))
conversation.send_message(options.prompt)
conversation.run()
print(f'ended: {conversation.state.execution_status}')
conversation.close()
