#!/bin/sh
# There is nothing to learn from: all words are for testing.
set -eu
cp "$RAW_DIR/words.csv" "$PUBLIC_DIR/test.csv"
awk -F, 'NR == 1 { print "id,vowels"; next } { n = gsub(/[aeiou]/, "", $2); print $1 "," n }' "$RAW_DIR/words.csv" > "$PRIVATE_DIR/answers.csv"
awk -F, 'NR == 1 { print; next } { print $1 ",2" }' "$PRIVATE_DIR/answers.csv" > "$PUBLIC_DIR/sample_submission.csv"
