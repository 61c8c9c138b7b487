"""Killed up to three times, at file events and at random times, then left alone to the end."""

import random
import shutil
from pathlib import Path

from faults.trials import ALONE, PATIENCE, VERBS, Verbs, kill_all, worked

TWO = [name for name in VERBS if name not in ALONE]
ROUND = [*ALONE, *ALONE, TWO[0], *ALONE, *ALONE, TWO[1]]  # Ray takes long to start


class Kills:
    """Each try kills one of the verbs, begins it again, and compares what it ends with."""

    def __init__(self, work: Path) -> None:
        self.work, self.verbs = work, Verbs(work)

    def __call__(self, number: int) -> dict[str, object]:
        name, rng = ROUND[number % len(ROUND)], random.Random(number)
        self.verbs.straight(name)
        folder = self.work / f"kill-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        kills = [self.kill(name, folder / "run", rng) for _ in range(rng.randint(1, 3))]
        result, told = self.verbs.end(name, folder / "run")
        shutil.rmtree(folder, ignore_errors=True)
        return {"verb": name, "kills": kills, "result": result, **({"told": told} if told else {})}

    def kill(self, name: str, root: Path, rng: random.Random) -> dict[str, object]:
        """Begin the verb and kill it: at a file event, or after some seconds of processor time."""
        if rng.random() < 0.5:
            event = rng.randint(1, self.verbs.events[name])
            process = self.verbs.begin(name, root, "kill", event)
            return {"event": event, "code": process.wait(PATIENCE)}
        seconds = round(rng.uniform(0, self.verbs.seconds[name]), 2)
        process = self.verbs.begin(name, root)
        while not process.ended(0.02):
            if worked(process) >= seconds:
                kill_all(process)
        return {"seconds": seconds, "code": process.poll()}
