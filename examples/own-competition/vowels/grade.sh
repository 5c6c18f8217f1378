#!/bin/sh
# usage: grade.sh SUBMISSION ANSWERS. Prints {"score": NUMBER}, or {"invalid": "REASON"} for a submission without a score.
# The score is the share of words whose vowels were counted right, or that are off by one at half the credit.
set -eu
awk -F, '
    FNR == 1 { next }
    NR == FNR { count[$1] = $2; next }
    count[$1] !~ /^[0-9]+$/ { printf "{\"invalid\": \"word %s has no whole number\"}\n", $1; bad = 1; exit }
    { off = count[$1] - $2; total++; credit += off == 0 ? 1 : (off == 1 || off == -1) ? 0.5 : 0 }
    END { if (!bad) printf "{\"score\": %.10f}\n", credit / total }
' "$1" "$2"
