from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

DATE = "{{DATE}}"
LOGARITHMS = METRIC == "rmsle"


def load():
    train, test = pd.read_csv(DATA / "train.csv"), pd.read_csv(DATA / "test.csv")
    test = test.set_index(ID).loc[SAMPLE[ID]].reset_index()
    order = pd.to_datetime(train[DATE]).to_numpy().argsort(kind="stable")
    train = train.iloc[order].reset_index(drop=True)
    y = train[TARGETS[0]].to_numpy(float)
    both = pd.concat([train.drop(columns=TARGETS[0]), test], ignore_index=True)
    moment = pd.to_datetime(both[DATE])
    hour, weekday = moment.dt.hour, moment.dt.dayofweek
    rest = both.drop(columns=[name for name in {ID, DATE} if name in both])
    words = [name for name in rest.columns if rest[name].dtype == object]
    numbers = rest.drop(columns=words)
    free = numbers[[name for name in numbers if "workingday" in name.lower()]]
    free = free.iloc[:, 0] if free.shape[1] else (weekday < 5).astype(int)
    parts = [pd.get_dummies(hour.astype(str) + "/" + free.astype(str)), pd.get_dummies(weekday.astype(str))]
    parts += [pd.get_dummies(rest[name].fillna("none")) for name in words]
    scaled = pd.DataFrame(StandardScaler().fit_transform(numbers.fillna(numbers.median())))
    parts += [scaled, scaled ** 2]
    codes = [hour, weekday, free, numbers] + [rest[name].astype("category").cat.codes for name in words]
    age = (moment - moment.min()).dt.days.to_numpy()
    lines, trees = np.hstack([np.asarray(part, float) for part in parts]), np.hstack([np.asarray(part, float).reshape(len(both), -1) for part in codes])
    table = np.hstack([age[:, None], lines, trees])
    Split.lines = lines.shape[1]
    n = len(train)
    # Rehearsals: the end of the training span is forecast from what was before it, twice.
    days = age[:n]
    ends = [days.max() - 60, days.max() - 30]
    folds = [(np.flatnonzero(days <= end), np.flatnonzero((days > end) & (days <= end + 30))) for end in ends]
    return table[:n], y, table[n:], folds


class Split:
    """Newer rows weigh more; `trees`, if any, learn what a weighted ridge leaves over."""

    lines = 0

    def __init__(self, half_life, alpha, trees=None):
        self.half_life, self.alpha, self.trees, self.at = half_life, alpha, trees, Split.lines + 1

    def fit(self, x, y):
        weight = 0.5 ** ((x[:, 0].max() - x[:, 0]) / self.half_life)
        target = np.log1p(y) if LOGARITHMS else y
        lines = x[:, 1:self.at]
        self.ridge = Ridge(self.alpha).fit(lines, target, weight)
        if self.trees is not None:
            self.trees.fit(x[:, self.at:], target - self.ridge.predict(lines), weight)
        return self

    def predict(self, x):
        guess = self.ridge.predict(x[:, 1:self.at])
        if self.trees is not None:
            guess = guess + self.trees.predict(x[:, self.at:])
        return np.expm1(guess) if LOGARITHMS else guess
# == linear


def make(half_life, alpha):
    return Split(half_life, alpha)
# == boost


def make(half_life, leaves, rounds):
    trees = HistGradientBoostingRegressor(max_iter=rounds, max_leaf_nodes=leaves, learning_rate=0.03, random_state=SEED)
    return Split(half_life, 3, trees)
# == forest


def make(half_life, leaf):
    return Split(half_life, 3, ExtraTreesRegressor(40, min_samples_leaf=leaf, random_state=SEED))
