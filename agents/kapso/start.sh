#!/bin/bash
# Starts KAPSO's MLE-bench runner on a copy whose settings name the models of this run. Nothing is asked of the internet.
set -eu
cp -r "$AGENT_DIR/program" program
sed -i -E \
    -e "s#^( *idea_generation_model:).*#\1 \"$KAPSO_IDEA\"#" \
    -e "s#^( *- )\"[^\"]*\"\$#\1\"$KAPSO_IDEA\"#" \
    -e "s#^( *(debug_)?model:).*#\1 \"$KAPSO_CODE\"#" \
    -e "s#^( *fetch_huggingface_models:).*#\1 false#" \
    program/benchmarks/mle/config.yaml
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD/program:$PWD/program/src" MLE_SEED="$SEED" CUDA_DEVICE=0
export GIT_AUTHOR_NAME=agent GIT_AUTHOR_EMAIL=agent@example.org GIT_COMMITTER_NAME=agent GIT_COMMITTER_EMAIL=agent@example.org
exec "${PYTHON:-python3}" -m benchmarks.mle.runner "$@" --no-kg
