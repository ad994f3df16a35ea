"""Measures the script, changes of it and the published recipe, and keeps the results.

python tests/benchmarks/measure.py ARCHIVE [CHANGE ...]: ARCHIVE is MovieLens 1M's ml-1m.zip
or the sample. It says how many runs results.jsonl has no row of, and about how long they
take, makes them one after the other, and adds a row for each. A row belongs to an archive,
to versions, and to the code up to the results. It is never edited.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from changes import CHANGES, PLAN
from to_notebook import archive_at, code_cells, place_of

RESULTS, RECIPE = HERE / "results.jsonl", HERE / "published_recipe.py"
PACKAGES = "keras", "keras-rs", "jax", "tensorflow", "pandas", "numpy"
MARKS = {"train_ds": "prepared", "model": "trained", "row": "titles"}
SEEDS = 42, 1, 2

# On "validation", each user's last movie is cut off as soon as it is read.
CUT_OFF = """
ratings_df = ratings_df.sample(frac=1, random_state=SEED)
ratings_df = ratings_df.sort_values(["UserID", "Timestamp"])
ratings_df = ratings_df[ratings_df.duplicated("UserID", keep="last")]
"""


def hash_of(content):
    return hashlib.sha256(content).hexdigest()[:16]


def cells_of(on, change):
    """Returns the script's cells up to the first titles, with a change."""
    cells = code_cells(after=CHANGES[change])
    cells[place_of("read_data", cells)] += f"\n{CUT_OFF}" if on == "validation" else ""
    return cells[: place_of("row", cells) + 1]


def hash_of_code(on, change):
    """Returns a hash of the code that makes the results, without its prose."""
    if change in CHANGES:
        cells = cells_of(on, change)
        code = "\n".join(cells[: place_of("results", cells) + 1])
    else:
        code = RECIPE.read_text("utf-8")
    return hash_of(re.sub(r'(?s)(""".*?"""|#[^\n]*|\s+)+', " ", code).encode())


def machine():
    info, affinity = Path("/proc/cpuinfo"), getattr(os, "sched_getaffinity", None)
    found = re.search("model name.*: (.*)", info.read_text()) if info.exists() else None
    gpu = subprocess.getoutput("nvidia-smi -L") if shutil.which("nvidia-smi") else ""
    return {
        "processor": found[1] if found else platform.processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "gpu": gpu,
    }


def look_at(names):
    """Returns results, also of parts of the test, and shares of the data and the lists."""
    rows, numbers, watched = (names[x] for x in ("test_rows", "numbers", "watched_df"))
    results, methods = dict(names["results"]), names["methods"]
    shared = watched.duplicated(["UserID", "Timestamp"], keep=False).to_numpy()[rows]
    for name in "after the last movie", "GRU":
        for part, those in ("alone", ~shared), ("in a list", shared):
            found = names["evaluate"](methods[name], rows[those], 10)
            results[f"{name}, last movie {part}"] = found
    gaps = watched.groupby("UserID")["Timestamp"].diff().dropna()
    batches = [y["label"] for _, y in names["train_ds"].take(100).as_numpy_iterator()]
    found = names["model"].predict(names["contexts"][rows], verbose=0)["predictions"]
    lists = [
        short[~np.isin(short, [0, *seen])][:10]
        for short, seen in zip(found, map(names["history"], rows))
    ]
    shares = {
        "ratings in the second of the one before": gaps == 0,
        "last movies that share their second": shared,
        "rows whose label another row of the batch has": np.concatenate(
            [np.bincount(batch)[batch] > 1 for batch in batches]
        ),
        "movies watched next, among the 100 most popular": numbers[rows] <= 100,
        "movies recommended, among the 100 most popular": np.concatenate(lists) <= 100,
    }
    results = {
        name: [round(float(x), 5) for x in pair] for name, pair in results.items()
    }
    shares = {name: round(float(np.mean(x)), 4) for name, x in shares.items()}
    return {"results": results, "shares": shares}


def run_script(on, change, settings):
    """Runs the cells in this process, with a clock that starts behind the imports."""
    cells, names, told, clock = cells_of(on, change), {}, {}, 0
    cells[place_of("SEED", cells)] += f"\n{settings}; keras.utils.set_random_seed(SEED)"
    marks = {place_of(name, cells): mark for name, mark in MARKS.items()}
    exec(cells[0], names)
    for place, cell in enumerate(cells[1:], 1):
        start = time.perf_counter()
        exec(compile(cell, "cell", "exec"), names)
        clock += time.perf_counter() - start
        if place in marks:
            told[marks[place]] = round(clock, 2)
    losses = {name: x[-1] for name, x in names["model"].history.history.items()}
    return told | losses | look_at(names)


def run(archive, on, change, seed):
    """Runs a change in a process of its own; returns what it told, time and memory."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as out:
        command = [RECIPE, archive, seed]
        if change in CHANGES:
            Path(folder, "datasets").mkdir()
            shutil.copy(archive, Path(folder, "datasets"))
            url = f"http://127.0.0.1:9/{archive.name}"
            settings = archive_at(url, archive.read_bytes()) | {"SEED": seed}
            settings = "; ".join(f"{name} = {x}" for name, x in settings.items())
            command = [__file__, "--one", on, change, settings]
        command = [sys.executable, "-W", "ignore", *map(str, command)]
        env = {**os.environ, "KERAS_HOME": folder, "KERAS_BACKEND": "jax"}
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, cwd=folder, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = round(time.perf_counter() - started)
        out.seek(0)
        if status:
            raise RuntimeError(out.read()[-2000:])
        told = json.loads(out.read().splitlines()[-1])
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return told | {"memory": round(memory), "seconds": seconds}


def measure(archive, only):
    """Makes the runs of PLAN for an archive that have no row yet."""
    rows = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    data = next(zipfile.Path(archive).iterdir()).name
    known = {"data": data, "archive": hash_of(archive.read_bytes())}
    known["versions"] = " ".join(f"{name} {version(name)}" for name in PACKAGES)
    keys = []
    for (of, on), changes in PLAN.items():
        for seed, change in product(SEEDS, changes if of == data else []):
            key = {"on": on, "change": change, "seed": seed}
            key |= known | {"code": hash_of_code(on, change)}
            is_known = any(key.items() <= row.items() for row in rows)
            keys += [key] if change in (only or changes) and not is_known else []
    seconds = {x["change"]: x.get("seconds", 0) for x in rows if x["data"] == data}
    minutes = sum(seconds.get(key["change"], 90) for key in keys) / 60
    print(f"{len(keys)} runs are missing, about {minutes:.0f} minutes.", flush=True)
    for key in keys:
        told = run(archive, key["on"], key["change"], key["seed"])
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(key | machine() | told) + "\n")
        print(key["on"], key["change"], key["seed"], told["results"], flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print("\n" + json.dumps(run_script(*sys.argv[2:])))
    else:
        measure(Path(sys.argv[1]).resolve(), sys.argv[2:])
