#!/bin/bash
# Lays the data out as ML-Master wants them and starts it. Its own validation server, which needs the answers, is not started: its client
# asks the harness, which never tells a score.
set -eu
mkdir -p "dataset/$COMPETITION_ID/prepared"
ln -sfn "$DATA_DIR" "dataset/$COMPETITION_ID/prepared/public"
{ cat "${AGENT_DIR%/agent}/instructions.txt"; echo; cat "$DATA_DIR/description.md"; } > full_instructions.txt
# The server's address is part of the program.
cp -r "$AGENT_DIR/program" program
sed -i -E "s#http://(127\.0\.0\.1|localhost):[0-9]+#http://127.0.0.1:${GRADING_SERVER_PORT:-5000}#" program/utils/server_utils.py
seconds="$TIME_LIMIT_SECS"
export TIME_LIMIT="$((seconds / 3600))hrs $((seconds % 3600 / 60))mins $((seconds % 60))secs" MEMORY_INDEX=0
exec "${PYTHON:-python3}" program/main_mcts.py "$@" \
    "agent.code.base_url=$OPENAI_BASE_URL" "agent.code.api_key=$OPENAI_API_KEY" \
    "agent.feedback.base_url=$OPENAI_BASE_URL" "agent.feedback.api_key=$OPENAI_API_KEY"
