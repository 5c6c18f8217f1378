#!/bin/bash
# Runs Codex on a prompt: start.sh MODEL PROMPT. Its own provider cannot be moved, so the gateway is one of its own.
set -eu
gateway="{ name = \"gateway\", base_url = \"$OPENAI_BASE_URL\", env_key = \"OPENAI_API_KEY\", wire_api = \"responses\", stream_idle_timeout_ms = 3600000 }"
exec codex exec --json --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox \
    -c "model_providers.gateway=$gateway" -c 'model_provider="gateway"' -c 'web_search="disabled"' \
    --model "$1" "$2"
