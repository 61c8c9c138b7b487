"""Memory and speed with 50,000 photographs of 224 x 224: python results/scale/measure.py [FOLDER]

Makes JPEG files in ten classes in FOLDER, or in a temporary one, unless they are there. Each line
of JSON that it prints, and adds to rows.jsonl, is measured in a process of its own:

- `parts`: images a second of decoding, of the batches of an epoch, and of a training step of
  `convnet` (the median of STEPS), with the decoded images mapped and, for comparison, in memory;
- `pace`: the same for SOME of the images, both ways in turn, so that what else the machine does
  slows down both: images a second mapped, and in memory;
- `train convnet`, `train linear`, `find`: the verbs from beginning to end, the first as they are
  shrunk without being asked, on all images and on a few. The difference of two peaks is what the
  many images take beside the network.

`anonymous_mib` is the peak of the memory that cannot be dropped; `mapped_mib` that of files, which
the system drops where memory is short. `--only pace,find` measures no others.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
IMAGES, SOME, FEW, SIDE = 50_000, 8_000, 500, 224
BATCH, STEPS, TURNS = 64, 15, 3
RECIPE = {"epochs": 1, "batch_size": BATCH}
MINUTES = {(IMAGES, 0): 10.0, (FEW, 0): 2.0, (IMAGES, SIDE): 20.0, (FEW, SIDE): 3.0}  # of find
# Without a search, and with batches that are not smaller for few images, as what a step holds is.
SAME, PLAIN, PLAIN_MINUTES = "find plain, batches of 64", "convnet,linear", 8.0
VERBS = (("train convnet", 0), ("train linear", SIDE), ("find", 0), ("find", SIDE), (SAME, SIDE))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--only", default="parts,pace,train convnet,train linear,find,find plain")
    parser.add_argument("--child", nargs=4)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(*asked.child)))
        return
    from edarts.runs.environment import environment

    (HERE / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
    with tempfile.TemporaryDirectory() as own:
        folder = asked.folder or Path(own)
        places = [folder / str(count) for count in (asked.images, FEW)]
        for place in places:
            photographs(place, int(place.name))
        sizes, ways = (SIDE, 0), ("mapped", "memory")
        rows = [("parts", places[0], size, way) for size in sizes for way in ways]
        rows += [("pace", places[0], size, "both") for size in sizes]
        rows += [(what, place, size, "default") for what, size in VERBS for place in places]
        for row in rows:
            if row[0].split(",")[0] in asked.only.split(","):
                measure(*row)


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


def measure(what: str, folder: Path, size: int, held: str) -> None:
    """Adds what a process of its own has found."""
    command = [sys.executable, __file__, "--child", what, str(folder), str(size), held]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    line = done.stdout.splitlines()[-1]
    print(line, flush=True)
    with (HERE / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


# -- in the process that is measured -------------------------------------------------------------


def child(what: str, folder: str, size: str, held: str) -> dict[str, Any]:
    from edarts import DataConfig

    config = DataConfig(folder, image_size=int(size) or None)
    row: dict[str, Any] = {"what": what, "images": int(Path(folder).name), "size": int(size)}
    row["held"] = held
    threading.Thread(target=watch, args=(row,), daemon=True).start()
    start = time.monotonic()
    if what == "parts":
        row |= parts(config, held)
    elif what == "pace":
        row |= pace(replace(config, limit=SOME))
    else:
        verb(what, config, MINUTES.get((row["images"], row["size"]), 5.0))
    return row | {"seconds": round(time.monotonic() - start, 1)}


class Part:
    """A training split, decoded here, and a network that is trained on it."""

    def __init__(self, config: Any, held: str) -> None:
        from edarts.config import TrainConfig
        from edarts.data import storage
        from edarts.data.opened import Opened
        from edarts.runtime import Session
        from edarts.space import named
        from edarts.training import device, fit

        storage.IN_MEMORY = {"mapped": 0, "memory": 2**60}[held]
        opened = Opened(config)
        self.train, self.decoding = timed(lambda: opened.train)
        rest, _ = fit.hold_out(self.train, 0.2, seed=0)
        design = named.architecture("convnet")
        recipe = fit.resolve_config(TrainConfig(**RECIPE), len(rest), whole=True)
        network = fit.build(design, recipe, rest, 0)
        runtime = device.runtime(Session(device="cpu"))
        self.phase = fit.Training(network, rest, recipe, runtime)
        self.epoch, self.step = list[float](), list[float]()

    def batches(self, epoch: int) -> None:
        """Gather those of an epoch."""
        loader = self.phase.loader
        steps = range(loader.steps)
        self.epoch.append(timed(lambda: [loader.batch(epoch, n)[1].sum() for n in steps])[1])

    def trained(self, step: int) -> None:
        """One training step."""
        self.step.append(timed(lambda: self.phase.step(0, step))[1])

    def pace(self) -> dict[str, Any]:
        """Images a second, by the fastest epoch and the median step."""
        return {
            "decoded_a_second": round(len(self.train) / self.decoding),
            "batches_a_second": round(len(self.phase.loader.labels) / min(self.epoch)),
            "trained_a_second": round(BATCH / statistics.median(self.step[1:]), 1),
        }


def timed(do: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds."""
    start = time.monotonic()
    return do(), time.monotonic() - start


def parts(config: Any, held: str) -> dict[str, Any]:
    """Images a second of each part."""
    part = Part(config, held)
    for epoch in range(2):
        part.batches(epoch)
    for step in range(1 + STEPS):
        part.trained(step)
    return {"shape": part.train.shape, **part.pace()}


def pace(config: Any) -> dict[str, Any]:
    """Images a second of each part, mapped and in memory, in turn: the best of some turns."""
    both = {"mapped": Part(config, "mapped"), "memory": Part(config, "memory")}
    for turn in range(TURNS - 1):
        for held in ("memory", "mapped") if turn % 2 == 0 else ("mapped", "memory"):
            again = Part(config, held)
            both[held].decoding = min(both[held].decoding, again.decoding)
    for epoch in range(2 * TURNS):
        for part in both.values():
            part.batches(epoch)
    for step in range(1 + 2 * STEPS):
        for part in both.values():
            part.trained(step)
    return {held: part.pace() for held, part in both.items()}


def verb(what: str, config: Any, minutes: float) -> None:
    import edarts

    with tempfile.TemporaryDirectory() as out:
        session = edarts.Session(out=Path(out) / "run", device="cpu")
        if what == SAME:
            recipe = edarts.TrainConfig(batch_size=BATCH)
            budget = edarts.Budget(minutes=min(minutes, PLAIN_MINUTES))
            edarts.find(config, None, recipe, session, budget, PLAIN)
        elif what.startswith("train"):
            recipe = edarts.TrainConfig(**RECIPE)
            edarts.train(what.split()[1], config, recipe, session)
        else:
            budget = edarts.Budget(minutes=minutes)
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
