"""Whether what is said of trust holds: python results/trust/measure.py

Trains a convnet on 5,000 images of CIFAR-10, of which a tenth is held out to learn a temperature, a
threshold of prediction sets, and a distance. Reports the calibration error before and after, the
coverage of the sets, and how many images are flagged as unlike the training data: of CIFAR-10's own
test split, of CIFAR-100's, and of faces (smiles). Each training is a line of rows.jsonl; what is
there is not done again. Then prints a table.
"""

import json
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path

import edarts
from edarts.config import DataConfig, TrainConfig
from edarts.data import open_data
from edarts.runtime import Session
from edarts.training import device

HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
SEEDS = range(3)
DATA = "../shared/data"
OTHERS = ("cifar100", "smiles")


def rows() -> list[dict[str, object]]:
    """What has been measured."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def measure(seed: int) -> None:
    """One training, and its line."""
    data = DataConfig(f"{DATA}/cifar10", limit=5000)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        session = Session(seed=seed, device="cpu", out=run, precision="bf16")
        edarts.train("convnet", data, TrainConfig(epochs=20, valid_fraction=0.1), session)
        found, model = edarts.evaluate(run), edarts.load_model(run)
        environment = json.loads((run / "environment.json").read_text())
    assert found.trust is not None and found.trust.learned is not None
    runtime, flagged = device.runtime(Session(device="cpu")), {}
    for name in OTHERS:
        test = open_data(DataConfig(f"{DATA}/{name}")).split("test", model.image)
        unlike = model.answers(test.images, runtime).unlike
        assert unlike is not None
        flagged[name] = float(unlike.float().mean())
    row = {
        "seed": seed,
        "test_accuracy": found.test_accuracy,
        "calibration_error": asdict(found.trust.calibration_error),
        "learned": asdict(found.trust.learned),
        "flagged": flagged,
        "environment": environment,
    }
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def main() -> None:
    for seed in SEEDS:
        if not any(row["seed"] == seed for row in rows()):
            measure(seed)
    found: list[dict[str, dict[str, dict[str, float]]]] = rows()  # type: ignore[assignment]
    table = {
        "expected calibration error, points": [row["calibration_error"]["value"] for row in found],
        "the same at a temperature of 1": [row["learned"]["before"]["value"] for row in found],
        "coverage of the sets (meant: 90)": [row["learned"]["coverage"]["value"] for row in found],
        "flagged, CIFAR-10's test images (meant: 5)": [
            row["learned"]["unlike"]["value"] for row in found
        ],
        **{f"flagged, {name}": [row["flagged"][name] for row in found] for name in OTHERS},
    }
    print("| % | by seed | mean |\n|---|---|---|")
    for name, values in table.items():
        each = ", ".join(f"{100 * value:.1f}" for value in values)  # type: ignore[operator]
        print(f"| {name} | {each} | {100 * statistics.mean(values):.1f} |")  # type: ignore[type-var]
    sizes = ", ".join(f"{row['learned']['set_size']:.2f}" for row in found)
    print(f"| classes in a set | {sizes} | |")


if __name__ == "__main__":
    main()
