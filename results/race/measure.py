"""What `edarts find` reaches in how many seconds: python results/race/measure.py [NAME ...]

Each line of `RUNS` is a command, run with the seeds 0, 1 and 2 as a user would type it; its seconds
are those of the whole process, from the start to the prompt. The JSON of each is kept in
rows.jsonl, with hardware and versions, as soon as it ends; what is there is not run again. Then
prints a table. The photographs are images of CIFAR-10, 1,650 to train on and 2,000 to test on,
enlarged to 100 x 100; they are made first, unless they are there.
"""

import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

import edarts

HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
SEEDS = (0, 1, 2)
DATA = "../shared/data"
PHOTOGRAPHS, EACH, SIDE = Path("build/photographs"), {"train": 165, "test": 200}, 100
RUNS = {
    "digits": "find digits",
    "smiles": f"find {DATA}/smiles --minutes 5",
    "smiles, convnet alone": f"find {DATA}/smiles --minutes 5 --candidates convnet",
    "cifar10": f"find {DATA}/cifar10 --limit 5000 --minutes 10",
    "photographs": f"find {PHOTOGRAPHS} --minutes 3",
    "photographs, resnet alone": f"find {PHOTOGRAPHS} --minutes 3 --candidates resnet",
    "all of cifar10, 20 minutes": f"find {DATA}/cifar10 --minutes 20",
    "all of cifar10, 120 minutes": f"find {DATA}/cifar10 --minutes 120",
}
KEPT = ("test_accuracy", "test_accuracy_ci95", "winner", "verdict", "candidates", "cut", "seconds")


def rows() -> list[dict[str, Any]]:
    """What has been run, a row each."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def make_photographs() -> None:
    """A folder of each class, in one of each split."""
    for split, count in EACH.items():
        data = edarts.load(f"{DATA}/cifar10", split)  # type: ignore[arg-type]
        for number, name in enumerate(data.classes):
            folder = PHOTOGRAPHS / split / name
            folder.mkdir(parents=True, exist_ok=True)
            some = (data.labels == number).nonzero()[:count, 0].tolist()
            for index in some:
                image = Image.fromarray(data.images[index].numpy())
                enlarged = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                enlarged.save(folder / f"{index}.png")


def run(name: str, seed: int) -> None:
    """One command, and its row."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*shlex.split(RUNS[name]), "--seed", str(seed)]
        command = [sys.executable, "-m", "edarts", *words, "--json", "--out", f"{folder}/run"]
        start = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds = round(time.monotonic() - start, 1)
        environment = json.loads(Path(folder, "run", "environment.json").read_text())
    found = json.loads(done.stdout.splitlines()[-1])
    row = {
        "name": name,
        "command": f"edarts {shlex.join(words)}",
        "seed": seed,
        "process_seconds": seconds,
        **{key: found[key] for key in KEPT},
        "parameters": found["parameters"],
        "environment": environment,
    }
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table() -> str:
    """A line for each command: accuracies by seed, their mean, seconds, who won."""
    lines = [
        "| command | test accuracy by seed, % | mean | seconds, whole process | kept |",
        "|---|---|---|---|---|",
    ]
    for name, command in RUNS.items():
        mine = sorted((r for r in rows() if r["name"] == name), key=lambda r: r["seed"])
        if not mine:
            continue
        found = [100 * r["test_accuracy"] for r in mine]
        each = ", ".join(f"{value:.2f}" for value in found)
        seconds = ", ".join(f"{r['process_seconds']:.0f}" for r in mine)
        kept = ", ".join(r["winner"] for r in mine)
        lines.append(
            f"| `edarts {command}` | {each} | {statistics.mean(found):.2f} | {seconds} | {kept} |"
        )
    return "\n".join(lines)


def main(names: list[str]) -> None:
    if not PHOTOGRAPHS.exists():
        make_photographs()
    for seed in SEEDS:
        for name in names or RUNS:
            if not any((r["name"], r["seed"]) == (name, seed) for r in rows()):
                run(name, seed)
                print(table(), flush=True)
    print(table())


if __name__ == "__main__":
    main(sys.argv[1:])
