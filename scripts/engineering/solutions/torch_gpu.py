"""Trains convolutional networks on the GPU for small pictures with one label each, judged by the chance of each class."""
# {{MARK}}
import csv
import json
import math
import os
import pathlib
import time

import numpy as np
import torch
from PIL import Image
from torch import nn

DATA = pathlib.Path(os.environ.get("DATA_DIR", "{{DATA}}"))
STARTED = time.monotonic()
torch.manual_seed(int(os.environ.get("SEED", "0")))


def say(line):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {line}", flush=True)


def pictures(folder, names):
    read = [np.asarray(Image.open(DATA / folder / f"{name}.png").convert("L"), dtype=np.float32) for name in names]
    return torch.tensor(np.stack(read), device="cuda").unsqueeze(1) / 255


def shifted(batch):
    """Each picture moved by up to one pixel: more to learn from."""
    wide = nn.functional.pad(batch, (1, 1, 1, 1))
    high, across = batch.shape[-2:]
    down, right = torch.randint(0, 3, (2,)).tolist()
    return wide[:, :, down : down + high, right : right + across]


def network(classes):
    layers, last = [], 1
    for width in (128, 256, 256):
        layers += [nn.Conv2d(last, width, 3, padding=1), nn.BatchNorm2d(width), nn.GELU()]
        last = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(last * 16, classes)).cuda()


def fit(x, y, classes, epochs=60):
    net = network(classes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * math.ceil(len(x) / 128))
    for _ in range(epochs):
        for rows in torch.randperm(len(x), device="cuda").split(128):
            loss = nn.functional.cross_entropy(net(shifted(x[rows])), y[rows], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
    return net.eval()


def chances(nets, x):
    with torch.no_grad():
        return torch.stack([torch.softmax(net(x), dim=1) for net in nets]).mean(dim=0).double()


def main():
    with open(DATA / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(sorted(DATA.glob("[sS]ample*ubmission*.csv"))[0], newline="") as file:
        header, *sample = list(csv.reader(file))
    key, label = header[0], "{{LABEL}}"
    names = sorted({row[label] for row in rows})
    x, test = pictures("train", [row[key] for row in rows]), pictures("test", [row[0] for row in sample])
    y = torch.tensor([names.index(row[label]) for row in rows], device="cuda")
    say(f"{len(x)} pictures to learn from, {len(test)} to recognise, on {torch.cuda.get_device_name()}")
    order = torch.randperm(len(x), device="cuda")
    check, rest = order[: len(x) // 5], order[len(x) // 5 :]
    held = chances([fit(x[rest], y[rest], len(names))], x[check])
    score = nn.functional.nll_loss(held.clamp_min(1e-15).log(), y[check]).item()
    say(f"a fifth that was held out: log loss {score:.5f}")
    guess = chances([fit(x, y, len(names)) for _ in range(3)], test)
    guess = (guess / guess.sum(dim=1, keepdim=True)).cpu().numpy()
    places = [names.index(name if name in names else name.rsplit("_", 1)[-1]) for name in header[1:]]
    with open("submission.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(header)
        out.writerows([row[0], *(f"{chance:.9f}" for chance in line[places])] for row, line in zip(sample, guess))
    say(f"{torch.cuda.max_memory_allocated() >> 20} MiB of GPU memory at most")
    print("RESULT " + json.dumps({"score": round(score, 6), "higher_is_better": False, "metric": "log_loss", "model": "convolutions on cuda", "setting": {}}))


main()
