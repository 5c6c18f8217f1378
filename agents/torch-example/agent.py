"""An agent that trains on the GPU: convolutional networks for folders of small pictures with one label each.

Jobs: `train` solves the competition; `hold` fills memory of the card, works on it and hears no SIGTERM, so that its time limit must
kill it (for tests of the harness).
"""
import argparse
import csv
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import torch
from PIL import Image
from torch import nn

DATA = pathlib.Path(os.environ.get("DATA_DIR", "/home/data"))
TARGET = pathlib.Path(os.environ.get("SUBMISSION_DIR", "/home/submission")) / "submission.csv"
SEED = int(os.environ.get("SEED", "0"))
STARTED = time.monotonic()


def say(line):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


def cards():
    """Prints what this container can see of the GPUs, one line a card."""
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        say(f"card GPU-{getattr(facts, 'uuid', 'unknown')} {facts.name} {facts.total_memory >> 20} MiB")
    nodes = sorted(node.name for node in pathlib.Path("/dev").glob("nvidia[0-9]*"))
    say(f"device nodes: {' '.join(nodes) or 'none'}")
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
        for line in listed.splitlines():
            say(f"nvidia-smi: {line}")
    except (OSError, subprocess.SubprocessError):
        say("nvidia-smi: not in this container")


def hold(gigabytes):
    """Takes memory and time of the card until somebody ends it."""
    signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM is ignored"))
    block = torch.empty(int(gigabytes * 2**30), dtype=torch.uint8, device="cuda").fill_(1)
    a = torch.randn(4096, 4096, device="cuda")
    say(f"holding {block.numel() / 2**30:.1f} GiB")
    while True:
        for _ in range(100):
            a = torch.tanh(a @ a.T / 4096)
        torch.cuda.synchronize()


def pictures(names):
    read = [np.asarray(Image.open(name).convert("L"), dtype=np.float32) for name in names]
    return torch.tensor(np.stack(read), device="cuda").unsqueeze(1) / 255


def shifted(batch):
    """Each picture moved by up to one pixel: more to learn from."""
    wide = nn.functional.pad(batch, (1, 1, 1, 1))
    height, width = batch.shape[-2:]
    moves = torch.randint(0, 3, (2,))
    return wide[:, :, moves[0] : moves[0] + height, moves[1] : moves[1] + width]


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers, last = [], 1
        for width in (128, 256, 256):
            layers += [nn.Conv2d(last, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU()]
            last = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3))
        self.head = nn.Linear(last * 16, classes)

    def forward(self, batch):
        return self.head(self.body(batch))


def fit(x, y, classes, epochs=60):
    net = Net(classes).cuda()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * ((len(x) + 127) // 128)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), device="cuda").split(128):
            loss = nn.functional.cross_entropy(net(shifted(x[rows])), y[rows], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
    return net.eval()


def train(seconds):
    with open(DATA / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(next(DATA.glob("sample*ubmission*.csv")), newline="") as file:
        sample = list(csv.reader(file))
    header, ids = sample[0], [row[0] for row in sample[1:]]
    # A valid file from the first second on: whatever is here when time is up is graded.
    with open(TARGET, "w", newline="") as file:
        csv.writer(file).writerows(sample)
    labels = sorted({row["label"] for row in rows}, key=int)
    x = pictures(DATA / "train" / f"{row['id']}.png" for row in rows)
    y = torch.tensor([labels.index(row["label"]) for row in rows], device="cuda")
    test = pictures(DATA / "test" / f"{name}.png" for name in ids)
    say(f"{len(x)} pictures to learn from, {len(test)} to recognise, on {torch.cuda.get_device_name()}")
    total, nets = torch.zeros(len(test), len(labels), device="cuda"), 0
    limit = float(os.environ.get("TIME_LIMIT_SECS", "600")) * 0.8
    while nets < 3 or (time.monotonic() - STARTED < seconds and time.monotonic() - STARTED < limit):
        net = fit(x, y, len(labels))
        with torch.no_grad():
            total += torch.softmax(net(test), dim=1)
        nets += 1
    chances = (total / nets).double()
    chances = (chances / chances.sum(dim=1, keepdim=True)).cpu().numpy()
    order = [labels.index(name.rsplit("_", 1)[1]) for name in header[1:]]
    with open(TARGET, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(header)
        out.writerows([name, *(f"{chance:.9f}" for chance in row[order])] for name, row in zip(ids, chances))
    say(f"wrote the mean of {nets} networks; {torch.cuda.max_memory_allocated() >> 20} MiB of GPU memory at most")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", choices=["train", "hold"], default="train")
    parser.add_argument("--seconds", type=float, default=20, help="train further networks until so long after the start")
    parser.add_argument("--gigabytes", type=float, default=4, help="what `hold` takes")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU in this container: run with `--gpus 1`")
    torch.manual_seed(SEED)
    cards()
    if options.job == "hold":
        hold(options.gigabytes)
    else:
        train(options.seconds)


if __name__ == "__main__":
    main()
