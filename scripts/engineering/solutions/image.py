import struct
import zlib

SIDE = 24


def pixels(path):
    """Grey values from 0 to 1 of a PNG: by Pillow if it is there, else the plain 8-bit kinds by hand."""
    try:
        from PIL import Image

        return np.asarray(Image.open(path).convert("L"), float) / 255
    except ImportError:
        pass
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if depth != 8 or interlaced or colour == 3:
                raise ValueError(f"{path}: a kind of PNG that needs Pillow")
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    raw, stride = zlib.decompress(packed), width * channels
    rows, above = [], np.zeros(stride, int)
    for y in range(height):
        how, line = raw[y * (stride + 1)], np.frombuffer(raw, np.uint8, stride, y * (stride + 1) + 1).astype(int)
        if how == 2:
            line = (line + above) & 255
        elif how in (1, 3, 4):
            for i in range(stride):
                left = line[i - channels] if i >= channels else 0
                corner = above[i - channels] if i >= channels else 0
                if how == 1:
                    guess = left
                elif how == 3:
                    guess = (left + above[i]) // 2
                else:
                    reach = left + above[i] - corner
                    guess = min((left, above[i], corner), key=lambda value: abs(reach - value))
                line[i] = (line[i] + guess) & 255
        rows.append(line)
        above = line
    colours = np.array(rows).reshape(height, width, channels)
    colours = colours[:, :, :3] if channels > 2 else colours[:, :, :1]
    return colours.mean(axis=2) / 255


def small(picture):
    """At most SIDE by SIDE, by leaving out rows and columns."""
    high, wide = (np.linspace(0, size - 1, min(size, SIDE)).round().astype(int) for size in picture.shape)
    return picture[np.ix_(high, wide)]


def load():
    train = pd.read_csv(DATA / "train.csv", dtype={ID: str})
    read = lambda folder, names: np.stack([small(pixels(DATA / folder / f"{name.removesuffix('.png')}.png")) for name in names])
    x, test = read("{{TRAIN}}", train[ID]), read("{{TEST}}", SAMPLE[ID].astype(str))
    y = train["{{LABEL}}"].to_numpy()
    folds = list(StratifiedKFold({{FOLDS}}, shuffle=True, random_state=0).split(x, y))
    return x, y, test, folds


class OnPictures:
    """A model on pixels, with shifted copies of the training pictures if `shifts`."""

    def __init__(self, model, shifts=False):
        self.model, self.shifts = model, shifts

    def fit(self, x, y):
        copies = [x]
        if self.shifts:
            wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            high, across = x.shape[1:]
            copies += [wide[:, a : a + high, b : b + across] for a, b in ((0, 1), (2, 1), (1, 0), (1, 2))]
        self.model.fit(np.concatenate(copies).reshape(-1, x[0].size), np.tile(y, len(copies)))
        return self

    def predict_proba(self, x):
        guess = np.clip(self.model.predict_proba(x.reshape(len(x), -1)), 1e-4, 1)
        return guess / guess.sum(axis=1, keepdims=True)
# == linear
from sklearn.linear_model import LogisticRegression


def make(strength):
    return OnPictures(LogisticRegression(C=strength, max_iter=300))
# == kernel
from sklearn.svm import SVC


def make(strength, width):
    return OnPictures(SVC(C=strength, gamma=width, probability=True, random_state=SEED))
# == net
from sklearn.neural_network import MLPClassifier


def make(hidden, decay):
    return OnPictures(MLPClassifier((hidden,), alpha=decay, max_iter=40, early_stopping=False, random_state=SEED), shifts=True)
# == near
from sklearn.neighbors import KNeighborsClassifier


def make(neighbours):
    return OnPictures(KNeighborsClassifier(neighbours, weights="distance"), shifts=True)
