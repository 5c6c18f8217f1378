#!/bin/bash
# Lays the data out as MLEvolve wants them and starts it; its own grading server, which needs the answers, is not started: the harness
# answers at GRADING_SERVER_PORT and never tells a score.
set -eu
mkdir -p "dataset/$COMPETITION_ID/prepared"
ln -sfn "$DATA_DIR" "dataset/$COMPETITION_ID/prepared/public"
exec "${PYTHON:-python3}" "$AGENT_DIR/program/run.py" "$@" \
    "agent.code.base_url=$OPENAI_BASE_URL" "agent.code.api_key=$OPENAI_API_KEY" \
    "agent.feedback.base_url=$OPENAI_BASE_URL" "agent.feedback.api_key=$OPENAI_API_KEY"
