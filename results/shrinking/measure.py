"""Does it cost accuracy to halve images when they are decoded? python results/shrinking/measure.py

Images of 64 x 64 (smiles) are halved once, when they are decoded, or in every step, by the first
layer (`--image-size 64`). Trains the same networks both ways, with a fifth of the training images
held out; the test split is not read. Each training is a line of rows.jsonl, written when it ends;
what is there is not trained again. Then prints a table.
"""

import json
import statistics
import tempfile
from pathlib import Path

import edarts
from edarts.config import DataConfig, TrainConfig
from edarts.runtime import Session

HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
SMILES = "../shared/data/smiles"
SEEDS = (0, 1, 2)
EPOCHS = {"convnet": 6, "darts.v2": 3}
SIDES = {"when decoded": None, "in every step": 64}


def rows() -> list[dict[str, object]]:
    """What has been trained."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def train(network: str, halved: str, seed: int) -> None:
    """One training, and its line."""
    data = DataConfig(SMILES, flip=True, image_size=SIDES[halved])
    config = TrainConfig(epochs=EPOCHS[network], valid_fraction=0.2)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        precision = "bf16" if network == "convnet" else "fp32"
        session = Session(seed=seed, device="cpu", out=out, precision=precision)
        done = edarts.train(network, data, config, session)
        environment = json.loads((out / "environment.json").read_text("utf-8"))
    row = {
        "network": network,
        "halved": halved,
        "seed": seed,
        "valid_accuracy": done.valid_accuracy,
        "seconds": done.seconds["train"],
        "environment": environment,
    }
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table() -> str:
    """A line for each network and each way."""
    lines = [
        "| network | halved | accuracy on images held out, %, by seed | mean | seconds, median |",
        "|---|---|---|---|---|",
    ]
    for network in EPOCHS:
        for halved in SIDES:
            mine = [r for r in rows() if (r["network"], r["halved"]) == (network, halved)]
            found = [100 * r["valid_accuracy"] for r in sorted(mine, key=lambda r: r["seed"])]
            if found:
                each = ", ".join(f"{value:.2f}" for value in found)
                seconds = statistics.median(r["seconds"] for r in mine)
                mean = statistics.mean(found)
                lines.append(f"| {network} | {halved} | {each} | {mean:.2f} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    there = {(row["network"], row["halved"], row["seed"]) for row in rows()}
    for seed in SEEDS:
        for network in EPOCHS:
            for halved in SIDES:
                if (network, halved, seed) not in there:
                    train(network, halved, seed)
    print(table())


if __name__ == "__main__":
    main()
