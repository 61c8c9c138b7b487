"""Memory and speed with 50,000 photographs of 224 x 224: python results/scale/measure.py [FOLDER]

Makes JPEG files in ten classes in FOLDER, or in a temporary one, unless they are there. Each line
of JSON that it prints, and keeps in result.json with hardware and versions, is measured in a
process of its own:

- `parts`: images a second of decoding, of the batches of an epoch, and of a training step of
  `convnet` (the median of STEPS), with the decoded images mapped and, for comparison, in memory;
- `train convnet`, `train linear`, `find`: the verbs from beginning to end, the first as they are
  shrunk without being asked, on all images and on a few. The difference of two peaks is what the
  many images take beside the network.

`anonymous_mib` is the peak of the memory that cannot be dropped; `mapped_mib` that of files, which
the system drops where memory is short.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
IMAGES, FEW, SIDE = 50_000, 500, 224
BATCH, STEPS = 64, 15
RECIPE = {"epochs": 1, "batch_size": BATCH}
MINUTES = 2.0  # of find
VERBS = (("train convnet", 0), ("train linear", SIDE), ("find", 0), ("find", SIDE))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--child", nargs=4)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(*asked.child)))
        return
    with tempfile.TemporaryDirectory() as own:
        folder = asked.folder or Path(own)
        places = {count: folder / str(count) for count in (asked.images, FEW)}
        for count, place in places.items():
            photographs(place, count)
        rows = [
            measured("parts", place, size, held)
            for place in [places[asked.images]]
            for size in (SIDE, 0)
            for held in ("mapped", "memory")
        ]
        rows += [
            measured(what, place, size, "default")
            for what, size in VERBS
            for place in places.values()
        ]
    from edarts.runs.environment import environment

    found = {"rows": rows, "environment": environment()}
    (HERE / "result.json").write_text(json.dumps(found, indent=2) + "\n")


def photographs(folder: Path, count: int) -> None:
    """JPEG files in ten classes."""
    for name in range(10):
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.glob("*/*.jpg")) != count:
        with ProcessPoolExecutor() as pool:
            list(pool.map(partial(photograph, folder), range(count), chunksize=500))


def photograph(folder: Path, seed: int) -> None:
    """Soft shapes, the brighter the later their class, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    name = seed % 10
    soft = rng.integers(0, 120 + 15 * name, (7, 7, 3), dtype=np.uint8)
    image = Image.fromarray(soft).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noise = rng.integers(-6, 7, (SIDE // 4, SIDE, 3), dtype=np.int16)
    pixels = np.asarray(image).astype(np.int16) + np.tile(noise, (4, 1, 1))
    made = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    made.save(folder / str(name) / f"{seed}.jpg", quality=85)


def measured(what: str, folder: Path, size: int, held: str) -> dict[str, Any]:
    """What a process of its own has found."""
    command = [sys.executable, __file__, "--child", what, str(folder), str(size), held]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    line = done.stdout.splitlines()[-1]
    print(line, flush=True)
    row: dict[str, Any] = json.loads(line)
    return row


# -- in the process that is measured -------------------------------------------------------------


def child(what: str, folder: str, size: str, held: str) -> dict[str, Any]:
    from edarts import DataConfig
    from edarts.data import storage

    limits = {"mapped": 0, "memory": 2**60, "default": storage.IN_MEMORY}
    storage.IN_MEMORY = limits[held]
    config = DataConfig(folder, image_size=int(size) or None)
    row: dict[str, Any] = {"what": what, "images": int(Path(folder).name), "size": int(size)}
    row["held"] = held
    threading.Thread(target=watch, args=(row,), daemon=True).start()
    start = time.monotonic()
    if what == "parts":
        row |= parts(config)
    else:
        verb(what, config)
    return row | {"seconds": round(time.monotonic() - start, 1)}


def parts(config: Any) -> dict[str, Any]:
    """Images a second of each part."""
    import torch

    from edarts.config import TrainConfig
    from edarts.data import Loader, open_data
    from edarts.runtime import Session
    from edarts.space import named
    from edarts.training import device, fit

    data = open_data(config)
    start = time.monotonic()
    train = data.train
    decoding = time.monotonic() - start
    rest, _ = fit.hold_out(train, 0.2, seed=0)
    paces = []
    for epoch in range(2):
        loader = Loader(rest, BATCH, 0, "train", torch.device("cpu"))
        start = time.monotonic()
        for step in range(loader.steps):
            loader.batch(epoch, step)
        paces.append(len(rest) / (time.monotonic() - start))
    design = named.architecture("convnet")
    recipe = fit.resolve_config(TrainConfig(**RECIPE), len(rest), whole=True)
    network = fit.build(design, recipe, rest, 0)
    phase = fit.Training(network, rest, recipe, device.runtime(Session(device="cpu")))
    times = []
    for step in range(1 + STEPS):
        start = time.monotonic()
        phase.step(0, step)
        times.append(time.monotonic() - start)
    return {
        "shape": train.shape,
        "decoded_a_second": round(len(train) / decoding),
        "batches_a_second": round(max(paces)),
        "trained_a_second": round(BATCH / statistics.median(times[1:]), 1),
    }


def verb(what: str, config: Any) -> None:
    import edarts

    recipe = edarts.TrainConfig(**RECIPE)
    with tempfile.TemporaryDirectory() as out:
        session = edarts.Session(out=Path(out) / "run", device="cpu")
        if what.startswith("train"):
            edarts.train(what.split()[1], config, recipe, session)
        else:
            budget = edarts.Budget(minutes=MINUTES)
            edarts.find(config, session=session, budget=budget)


def watch(row: dict[str, Any]) -> None:
    """Keeps the peaks of the memory, in MiB."""
    names = {"RssAnon": "anonymous_mib", "RssFile": "mapped_mib"}
    row |= dict.fromkeys(names.values(), 0)
    while True:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name in names:
                now = int(value.split()[0]) // 1024
                row[names[name]] = max(row[names[name]], now)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
