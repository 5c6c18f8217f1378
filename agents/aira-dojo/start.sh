#!/bin/bash
# Lays the data out as AIRA-dojo wants them, starts it with the gateway as the client of each operator, and takes the submission of the
# solution that it finds best.
set -u
solver=
for word in "$@"; do
    case "$word" in solver=*) solver="${word#solver=}" ;; esac
done
operators="analyze debug draft improve"
case "$solver" in */evo*) operators="$operators crossover" ;; esac
words=()
for operator in $operators; do
    model="$AIRA_CODE" client="solver.operators.$operator.llm.client"
    [ "$operator" = analyze ] && model="$AIRA_FEEDBACK"
    words+=("solver/client@$client=litellm_4o" "$client.model_id='$model'" "$client.base_url='$OPENAI_BASE_URL'" "$client.use_azure_client=False")
done
mkdir -p "dataset/$COMPETITION_ID/prepared"
ln -sfn "$DATA_DIR" "dataset/$COMPETITION_ID/prepared/public"
export MLE_BENCH_DATA_DIR="$PWD/dataset" LOGGING_DIR="$PWD/aira" SUPERIMAGE_DIR="$PWD" PRIMARY_KEY="$OPENAI_API_KEY" USER="${USER:-nonroot}"
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$AGENT_DIR/program/src"
"${PYTHON:-python3}" -m dojo.main_run "$@" "${words[@]}" &
child=$!
# A signal for the group ends the program; the best of what it has is still taken.
trap : TERM
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
done
"${PYTHON:-python3}" "$AGENT_DIR/best.py" aira validated best
exit "$status"
