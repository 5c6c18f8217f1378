"""Reads the checkpoint and predicts the test rows again."""
# {{MARK}}
import train  # Before joblib: it says how many threads there are.

import joblib

checkpoint = joblib.load("checkpoint.joblib")
_, _, test, _ = train.load()
train.write(train.guess_with(checkpoint["model"], test, checkpoint["classes"]), checkpoint["classes"], "inferred.csv")
same = open("inferred.csv").read() == open("submission.csv").read()
print(f"the checkpoint gives {'the submission' if same else 'ANOTHER file'} again")
