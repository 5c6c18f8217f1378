"""The ladders of the eight competitions of the suite `open` whose data come in packages.

Each is a list of real models over a few views of the data: from constants to ensembles whose settings were fixed beforehand.
"""
import lightgbm
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.sparse import hstack
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor


class Bench:
    """Fits models on views (name -> (train, test)); `answer` makes of a fitted model what the task asks for."""

    def __init__(self, views, target, answer):
        self.views, self.target, self.answer, self.kept = views, target, answer, {}

    def fit(self, view, name, model):
        train, test = self.views[view]
        full = f"{view}: {name}"
        self.kept[full] = self.answer(model.fit(train, self.target), test)
        return full, self.kept[full]

    def mean(self, *names):
        return "mean of " + " + ".join(names), np.mean([self.kept[name] for name in names], axis=0)


def label(model, test):
    return model.predict(test)


def chances(model, test):
    return model.predict_proba(test)


def leaning(model, test):
    """How much a two-class model leans to the second class, which is all that an area under a curve needs."""
    return model.decision_function(test) if hasattr(model, "decision_function") else model.predict_proba(test)[:, 1]


def scaled(train, test):
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def boosted(kind, leaves, rounds, **more):
    return kind(n_estimators=rounds, num_leaves=leaves, learning_rate=0.1, n_jobs=1, random_state=0, verbose=-1, **more)


def classifiers(few=False):
    """Common classifiers that give chances, in the order of their strength by common belief."""
    yield "class shares", DummyClassifier()
    yield "Gaussian naive Bayes", GaussianNB(var_smoothing=1e-3)
    for k in (1, 5, 15) if not few else (5,):
        yield f"{k} nearest neighbours", KNeighborsClassifier(k)
    yield "logistic regression, C 1", LogisticRegression(max_iter=200, tol=1e-3)
    yield "linear discriminants", LinearDiscriminantAnalysis()
    yield "quadratic discriminants, reg 0.5", QuadraticDiscriminantAnalysis(reg_param=0.5)
    for depth in (3, 8) if not few else (8,):
        yield f"tree of depth {depth}", DecisionTreeClassifier(max_depth=depth, random_state=0)
    yield "random forest of 40", RandomForestClassifier(40, random_state=0)
    if not few:
        yield "extra trees, 60", ExtraTreesClassifier(60, min_samples_leaf=2, random_state=0)


def regressors(share=1.0):
    """Common regressors; `share` of the columns are tried at each node of forests."""
    yield "mean", DummyRegressor()
    yield "median", DummyRegressor(strategy="median")
    yield "linear regression", LinearRegression()
    yield "ridge over products", make_pipeline(StandardScaler(), PolynomialFeatures(2, interaction_only=True), Ridge(10.0))
    for k in (1, 5, 20):
        yield f"{k} nearest neighbours", KNeighborsRegressor(k)
    for depth in (3, 6, 12):
        yield f"tree of depth {depth}", DecisionTreeRegressor(max_depth=depth, random_state=0)
    yield "random forest of 20", RandomForestRegressor(20, min_samples_leaf=5, max_features=share, max_samples=0.5, random_state=0)
    yield "extra trees, 20", ExtraTreesRegressor(20, min_samples_leaf=5, max_features=share, random_state=0)
    for rounds in (50, 200):
        yield f"boosted trees, {rounds} rounds", boosted(lightgbm.LGBMRegressor, 31, rounds)


def landcover(data):
    scene = data.scene.astype(float)
    flat = StandardScaler().fit_transform(scene.reshape(-1, scene.shape[2]))
    parts = PCA(20, random_state=0).fit_transform(flat).reshape(*scene.shape[:2], 20)
    places = [(part.row.to_numpy(), part.column.to_numpy()) for part in (data.train, data.test)]
    at = lambda cube: tuple(cube[place] for place in places)
    window = lambda size: ndimage.uniform_filter(parts, (size, size, 0))
    position = tuple(np.column_stack(place).astype(float) for place in places)
    views = {
        "position": position,
        "spectrum, 20 parts": at(parts),
        "window of 3": at(window(3)),
        "window of 7": at(window(7)),
    }
    bench = Bench(views, data.train.cover.to_numpy(), label)
    yield "always the most frequent", np.full(len(data.test), data.train.cover.mode()[0])
    yield "at random", DummyClassifier(strategy="stratified", random_state=0).fit(position[0], data.train.cover).predict(position[1])
    for view in views:
        for name, model in classifiers(few=view == "position"):
            if name != "class shares":
                yield bench.fit(view, name, model)
    for view in list(views)[1:]:
        for c in (1, 30):
            yield bench.fit(view, f"RBF support vectors, C {c}", SVC(C=c))
        yield bench.fit(view, "RBF support vectors, C 30, classes of equal weight", SVC(C=30, class_weight="balanced"))


def pooled(pixels, side, by):
    return pixels.reshape(-1, side // by, by, side // by, by).mean(axis=(2, 4)).reshape(len(pixels), -1)


def slopes(pixels, side, cells=6, ways=8):
    """How much ink runs in each of `ways` directions in each of cells x cells cells of the picture."""
    pictures = ndimage.gaussian_filter(pixels.reshape(-1, side, side), (0, 1, 1))
    dy, dx = np.gradient(pictures, axis=(1, 2))
    way = ((np.arctan2(dy, dx) / (2 * np.pi) * ways).round().astype(int)) % ways
    size = np.hypot(dx, dy)
    step = side // cells
    return np.concatenate([
        (size * (way == one)).reshape(-1, cells, step, cells, step).sum(axis=(2, 4)).reshape(len(pixels), -1) for one in range(ways)
    ], axis=1)


def kanji(data):
    side = int(data.pixels[0].shape[1] ** 0.5)
    ink = [(255.0 - part) / 255 for part in data.pixels]
    labels = data.train.radical.to_numpy()
    # Columns of the submission are sorted as scikit-learn sorts classes.
    assert list(np.unique(labels)) == data.labels
    small = tuple(pooled(part, side, 4) for part in ink)
    pca = PCA(60, random_state=0).fit(small[0])
    gradient = scaled(*(np.sqrt(slopes(part, side)) for part in ink))
    narrow = PCA(80, random_state=0).fit(gradient[0])
    views = {
        "pooled": small,
        "60 parts": tuple(pca.transform(part) for part in small),
        "slopes": gradient,
        "80 parts of slopes": tuple(narrow.transform(part) for part in gradient),
    }
    bench = Bench(views, labels, chances)
    yield "uniform", np.full((len(ink[1]), len(data.labels)), 1 / len(data.labels))
    yield bench.fit("pooled", "class shares", DummyClassifier())
    for view in views:
        if view in ("60 parts", "80 parts of slopes"):
            yield bench.fit(view, "Gaussian naive Bayes, smoothing 1", GaussianNB(var_smoothing=1.0))
            for c in (0.01, 0.1, 1):
                yield bench.fit(view, f"logistic regression, C {c:g}", LogisticRegression(C=c, max_iter=100, tol=1e-3))
            yield bench.fit(view, "RBF support vectors, C 10", SVC(C=10, probability=True, random_state=0))
            yield bench.fit(view, "perceptron, 64 hidden, alpha 1", MLPClassifier((64,), alpha=1.0, max_iter=40, random_state=0))
        for k in (10, 40):
            yield bench.fit(view, f"{k} nearest neighbours by distance", KNeighborsClassifier(k, weights="distance"))
        yield bench.fit(view, "linear discriminants, shrunk", LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3))
        yield bench.fit(view, "tree of depth 6", DecisionTreeClassifier(max_depth=6, min_samples_leaf=10, random_state=0))
        yield bench.fit(view, "random forest of 60", RandomForestClassifier(60, min_samples_leaf=2, random_state=0))
        yield bench.fit(view, "extra trees, 100", ExtraTreesClassifier(100, min_samples_leaf=2, random_state=0))
    kernel, linear = "80 parts of slopes: RBF support vectors, C 10", "80 parts of slopes: logistic regression, C 0.1"
    yield bench.mean(linear, kernel)
    yield bench.mean("80 parts of slopes: perceptron, 64 hidden, alpha 1", kernel)
    yield bench.mean("slopes: extra trees, 100", linear)
    yield bench.mean(kernel, "60 parts: RBF support vectors, C 10")
    yield bench.mean(linear, "slopes: linear discriminants, shrunk", kernel, "60 parts: RBF support vectors, C 10")


def licences(data):
    texts, test_texts = data.train.text, data.test.text
    views = {}

    def view(name, vectoriser):
        views[name] = vectoriser.fit_transform(texts), vectoriser.transform(test_texts)

    view("first four words", CountVectorizer(preprocessor=lambda text: " ".join(text.lower().split()[:4]), token_pattern=r"\S+"))
    view("words seen", CountVectorizer(binary=True))
    view("tf-idf", TfidfVectorizer(sublinear_tf=True, token_pattern=r"[\w.+]+"))
    view("tf-idf of pairs", TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"[\w.+]+"))
    view("tf-idf of letters", TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=2))
    views["pairs and letters"] = tuple(hstack([views["tf-idf of pairs"][part], views["tf-idf of letters"][part]]).tocsr() for part in (0, 1))
    labels = data.train.licence.to_numpy()
    bench = Bench(views, labels, label)
    yield "always the most frequent", np.full(len(test_texts), data.train.licence.mode()[0], dtype=object)
    yield "always mit", np.full(len(test_texts), "mit", dtype=object)
    yield "at random", DummyClassifier(strategy="uniform", random_state=0).fit(texts, labels).predict(test_texts)
    length = tuple(np.array([[len(text), text.count(" ")] for text in part]) for part in (texts, test_texts))
    views["length"] = length
    yield bench.fit("length", "tree of depth 6", DecisionTreeClassifier(max_depth=6, random_state=0))
    for name in list(views)[:-1]:
        for alpha in (0.03, 0.3):
            yield bench.fit(name, f"multinomial naive Bayes, alpha {alpha:g}", MultinomialNB(alpha=alpha))
        yield bench.fit(name, "complement naive Bayes", ComplementNB(alpha=0.3))
        yield bench.fit(name, "nearest centroid", NearestCentroid())
        if name != "pairs and letters":
            yield bench.fit(name, "linear support vectors, C 0.3", LinearSVC(C=0.3, tol=1e-2, random_state=0))
        if "letters" not in name:
            yield bench.fit(name, "Bernoulli naive Bayes", BernoulliNB(alpha=0.1))
            yield bench.fit(name, "5 nearest neighbours", KNeighborsClassifier(5, metric="cosine"))
            yield bench.fit(name, "hinge by gradient descent", SGDClassifier(max_iter=20, random_state=0))
    yield bench.fit("words seen", "tree of depth 20", DecisionTreeClassifier(max_depth=20, random_state=0))
    yield bench.fit("words seen", "random forest of 30", RandomForestClassifier(30, random_state=0))
    yield bench.fit("tf-idf", "extra trees, 30", ExtraTreesClassifier(30, random_state=0))
    yield bench.fit("pairs and letters", "linear support vectors, C 3", LinearSVC(C=3, tol=1e-2, random_state=0))
    narrow = TruncatedSVD(60, random_state=0)
    views["60 latent topics"] = narrow.fit_transform(views["tf-idf"][0]), narrow.transform(views["tf-idf"][1])
    yield bench.fit("60 latent topics", "RBF support vectors, C 10", SVC(C=10))
    yield bench.fit("60 latent topics", "logistic regression, C 10", LogisticRegression(C=10, max_iter=100, tol=1e-3))


def vowel_groups(word):
    """How many runs of vowels a word has, the last silent e left out: about its syllables."""
    word = word[:-1] if word.endswith("e") and not word.endswith("le") else word
    return max(1, sum(here in "aeiouy" and before not in "aeiouy" for before, here in zip("-" + word, word)))


def by_key(keys, test_keys, values, fallback):
    """The most frequent value of each key, and the fallback's guess where a key was never seen."""
    table = pd.DataFrame({"key": keys, "value": values}).groupby("key").value.agg(lambda seen: seen.value_counts().index[0])
    return np.array([table.get(key, other) for key, other in zip(test_keys, fallback)], dtype=object)


def stress(data):
    words, test_words = data.train.word.astype(str), data.test.word.astype(str)
    labels = data.train.stress.to_numpy()
    constant = np.full(len(test_words), "Pu", dtype=object)
    yield "always Pu", constant
    yield "always PS", np.full(len(test_words), "PS", dtype=object)
    yield "at random", DummyClassifier(strategy="stratified", random_state=0).fit(words, labels).predict(test_words)
    keys = {
        "number of letters": len,
        "groups of vowels": vowel_groups,
        "groups of vowels and last letter": lambda word: (vowel_groups(word), word[-1:]),
        "groups of vowels and last two letters": lambda word: (vowel_groups(word), word[-2:]),
        "groups of vowels and last three letters": lambda word: (vowel_groups(word), word[-3:]),
        "groups of vowels and last four letters": lambda word: (vowel_groups(word), word[-4:]),
    }
    guess = constant
    for name, key in keys.items():
        yield f"most frequent by {name}", by_key(words.map(key), test_words.map(key), labels, constant)
        guess = by_key(words.map(key), test_words.map(key), labels, guess)
        if "last" in name:
            yield f"most frequent by {name}, else by less", guess
    first = {"first two letters": lambda word: (vowel_groups(word), word[:2]), "first three letters": lambda word: (vowel_groups(word), word[:3])}
    for name, key in first.items():
        yield f"most frequent by groups of vowels and {name}", by_key(words.map(key), test_words.map(key), labels, constant)
    marked = lambda part: ["<" * 1 + word + ">" * 1 + f" {'~' * vowel_groups(word)}" for word in part]
    views = {}
    for name, vectoriser in {
        "letters": CountVectorizer(analyzer="char", ngram_range=(1, 1)),
        "pairs of letters": CountVectorizer(analyzer="char", ngram_range=(1, 2)),
        "up to three letters": CountVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3),
        "up to five letters": TfidfVectorizer(analyzer="char", ngram_range=(1, 5), min_df=3, sublinear_tf=True),
    }.items():
        views[name] = vectoriser.fit_transform(marked(words)), vectoriser.transform(marked(test_words))
    # A pattern that hardly occurs is not worth a class of its own.
    common = data.train.stress.value_counts().index[:25]
    kept = np.flatnonzero(np.isin(labels, common))
    views = {name: (train[kept], test) for name, (train, test) in views.items()}
    bench = Bench(views, labels[kept], label)
    for name in views:
        yield bench.fit(name, "multinomial naive Bayes", MultinomialNB(alpha=0.1))
        yield bench.fit(name, "Bernoulli naive Bayes", BernoulliNB(alpha=0.1))
        yield bench.fit(name, "complement naive Bayes", ComplementNB(alpha=0.3))
        yield bench.fit(name, "hinge by gradient descent", SGDClassifier(max_iter=10, random_state=0))
    for name in ("letters", "pairs of letters"):
        yield bench.fit(name, "tree of depth 15", DecisionTreeClassifier(max_depth=15, random_state=0))
    yield bench.fit("pairs of letters", "linear support vectors, C 0.1", LinearSVC(C=0.1, tol=1e-2, random_state=0))
    yield bench.fit("up to five letters", "linear support vectors, C 0.3", LinearSVC(C=0.3, tol=1e-2, random_state=0))
    # Letters by their place from the end, each of which a tree can ask for.
    place = lambda part: np.array([[vowel_groups(word), len(word), *(ord(c) for c in word[::-1][:9].ljust(9, "`"))] for word in part])
    views["letters from the end"] = place(words)[kept], place(test_words)
    for depth in (6, 14):
        yield bench.fit("letters from the end", f"tree of depth {depth}", DecisionTreeClassifier(max_depth=depth, random_state=0))
    yield bench.fit("letters from the end", "random forest of 30", RandomForestClassifier(30, random_state=0))
    yield bench.fit("letters from the end", "extra trees, 30", ExtraTreesClassifier(30, random_state=0))
    yield bench.fit("letters from the end", "boosted trees, 31 leaves, 30 rounds", boosted(lightgbm.LGBMClassifier, 31, 30))


def gamma(data):
    columns = data.test.columns[1:]
    number = lambda table: table[columns].astype(float).to_numpy()
    plain = number(data.train), number(data.test)
    bent = tuple(np.hstack([part, np.log1p(np.abs(part)), part[:, [0]] / (part[:, [1]] + 1), part[:, [0]] * part[:, [8]]]) for part in plain)
    views = {"as it is": plain, "scaled": scaled(*plain), "scaled, with logarithms": scaled(*bent), "alpha and length alone": tuple(part[:, [0, 8]] for part in plain)}
    target = data.train.gamma.to_numpy()
    bench = Bench(views, target, leaning)
    yield "constant", np.full(len(data.test), 0.5)
    for column in ("alpha", "length", "size", "width"):
        yield f"minus {column}", -data.test[column].astype(float).to_numpy()
    for view in views:
        for name, model in classifiers(few=view in ("as it is", "alpha and length alone")):
            if name != "class shares":
                yield bench.fit(view, name, model)
    for leaves, rounds in ((7, 50), (15, 100), (31, 200)):
        for view in ("as it is", "scaled, with logarithms"):
            yield bench.fit(view, f"boosted trees, {leaves} leaves, {rounds} rounds", boosted(lightgbm.LGBMClassifier, leaves, rounds))
    for view in ("scaled", "scaled, with logarithms"):
        yield bench.fit(view, "RBF support vectors, C 3", SVC(C=3))
        yield bench.fit(view, "30 nearest neighbours by distance", KNeighborsClassifier(30, weights="distance"))
        yield bench.fit(view, "perceptron, 32 hidden", MLPClassifier((32,), alpha=0.01, max_iter=60, early_stopping=True, random_state=0))
    slow = []
    for view in ("as it is", "scaled, with logarithms"):
        for leaves in (7, 15, 31):
            name = f"slow boosted trees, {leaves} leaves, parts of rows and columns"
            model = lightgbm.LGBMClassifier(n_estimators=400, num_leaves=leaves, learning_rate=0.04, subsample=0.7, subsample_freq=1,
                                            colsample_bytree=0.6, n_jobs=1, random_state=0, verbose=-1)
            yield bench.fit(view, name, model)
            slow.append(f"{view}: {name}")
    rank = lambda guess: np.argsort(np.argsort(guess)) / len(guess)
    for name, guess in list(bench.kept.items()):
        bench.kept[name] = rank(guess)
    yield bench.mean("scaled, with logarithms: boosted trees, 31 leaves, 200 rounds", "scaled, with logarithms: RBF support vectors, C 3")
    yield bench.mean("scaled, with logarithms: extra trees, 60", "scaled, with logarithms: boosted trees, 15 leaves, 100 rounds", "scaled, with logarithms: perceptron, 32 hidden")
    yield "mean of all slow boosted trees", np.mean([bench.kept[name] for name in slow], axis=0)
    yield bench.mean(slow[-1], slow[0], "scaled, with logarithms: RBF support vectors, C 3")
    yield bench.mean(slow[-2], "scaled, with logarithms: extra trees, 60", "scaled, with logarithms: perceptron, 32 hidden")


def by_group(table, test, column, how):
    """The mean or median of the target in the group of the row, and of all rows where the group is new."""
    groups = table.groupby(column, dropna=False).elevation.agg(how)
    return test[column].map(groups).fillna(table.elevation.agg(how)).to_numpy()


def airports(data):
    train, test = data.train, data.test
    target = train.elevation.to_numpy()
    place = tuple(part[["lat", "lon"]].to_numpy() for part in (train, test))
    angle = [np.radians(part) for part in place]
    globe = tuple(np.column_stack([np.cos(a[:, 0]) * np.cos(a[:, 1]), np.cos(a[:, 0]) * np.sin(a[:, 1]), np.sin(a[:, 0])]) for a in angle)
    codes = {column: {value: code for code, value in enumerate(sorted(train[column].fillna("").unique()))} for column in ("country", "subd", "tz")}
    coded = tuple(np.column_stack([part[column].fillna("").map(codes[column]).fillna(-1) for column in codes]) for part in (train, test))
    # The mean height of the nearest airports, those of the training rows without themselves.
    around = []
    for k in (3, 10, 40):
        near = KNeighborsRegressor(k).fit(globe[0], target)
        distance, own = near.kneighbors(None)
        away, others = near.kneighbors(globe[1])
        around.append([np.column_stack([target[own].mean(axis=1), target[own].std(axis=1), distance.mean(axis=1)]),
                       np.column_stack([target[others].mean(axis=1), target[others].std(axis=1), away.mean(axis=1)])])
    near = tuple(np.hstack([one[part] for one in around]) for part in (0, 1))
    views = {"place": place, "globe": globe, "globe and region": tuple(np.hstack(pair) for pair in zip(globe, coded)),
             "globe, region and neighbours": tuple(np.hstack(triple) for triple in zip(place, globe, coded, near))}
    bench = Bench(views, target, label)
    for name, how in (("mean", "mean"), ("median", "median")):
        yield f"{name} of all", np.full(len(test), train.elevation.agg(how))
        for column in ("country", "subd", "tz"):
            yield f"{name} by {column}", by_group(train, test, column, how)
    for k in (1, 2, 3, 5, 10, 40):
        yield bench.fit("globe", f"{k} nearest airports", KNeighborsRegressor(k))
        yield bench.fit("globe", f"{k} nearest airports by distance", KNeighborsRegressor(k, weights="distance"))
    for view in views:
        for name, model in regressors():
            if name in ("mean", "median") or "nearest" in name or ("products" in name and view == "place"):
                continue
            yield bench.fit(view, name, model)
    for view in ("globe and region", "globe, region and neighbours"):
        for rounds in (100, 400):
            yield bench.fit(view, f"boosted trees for absolute errors, {rounds} rounds", boosted(lightgbm.LGBMRegressor, 63, rounds, objective="l1"))
    names = [part.name + " " + part.city.fillna("") for part in (train, test)]
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=3, sublinear_tf=True)
    views["letters of the name"] = letters.fit_transform(names[0]), letters.transform(names[1])
    yield bench.fit("letters of the name", "ridge", Ridge(3.0, solver="sparse_cg"))
    best = ["globe: 5 nearest airports by distance", "globe, region and neighbours: extra trees, 20", "globe, region and neighbours: boosted trees for absolute errors, 400 rounds"]
    yield bench.mean(*best[1:])
    yield bench.mean(*best)


def air(data):
    both = pd.concat([data.train.drop(columns="pm2.5"), data.test], ignore_index=True)
    weather = ["DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]
    wind = pd.get_dummies(both.cbwd).astype(float)
    season = pd.DataFrame({"year": 2 * np.pi * (both.month - 1) / 12, "day": 2 * np.pi * both.hour / 24})
    calendar = np.column_stack([both.month, both.hour])
    waves = np.column_stack([wave(season[name] * times) for name in season for times in (1, 2) for wave in (np.sin, np.cos)])
    plain = np.column_stack([both[weather], wind, calendar])
    rolled = np.column_stack([both[weather].rolling(hours, min_periods=1).mean() for hours in (6, 24, 72)]
                             + [wind.rolling(hours, min_periods=1).mean() for hours in (6, 24)])
    humid = (both.DEWP - both.TEMP).to_numpy()[:, None]
    n = len(data.train)
    cut = lambda table: (table[:n], table[n:])
    views = {"calendar": cut(calendar.astype(float)), "weather": cut(both[weather].to_numpy()), "weather and calendar": cut(plain),
             "weather of days and calendar": cut(np.hstack([plain, rolled, humid, waves]))}
    target = data.train["pm2.5"].to_numpy()
    # Errors are of the dust itself; models of its logarithm see large values less.
    back = lambda model, test: np.clip(model.predict(test), 0, None)
    bench = Bench(views, target, back)
    yield "mean of all", np.full(len(data.test), target.mean())
    yield "median of all", np.full(len(data.test), np.median(target))
    yield "last value", np.full(len(data.test), target[-1])
    for keys in (["month"], ["hour"], ["cbwd"], ["month", "hour"], ["month", "cbwd"]):
        means = data.train.groupby(keys)["pm2.5"].mean().rename("guess").reset_index()
        yield f"mean by {' and '.join(keys)}", data.test.merge(means, on=keys, how="left").guess.fillna(target.mean()).to_numpy()
    for view in views:
        for name, model in regressors(share=0.4):
            if name in ("mean", "median") or (view == "calendar" and ("boosted" in name or "neighbours" in name)):
                continue
            if "neighbours" in name:
                if view != "weather":
                    continue
                model = make_pipeline(StandardScaler(), model)
            yield bench.fit(view, name, model)
    recent = np.linspace(0.2, 1.0, n)
    for view in ("weather and calendar", "weather of days and calendar"):
        model = boosted(lightgbm.LGBMRegressor, 15, 300, subsample=0.5, subsample_freq=1, colsample_bytree=0.5)
        yield bench.fit(view, "boosted trees, 15 leaves, halves of rows and columns", model)
        a, b = views[view]
        name = f"{view}: boosted trees on logarithms"
        bench.kept[name] = np.expm1(boosted(lightgbm.LGBMRegressor, 31, 200).fit(a, np.log1p(target)).predict(b))
        yield name, bench.kept[name]
        name = f"{view}: boosted trees, late rows heavier"
        bench.kept[name] = back(boosted(lightgbm.LGBMRegressor, 15, 200).fit(a, target, sample_weight=recent), b)
        yield name, bench.kept[name]
    view = "weather of days and calendar"
    yield bench.mean(f"{view}: extra trees, 20", f"{view}: boosted trees, 15 leaves, halves of rows and columns")
    yield bench.mean(f"{view}: ridge over products", f"{view}: boosted trees, 15 leaves, halves of rows and columns", f"{view}: extra trees, 20")


def speakers(data):
    frames = []
    for part in (data.train, data.test):
        columns = [column for column in part.columns if column[0] == "c"]
        cells = part[columns].replace("", np.nan).astype(float).to_numpy().reshape(len(part), 12, -1)
        frames.append(cells)
    labels = data.train.speaker.to_numpy()
    kinds = np.unique(labels)

    def stretched(cells, size):
        out = []
        for one in cells:
            length = int((~np.isnan(one[0])).sum())
            at = np.linspace(0, length - 1, size)
            out.append(np.concatenate([np.interp(at, np.arange(length), series[:length]) for series in one]))
        return np.array(out)

    mean = scaled(*(np.nanmean(cells, axis=2) for cells in frames))
    spread = scaled(*(np.hstack([np.nanmean(cells, axis=2), np.nanstd(cells, axis=2)]) for cells in frames))
    length = scaled(*((~np.isnan(cells[:, 0])).sum(axis=1)[:, None].astype(float) for cells in frames))
    views = {"length": length, "means": mean, "means and spreads": spread, "4 moments": scaled(*(stretched(cells, 4) for cells in frames)),
             "10 moments": scaled(*(stretched(cells, 10) for cells in frames))}
    bench = Bench(views, labels, chances)
    yield "uniform", np.full((len(frames[1]), len(kinds)), 1 / len(kinds))
    yield bench.fit("means", "class shares", DummyClassifier())
    for view in views:
        for name, model in classifiers(few=view == "length"):
            if name == "class shares" or (view in ("4 moments", "10 moments") and "quadratic" in name):
                continue
            yield bench.fit(view, name, model)
        if view != "length":
            for c in (1, 10):
                yield bench.fit(view, f"RBF support vectors, C {c}", SVC(C=c, probability=True, random_state=0))
            yield bench.fit(view, "logistic regression, C 0.1", LogisticRegression(C=0.1, max_iter=500))
            yield bench.fit(view, "linear discriminants, shrunk", LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
    # Models of single frames, whose opinions are averaged over an utterance.
    flat, owner = [], []
    for cells in frames:
        rows = cells.transpose(0, 2, 1).reshape(-1, 12)
        there = ~np.isnan(rows[:, 0])
        flat.append(rows[there])
        owner.append(np.repeat(np.arange(len(cells)), cells.shape[2])[there])
    single = scaled(*flat)
    for name, model in [
        ("Gaussian naive Bayes", GaussianNB()),
        ("quadratic discriminants", QuadraticDiscriminantAnalysis()),
        ("logistic regression, C 1", LogisticRegression(C=1, max_iter=500)),
        ("20 nearest neighbours", KNeighborsClassifier(20)),
        ("extra trees, 100", ExtraTreesClassifier(100, random_state=0)),
        ("RBF support vectors, C 10", SVC(C=10, probability=True, random_state=0)),
        ("perceptron, 64 hidden", MLPClassifier((64,), max_iter=80, random_state=0)),
    ]:
        each = model.fit(single[0], labels[owner[0]]).predict_proba(single[1])
        logs = np.log(np.clip(each, 1e-3, None))
        total = np.zeros((len(frames[1]), len(kinds)))
        count = np.bincount(owner[1])[:, None]
        np.add.at(total, owner[1], logs)
        for power, words in ((1.0, "mean"), (5.0, "mean, sharpened")):
            guess = np.exp(total / count * power)
            name_of = f"single frames, {words}: {name}"
            bench.kept[name_of] = guess / guess.sum(axis=1, keepdims=True)
            yield name_of, bench.kept[name_of]
    yield bench.mean("4 moments: linear discriminants, shrunk", "single frames, mean, sharpened: RBF support vectors, C 10")
    yield bench.mean("10 moments: logistic regression, C 1", "4 moments: RBF support vectors, C 10")
    yield bench.mean("4 moments: logistic regression, C 1", "single frames, mean, sharpened: extra trees, 100", "4 moments: RBF support vectors, C 10")
