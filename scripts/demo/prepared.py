"""The four demo competitions prepared in Python: what `[split]` of each must give, byte for byte.

Used by ladder.py, which writes the md5 of every table to `checksums.toml`.
"""
import io
import pathlib
import zipfile

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

TEST_FRACTION = 0.25
SEED = 0
BIKES_TEST_FROM = "2011-11-01"
DIGIT_COLUMNS = [f"digit_{digit}" for digit in range(10)]


class Prepared:
    """Tables and files of one competition; `files` maps `public/...` and `private/...` to bytes."""

    def __init__(self, train, test, answers, sample):
        self.train, self.test, self.answers, self.sample = train, test, answers, sample
        self.files = {}
        for path, table in [
            ("public/train.csv", train),
            ("public/test.csv", test),
            ("public/sample_submission.csv", sample),
            ("private/test.csv", answers),
        ]:
            if table is not None:
                self.files[path] = table.to_csv(index=False, lineterminator="\n").encode()


def raw(catalog, name):
    with zipfile.ZipFile(pathlib.Path(catalog) / name / "raw.zip") as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def read(data, **options):
    return pd.read_csv(io.BytesIO(data), float_precision="round_trip", dtype={"id": str}, **options)


def digits(catalog):
    files = raw(catalog, "demo-digits")
    train, test = train_test_split(read(files["labels.csv"]), test_size=TEST_FRACTION, random_state=SEED)
    answers = test[["id"]].copy()
    for digit, column in enumerate(DIGIT_COLUMNS):
        answers[column] = (test.label == digit).astype(int)
    sample = test[["id"]].copy()
    for column in DIGIT_COLUMNS:
        sample[column] = 0.1
    prepared = Prepared(train, None, answers, sample)
    with zipfile.ZipFile(io.BytesIO(files["images.zip"])) as images:
        for part, table in [("train", train), ("test", test)]:
            for name in table.id:
                prepared.files[f"public/{part}/{name}.png"] = images.read(f"images/{name}.png")
    return prepared


def table(catalog, name, member, target, example):
    data = read(raw(catalog, name)[member])
    train, test = train_test_split(data, test_size=TEST_FRACTION, random_state=SEED)
    return Prepared(train, test.drop(columns=target), test[["id", target]], test[["id"]].assign(**{target: example}))


def definitions(catalog):
    return table(catalog, "demo-definitions", "definitions.csv", "category", "act")


def flights(catalog):
    return table(catalog, "demo-flights", "flights.csv", "late", 0.5)


def bikes(catalog):
    data = read(raw(catalog, "demo-bikes")["bikes.csv"])
    late = data.datetime >= BIKES_TEST_FROM
    train, test = data[~late], data[late]
    return Prepared(train, test.drop(columns="rentals"), test[["datetime", "rentals"]], test[["datetime"]].assign(rentals=100))


PREPARE = {"demo-digits": digits, "demo-definitions": definitions, "demo-flights": flights, "demo-bikes": bikes}


def pixels(prepared, part, names):
    """The images of `names` as [n, 64] float pixels 0..255, decoded without an image library."""
    import struct
    import zlib

    out = np.empty((len(names), 64))
    for row, name in enumerate(names):
        data = prepared.files[f"public/{part}/{name}.png"]
        at = data.index(b"IDAT")
        size = struct.unpack(">I", data[at - 4:at])[0]
        lines = zlib.decompress(data[at + 4:at + 4 + size])
        out[row] = np.frombuffer(lines, np.uint8).reshape(8, 9)[:, 1:].ravel()
    return out
