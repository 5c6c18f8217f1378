"""AutoGluon on a table: bagged models, as many as fit into the time, after a forest whose predictions stay if none does."""
import argparse

import numpy as np
from autogluon.tabular import TabularPredictor

from task import Forest, Task, say

METRICS = {'log_loss': 'log_loss', 'roc_auc': 'roc_auc', 'accuracy': 'accuracy', 'rmse': 'root_mean_squared_error'}
MODELS = {'GBM': [{}, {'extra_trees': True, 'ag_args': {'name_suffix': 'XT'}}], 'CAT': {}, 'XGB': {}, 'RF': {}, 'XT': {}, 'LR': {}}
LABEL = 'the target'
# With more classes a model is tried once and not in folds.
MANY_CLASSES = 20


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=float, required=True, help='time for all targets together')
    parser.add_argument('--folds', type=int, default=5, help='parts of the bags')
    parser.add_argument('--jobs', type=int, default=1, help='processors')
    options = parser.parse_args()
    task = Task(options.seconds)
    tables = {target: task.features(target) for target in task.targets}
    answers = {}
    for target, (train, test) in tables.items():
        known, labels = labels_of(task, target)
        forest = Forest(train[known], labels[known], task.kind(target), task.metric(target), options.jobs)
        answers[target] = task.answer(target, forest, test)
    task.write(answers)
    for at, (target, (train, test)) in enumerate(tables.items()):
        try:
            fitted = fit(task, target, train, task.left() / (len(tables) - at), at, options)
        except RuntimeError as error:
            # Not one model was ready in time.
            say(f'{target}: the forest stays: {error}')
            continue
        answers[target] = answer(task, target, fitted, test)
        task.write(answers)


def labels_of(task, target):
    """Which rows have a label, and the labels, as logarithms or as names of classes."""
    labels = task.train[target].reset_index(drop=True)
    known = labels.notna()
    return known, np.log1p(labels) if task.by_ratio(target) else labels if task.kind(target) == 'regression' else labels.astype(str)


def fit(task, target, train, budget, number, options):
    known, labels = labels_of(task, target)
    kind = task.kind(target)
    say(f'{target}: {kind}, {task.metric(target)}, {budget:.0f} s')
    train = train.assign(**{LABEL: labels})
    # With many classes a bag of models takes longer than the time.
    folds = options.folds if kind != 'multiclass' or labels.nunique() <= MANY_CLASSES else 0
    predictor = TabularPredictor(label=LABEL, problem_type=kind, eval_metric=METRICS[task.metric(target)], path=f'models-{number}', verbosity=1)
    predictor.fit(train[known], time_limit=budget, hyperparameters=MODELS, num_bag_folds=folds, num_bag_sets=1 if folds else None,
                  num_stack_levels=0, dynamic_stacking=False, num_cpus=options.jobs, num_gpus=0,
                  ag_args_ensemble={'fold_fitting_strategy': 'sequential_local'})
    print(predictor.leaderboard().to_string(), flush=True)
    return predictor


def answer(task, target, predictor, test):
    if task.kind(target) == 'regression':
        guess = predictor.predict(test)
        return np.expm1(guess) if task.by_ratio(target) else guess
    if task.wants_chances(target):
        chances = predictor.predict_proba(test)
        return chances.reset_index(drop=True) if task.is_one_of_classes else chances[chances.columns[1]]
    names = {str(value): value for value in task.train[target].dropna().unique()}
    return [names[str(value)] for value in predictor.predict(test)]


if __name__ == '__main__':
    main()
