"""FLAML on a table: cheap and good models are searched for until the time is up.

A search goes over the time that it is given by the trial under way and a last fit. So it is done in rounds: each takes half of the time
that is left and goes on from the best that was found, and the predictions of each are written before the next. Those of a forest come first:
with a hundred classes a single trial can take longer than all the time.
"""
import argparse

import numpy as np
import pandas as pd
from flaml import AutoML
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from task import SEED, Task, say

METRICS = {'log_loss': 'log_loss', 'roc_auc': 'roc_auc', 'accuracy': 'accuracy', 'rmse': 'rmse'}
# A round shorter than this, in seconds, finds nothing new.
SHORTEST = 8
# With more classes a model is tried once and not in folds.
MANY_CLASSES = 20
TREES, ROWS = 200, 20_000


class Forest:
    """Extra trees without a search, with the answers of a search."""

    best_loss, best_config_per_estimator = float('inf'), {}

    def __init__(self, train, labels, kind, jobs):
        make = ExtraTreesRegressor if kind == 'regression' else ExtraTreesClassifier
        self.model = make(TREES, bootstrap=True, max_samples=min(len(train), ROWS), random_state=SEED, n_jobs=jobs).fit(self.numbers(train), labels)
        self.classes_ = getattr(self.model, 'classes_', None)

    @staticmethod
    def numbers(table):
        """Both tables have the same categories, in the same order."""
        return table.apply(lambda column: column.cat.codes if column.dtype == 'category' else column).fillna(-1)

    def predict(self, table):
        return self.model.predict(self.numbers(table))

    def predict_proba(self, table):
        return self.model.predict_proba(self.numbers(table))


class Search:
    """The search for one target."""

    def __init__(self, task, target, options):
        self.task, self.target, self.options, self.is_done = task, target, options, False
        self.train, self.test = task.features(target)
        self.kind, self.ratio = task.kind(target), task.by_ratio(target)
        labels = task.train[target].reset_index(drop=True)
        self.known = labels.notna()
        self.labels = np.log1p(labels) if self.ratio else labels if self.kind == 'regression' else labels.astype(str)
        self.best = Forest(self.train[self.known], self.labels[self.known], self.kind, options.jobs)
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
        task, automl = self.task, self.best
        if self.kind == 'regression':
            guess = automl.predict(self.test)
            return np.expm1(guess) if self.ratio else guess
        if task.wants_chances(self.target):
            chances = pd.DataFrame(automl.predict_proba(self.test), columns=automl.classes_)
            return chances if task.is_one_of_classes else chances.iloc[:, 1]
        names = {str(value): value for value in task.train[self.target].dropna().unique()}
        return [names[str(value)] for value in automl.predict(self.test)]


def write(task, searches):
    task.write({search.target: search.answer() for search in searches})
    say('wrote the predictions')


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
