"""{{TITLE}}"""
# {{MARK}}
import json
import os
import pathlib
import shutil
import sys
import time
import warnings

# As many threads as there are processors to use: more would wait for one another. Before the first import that starts any.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, str(max(1, int(float(os.environ.get("MEDALIST_CPUS") or os.cpu_count() or 1)))))

import joblib
import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.model_selection import KFold, StratifiedKFold

DATA = pathlib.Path(os.environ.get("DATA_DIR", "{{DATA}}"))
SEED = int(os.environ.get("SEED", "0"))
MODEL = "{{MODEL}}"
SETTINGS = {{SETTINGS}}
METRIC = "{{METRIC}}"
LOWER_IS_BETTER = METRIC in ("log_loss", "rmsle", "rmse", "mae")
STARTED = time.monotonic()
warnings.filterwarnings("ignore")

SAMPLE = pd.read_csv(sorted(DATA.glob("[sS]ample*ubmission*.csv"))[0])
ID, TARGETS = SAMPLE.columns[0], list(SAMPLE.columns[1:])


def say(line):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {line}", flush=True)


def score(y, guess, classes):
    """The competition's metric; `guess` holds a chance for each class, or a value a row."""
    if classes is not None:
        if METRIC == "roc_auc":
            return metrics.roc_auc_score(y == classes[-1], guess[:, -1])
        if METRIC == "log_loss":
            return metrics.log_loss(y, guess, labels=classes)
        named = classes[guess.argmax(axis=1)]
        return metrics.f1_score(y, named, average="macro") if METRIC == "f1" else metrics.accuracy_score(y, named)
    if METRIC == "rmsle":
        return metrics.mean_squared_log_error(y, np.maximum(guess, 0)) ** 0.5
    if METRIC == "mae":
        return metrics.mean_absolute_error(y, guess)
    return metrics.mean_squared_error(y, guess) ** 0.5


def better(a, b):
    return b is None or (a < b if LOWER_IS_BETTER else a > b)


def chances(model, x):
    """A chance for each class, whatever the model offers."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(x)
    raw = model.decision_function(x)
    raw = np.column_stack([-raw, raw]) if raw.ndim == 1 else raw
    raw = np.exp(3 * (raw - raw.max(axis=1, keepdims=True)))
    return raw / raw.sum(axis=1, keepdims=True)
