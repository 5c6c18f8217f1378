"""Reads a tabular or text task as numbers and categories, and writes a submission. The same file serves flaml and autogluon.

What is asked for is the columns of the sample submission that the test table lacks. They are columns of the training table, or the
classes of its one column that the test table lacks.
"""
import glob
import os
import pathlib
import re
import time

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold

DATA = pathlib.Path(os.environ.get('DATA_DIR', '/home/data'))
TARGET = pathlib.Path(os.environ.get('SUBMISSION_DIR', '/home/submission')) / 'submission.csv'
SEED = int(os.environ.get('SEED', '0'))
STARTED = time.monotonic()

# Words of a text are counted up to so many kinds, and pressed into so many numbers.
WORDS, TOPICS, FOLDS = 60_000, 32, 5
# With more rows times classes than this, a linear model on words is fitted in passes, which takes seconds in place of minutes.
MANY = 20_000
# Letters in words are only counted where there are so many seconds.
ENOUGH = 300
# A forest that answers before any search: its trees, and the rows that each sees.
TREES, ROWS = 200, 20_000
# Pictures up to this many pixels a side are read as numbers.
SMALL_PICTURE = 32


def say(line):
    print(f'[{time.monotonic() - STARTED:6.1f} s] {line}', flush=True)


def table(path):
    return pd.read_json(path) if path.suffix == '.json' else pd.read_csv(path)


def find(pattern):
    """The file with the shortest name that fits: `train.csv` before `train_extra.csv`."""
    files = [pathlib.Path(f) for ext in ('csv', 'json') for f in glob.glob(f'{DATA}/**/{pattern}.{ext}', recursive=True)]
    return min(files, key=lambda file: (len(file.parts), len(file.name), file.name), default=None)


class Forest:
    """Extra trees without a search, which answer as a model that was searched for does."""

    best_config_per_estimator = {}

    def __init__(self, train, labels, kind, metric, jobs):
        make = ExtraTreesRegressor if kind == 'regression' else ExtraTreesClassifier
        self.model = make(TREES, bootstrap=True, oob_score=True, max_samples=min(len(train), ROWS), random_state=SEED, n_jobs=jobs)
        self.model.fit(self.numbers(train), labels)
        self.classes_ = getattr(self.model, 'classes_', None)
        self.best_loss = self.loss(labels, metric)

    def loss(self, labels, metric):
        """What it loses on rows by the trees that have not seen them."""
        if self.classes_ is None:
            return float(np.sqrt(np.nanmean((np.asarray(labels) - self.model.oob_prediction_) ** 2)))
        guesses, truth = np.nan_to_num(self.model.oob_decision_function_), np.searchsorted(self.classes_, labels)
        if metric == 'accuracy':
            return float(np.mean(guesses.argmax(axis=1) != truth))
        if metric == 'roc_auc':
            return float(1 - roc_auc_score(truth, guesses[:, 1]))
        return float(-np.log(np.clip(guesses[np.arange(len(truth)), truth], 1e-15, 1)).mean())

    @staticmethod
    def numbers(table):
        """Both tables have the same categories, in the same order."""
        return table.apply(lambda column: column.cat.codes if column.dtype == 'category' else column).fillna(-1)

    def predict(self, table):
        return self.model.predict(self.numbers(table))

    def predict_proba(self, table):
        return self.model.predict_proba(self.numbers(table))


class Task:
    """The tables of a competition and what it asks for."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.sample = table(find('*ample*ubmission*'))
        # A valid file from the first second on: whatever is here when time is up is graded.
        self.sample.to_csv(TARGET, index=False)
        train, test = find('train*'), find('test*')
        if train is None:
            raise SystemExit('there is no table to learn from: the sample submission stays')
        # Where only pictures are to be predicted, there is no table of them.
        self.train, self.test = table(train), self.sample.iloc[:, :1] if test is None else table(test)
        self.description = (DATA / 'description.md').read_text(errors='replace').lower()
        self.columns = [name for name in self.sample.columns if name not in self.test.columns]
        self.keys = [name for name in self.sample.columns if name in self.test.columns]
        if not self.columns or len(self.test) != len(self.sample):
            raise SystemExit('the sample submission does not go row by row with the test table: it stays')
        unknown = [name for name in self.train.columns if name not in self.test.columns and name not in self.keys]
        if all(name in self.train.columns for name in self.columns):
            self.targets = self.columns
        else:
            # A column for each class may begin with a word that the classes lack: `digit_0`.
            begins = os.path.commonprefix([str(name) for name in self.columns]) if len(self.columns) > 1 else ''
            names = {str(name): name for name in self.columns} | {str(name).removeprefix(begins): name for name in self.columns}
            fits = [name for name in unknown if set(self.train[name].dropna().astype(str)) <= set(names)]
            self.column_of = names
            if not fits and len(unknown) == 1 == len(self.columns):
                fits = unknown
            if not fits:
                raise SystemExit(f'none of {unknown} holds {self.columns[:5]}: the sample submission stays')
            self.targets = fits[:1]

    @property
    def is_one_of_classes(self):
        """Whether a column is asked for each class of the target."""
        return self.targets != self.columns and len(self.columns) > 1

    def kind(self, target):
        """`regression`, `binary` or `multiclass`."""
        values = self.train[target].dropna()
        if self.is_one_of_classes:
            return 'multiclass'
        if values.nunique() == 2:
            return 'binary'
        is_number = pd.api.types.is_numeric_dtype(values)
        return 'regression' if is_number and (pd.api.types.is_float_dtype(values) or values.nunique() > 30) else 'multiclass'

    def wants_chances(self, target):
        """Whether probabilities are asked for: of each class, or of the second of two."""
        column = self.columns[self.targets.index(target)] if not self.is_one_of_classes else self.columns[0]
        return self.is_one_of_classes or bool(re.search(r'probabilit|log.?loss|\bauc\b|area under', self.description)) or (
            pd.api.types.is_float_dtype(self.sample[column]) and self.kind(target) == 'binary')

    def by_ratio(self, target):
        """Whether the metric compares logarithms."""
        values = self.train[target]
        return self.kind(target) == 'regression' and (values >= 0).all() and bool(re.search(r'rmsle|logarithm', self.description))

    def left(self):
        """Seconds that may go into the search: half of those left, since a trial under way and the last fit go over it."""
        return max(5.0, (self.seconds - (time.monotonic() - STARTED) - 15) * 0.5)

    def metric(self, target):
        """`log_loss`, `roc_auc`, `accuracy` or `rmse`: what comes nearest to the competition's."""
        if self.kind(target) == 'regression':
            return 'rmse'
        if self.kind(target) == 'binary' and re.search(r'\bauc\b|area under', self.description):
            return 'roc_auc'
        return 'log_loss' if self.wants_chances(target) else 'accuracy'

    def features(self, target):
        """Two tables with the same columns: numbers and categories of train and test."""
        shared = [name for name in self.test.columns if name in self.train.columns and name not in self.targets]
        a, b = {}, {}
        for name in shared:
            both = pd.concat([self.train[name], self.test[name]], ignore_index=True)
            if both.map(lambda value: isinstance(value, (list, dict))).any():
                both = both.map(str)
            if name in self.keys and both.nunique() == len(both) and not self._pictures(name, both, a, b):
                # A key that is a date or a code says something.
                if not (re.search(r'[/_]', str(both.iloc[0])) or is_date(both)):
                    continue
            for part, values in self._parts(name, both):
                cut = len(self.train)
                a[part], b[part] = values.iloc[:cut].reset_index(drop=True), values.iloc[cut:].reset_index(drop=True)
        texts = [name for name in shared if is_text(self.train[name])]
        if texts:
            say(f'texts: {texts}')
            for part, (one, other) in self._texts(texts, target).items():
                a[part], b[part] = one, other
        a, b = pd.DataFrame(a), pd.DataFrame(b)
        if a.empty:
            raise SystemExit('there is nothing to learn from: the sample submission stays')
        say(f'{len(a)} rows to learn from, {len(b)} to predict, {a.shape[1]} columns')
        return a, b

    def _pictures(self, name, both, a, b):
        """Pixels of small pictures that are named after the key; False if there are none."""
        names = both.astype(str)
        first = glob.glob(f'{DATA}/**/{glob.escape(names.iloc[0])}*.png', recursive=True)
        if not first:
            return False
        from PIL import Image
        where = {pathlib.Path(f).stem: f for f in glob.glob(f'{DATA}/**/*.png', recursive=True)}
        with Image.open(first[0]) as picture:
            if max(picture.size) > SMALL_PICTURE:
                return False
        pixels = np.stack([np.asarray(Image.open(where[pathlib.Path(n).stem]).convert('L'), dtype=float).ravel() for n in names])
        for index in range(pixels.shape[1]):
            a[f'pixel {index}'], b[f'pixel {index}'] = pixels[:len(self.train), index], pixels[len(self.train):, index]
        return True

    def _parts(self, name, both):
        if pd.api.types.is_bool_dtype(both):
            yield name, both.astype(int)
        elif pd.api.types.is_numeric_dtype(both):
            yield name, both.astype(float)
        else:
            texts = both.astype('object').where(both.notna(), '').astype(str)
            dates = pd.to_datetime(texts.where(texts != ''), errors='coerce', format='mixed') if is_date(both) else None
            if dates is not None and dates.notna().mean() > 0.9:
                yield f'{name}/day', (dates - dates.min()).dt.days.astype(float)
                for part in ('hour', 'dayofweek', 'day', 'month'):
                    values = getattr(dates.dt, part).astype(float)
                    if values.nunique() > 1:
                        yield f'{name}/{part}', values
                return
            for sign in '/_':
                split = texts[texts != ''].str.count(re.escape(sign))
                if len(split) and split.nunique() == 1 and split.iloc[0] > 0:
                    for index, part in enumerate(range(int(split.iloc[0]) + 1)):
                        values = texts.str.split(sign).map(lambda words, i=part: words[i] if i < len(words) else '')
                        numbers = pd.to_numeric(values, errors='coerce')
                        yield f'{name}/{index}', numbers if numbers.notna().mean() > 0.9 else values.astype('category')
                    return
            yield f'{name}/length', texts.str.len().astype(float)
            if texts.nunique() * 4 < len(texts):
                yield name, texts.where(texts != '', 'missing').astype('category')

    def _texts(self, names, target):
        """Topics, and what a linear model on words says; of rows it learns from, by models that have not seen them."""
        words = lambda table: table[names].fillna('').astype(str).agg(' '.join, axis=1)
        both = pd.concat([words(self.train), words(self.test)])
        kinds = [TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=WORDS, strip_accents='unicode')]
        if self.seconds >= ENOUGH:
            kinds.append(TfidfVectorizer(sublinear_tf=True, analyzer='char_wb', ngram_range=(2, 5), min_df=3, max_features=WORDS))
        counted = sparse.hstack([kind.fit_transform(both) for kind in kinds]).tocsr()
        x, z = counted[:len(self.train)], counted[len(self.train):]
        topics = TruncatedSVD(min(TOPICS, x.shape[1] - 1), random_state=SEED).fit(x)
        a, b = topics.transform(x), topics.transform(z)
        found = {f'topic {i}': (a[:, i], b[:, i]) for i in range(a.shape[1])}
        y = self.train[target]
        is_number = self.kind(target) == 'regression'
        y = np.log1p(y) if self.by_ratio(target) else y
        is_large = not is_number and len(y) * y.nunique() > MANY
        passes = lambda: SGDClassifier(loss='log_loss', alpha=3e-6, max_iter=12, tol=None, random_state=SEED)
        make = (lambda: Ridge(alpha=1.0)) if is_number else passes if is_large else (lambda: LogisticRegression(C=8, max_iter=100, tol=1e-3))
        says = (lambda m, of: m.predict(of)[:, None]) if is_number else (lambda m, of: m.predict_proba(of))
        folds = (KFold if is_number else StratifiedKFold)(FOLDS, shuffle=True, random_state=SEED)
        labels = y.to_numpy() if is_number else y.astype(str).to_numpy()
        out, ahead = None, []
        for learn, rest in folds.split(x, labels):
            model = make().fit(x[learn], labels[learn])
            guess = says(model, x[rest])
            out = np.zeros((x.shape[0], guess.shape[1])) if out is None else out
            out[rest] = guess
            ahead.append(says(model, z))
        ahead = np.mean(ahead, axis=0)
        return found | {f'words {i}': (out[:, i], ahead[:, i]) for i in range(out.shape[1])}

    def answer(self, target, model, test):
        """What a model of this target says of the test table, in the form that `write` takes."""
        if self.kind(target) == 'regression':
            guess = model.predict(test)
            return np.expm1(guess) if self.by_ratio(target) else guess
        if self.wants_chances(target):
            chances = pd.DataFrame(model.predict_proba(test), columns=model.classes_)
            return chances if self.is_one_of_classes else chances.iloc[:, 1]
        names = {str(value): value for value in self.train[target].dropna().unique()}
        return [names[str(value)] for value in model.predict(test)]

    def write(self, answers):
        """Writes a submission: for each target its values, or a table of the chances of classes."""
        made = self.sample.copy()
        for name in self.keys:
            made[name] = self.test[name].to_numpy()
        for target, values in answers.items():
            if self.is_one_of_classes:
                made[self.columns] = 0.0
                for name in values:
                    made[self.column_of[str(name)]] = values[name].to_numpy()
            else:
                made[self.columns[self.targets.index(target)]] = np.asarray(values)
        aside = TARGET.with_name('.submission.csv')
        made[self.sample.columns].to_csv(aside, index=False)
        aside.replace(TARGET)
        say('wrote the predictions')


def is_date(column):
    return bool(re.match(r'\d{4}-\d\d', str(column.iloc[0])))


def is_text(column):
    if pd.api.types.is_numeric_dtype(column) or column.map(lambda value: isinstance(value, (list, dict))).any():
        return False
    return column.dropna().astype(str).str.split().str.len().mean() >= 2.5 and column.nunique() * 2 > len(column)
