#!/bin/bash
# Started in the container as `bash /home/agent/start.sh`, as the user `nonroot`; arguments come from `kwargs` of agent.toml.
set -eo pipefail

cp "$AGENT_DIR/agent.py" "$CODE_DIR/"
python3 -u "$AGENT_DIR/agent.py" "$@" 2>&1 | tee "$LOGS_DIR/agent.log"
bash /home/validate_submission.sh "$SUBMISSION_DIR/submission.csv" || true
