"""Time, memory and quality of the script, beside the published recipe and on larger data.

python tests/benchmarks/compare.py ml-1m.zip, or --growth for 1 and 5 million made-up
ratings. Seconds count from the reading of the files on; memory is the peak.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path
from statistics import mean

import numpy as np
from changes import SEEDS
from common import HERE, run, run_script
from cells import archive_of  # Found by common.

FIT = "model.fit(train_ds, validation_data=test_ds, epochs=NUM_EPOCHS"


def run_recipe(archive, seed):
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        command = [HERE / "published_recipe.py", next(Path(folder).iterdir()), seed]
        line, memory = run(command, folder)
    return {**json.loads(line), "memory": memory}


def compare(archive):
    rows = {"recipe": [], "script": []}
    for seed in SEEDS:
        rows["recipe"].append(run_recipe(archive, seed))
        rows["script"].append(run_script(archive, {"SEED": seed}))
        for name, runs in rows.items():
            told = runs[-1]
            cells = [f"{told[key]:.1f} s" for key in ("prepared", "end")]
            cells += [f"{told['memory']:,.0f} MB", *told["results"]["GRU"]]
            print(name, seed, *cells, sep=" | ", flush=True)
    target = mean(told["results"]["GRU"][0] for told in rows["recipe"])
    for steps in range(100, 4000, 100):
        fit = f"model.fit(train_ds.take({steps}), epochs=1"
        told = run_script(archive, {FIT: fit})
        if told["results"]["GRU"][0] > target:
            return print(steps, "steps:", told["results"]["GRU"], told["trained"], "s")


def growth():
    """125 ratings of each user, of 10,000 movies, Zipf-like; one epoch."""
    weights = 1 / np.arange(10, 10_010)
    p = weights / weights.sum()
    for millions in 1, 5:
        size = 8000 * millions, 125
        movies = np.random.default_rng(0).choice(10_000, size, p=p)
        rows = ((u, m, 4, i) for u, own in enumerate(movies) for i, m in enumerate(own))
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "ratings.zip")
            archive.write_bytes(archive_of(rows, {0: "Movie 0"}))
            told = run_script(archive, {"NUM_EPOCHS": 1})
        ends = [told[key] for key in ("prepared", "trained", "evaluated")]
        seconds = [f"{x:.1f} s" for x in np.diff([0, *ends])]
        print(f"{millions},000,000", *seconds, f"{told['memory']:,.0f} MB", sep=" | ")


if __name__ == "__main__":
    growth() if "--growth" in sys.argv else compare(Path(sys.argv[1]).resolve())
