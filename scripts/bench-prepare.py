#!/usr/bin/env python3
"""Time, memory and disk of `medalist prepare` at real sizes, beside MLE-bench's own preparation where there is a checkout of it.

usage: bench-prepare.py [--binary target/release/medalist] [--work DIR] [--reference MLE-BENCH] [--limit target/release/examples/unpack] [--only NAME...]

    pictures    20,000 pictures of 3 kB in a zip (aptos2019-blindness-detection)
    table       a CSV file of 1 GB with 14 columns in a zip (spaceship-titanic)
    sentences   a text of 30 million lines in a zip in a zip (billion-word-imputation; without the reference)
    members     a zip of 2.4 million tiny pictures (bms-molecular-translation; without the reference)

The data are made up in DIR, where about 15 GB are needed. The reference runs in this Python, which needs pandas, scikit-learn and what else
`mlebench.utils` imports; it unpacks the archive, then runs the competition's `prepare`. Its imports are not counted. Both leave checksums aside;
medalist hashes every file all the same. Disk is the largest size of the data directory while it worked, looked at twice a second. With `--limit`
(`cargo build --release -p medalist-competitions --example unpack`) the archive is also read, unpacked and written and nothing else: no program can be quicker than
that on one processor. The file system of DIR is stated, for the figures hang on it.
"""
import argparse, importlib, os, pathlib, random, shutil, struct, subprocess, sys, threading, time, zipfile, zlib

IDS = {"pictures": "aptos2019-blindness-detection", "table": "spaceship-titanic", "sentences": "billion-word-imputation", "members": "bms-molecular-translation"}
COMPARED = ("pictures", "table")

def make_pictures(path, count=20_000):
    draw = random.Random(0)
    ids = ["%012x" % draw.getrandbits(48) for _ in range(count)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("train.csv", "id_code,diagnosis\n" + "".join(f"{i},{draw.randrange(5)}\n" for i in ids))
        for i in ids: z.writestr(f"train_images/{i}.png", draw.randbytes(3000))

def make_table(path, size=1_000_000_000):
    draw = random.Random(0)
    names = ["Earth", "Mars", "Europa", ""]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z, z.open("train.csv", "w", force_zip64=True) as f:
        f.write(b"PassengerId,HomePlanet,CryoSleep,Cabin,Destination,Age,VIP,RoomService,FoodCourt,ShoppingMall,Spa,VRDeck,Name,Transported\n")
        row, written = 0, 0
        while written < size:
            lines = []
            for _ in range(10_000):
                row += 1
                money = ",".join("%.1f" % (draw.random() * 5000) if draw.random() < .6 else "0.0" for _ in range(5))
                lines.append(f'{row:08d}_01,{draw.choice(names)},{draw.random() < .3},B/{row % 999}/P,"TRAPPIST-1e, west",{draw.random() * 80:.17g},False,{money},Name {row % 7919},{draw.random() < .5}\n')
            text = "".join(lines).encode(); f.write(text); written += len(text)

def make_sentences(path, count=30_301_028):
    draw = random.Random(0)
    words = [("%x" % draw.getrandbits(40))[: draw.randrange(1, 10)] for _ in range(5000)]
    block = [" ".join(draw.choice(words) for _ in range(draw.randrange(1, 50))) + " .\n" for _ in range(100_000)]
    inner = path.with_suffix(".inner")
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z, z.open("train_v2.txt", "w", force_zip64=True) as f:
        while count > 0:
            draw.shuffle(block); f.write("".join(block[:count]).encode()); count -= len(block)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z: z.write(inner, "train_v2.txt.zip")
    inner.unlink()

def make_members(path, count=2_424_186):
    # Python's packer would hold all members in memory, so that the list at the end is written by hand.
    draw = random.Random(0)
    ids = ["%012x" % draw.getrandbits(48) for _ in range(count)]
    with open(path, "wb") as f, open(path.with_suffix(".list"), "w+b") as listed:
        at = members = 0
        def add(name, data):
            nonlocal at, members
            name = name.encode(); facts = struct.pack("<HHHHIIIHH", 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0)
            f.write(b"PK\3\4\x14\0" + facts + name + data); listed.write(b"PK\1\2\x14\0\x14\0" + facts + bytes(10) + struct.pack("<I", at) + name)
            at += 30 + len(name) + len(data); members += 1
        add("train_labels.csv", b"image_id,InChI\n" + b"".join(b'%s,"InChI=1S/C13H20OS/c1-9(2)8-15-13-6-5-10(3)7-12(13)11(4)14/%s"\n' % (i.encode(), i.encode()) for i in ids))
        add("extra_approved_InChIs.csv", b"InChI\nx\n")
        for i in ids: add(f"train/{i[0]}/{i[1]}/{i[2]}/{i}.png", b"12345")
        size = listed.tell(); listed.seek(0); shutil.copyfileobj(listed, f)
        f.write(struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, members, members, size, at) + struct.pack("<IIQI", 0x07064b50, 0, at + size, 1))
        f.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0))
    path.with_suffix(".list").unlink()

def reference(checkout, competition, archive, out):
    """What `mlebench prepare` does with a download, in this process; prints its seconds of wall and processor time."""
    sys.path.insert(0, checkout)
    os.chdir(out)
    from mlebench.utils import extract
    prepare = importlib.import_module(f"mlebench.competitions.{competition}.prepare").prepare
    began, began_cpu = time.monotonic(), time.process_time()
    raw, public, private = (out / name for name in ("raw", "public", "private"))
    for folder in (raw, public, private): folder.mkdir()
    extract(archive, raw, recursive=False)
    prepare(raw=raw, public=public, private=private)
    print(time.monotonic() - began, time.process_time() - began_cpu)

def file_system(folder):
    """The kind of the file system that a folder is on."""
    mounts = [line.split()[1:3] for line in open("/proc/mounts")]
    return max((m for m in mounts if folder.is_relative_to(m[0])), key=lambda m: len(m[0]))[1]

def measured(command, folder):
    """Wall and processor seconds, peak memory and peak disk in MiB of a command, and what it printed."""
    largest, over = 0, threading.Event()
    def watch():
        nonlocal largest
        while True:
            done = subprocess.run(["du", "-sm", str(folder)], capture_output=True, text=True)
            largest = max(largest, int(done.stdout.split()[0] if done.stdout else 0))
            if over.is_set(): return
            over.wait(.5)
    watcher = threading.Thread(target=watch); watcher.start()
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    over.set(); watcher.join()
    if status: sys.exit(f"{command} failed")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, largest, text

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--binary", default="target/release/medalist"); a.add_argument("--work", default="bench-prepare")
    a.add_argument("--reference", help="a checkout of MLE-bench"); a.add_argument("--only", nargs="+", choices=list(IDS), default=list(IDS))
    a.add_argument("--limit", help="the example `unpack`, built with --release")
    a.add_argument("--in-process", nargs=4, help=argparse.SUPPRESS)
    o = a.parse_args()
    if o.in_process:
        checkout, competition, archive, out = o.in_process
        return reference(checkout, competition, pathlib.Path(archive), pathlib.Path(out))
    work = pathlib.Path(o.work).resolve(); work.mkdir(parents=True, exist_ok=True)
    print(f"on {file_system(work)}, {os.cpu_count()} processors", flush=True)
    print("| what | program | wall, s | processor, s | peak memory, MiB | peak disk, MiB |\n|---|---|---:|---:|---:|---:|", flush=True)
    for name in o.only:
        archive, out, competition = work / f"{name}.zip", work / "out", IDS[name]
        if not archive.exists(): globals()[f"make_{name}"](archive)
        shutil.rmtree(out, ignore_errors=True); out.mkdir()
        command = [os.path.abspath(o.binary), "-q", "prepare", "-c", competition, "--data-dir", str(out), "--raw-zip", str(archive), "--skip-verification"]
        wall, cpu, memory, disk, _ = measured(command, out)
        print(f"| {name} | medalist | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {disk} |", flush=True)
        shutil.rmtree(out)
        if o.limit:
            out.mkdir()
            wall, cpu, memory, disk, _ = measured([os.path.abspath(o.limit), str(archive), str(out)], out)
            print(f"| {name} | read, unpack, write | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {disk} |", flush=True)
            shutil.rmtree(out)
        if o.reference and name in COMPARED:
            out.mkdir()
            command = [sys.executable, os.path.abspath(__file__), "--in-process", os.path.abspath(o.reference), competition, str(archive), str(out)]
            _, _, memory, disk, text = measured(command, out)
            wall, cpu = map(float, text.split()[-2:])
            print(f"| {name} | MLE-bench | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {disk} |", flush=True)
            shutil.rmtree(out)

main()
