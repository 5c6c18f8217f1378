"""The ladder of `demo-definitions`: one of 12 categories from a short text."""
import numpy as np
from scipy.sparse import hstack
from sklearn.decomposition import TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, PassiveAggressiveClassifier, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier


def entries(data):
    texts, test_texts = data.train.text, data.test.text
    labels = data.train.category.to_numpy()

    def view(vectoriser):
        return vectoriser.fit_transform(texts), vectoriser.transform(test_texts)

    views = {
        "first word": view(CountVectorizer(preprocessor=lambda text: text.lower().split()[0])),
        "first two words": view(CountVectorizer(preprocessor=lambda text: " ".join(text.lower().split()[:2]), token_pattern=r"\S+")),
        "first four words": view(CountVectorizer(preprocessor=lambda text: " ".join(text.lower().split()[:4]), token_pattern=r"\S+")),
        "counts": view(CountVectorizer()),
        "words seen": view(CountVectorizer(binary=True)),
        "tf-idf": view(TfidfVectorizer(sublinear_tf=True)),
        "tf-idf without stop words": view(TfidfVectorizer(sublinear_tf=True, stop_words="english")),
        "tf-idf of pairs": view(TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+")),
        "tf-idf of letters": view(TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5))),
    }
    both = ("tf-idf of pairs", "tf-idf of letters")
    views["pairs and letters"] = tuple(hstack([views[both[0]][part], views[both[1]][part]]).tocsr() for part in (0, 1))
    first = views["first four words"]
    views["pairs, letters and opening"] = tuple(hstack([views["pairs and letters"][part], first[part]]).tocsr() for part in (0, 1))
    votes, chances = {}, {}

    def fit(view_name, name, model):
        a, b = views[view_name]
        full = f"{view_name}: {name}"
        votes[full] = model.fit(a, labels).predict(b)
        return full, votes[full]

    yield "always the first category", DummyClassifier(strategy="constant", constant="act").fit(texts, labels).predict(test_texts)
    yield "at random", DummyClassifier(strategy="uniform", random_state=0).fit(texts, labels).predict(test_texts)
    for name in views:
        for alpha in (0.03, 0.3, 1.0):
            yield fit(name, f"multinomial naive Bayes, alpha {alpha:g}", MultinomialNB(alpha=alpha))
        yield fit(name, "complement naive Bayes", ComplementNB(alpha=0.3))
        yield fit(name, "nearest centroid", NearestCentroid())
        for c in (0.3, 3):
            yield fit(name, f"logistic regression, C {c:g}", LogisticRegression(C=c, max_iter=300, tol=1e-3))
        for c in (0.1, 1):
            yield fit(name, f"linear support vectors, C {c:g}", LinearSVC(C=c, random_state=0))
        yield fit(name, "ridge", RidgeClassifier(alpha=1.0, solver="sparse_cg", random_state=0))
    for name in ("counts", "tf-idf", "tf-idf of pairs"):
        yield fit(name, "Bernoulli naive Bayes", BernoulliNB(alpha=0.1))
        for k in (1, 5, 15, 40):
            yield fit(name, f"{k} nearest neighbours", KNeighborsClassifier(k, metric="cosine"))
        for depth in (10, 40):
            yield fit(name, f"tree of depth {depth}", DecisionTreeClassifier(max_depth=depth, random_state=0))
        yield fit(name, "hinge by gradient descent", SGDClassifier(random_state=0))
        yield fit(name, "passive aggressive", PassiveAggressiveClassifier(C=0.1, random_state=0))
    for name in ("counts", "tf-idf"):
        yield fit(name, "random forest of 100", RandomForestClassifier(100, random_state=0))
        yield fit(name, "extra trees, 100", ExtraTreesClassifier(100, random_state=0))
    for size in (20, 50, 100):
        svd = TruncatedSVD(size, random_state=0)
        a, b = views["tf-idf"]
        views[f"{size} latent topics"] = svd.fit_transform(a), svd.transform(b)
        yield fit(f"{size} latent topics", "logistic regression, C 10", LogisticRegression(C=10, max_iter=1000))
        yield fit(f"{size} latent topics", "10 nearest neighbours", KNeighborsClassifier(10, metric="cosine"))
        yield fit(f"{size} latent topics", "perceptron, 64 hidden", MLPClassifier((64,), max_iter=100, random_state=0))
    # Linear models on words weighed by their naive Bayes log ratios, one class against the rest.
    kinds = np.unique(labels)
    for name in ("words seen", "tf-idf of pairs", "pairs and letters", "pairs, letters and opening"):
        a, b = views[name]
        scores = []
        for kind in kinds:
            own = np.asarray(a[labels == kind].sum(axis=0)).ravel() + 0.1
            rest = np.asarray(a[labels != kind].sum(axis=0)).ravel() + 0.1
            ratio = np.log((own / own.sum()) / (rest / rest.sum()))
            model = LogisticRegression(C=3, max_iter=300, tol=1e-3)
            scores.append(model.fit(a.multiply(ratio).tocsr(), labels == kind).decision_function(b.multiply(ratio).tocsr()))
        chances[name, "ratios"] = 1 / (1 + np.exp(-np.array(scores).T))
        yield f"{name}: logistic regression on Bayes ratios", kinds[chances[name, "ratios"].argmax(axis=1)]
    for name in ("pairs and letters", "pairs, letters and opening"):
        a, b = views[name]
        for kind, model in [("logistic", LogisticRegression(C=10, max_iter=300, tol=1e-3)), ("Bayes", MultinomialNB(alpha=0.03))]:
            chances[name, kind] = model.fit(a, labels).predict_proba(b)
        for alpha in (0.01, 0.1):
            yield fit(name, f"multinomial naive Bayes, alpha {alpha:g}", MultinomialNB(alpha=alpha))
            yield fit(name, f"complement naive Bayes, alpha {alpha:g}", ComplementNB(alpha=alpha))
        for parts in (("logistic", "Bayes"), ("logistic", "ratios"), ("Bayes", "ratios"), ("logistic", "Bayes", "ratios")):
            mean = np.mean([chances[name, part] for part in parts], axis=0)
            yield f"{name}: mean chance of {', '.join(parts)}", kinds[mean.argmax(axis=1)]
    yield "mean of all chances", kinds[np.mean(list(chances.values()), axis=0).argmax(axis=1)]
    for parts in [
        ("pairs and letters: linear support vectors, C 0.1", "pairs and letters: complement naive Bayes", "pairs and letters: logistic regression, C 3"),
        ("tf-idf of pairs: linear support vectors, C 1", "tf-idf of letters: linear support vectors, C 1", "first four words: multinomial naive Bayes, alpha 0.3"),
        ("tf-idf: ridge", "tf-idf of letters: ridge", "pairs, letters and opening: ridge"),
    ]:
        ballots = np.array([votes[part] for part in parts])
        # Without a majority the first voter decides.
        agreed = np.where(ballots[1] == ballots[2], ballots[1], ballots[0])
        yield "vote of " + " + ".join(parts), agreed
