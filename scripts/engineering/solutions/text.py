from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union

TEXT = {{TEXT}}


def load():
    train, test = pd.read_csv(DATA / "train.csv"), pd.read_csv(DATA / "test.csv")
    test = test.set_index(ID).loc[SAMPLE[ID]].reset_index()
    join = lambda table: table[TEXT].fillna("").agg(" ".join, axis=1).to_numpy()
    y = train[TARGETS[0] if TARGETS[0] in train else "{{LABEL}}"].to_numpy()
    folds = list(StratifiedKFold({{FOLDS}}, shuffle=True, random_state=0).split(np.zeros(len(y)), y))
    return join(train), y, join(test), folds


def opening(text):
    """The first words, each with its place: what a text begins with often says what it is about."""
    return [f"{at}:{word}" for at, word in enumerate(text.lower().split()[:3])]
# == linear
from sklearn.linear_model import LogisticRegression


def make(strength):
    return make_pipeline(TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2), LogisticRegression(C=strength, max_iter=300))
# == vectors
from sklearn.svm import LinearSVC


def make(strength):
    features = make_union(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2),
        TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4), min_df=3),
    )
    return make_pipeline(features, LinearSVC(C=strength, random_state=SEED))
# == bayes
from sklearn.naive_bayes import ComplementNB, MultinomialNB


def make(alpha):
    features = make_union(
        CountVectorizer(ngram_range=(1, 2), binary=True),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=2, binary=True),
        CountVectorizer(analyzer=opening),
    )
    return make_pipeline(features, MultinomialNB(alpha=alpha))
# == words
from sklearn.naive_bayes import MultinomialNB


def make(alpha):
    return make_pipeline(CountVectorizer(min_df=2), MultinomialNB(alpha=alpha))
