"""FLAML on a table: cheap and good models are searched for until the time is up."""
import argparse

import numpy as np
import pandas as pd
from flaml import AutoML

from task import SEED, Task, say

METRICS = {'log_loss': 'log_loss', 'roc_auc': 'roc_auc', 'accuracy': 'accuracy', 'rmse': 'rmse'}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=float, required=True, help='time for all targets together')
    parser.add_argument('--estimators', default='lgbm,xgboost,extra_tree,rf', help='kinds of models')
    parser.add_argument('--jobs', type=int, default=1, help='processors')
    options = parser.parse_args()
    task = Task(options.seconds)
    answers = {}
    for target in task.targets:
        train, test = task.features(target)
        kind = task.kind(target)
        labels = task.train[target].reset_index(drop=True)
        known = labels.notna()
        ratio = task.by_ratio(target)
        labels = np.log1p(labels) if ratio else labels if kind == 'regression' else labels.astype(str)
        budget = task.left() / (len(task.targets) - len(answers))
        say(f'{target}: {kind}, {task.metric(target)}, {budget:.0f} s')
        automl = AutoML()
        automl.fit(train[known], labels[known], task='regression' if kind == 'regression' else 'classification',
                   metric=METRICS[task.metric(target)], time_budget=budget, estimator_list=options.estimators.split(','), seed=SEED + 1,
                   n_jobs=options.jobs, early_stop=True, verbose=1, eval_method='cv', n_splits=5)
        say(f'best: {automl.best_estimator}, loss {automl.best_loss:.5f}, {automl.best_config}')
        if kind == 'regression':
            guess = automl.predict(test)
            answers[target] = np.expm1(guess) if ratio else guess
        elif task.wants_chances(target):
            chances = pd.DataFrame(automl.predict_proba(test), columns=automl.classes_)
            answers[target] = chances if task.is_one_of_classes else chances.iloc[:, 1]
        else:
            names = {str(value): value for value in task.train[target].dropna().unique()}
            answers[target] = [names[str(value)] for value in automl.predict(test)]
    task.write(answers)
    say('wrote the predictions')


if __name__ == '__main__':
    main()
