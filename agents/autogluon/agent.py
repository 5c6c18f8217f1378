"""AutoGluon on a table: bagged and stacked models, as many as fit into the time."""
import argparse

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor

from task import SEED, Task, say

METRICS = {'log_loss': 'log_loss', 'roc_auc': 'roc_auc', 'accuracy': 'accuracy', 'rmse': 'root_mean_squared_error'}
MODELS = {'GBM': [{}, {'extra_trees': True, 'ag_args': {'name_suffix': 'XT'}}], 'CAT': {}, 'XGB': {}, 'RF': {}, 'XT': {}, 'LR': {}}
LABEL = 'the target'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=float, required=True, help='time for all targets together')
    parser.add_argument('--folds', type=int, default=5, help='parts of the bags')
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
        train[LABEL] = np.log1p(labels) if ratio else labels if kind == 'regression' else labels.astype(str)
        budget = task.left() / (len(task.targets) - len(answers))
        say(f'{target}: {kind}, {task.metric(target)}, {budget:.0f} s')
        predictor = TabularPredictor(label=LABEL, problem_type=kind, eval_metric=METRICS[task.metric(target)], path=f'models-{len(answers)}',
                                     verbosity=1)
        predictor.fit(train[known], time_limit=budget, hyperparameters=MODELS, num_bag_folds=options.folds, num_bag_sets=1,
                      num_stack_levels=0, dynamic_stacking=False, num_cpus=options.jobs, num_gpus=0,
                      ag_args_ensemble={'fold_fitting_strategy': 'sequential_local'})
        print(predictor.leaderboard().to_string(), flush=True)
        if kind == 'regression':
            guess = predictor.predict(test)
            answers[target] = np.expm1(guess) if ratio else guess
        elif task.wants_chances(target):
            chances = predictor.predict_proba(test)
            answers[target] = chances.reset_index(drop=True) if task.is_one_of_classes else chances[chances.columns[1]]
        else:
            names = {str(value): value for value in task.train[target].dropna().unique()}
            answers[target] = [names[str(value)] for value in predictor.predict(test)]
    task.write(answers)
    say('wrote the predictions')


if __name__ == '__main__':
    main()
