"""The ladder of `demo-bikes`: rentals of each hour of the last two months, with the weather of that hour known."""
import lightgbm
import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.linear_model import PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

WEATHER = ["temperature", "feels_like", "humidity", "wind_speed"]


def entries(data):
    train, test = data.train.copy(), data.test.copy()
    for table in (train, test):
        stamp = pd.to_datetime(table.datetime)
        table["hour"], table["weekday"], table["month"] = stamp.dt.hour, stamp.dt.dayofweek, stamp.dt.month
        table["date"], table["age"] = stamp.dt.date, (stamp - pd.Timestamp("2011-01-01")).dt.days
        table["wet"] = table.weather.map({"clear": 0, "cloudy/misty": 1, "light rain/snow": 2, "heavy rain/snow": 3})
        table["time_of_year"] = table.season.map({"winter": 0, "spring": 1, "summer": 2, "autumn": 3})
        assert table.wet.notna().all() and table.time_of_year.notna().all()
    y, log_y = train.rentals.to_numpy(float), np.log1p(train.rentals.to_numpy(float))

    def means(keys, rows, log):
        target = np.log1p(rows.rentals) if log else rows.rentals
        table = target.groupby([rows[key] for key in keys]).mean()
        guess = pd.MultiIndex.from_frame(test[keys]) if len(keys) > 1 else test[keys[0]]
        out = table.reindex(guess).fillna(target.mean()).to_numpy()
        return np.expm1(out) if log else out

    yield "constant 100", np.full(len(test), 100.0)
    yield "mean", np.full(len(test), y.mean())
    yield "mean of logs", np.full(len(test), np.expm1(log_y.mean()))
    yield "last value", np.full(len(test), y[-1])
    for weeks in (1, 2, 4):
        recent = train[train.age >= train.age.max() + 1 - 7 * weeks]
        for keys in (["hour"], ["hour", "workingday"], ["hour", "weekday"]):
            yield f"last {weeks} weeks: mean by {' and '.join(keys)}", means(keys, recent, False)
            yield f"last {weeks} weeks: mean of logs by {' and '.join(keys)}", means(keys, recent, True)
    for keys in (["hour"], ["hour", "workingday"], ["hour", "weekday"], ["month"], ["season"], ["hour", "workingday", "season"], ["hour", "workingday", "weather"]):
        yield f"mean by {' and '.join(keys)}", means(keys, train, False)
        yield f"mean of logs by {' and '.join(keys)}", means(keys, train, True)

    def design(keys, numbers):
        both = pd.concat([train, test])
        out = [pd.get_dummies(both[keys].astype(str))] if keys else []
        if numbers:
            out.append(pd.DataFrame(StandardScaler().fit(train[numbers]).transform(both[numbers]), index=both.index, columns=numbers))
        table = np.hstack([part.to_numpy(float) for part in out])
        return table[:len(train)], table[len(train):]

    for table in (train, test):
        table["hour_workingday"] = table.hour.astype(str) + "/" + table.workingday.astype(str)
        table["square"] = table.temperature ** 2
        table["sine"], table["cosine"] = np.sin(table.hour * np.pi / 12), np.cos(table.hour * np.pi / 12)
    linear = {
        "waves": design([], ["sine", "cosine", "workingday"]),
        "waves and weather": design([], ["sine", "cosine", "workingday"] + WEATHER),
        "hours": design(["hour"], []),
        "hours and weather": design(["hour", "weather"], WEATHER),
        "hours by workday": design(["hour_workingday"], []),
        "hours by workday and weather": design(["hour_workingday", "weather"], WEATHER + ["square"]),
        "hours by workday, season and weather": design(["hour_workingday", "weather", "weekday", "season"], WEATHER + ["square"]),
        "hours by workday, weather and age": design(["hour_workingday", "weather", "weekday"], WEATHER + ["square", "age"]),
    }
    kept = {}
    for name, (a, b) in linear.items():
        for alpha in (1, 100):
            kept[name, alpha] = np.expm1(Ridge(alpha=alpha).fit(a, log_y).predict(b))
            yield f"{name}: ridge of logs, alpha {alpha}", kept[name, alpha]
            yield f"{name}: ridge, alpha {alpha}", Ridge(alpha=alpha).fit(a, y).predict(b)
        yield f"{name}: Poisson regression", PoissonRegressor(alpha=0.01, max_iter=500).fit(a, y).predict(b)
        for k in (5, 20):
            yield f"{name}: {k} nearest neighbours of logs", np.expm1(KNeighborsRegressor(k).fit(a, log_y).predict(b))
    for name in ("waves and weather", "hours by workday and weather"):
        a, b = linear[name]
        for width in (16, 64):
            model = MLPRegressor((width,), alpha=0.1, max_iter=60, random_state=0)
            yield f"{name}: perceptron of logs, {width} hidden", np.expm1(model.fit(a, log_y).predict(b))

    columns = {
        "calendar": ["hour", "weekday", "workingday"],
        "calendar and weather": ["hour", "weekday", "workingday", "wet"] + WEATHER,
        "calendar, season and weather": ["hour", "weekday", "workingday", "wet", "time_of_year"] + WEATHER,
        "calendar, weather and age": ["hour", "weekday", "workingday", "wet", "age"] + WEATHER,
    }
    for name, chosen in columns.items():
        a, b = train[chosen].to_numpy(float), test[chosen].to_numpy(float)
        for depth in (4, 8):
            yield f"{name}: tree of logs, depth {depth}", np.expm1(DecisionTreeRegressor(max_depth=depth, random_state=0).fit(a, log_y).predict(b))
        for leaf in (1, 5):
            for kind, maker in (("random forest", RandomForestRegressor), ("extra trees", ExtraTreesRegressor)):
                guess = maker(100, min_samples_leaf=leaf, random_state=0).fit(a, log_y).predict(b)
                kept[name, kind, leaf] = np.expm1(guess)
                yield f"{name}: {kind} of logs, leaf {leaf}", kept[name, kind, leaf]
        yield f"{name}: random forest, leaf 5", RandomForestRegressor(100, min_samples_leaf=5, random_state=0).fit(a, y).predict(b)
        for leaves in (8, 31):
            for rounds in (100, 400):
                model = lightgbm.LGBMRegressor(n_estimators=rounds, num_leaves=leaves, learning_rate=0.05, n_jobs=1, random_state=0, verbose=-1)
                kept[name, leaves, rounds] = np.expm1(model.fit(a, log_y).predict(b))
                yield f"{name}: boosted trees of logs, {leaves} leaves, {rounds} rounds", kept[name, leaves, rounds]
        model = lightgbm.LGBMRegressor(n_estimators=200, num_leaves=16, learning_rate=0.05, objective="poisson", n_jobs=1, random_state=0, verbose=-1)
        yield f"{name}: boosted trees, Poisson", model.fit(a, y).predict(b)
    best = "hours by workday, weather and age", 1
    for other in (("calendar and weather", 31, 100), ("calendar and weather", "extra trees", 5), ("calendar, weather and age", 8, 400)):
        guess = np.expm1((np.log1p(np.maximum(kept[best], 0)) + np.log1p(np.maximum(kept[other], 0))) / 2)
        yield f"mean log of ridge and {' '.join(map(str, other))}", guess

    # The scheme grows and cools down: newer hours weigh more, and trees learn what a weighted ridge leaves over.
    a, b = linear["hours by workday, season and weather"]
    c, d = (table[columns["calendar, season and weather"]].to_numpy(float) for table in (train, test))
    logs = {}
    for half_life in (20, 40, 80, 160):
        weight = 0.5 ** ((train.age.max() - train.age.to_numpy()) / half_life)
        ridge = Ridge(alpha=3).fit(a, log_y, weight)
        logs["ridge", half_life] = ridge.predict(b)
        yield f"newer hours weigh more, half-life {half_life}: ridge of logs", np.expm1(logs["ridge", half_life])
        for kind, model in [
            ("boosted trees", lightgbm.LGBMRegressor(n_estimators=300, num_leaves=12, learning_rate=0.03, n_jobs=1, random_state=0, verbose=-1)),
            ("extra trees", ExtraTreesRegressor(200, min_samples_leaf=3, random_state=0)),
        ]:
            logs[kind, half_life] = model.fit(c, log_y, weight).predict(d)
            yield f"newer hours weigh more, half-life {half_life}: {kind} of logs", np.expm1(logs[kind, half_life])
            logs["rest by " + kind, half_life] = logs["ridge", half_life] + model.fit(c, log_y - ridge.predict(a), weight).predict(d)
            yield f"newer hours weigh more, half-life {half_life}: ridge of logs, the rest by {kind}", np.expm1(logs["rest by " + kind, half_life])
    for half_life in (40, 80, 160):
        for kinds in (("ridge", "boosted trees"), ("rest by boosted trees", "rest by extra trees"), ("boosted trees", "extra trees")):
            guess = np.mean([logs[kind, half_life] for kind in kinds], axis=0)
            yield f"newer hours weigh more, half-life {half_life}: mean log of {' and '.join(kinds)}", np.expm1(guess)
    yield "mean log of all that weigh newer hours more", np.expm1(np.mean(list(logs.values()), axis=0))
