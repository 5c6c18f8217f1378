"""The ladder of `demo-flights`: the chance that a flight is late, from mixed columns with gaps."""
import lightgbm
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

TEXT = ["weekday", "carrier", "origin", "destination", "manufacturer"]
TIMETABLE = ["month", "day", "distance", "departure_minute", "arrival_minute"]
AIRCRAFT = ["aircraft_year", "seats"]
WEATHER = ["temperature", "humidity", "wind_speed", "precipitation", "pressure", "visibility"]


def minutes(column):
    return column.str[:2].astype(int) * 60 + column.str[3:].astype(int)


def entries(data):
    label = data.train.late.to_numpy()
    train, test = data.train.copy(), data.test.copy()
    for table in (train, test):
        table["departure_minute"], table["arrival_minute"] = minutes(table.departure), minutes(table.arrival)
        table["hour"] = (table.departure_minute // 60).astype(str)
        table["season_hour"] = table.month.astype(str) + "/" + (table.departure_minute // 240).astype(str)

    def view(numbers, texts):
        steps = [(make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers)] if numbers else []
        if texts:
            steps.append((OneHotEncoder(handle_unknown="ignore", min_frequency=10, sparse_output=False), texts))
        maker = make_column_transformer(*steps)
        return maker.fit_transform(train), maker.transform(test)

    numbers = TIMETABLE + AIRCRAFT + WEATHER
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    codes = [np.hstack([table[numbers].to_numpy(float), coded]) for table, coded in
             [(train, ordinal.fit_transform(train[TEXT])), (test, ordinal.transform(test[TEXT]))]]
    filled = [np.nan_to_num(table, nan=-1) for table in codes]
    views = {
        "departure": view(["departure_minute"], []),
        "timetable": view(TIMETABLE, []),
        "weather": view(WEATHER, []),
        "numbers": view(numbers, []),
        "texts": view([], TEXT),
        "texts and hour": view([], TEXT + ["hour"]),
        "all": view(numbers, TEXT),
        "all and hour": view(numbers, TEXT + ["hour", "season_hour"]),
    }
    kept = {}

    def fit(name, model, a, b):
        kept[name] = model.fit(a, label).predict_proba(b)[:, 1]
        return name, kept[name]

    yield "constant", np.full(len(test), 0.5)
    for column in ("carrier", "origin", "destination", "month", "hour", "weekday"):
        shares = train.groupby(column).late.agg(["sum", "count"])
        share = (shares["sum"] + 20 * label.mean()) / (shares["count"] + 20)
        yield f"share of late flights by {column}", test[column].map(share).fillna(label.mean()).to_numpy()
    for name, (a, b) in views.items():
        for c in (0.01, 0.1, 1):
            yield fit(f"{name}: logistic regression, C {c:g}", LogisticRegression(C=c, max_iter=2000), a, b)
        yield fit(f"{name}: Gaussian naive Bayes", GaussianNB(var_smoothing=0.01), a, b)
        yield fit(f"{name}: Bernoulli naive Bayes", BernoulliNB(), a, b)
        for k in (5, 25, 100):
            yield fit(f"{name}: {k} nearest neighbours", KNeighborsClassifier(k), a, b)
        for depth in (2, 4, 6, 10):
            yield fit(f"{name}: tree of depth {depth}", DecisionTreeClassifier(max_depth=depth, random_state=0), a, b)
    for name in ("timetable", "numbers", "all"):
        a, b = views[name]
        for width in (8, 32):
            yield fit(f"{name}: perceptron, {width} hidden", MLPClassifier((width,), alpha=0.1, max_iter=60, random_state=0), a, b)
    for leaf in (1, 5, 20):
        for trees in (50, 200):
            yield fit(f"codes: random forest of {trees}, leaf {leaf}", RandomForestClassifier(trees, min_samples_leaf=leaf, random_state=0), *filled)
            yield fit(f"codes: extra trees, {trees}, leaf {leaf}", ExtraTreesClassifier(trees, min_samples_leaf=leaf, random_state=0), *filled)
    for depth in (1, 3, 5):
        for rounds in (50, 150):
            model = GradientBoostingClassifier(n_estimators=rounds, max_depth=depth, learning_rate=0.1, subsample=0.7, random_state=0)
            yield fit(f"codes: gradient boosting of depth {depth}, {rounds} rounds", model, *filled)
    yield fit("codes: AdaBoost of stumps", AdaBoostClassifier(n_estimators=200, algorithm="SAMME", random_state=0), *filled)
    for leaves in (4, 8, 16, 31):
        for rate, rounds in ((0.1, 60), (0.03, 200), (0.03, 500)):
            model = lightgbm.LGBMClassifier(n_estimators=rounds, num_leaves=leaves, learning_rate=rate, colsample_bytree=0.6, subsample=0.8,
                                            subsample_freq=1, min_child_samples=20, n_jobs=1, random_state=0, verbose=-1)
            yield fit(f"codes: boosted trees, {leaves} leaves, rate {rate}, {rounds} rounds", model, *codes)
    for rate in (0.03, 0.1):
        model = HistGradientBoostingClassifier(learning_rate=rate, max_iter=150, random_state=0)
        yield fit(f"codes: histogram boosting, rate {rate}", model, *codes)
    # Bags of boosted trees over ordinal codes and the shares of late flights by category, kept out of fold.
    shares = []
    fold = np.arange(len(train)) % 5
    for column in TEXT + ["hour", "season_hour"]:
        on_train = np.empty(len(train))
        for part in [*range(5), None]:
            known = train[fold != part]
            table = known.late.groupby(known[column]).agg(["sum", "count"])
            share = (table["sum"] + 10 * label.mean()) / (table["count"] + 10)
            if part is None:
                on_test = test[column].map(share).fillna(label.mean()).to_numpy()
            else:
                on_train[fold == part] = train[column][fold == part].map(share).fillna(label.mean())
        shares.append((on_train, on_test))
    rich = [np.hstack([codes[part], np.array([share[part] for share in shares]).T]) for part in (0, 1)]
    for leaves in (4, 8, 16, 31):
        for bag in (1, 8):
            guesses = []
            for seed in range(bag):
                model = lightgbm.LGBMClassifier(n_estimators=250, num_leaves=leaves, learning_rate=0.03, colsample_bytree=0.4, subsample=0.7, subsample_freq=1,
                                                min_child_samples=30, reg_lambda=5, n_jobs=1, random_state=seed, verbose=-1)
                guesses.append(model.fit(rich[0], label).predict_proba(rich[1])[:, 1])
            kept[f"codes and shares: boosted trees, {leaves} leaves, bag of {bag}"] = np.mean(guesses, axis=0)
            yield f"codes and shares: boosted trees, {leaves} leaves, bag of {bag}", np.mean(guesses, axis=0)
    filled_rich = [np.nan_to_num(table, nan=-1) for table in rich]
    yield fit("codes and shares: extra trees, 500, leaf 5", ExtraTreesClassifier(500, min_samples_leaf=5, max_features=0.5, random_state=0), *filled_rich)
    yield fit("codes and shares: random forest of 500, leaf 5", RandomForestClassifier(500, min_samples_leaf=5, random_state=0), *filled_rich)
    bag = "codes and shares: boosted trees, 16 leaves, bag of 8"
    for parts in [
        (bag, "codes and shares: extra trees, 500, leaf 5"),
        (bag, "all and hour: logistic regression, C 0.1"),
        (bag, "codes and shares: boosted trees, 8 leaves, bag of 8", "all and hour: logistic regression, C 0.01"),
        (bag, "codes and shares: extra trees, 500, leaf 5", "all and hour: logistic regression, C 0.1"),
        (bag, "codes and shares: extra trees, 500, leaf 5", "codes and shares: random forest of 500, leaf 5"),
        ("codes: boosted trees, 8 leaves, rate 0.03, 500 rounds", "all and hour: logistic regression, C 0.1"),
        ("codes: boosted trees, 16 leaves, rate 0.03, 200 rounds", "codes: extra trees, 200, leaf 5"),
        ("codes: random forest of 200, leaf 5", "all: logistic regression, C 0.1"),
    ]:
        yield "mean rank of " + " + ".join(parts), np.mean([pd.Series(kept[part]).rank().to_numpy() for part in parts], axis=0)
