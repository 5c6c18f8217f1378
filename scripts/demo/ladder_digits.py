"""The ladder of `demo-digits`: probabilities [450, 10] from pixels."""
import lightgbm
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import prepared


def shifted(images, labels):
    """The images and their copies moved by one pixel in four directions."""
    grid = images.reshape(-1, 8, 8)
    moved = [grid]
    for axis, by in [(1, 1), (1, -1), (2, 1), (2, -1)]:
        copy = np.roll(grid, by, axis)
        edge = 0 if by == 1 else -1
        if axis == 1:
            copy[:, edge, :] = 0
        else:
            copy[:, :, edge] = 0
        moved.append(copy)
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, 5)


def pooled(images):
    return images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)


def entries(data):
    labels = data.train.label.to_numpy()
    train = prepared.pixels(data, "train", data.train.id) / 255
    test = prepared.pixels(data, "test", data.answers.id) / 255
    pca = PCA(16, random_state=0).fit(train)
    views = {"pixels": (train, test), "pooled": (pooled(train), pooled(test)), "pca16": (pca.transform(train), pca.transform(test))}
    big_train, big_labels = shifted(train, labels)
    kept = {}

    def fit(name, model, view="pixels"):
        a, b = views[view]
        kept[name] = model.fit(a, labels).predict_proba(b)
        return name, kept[name]

    yield "uniform", np.full((len(test), 10), 0.1)
    yield "class shares", np.tile(np.bincount(labels) / len(labels), (len(test), 1))
    for view in views:
        for smoothing in (1e-9, 1e-2, 1e-1, 1.0):
            yield fit(f"{view}: Gaussian naive Bayes, smoothing {smoothing:g}", GaussianNB(var_smoothing=smoothing), view)
        for k in (3, 5, 10, 20, 50):
            yield fit(f"{view}: {k} nearest neighbours", KNeighborsClassifier(k), view)
        for k in (10, 50):
            yield fit(f"{view}: {k} nearest neighbours by distance", KNeighborsClassifier(k, weights="distance"), view)
        for c in (0.001, 0.01, 0.1, 1, 10):
            yield fit(f"{view}: logistic regression, C {c:g}", LogisticRegression(C=c, max_iter=2000), view)
        yield fit(f"{view}: linear discriminants", LinearDiscriminantAnalysis(), view)
        yield fit(f"{view}: quadratic discriminants, reg 0.1", QuadraticDiscriminantAnalysis(reg_param=0.1), view)
        for depth in (3, 5, 8, 12):
            yield fit(f"{view}: tree of depth {depth}", DecisionTreeClassifier(max_depth=depth, random_state=0), view)
        for trees in (25, 100, 300):
            yield fit(f"{view}: random forest of {trees}", RandomForestClassifier(trees, random_state=0), view)
            yield fit(f"{view}: extra trees, {trees}", ExtraTreesClassifier(trees, random_state=0), view)
        for c in (1, 10, 100):
            yield fit(f"{view}: RBF support vectors, C {c}", SVC(C=c, probability=True, random_state=0), view)
        for width in (8, 16, 32, 64, 128):
            yield fit(f"{view}: perceptron, {width} hidden", MLPClassifier((width,), max_iter=300, random_state=0), view)
    for alpha in (0.01, 0.1, 1.0):
        yield fit(f"pixels: multinomial naive Bayes, alpha {alpha:g}", MultinomialNB(alpha=alpha))
        yield fit(f"pixels: Bernoulli naive Bayes, alpha {alpha:g}", BernoulliNB(alpha=alpha, binarize=0.5))
    yield fit("pixels: AdaBoost of stumps", AdaBoostClassifier(n_estimators=100, algorithm="SAMME", random_state=0))
    for leaves in (4, 8, 16):
        for rounds in (50, 200):
            model = lightgbm.LGBMClassifier(n_estimators=rounds, num_leaves=leaves, learning_rate=0.1, n_jobs=1, random_state=0, verbose=-1)
            yield fit(f"pixels: boosted trees, {leaves} leaves, {rounds} rounds", model)
    for kernel in ("linear", "poly"):
        yield fit(f"pixels: {kernel} support vectors", SVC(kernel=kernel, probability=True, random_state=0))
    for alpha in (0.01, 1.0):
        yield fit(f"pixels: perceptron, 64+32 hidden, alpha {alpha:g}", MLPClassifier((64, 32), alpha=alpha, max_iter=300, random_state=0))
    calibrated = CalibratedClassifierCV(ExtraTreesClassifier(200, random_state=0), method="isotonic", cv=5)
    yield fit("pixels: extra trees, calibrated", calibrated)
    for name, model in [
        ("10 nearest neighbours by distance", KNeighborsClassifier(10, weights="distance")),
        ("extra trees, 300", ExtraTreesClassifier(300, random_state=0)),
        ("logistic regression, C 1", LogisticRegression(C=1, max_iter=500)),
        ("perceptron, 128 hidden", MLPClassifier((128,), max_iter=60, random_state=0)),
        ("perceptron, 128 hidden, alpha 0.1", MLPClassifier((128,), alpha=0.1, max_iter=60, random_state=0)),
        ("RBF support vectors, C 10", SVC(C=10, probability=True, random_state=0)),
    ]:
        kept["shifted: " + name] = model.fit(big_train, big_labels).predict_proba(test)
        yield "shifted: " + name, kept["shifted: " + name]
    for parts in [
        ("pixels: extra trees, 300", "pixels: RBF support vectors, C 10"),
        ("pixels: perceptron, 64 hidden", "pixels: RBF support vectors, C 10"),
        ("pixels: logistic regression, C 1", "pixels: 10 nearest neighbours"),
        ("pixels: perceptron, 128 hidden", "pixels: extra trees, 300", "pixels: RBF support vectors, C 10"),
    ]:
        yield "mean of " + " + ".join(parts), np.mean([kept[part] for part in parts], axis=0)
