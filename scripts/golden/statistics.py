"""Writes tests/golden/statistics.json: intervals and tests from scipy and statsmodels.

Run: python3 scripts/golden/statistics.py > tests/golden/statistics.json
Needs: scipy, statsmodels (the versions used are written into the file).
"""

import json

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

rng = np.random.default_rng(20261124)


def t_interval(values):
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return {"values": values, "sem": stats.sem(values), "lower": low, "upper": high}


def wilson(k, n):
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    return {"successes": k, "n": n, "lower": low, "upper": high}


def sign_flip(values):
    test = stats.permutation_test(
        (values,), lambda d, axis: np.mean(d, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=np.inf, alternative="two-sided",
    )
    return {"differences": values, "p": test.pvalue}


def discordant(gained, lost):
    return {"gained": gained, "lost": lost, "p": mcnemar([[5, gained], [lost, 7]], exact=True).pvalue}


def holm(p):
    return {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def quantile(p, df):
    return {"p": p, "df": df, "value": stats.t.ppf(p, df)}


out = {
    "scipy": scipy.__version__,
    "statsmodels": statsmodels.__version__,
    "t_interval": [
        t_interval([0.25, 0.5]),
        t_interval([20 / 22, 19 / 22, 17 / 22]),
        t_interval([0.101, 0.103, 0.099, 0.1, 0.12]),
        t_interval(rng.random(30).round(6).tolist()),
    ],
    "wilson": [wilson(k, n) for k, n in [(0, 1), (1, 1), (0, 22), (11, 22), (22, 22), (3, 75), (74, 75), (140, 225)]],
    "sign_flip": [
        sign_flip([1 / 3, 0.5, 0.25]),
        sign_flip([1.0, -1.0, 1.0, 1.0, 1.0, 1.0]),
        sign_flip(rng.normal(0.3, 1, 12).round(6).tolist()),
        sign_flip(rng.integers(-3, 4, 11).astype(float).tolist()),
    ],
    "mcnemar": [discordant(b, c) for b, c in [(0, 0), (1, 0), (5, 1), (10, 10), (3, 14), (40, 21)]],
    "holm": [holm([0.01, 0.04, 0.03, 0.005]), holm([0.5, 0.9, 0.0001, 0.02, 0.02, 1.0])],
    "t_quantile": [quantile(p, df) for p in (0.95, 0.975, 0.9) for df in (1, 2, 3, 4, 9.5, 74, 300)],
}
print(json.dumps(out, indent=1))
