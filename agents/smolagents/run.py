"""Runs smolagents' CodeAgent on a task, with every package at hand and files open to it."""
import argparse
import os

from smolagents import CodeAgent, OpenAIModel

parser = argparse.ArgumentParser()
parser.add_argument('--model', required=True)
parser.add_argument('--prompt', required=True)
parser.add_argument('--steps', type=int, required=True)
parser.add_argument('--seconds', type=int, required=True, help='for one action')
options = parser.parse_args()

model = OpenAIModel(model_id=options.model, api_base=os.environ['OPENAI_BASE_URL'], api_key=os.environ['OPENAI_API_KEY'])
# The container is the sandbox: the interpreter's own list of imports, and its limit on time, would only keep models from training.
agent = CodeAgent(tools=[], model=model, max_steps=max(options.steps, 10), additional_authorized_imports=['*'],
                  executor_kwargs={'additional_functions': {'open': open}, 'timeout_seconds': options.seconds})
print(agent.run(options.prompt))
