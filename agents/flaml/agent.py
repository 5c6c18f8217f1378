"""FLAML on a table: cheap and good models are searched for until the time is up.

A search goes over the time that it is given by the trial under way and a last fit. So it is done in rounds: each takes half of the time
that is left and goes on from the best that was found, and the predictions of each are written before the next. Those of a forest come first:
with a hundred classes a single trial can take longer than all the time.
"""
import argparse

import numpy as np
from flaml import AutoML

from task import SEED, Forest, Task, say

METRICS = {'log_loss': 'log_loss', 'roc_auc': 'roc_auc', 'accuracy': 'accuracy', 'rmse': 'rmse'}
# A round shorter than this, in seconds, finds nothing new.
SHORTEST = 8
# With more classes a model is tried once and not in folds.
MANY_CLASSES = 20


class Search:
    """The search for one target."""

    def __init__(self, task, target, options):
        self.task, self.target, self.options, self.is_done = task, target, options, False
        self.train, self.test = task.features(target)
        self.kind, self.ratio = task.kind(target), task.by_ratio(target)
        labels = task.train[target].reset_index(drop=True)
        self.known = labels.notna()
        self.labels = np.log1p(labels) if self.ratio else labels if self.kind == 'regression' else labels.astype(str)
        self.best = Forest(self.train[self.known], self.labels[self.known], self.kind, task.metric(target), options.jobs)
        self.folds = {'eval_method': 'holdout'} if self.kind == 'multiclass' and labels.nunique() > MANY_CLASSES else {'eval_method': 'cv', 'n_splits': 5}

    def go_on(self, budget, number):
        task = self.task
        say(f'{self.target}: {self.kind}, {task.metric(self.target)}, round {number}, {budget:.0f} s')
        begins = {name: config for name, config in self.best.best_config_per_estimator.items() if config}
        automl, left = AutoML(), task.left()
        automl.fit(self.train[self.known], self.labels[self.known], task='regression' if self.kind == 'regression' else 'classification',
                   metric=METRICS[task.metric(self.target)], time_budget=budget, estimator_list=self.options.estimators.split(','),
                   seed=SEED + number, n_jobs=self.options.jobs, early_stop=True, verbose=1, **self.folds,
                   **({'starting_points': begins} if begins else {}))
        say(f'best: {automl.best_estimator}, loss {automl.best_loss:.5f}, {automl.best_config}')
        # One that ended long before its time has converged.
        self.is_done = (left - task.left()) * 2 < budget / 2
        if automl.best_loss < self.best.best_loss:
            self.best = automl

    def answer(self):
        return self.task.answer(self.target, self.best, self.test)


def write(task, searches):
    task.write({search.target: search.answer() for search in searches})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=float, required=True, help='time for all targets together')
    parser.add_argument('--estimators', default='lgbm,xgboost,extra_tree,rf', help='kinds of models')
    parser.add_argument('--jobs', type=int, default=1, help='processors')
    options = parser.parse_args()
    task = Task(options.seconds)
    searches, number = [Search(task, target, options) for target in task.targets], 1
    write(task, searches)
    while searches:
        for at, search in enumerate(searches):
            search.go_on(task.left() / (len(searches) - at), number)
        write(task, searches)
        number += 1
        if all(search.is_done for search in searches) or task.left() / len(searches) < SHORTEST:
            break


if __name__ == '__main__':
    main()
