#!/usr/bin/env python3
"""Time and peak memory of `medalist prepare` on 20,000 small pictures and on a CSV file of about 1 GB, beside plain pandas.

usage: bench-prepare.py [--binary target/release/medalist] [--work DIR] [--no-pandas]

The data are made up in DIR (about 6 GB are needed there). The pandas half does what a preparation in Python does: unpack the
archive, read the table, split it with scikit-learn, write the parts, copy the pictures. It needs pandas and scikit-learn.
"""
import argparse, os, pathlib, random, resource, shutil, subprocess, sys, time, zipfile

PICTURES = "aptos2019-blindness-detection"
TABLE = "spaceship-titanic"

def make_pictures(path, count=20_000):
    draw = random.Random(0)
    ids = ["%012x" % draw.getrandbits(48) for _ in range(count)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("train.csv", "id_code,diagnosis\n" + "".join(f"{i},{draw.randrange(5)}\n" for i in ids))
        for i in ids: z.writestr(f"train_images/{i}.png", draw.randbytes(3000))

def make_table(path, size=1_000_000_000):
    draw = random.Random(0)
    names = ["Earth", "Mars", "Europa", ""]
    with open(path, "w") as f:
        f.write("PassengerId,HomePlanet,CryoSleep,Cabin,Destination,Age,VIP,RoomService,FoodCourt,ShoppingMall,Spa,VRDeck,Name,Transported\n")
        row, written = 0, 0
        while written < size:
            lines = []
            for _ in range(10_000):
                row += 1
                money = ",".join("%.1f" % (draw.random() * 5000) if draw.random() < .6 else "0.0" for _ in range(5))
                lines.append(f'{row:08d}_01,{draw.choice(names)},{draw.random() < .3},B/{row % 999}/P,"TRAPPIST-1e, west",{draw.random() * 80:.17g},False,{money},Name {row % 7919},{draw.random() < .5}\n')
            text = "".join(lines); f.write(text); written += len(text)

def in_pandas(kind, raw, out):
    import pandas as pd
    from sklearn.model_selection import train_test_split
    public, private = out / "public", out / "private"; public.mkdir(parents=True); private.mkdir()
    if kind == PICTURES:
        unpacked = out / "raw"
        with zipfile.ZipFile(raw) as z: z.extractall(unpacked)
        table = pd.read_csv(unpacked / "train.csv", float_precision="round_trip")
        train, test = train_test_split(table, test_size=0.1, random_state=0)
        sample = test.copy(); sample["diagnosis"] = 0
        train.to_csv(public / "train.csv", index=False); test[["id_code"]].to_csv(public / "test.csv", index=False)
        test.to_csv(private / "test.csv", index=False); sample.to_csv(public / "sample_submission.csv", index=False)
        for part, rows in (("train", train), ("test", test)):
            folder = public / f"{part}_images"; folder.mkdir()
            for i in rows["id_code"]: shutil.copyfile(unpacked / "train_images" / f"{i}.png", folder / f"{i}.png")
    else:
        table = pd.read_csv(raw / "train.csv", float_precision="round_trip")
        train, test = train_test_split(table, test_size=0.1, random_state=0)
        sample = test[["PassengerId"]].copy(); sample["Transported"] = False
        train.to_csv(public / "train.csv", index=False); test.drop("Transported", axis="columns").to_csv(public / "test.csv", index=False)
        test.to_csv(private / "test.csv", index=False); sample.to_csv(public / "sample_submission.csv", index=False)

def measured(command):
    """Seconds and peak memory in MiB of a command."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status: sys.exit(f"{command} failed")
    return time.monotonic() - began, usage.ru_maxrss / 1024

def disk(folder):
    done = subprocess.run(["du", "-sm", str(folder)], capture_output=True, text=True)
    return int(done.stdout.split()[0])

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--binary", default="target/release/medalist"); a.add_argument("--work", default="bench-prepare")
    a.add_argument("--no-pandas", action="store_true"); a.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    o = a.parse_args()
    if o.one: return in_pandas(o.one[0], pathlib.Path(o.one[1]), pathlib.Path(o.one[2]))
    work = pathlib.Path(o.work); work.mkdir(parents=True, exist_ok=True)
    pictures, table = work / "pictures.zip", work / "table"
    if not pictures.exists(): make_pictures(pictures)
    if not table.exists(): table.mkdir(); make_table(table / "train.csv")
    print("| what | program | seconds | peak memory, MiB | disk afterwards, MiB |\n|---|---|---:|---:|---:|")
    for kind, raw, flag in ((PICTURES, pictures, "--raw-zip"), (TABLE, table, "--raw-dir")):
        programs = {"medalist": [os.path.abspath(o.binary), "prepare", "-c", kind, "--data-dir", str(work / "out"), flag, str(raw), "--skip-verification"]}
        if not o.no_pandas: programs["pandas"] = [sys.executable, __file__, "--one", kind, str(raw), str(work / "out")]
        for name, command in programs.items():
            shutil.rmtree(work / "out", ignore_errors=True)
            seconds, memory = measured(command)
            print(f"| {kind} | {name} | {seconds:.1f} | {memory:.0f} | {disk(work / 'out')} |", flush=True)
            shutil.rmtree(work / "out", ignore_errors=True)

main()
