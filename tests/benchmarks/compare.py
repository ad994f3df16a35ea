"""Time, memory and quality of the script, beside the published recipe and on larger data.

python tests/benchmarks/compare.py ARCHIVE: the recipe, the script, and after how many
training steps and seconds the script has passed the recipe's HR@10.
python tests/benchmarks/compare.py --growth: made-up ratings, 1 and 5 million of them.
Seconds count from the reading of the files on, without imports; memory is the peak.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from common import HERE, run, run_script

FIT = "model.fit(train_ds, epochs=NUM_EPOCHS"


def compare(archive):
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        command = [HERE / "published_recipe.py", next(Path(folder).iterdir())]
        line, memory = run(command, folder)
    recipe = {**json.loads(line), "memory": memory}
    script = run_script(archive, {})
    for name, told in ("recipe", recipe), ("script", script):
        cells = [f"{told[key]:.1f} s" for key in ("prepared", "end")]
        cells += [f"{told['memory']:,.0f} MB", *np.round(told["results"]["GRU"], 3)]
        print("|", " | ".join(map(str, [name, *cells])), "|", flush=True)
    for steps in range(50, 2000, 50):
        told = run_script(archive, {FIT: f"model.fit(train_ds.take({steps}), epochs=1"})
        if told["results"]["GRU"][0] > recipe["results"]["GRU"][0]:
            return print(steps, "steps:", told["results"]["GRU"], told["trained"], "s")


def growth():
    """125 ratings of each user, of 10,000 movies, Zipf-like; one epoch."""
    weights = 1 / np.arange(10, 10_010)
    weights /= weights.sum()
    for millions in 1, 5:
        size = 8000 * millions, 125
        movies = np.random.default_rng(0).choice(10_000, size, p=weights)
        rows = ((u, m, i) for u, own in enumerate(movies) for i, m in enumerate(own))
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "ratings.zip")
            with zipfile.ZipFile(archive, "w") as file:
                text = "".join(f"{u}::{m}::4::{i}\n" for u, m, i in rows)
                file.writestr("ml/ratings.dat", text)
                file.writestr("ml/movies.dat", "0::Movie 0::Drama\n")
            told = run_script(archive, {"NUM_EPOCHS": "1"})
        ends = [told[key] for key in ("prepared", "trained", "evaluated")]
        seconds = [f"{x:.1f} s" for x in np.diff([0, *ends])]
        cells = [f"{millions},000,000", *seconds, f"{told['memory']:,.0f} MB"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    growth() if "--growth" in sys.argv else compare(Path(sys.argv[1]).resolve())
