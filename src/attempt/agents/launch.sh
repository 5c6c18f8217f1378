#!/bin/bash
# Runs an agent's command in a folder of its own, ends it before its time is up, and takes over what it leaves.
#
# usage: launch.sh [--seconds N] [--tty] [--validate-only] [--submission PATTERN]... [--logs PATTERN]... [--code PATTERN]... -- COMMAND...
#
#   --seconds      the command gets SIGTERM after so long, and SIGKILL half a minute later
#   --tty          give it a terminal
#   --validate-only  what it imports as `mlebench` validates and tells no score
#   --submission   files that may be the submission: the newest that is not empty is kept, also while the command runs
#   --logs, --code files and folders that are kept at the end
#
# Patterns are those of the shell, below the working folder unless they begin with a slash. The exit code is the command's.
set -u

home="${AGENT_DIR%/agent}"
seconds=0 tty=no submissions=() logs=() code=()
while [ $# -gt 0 ]; do
    case "$1" in
        --seconds) seconds="$2"; shift ;;
        --tty) tty=yes ;;
        --validate-only) export PYTHONPATH="$AGENT_DIR/validate_only${PYTHONPATH:+:$PYTHONPATH}" ;;
        --submission) submissions+=("$2"); shift ;;
        --logs) logs+=("$2"); shift ;;
        --code) code+=("$2"); shift ;;
        --) shift; break ;;
        *) echo "launch: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$home/work" && cd "$home/work" || exit 1
shopt -s nullglob globstar

kept=none
keep_submission() {
    local pattern file newest=
    for pattern in "${submissions[@]}"; do
        # Unquoted: the pattern is to be expanded, and nothing else.
        local IFS=
        for file in $pattern; do
            [ -f "$file" ] && [ -s "$file" ] && { [ -z "$newest" ] || [ "$file" -nt "$newest" ]; } && newest="$file"
        done
    done
    [ -n "$newest" ] || return 0
    local state
    state="$newest $(stat -c '%Y %s' -- "$newest")"
    [ "$state" = "$kept" ] && return 0
    # Moving is one step: no half-written file is ever graded.
    cp -- "$newest" "$SUBMISSION_DIR/.submission.csv" && mv -- "$SUBMISSION_DIR/.submission.csv" "$SUBMISSION_DIR/submission.csv" \
        && kept="$state"
}

keep() {
    local target="$1" pattern file IFS=
    shift
    for pattern in "$@"; do
        for file in $pattern; do
            cp -r --no-dereference --preserve=timestamps -- "$file" "$target/" 2>/dev/null
        done
    done
    return 0
}

if [ "$tty" = yes ]; then
    printf -v words '%q ' "$@"
    set -- script --quiet --flush --return --command "$words" /dev/null
fi
# A group of its own, so that all that the command starts ends with it.
set -m
"$@" < /dev/null &
command=$!
set +m

ended_by=
end() {
    ended_by="$1"
    kill -TERM -- "-$command" 2>/dev/null
    (sleep 30; kill -KILL -- "-$command" 2>/dev/null) &
    killer=$!
}
trap '[ -n "$ended_by" ] || end signal' TERM INT

started=$SECONDS
while kill -0 "$command" 2>/dev/null; do
    sleep 1 &
    wait $!
    [ $((SECONDS % 10)) -ne 0 ] || keep_submission
    if [ -z "$ended_by" ] && [ "$seconds" -gt 0 ] && [ $((SECONDS - started)) -ge "$seconds" ]; then
        echo "launch: $seconds s are over, ending the agent" >&2
        end time
    fi
done
wait "$command"
status=$?
[ -z "${killer-}" ] || kill "$killer" 2>/dev/null
keep_submission
keep "$LOGS_DIR" "${logs[@]}"
keep "$CODE_DIR" "${code[@]}"
# Being ended because its time was over is no failure of the agent.
[ "$ended_by" = time ] && status=0
exit "$status"
