"""Mutated inputs: each try mutates one file that some verb reads, and lets the verb read it."""

import io
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from edarts.cli.main import main
from faults.mutations import mutated
from faults.runs import TRAIN
from faults.trials import judged


def quiet(words: list[str]) -> tuple[int, str]:
    """Exit code and what stands on stderr."""
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except BaseException as error:
            return -1, f"{type(error).__name__} (a bug): {error}"
    return code, err.getvalue()


class Inputs:
    """In this process, one after the other."""

    def __init__(self, work: Path) -> None:
        self.work, self.run = work, work / "inputs"
        if not (self.run / "evaluated").exists():
            shutil.rmtree(self.run, ignore_errors=True)
            assert quiet([*TRAIN, "--valid-fraction", "0.6", "--out", str(self.run)])[0] == 0
            assert quiet(["evaluate", str(self.run), "--quiet"])[0] == 0
            (self.run / "evaluated").touch()
        self.cases = list(self._cases())

    def _cases(self) -> Iterator[tuple[str, bytes, list[str]]]:
        """Name of a file, its content, and the words that read it, with FILE and RUN in them."""
        run = self.run
        reads = {
            "config.yaml": "report", "environment.json": "report", "metrics.jsonl": "report",
            "model.json": "evaluate", "genotype.json": "report", "model.safetensors": "evaluate",
            "calibration.safetensors": "evaluate", "predictions.npz": "report",
            "pictures-train.json": "report", "pictures-test.json": "report",
            "data.npz": "evaluate", "digests.json": "evaluate",
        }  # fmt: skip
        for name, verb in reads.items():
            yield name, (run / name).read_bytes(), [verb, "RUN", "--quiet"]
        train = ["train", "darts.v1", "FILE", *TRAIN[3:], "--out", str(self.work / "none")]
        for name, content in self._data().items():
            yield name, content, train
        yield "genotype.json", (run / "genotype.json").read_bytes(), ["zoo", "show", "FILE"]
        yield "checkpoint.pt", (run / "checkpoint.pt").read_bytes(), [
            *TRAIN, "--valid-fraction", "0.6", "--out", "RUN"]  # fmt: skip

    def _data(self) -> dict[str, bytes]:
        import numpy as np
        from PIL import Image

        images = np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)
        packed, picture = io.BytesIO(), io.BytesIO()
        np.savez_compressed(packed, images=images, labels=np.arange(12) % 3)
        Image.fromarray(images[0]).save(picture, "PNG")
        return {"data.npz": packed.getvalue(), "x.csv": b"file,label\n" + b"a.png,b\nc.png,d\n" * 6}

    def __call__(self, number: int) -> dict[str, object]:
        rng = random.Random(number)
        name, content, words = self.cases[number % len(self.cases)]
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            place = Path(folder) / name
            if "RUN" in words:
                shutil.copytree(self.run, Path(folder) / "run")
                place = Path(folder) / "run" / name
                if rng.random() < 0.7 and name != "digests.json":  # as older versions left it
                    (Path(folder) / "run" / "digests.json").unlink()
            place.write_bytes(mutated(content, name, rng))
            names = {"RUN": str(Path(folder) / "run"), "FILE": str(place)}
            start = time.monotonic()
            code, told = quiet([names.get(word, word) for word in words])
        shutil.rmtree(self.work / "none", ignore_errors=True)
        result = judged(code, told)
        if result == "identical":
            result = "right"
        kept = {"told": told[-300:]} if result == "wrong" else {}
        return {"file": name, "verb": words[0], "result": result, **kept,
                "seconds": round(time.monotonic() - start, 2)}  # fmt: skip
