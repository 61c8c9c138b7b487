"""Mutated inputs: each try mutates one file that some verb reads, and lets the verb read it.

`identical`: the mutation changed nothing. `accepted`: the file says something else now, and nothing
could tell that it should not: data, what a run only shows, and files of a run without digests, as
older versions left it. Where a digest stands beside the file, to accept it is `wrong`.
"""

import io
import json
import random
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from edarts.cli.main import main
from edarts.runs.files import DIGESTS
from faults.mutations import mutated
from faults.runs import BLACK_BOX, RACE, STUDY, TRAIN
from faults.trials import judged

HELD = ["--valid-fraction", "0.6"]


def quiet(words: list[str]) -> tuple[int, str]:
    """Exit code and what stands on stderr."""
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except BaseException as error:
            return -1, f"{type(error).__name__} (a bug): {error}"
    return code, err.getvalue()


@dataclass(frozen=True)
class Case:
    """A file, and the words that read it: FILE is its path, RUN the copy of a run with it.

    `unread`: the verb may go well without the file.
    """

    name: str
    content: bytes
    words: list[str]
    run: Path | None = None
    unread: bool = False


class Inputs:
    """In this process, one after the other."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.run = self._made("train", [*TRAIN, *HELD], "evaluate")
        self.found = self._made("race", RACE)
        self.study = self._made("study", STUDY)
        self.searched = self._made("search", BLACK_BOX)
        self.cases = [*self._of_runs(), *self._of_data(), *self._of_others()]

    def _made(self, name: str, words: list[str], *then: str) -> Path:
        """The run that these words make, once."""
        out = self.work / f"straight-{name}"
        if not out.with_suffix(".done").exists():
            shutil.rmtree(out, ignore_errors=True)
            for each in ([*words, "--out", str(out)], *([verb, str(out)] for verb in then)):
                code, told = quiet([*each, "--quiet"])
                assert code == 0, told
            out.with_suffix(".done").touch()
        return out

    def _of_runs(self) -> Iterator[Case]:
        reads = {
            "config.yaml": "report", "environment.json": "report", "metrics.jsonl": "report",
            "model.json": "evaluate", "genotype.json": "report", "model.safetensors": "evaluate",
            "calibration.safetensors": "evaluate", "predictions.npz": "report",
            "pictures-train.json": "report", "pictures-test.json": "report",
            "data.npz": "evaluate", "digests.json": "evaluate",
        }  # fmt: skip
        for name, verb in reads.items():
            twice = ["RUN"] if name == "predictions.npz" else []  # read where runs are compared
            yield self._case(self.run, name, [verb, "RUN", *twice], unread=name == "data.npz")
        yield self._case(self.run, "checkpoint.pt", [*TRAIN, *HELD, "--out", "RUN"])
        for name in ("evaluation.json", "race.json"):
            yield self._case(self.found, name, ["report", "RUN"])
        for name in ("ledger.jsonl", "study.json", "config.yaml"):
            yield self._case(self.study, name, ["report", "RUN"])
        more = [*BLACK_BOX[:-1], "7", "--out", "RUN"]
        yield self._case(self.searched, "ledger.db", more)
        yield self._case(self.searched, "metrics.jsonl", more)

    def _case(self, run: Path, name: str, words: list[str], unread: bool = False) -> Case:
        return Case(name, (run / name).read_bytes(), words, run, unread)

    def _of_data(self) -> Iterator[Case]:
        import numpy as np
        import pyarrow as pa
        from PIL import Image
        from pyarrow import parquet

        images = np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)
        pictures: dict[str, bytes] = {}
        for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"):
            Image.fromarray(images[0]).save(file := io.BytesIO(), kind)
            pictures[f"x.{kind.lower()}"] = file.getvalue()
        for name, content in pictures.items():
            yield Case(name, content, ["predict", str(self.run), "FILE"])
        np.savez_compressed(packed := io.BytesIO(), images=images, labels=np.arange(12) % 3)
        rows = [{"bytes": pictures["x.png"], "path": None}] * 12
        table = pa.table({"image": rows, "label": [n % 3 for n in range(12)]})
        parquet.write_table(table, columns := io.BytesIO())
        with zipfile.ZipFile(archive := io.BytesIO(), "w") as made:
            for number in range(12):
                made.writestr(f"{'abc'[number % 3]}/{number}.png", pictures["x.png"])
        train = ["train", "darts.v1", "FILE", *TRAIN[3:], "--out", str(self.work / "none")]
        for name, file in {"x.npz": packed, "x.parquet": columns, "x.zip": archive}.items():
            yield Case(name, file.getvalue(), train)
        yield Case("x.csv", b"file,label\n" + b"a.png,b\nc.png,d\n" * 6, train)

    def _of_others(self) -> Iterator[Case]:
        genotype = (self.run / "genotype.json").read_bytes()
        none = ["--out", str(self.work / "none")]
        yield Case("genotype.json", genotype, ["zoo", "show", "FILE"])
        scores = json.dumps([{"genotype": json.loads(genotype), "accuracy": 0.5}]).encode()
        search = [*BLACK_BOX[:-1], "1", *none, "--score", "table:FILE"]
        yield Case("scores.json", scores, search)
        yield Case("options.yaml", b"limit: 60\nseed: 1\nflip: false\nlr: 0.1\n",
                   [*TRAIN, *none, "--config", "FILE"])  # fmt: skip

    def __call__(self, number: int) -> dict[str, object]:
        rng = random.Random(number)
        case = self.cases[number % len(self.cases)]
        guarded = False
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            place = Path(folder) / case.name
            if case.run is not None:
                place = Path(shutil.copytree(case.run, Path(folder) / "run")) / case.name
                digests = place.with_name(DIGESTS)
                guarded = case.name in json.loads(digests.read_text()) and not case.unread
                if rng.random() < 0.7 and case.name != DIGESTS:
                    digests.unlink()
                    guarded = False
            content = mutated(case.content, case.name, rng)
            place.write_bytes(content)
            names = {"RUN": str(Path(folder) / "run"), "FILE": str(place),
                     "table:FILE": f"table:{place}"}  # fmt: skip
            start = time.monotonic()
            code, told = quiet([names.get(word, word) for word in (*case.words, "--quiet")])
        shutil.rmtree(self.work / "none", ignore_errors=True)
        result = judged(code, told)
        if result == "identical" and content != case.content:
            result = "wrong" if guarded else "accepted"
        kept = {"told": f"{code}: {told[-300:]}"} if result == "wrong" else {}
        return {"file": case.name, "verb": case.words[0], "result": result, **kept,
                "seconds": round(time.monotonic() - start, 2)}  # fmt: skip
