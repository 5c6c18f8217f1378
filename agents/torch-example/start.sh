#!/bin/bash
# Started in the container as `bash /home/agent/start.sh`, as the user `nonroot`; arguments come from `kwargs` of agent.toml.
set -eo pipefail

cp "$AGENT_DIR/agent.py" "$CODE_DIR/"
# exec, so that the agent itself gets the SIGTERM that announces the end of its time.
exec "${PYTHON:-python3}" -u "$AGENT_DIR/agent.py" "$@"
