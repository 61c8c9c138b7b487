"""Memory that 500 photographs of 12 megapixels take: python results/photographs/measure.py

Makes JPEG files of 4000 x 3000 pixels in two classes in a temporary folder, opens and decodes the
training split in a process of its own, and prints a line of JSON with that process' peak memory and
seconds, which is kept in result.json with hardware and versions.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from edarts.runs.environment import environment

HERE = Path(__file__).parent
COUNT, SIZE = 500, (4000, 3000)
DECODE = """
import json, resource, sys, time
import edarts
start = time.monotonic()
data = edarts.load(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB: Linux counts KiB
print(json.dumps({"images": len(data), "shape": data.shape, "peak_gib": round(peak, 3),
                  "seconds": round(time.monotonic() - start, 1)}))
"""


def photograph(seed: int) -> Image.Image:
    """Soft shapes with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC)).astype(np.int16)
    noise = rng.integers(-6, 7, (SIZE[1] // 4, SIZE[0], 3), dtype=np.int16)
    return Image.fromarray(np.clip(pixels + np.tile(noise, (4, 1, 1)), 0, 255).astype(np.uint8))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(COUNT):
            path = Path(folder) / "data" / "train" / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(number).save(path, quality=85)
        done = subprocess.run(
            [sys.executable, "-c", DECODE, str(Path(folder) / "data")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    print(json.dumps(found))
    found["environment"] = environment()
    (HERE / "result.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
