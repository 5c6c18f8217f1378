from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler


def columns_of(table):
    """What both tables have, with clock times and dates taken apart."""
    out = table.copy()
    for name in list(out.columns):
        column = out[name]
        if column.dtype == bool:
            out[name] = column.astype(int)
        if column.dtype != object:
            continue
        text = column.dropna().astype(str)
        if len(text) and text.str.fullmatch(r"\d{1,2}:\d{2}").all():
            parts = column.str.split(":", expand=True).astype(float)
            out[name] = parts[0] * 60 + parts[1]
            out[name + " hour"] = parts[0].map(lambda hour: f"{hour:.0f}")
        elif len(text) and text.str.contains(r"[/_]").mean() > 0.9:
            parts = column.str.split("[/_]", expand=True, regex=True)
            for at in parts.columns[:4]:
                part = pd.to_numeric(parts[at], errors="coerce")
                out[f"{name} part {at}"] = part if part.notna().mean() > 0.5 else parts[at]
            out = out.drop(columns=name)
        elif text.nunique() > max(50, len(text) / 4):
            out = out.drop(columns=name)
    return out


def load():
    train, test = pd.read_csv(DATA / "train.csv"), pd.read_csv(DATA / "test.csv")
    test = test.set_index(ID).loc[SAMPLE[ID]].reset_index()
    y = train[TARGETS[0]].to_numpy()
    shared = [name for name in test.columns if name in train.columns and name != ID]
    x = columns_of(pd.concat([train[shared], test[shared]], ignore_index=True))
    by_class = METRIC not in ("rmsle", "rmse", "mae")
    maker = StratifiedKFold if by_class else KFold
    folds = list(maker({{FOLDS}}, shuffle=True, random_state=0).split(np.zeros(len(y)), y))
    return Rows(x.iloc[:len(train)]), y, Rows(x.iloc[len(train):].reset_index(drop=True)), folds


class Rows:
    """A table that gives rows by position, as arrays do."""

    def __init__(self, table):
        self.table, self.shape = table, table.shape

    def __getitem__(self, rows):
        return Rows(self.table.iloc[rows])


class OnTable:
    """A scikit-learn model on such a table; logarithms where the metric compares them."""

    def __init__(self, model):
        self.model = model

    def fit(self, x, y):
        self.model.fit(x.table, np.log1p(y) if METRIC == "rmsle" else y)
        return self

    def predict(self, x):
        guess = self.model.predict(x.table)
        return np.expm1(guess) if METRIC == "rmsle" else guess

    def predict_proba(self, x):
        return self.model.predict_proba(x.table)


NUMBERS = make_column_selector(dtype_include="number")
WORDS = make_column_selector(dtype_exclude="number")
BY_CLASS = METRIC not in ("rmsle", "rmse", "mae")
# == linear
from sklearn.linear_model import LogisticRegression, Ridge


def make(strength):
    """A linear model on scaled numbers and one column for each frequent word."""
    features = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), NUMBERS),
        ("words", make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore", min_frequency=10)), WORDS),
    ])
    model = LogisticRegression(C=strength, max_iter=1000) if BY_CLASS else Ridge(1 / strength)
    return OnTable(make_pipeline(features, model))
# == boost
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


class Bag:
    """The mean of boosted trees that differ by their seed; words become codes and shares of the target."""

    def __init__(self, leaves, rounds, models):
        self.leaves, self.rounds, self.models = leaves, rounds, models

    def shares(self, x, words):
        return np.column_stack([words[name].map(self.table[name]).fillna(self.mean) for name in words.columns] or [np.zeros((len(x), 0))])

    def features(self, table, train=None):
        numbers = table.select_dtypes("number").to_numpy(float)
        words = table.select_dtypes(exclude="number").fillna("none").astype(str)
        codes = self.codes.transform(words) if words.shape[1] else np.zeros((len(table), 0))
        return np.hstack([numbers, codes, self.shares(table, words)])

    def fit(self, x, y):
        table = x.table
        words = table.select_dtypes(exclude="number").fillna("none").astype(str)
        target = (y == y.max()).astype(float) if BY_CLASS else (np.log1p(y) if METRIC == "rmsle" else y.astype(float))
        self.mean, self.table = target.mean(), {}
        for name in words.columns:
            groups = pd.Series(target).groupby(words[name].to_numpy()).agg(["sum", "count"])
            self.table[name] = (groups["sum"] + 20 * self.mean) / (groups["count"] + 20)
        self.codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        if words.shape[1]:
            self.codes.fit(words)
        features = self.features(table)
        maker = HistGradientBoostingClassifier if BY_CLASS else HistGradientBoostingRegressor
        self.fitted = [
            maker(max_iter=self.rounds, max_leaf_nodes=self.leaves, learning_rate=0.05, l2_regularization=1.0, random_state=SEED + at).fit(
                features[rows], y[rows] if BY_CLASS else target[rows])
            for at, rows in enumerate(self.draws(len(y)))
        ]
        return self

    def draws(self, n):
        draw = np.random.default_rng(SEED)
        return [draw.permutation(n)[: int(0.85 * n)] if self.models > 1 else np.arange(n) for _ in range(self.models)]

    def predict_proba(self, x):
        features = self.features(x.table)
        return np.mean([model.predict_proba(features) for model in self.fitted], axis=0)

    def predict(self, x):
        guess = np.mean([model.predict(self.features(x.table)) for model in self.fitted], axis=0)
        return np.expm1(guess) if METRIC == "rmsle" else guess


def make(leaves, rounds, models):
    return Bag(leaves, rounds, models)
# == forest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor


def make(leaf):
    """Extremely random trees on codes."""
    features = ColumnTransformer([
        ("numbers", SimpleImputer(strategy="constant", fill_value=-1), NUMBERS),
        ("words", make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), WORDS),
    ])
    maker = ExtraTreesClassifier if BY_CLASS else ExtraTreesRegressor
    return OnTable(make_pipeline(features, maker(50, min_samples_leaf=leaf, max_features=0.5, random_state=SEED)))
