"""Time, memory and quality of the script, beside the published recipe or on larger data.

python tests/benchmark.py ARCHIVE: the script and the recipe, one after the other, on an
archive like ml-1m.zip, and after how long the script is as good as the recipe in the end.
python tests/benchmark.py --scale 1 10: the script alone, with one epoch, on one and on ten
million made-up ratings.

Time counts from the reading of the files on, without imports; memory is the peak of the
process. The script runs cell by cell, each with a clock around it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent

CLOCKED = """
import hashlib, os, re, resource, sys, time
os.environ.setdefault("KERAS_BACKEND", "jax")
sys.path.insert(0, sys.argv[1])
import keras, keras_rs, numpy as np, tensorflow
from to_notebook import split

archive, goal, epochs = sys.argv[2:]
if not os.path.exists("data/ml-1m.zip"):
    os.mkdir("data")
    os.symlink(archive, "data/ml-1m.zip")
sha256 = hashlib.sha256(open(archive, "rb").read()).hexdigest()
source = open(os.path.join(sys.argv[1], "..", "sequential_retrieval.py")).read()
source = re.sub("(?m)^MOVIELENS_ZIP_HASH = .*$", f"MOVIELENS_ZIP_HASH = {sha256!r}", source)
if epochs != "0":
    source = re.sub("(?m)^NUM_EPOCHS = .*$", f"NUM_EPOCHS = {epochs}", source)
script, clock = {}, 0


class Goal(keras.callbacks.Callback):
    "Stops the clock and the run when HR@10 passes the goal; looks every 50 steps."

    paused = 0

    def on_train_batch_end(self, batch, logs=None):
        if batch % 50 != 49:
            return
        start = time.perf_counter()
        self.model.jax_state_sync()
        queries = np.asarray(self.model.query_tower(script["test_contexts"]))
        ids = self.model.candidate_ids
        scores = queries @ np.asarray(self.model.candidate_tower(ids)).T
        scores[script["watched"][:, ids]] = -2
        top = ids[np.argpartition(-scores, 10, axis=1)[:, :10]]
        rate = (top == script["test_labels"][:, None]).any(axis=1).mean()
        if rate > float(goal):
            seconds = clock + start - cell_start - self.paused
            print(f"passed HR@10 {rate:.3f} after {batch + 1} steps, {seconds:.1f} s")
            sys.stdout.flush()
            os._exit(0)
        self.paused += time.perf_counter() - start


if float(goal) > 0:
    fit = keras.Model.fit
    keras.Model.fit = lambda *args, **kwargs: fit(*args, callbacks=[Goal()], **kwargs)
for kind, text in split(source):
    if kind != "code":
        continue
    cell_start = time.perf_counter()
    exec(compile(text, "cell", "exec"), script)
    seconds = time.perf_counter() - cell_start
    if "import keras" not in text and "get_file" not in text:
        clock += seconds
    for name, mark in {
        "prepared": "next(train_ds", "trained": "model.fit(", "evaluated": "results = {"
    }.items():
        if mark in text:
            print(f"{name} in {seconds:.2f} s, {clock:.2f} s")
print("HR@10 %.3f NDCG@10 %.3f" % script["results"]["GRU"])
print(f"ended after {clock:.2f} s")
"""


def run(code, *arguments):
    """Runs a program in an empty folder; returns its output and its peak memory, in MB."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *code, *map(str, arguments)],
            stdout=out,
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(TESTS)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise RuntimeError(text[-2000:])
    return text, usage.ru_maxrss * 1024 / 1e6


def find(pattern, text):
    return float(re.search(pattern, text)[1])


def compare(archive):
    """Prints the script and the recipe side by side."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        data = next(Path(folder).iterdir())
        recipe, memory = run([TESTS / "published_recipe.py"], data)
    prepared = find(r"prepared in ([\d.]+) s", recipe)
    rows["recipe"] = [prepared, find(r"ended after ([\d.]+)", recipe), memory]
    script, memory = run(["-c", CLOCKED], TESTS, archive, 0, 0)
    prepared = find(r"prepared in [\d.]+ s, ([\d.]+) s", script)
    rows["script"] = [prepared, find(r"ended after ([\d.]+)", script), memory]
    print("| | to `train_ds` | to the titles | peak memory | HR@10 | NDCG@10 |")
    print("|---|---|---|---|---|---|")
    for name, text in ("recipe", recipe), ("script", script):
        quality = re.search(r"HR@10 ([\d.]+) NDCG@10 ([\d.]+)", text).groups()
        start, end, memory = rows[name]
        cells = f"{start:.2f} s", f"{end:.1f} s", f"{memory:,.0f} MB", *quality
        print(f"| {name} |", " | ".join(cells), "|")
    ratios = np.divide(rows["recipe"], rows["script"])
    print("| recipe / script | {:.1f} | {:.1f} | {:.1f} | | |".format(*ratios))
    passed, _ = run(["-c", CLOCKED], TESTS, archive, find(r"HR@10 ([\d.]+)", recipe), 0)
    print(re.search("passed .*", passed)[0])


def make_archive(path, num_ratings):
    """Writes made-up ratings: 125 of each user, of 10,000 movies, Zipf-like."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(10, 10_010)
    users = num_ratings // 125
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("ml-1m/ratings.dat", "w", force_zip64=True) as file:
            for user in range(1, users + 1):
                keys = rng.exponential(size=10_000) / weights
                movies = rng.permutation(np.argpartition(keys, 125)[:125]) + 1
                lines = [f"{user}::{m}::4::{i}\n" for i, m in enumerate(movies)]
                file.write("".join(lines).encode())
        lines = [f"{m}::Movie {m} (2000)::Drama\n" for m in range(1, 10_001)]
        archive.writestr("ml-1m/movies.dat", "".join(lines))


def scale(millions):
    """Prints how each part of the script grows with the number of ratings."""
    print("| ratings | users | prepare | an epoch | evaluate | peak memory |")
    print("|---|---|---|---|---|---|")
    for million in millions:
        num_ratings = int(million * 1e6)
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder, "ratings.zip")
            make_archive(archive, num_ratings)
            text, memory = run(["-c", CLOCKED], TESTS, archive, 0, 1)
        parts = [find(rf"{p} in [\d.]+ s, ([\d.]+)", text) for p in ("prepared",)]
        parts += [find(rf"{p} in ([\d.]+) s", text) for p in ("trained", "evaluated")]
        cells = [f"{num_ratings:,}", f"{num_ratings // 125:,}"]
        cells += [f"{seconds:.1f} s" for seconds in parts] + [f"{memory:,.0f} MB"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--scale", type=float, nargs="+", metavar="MILLIONS")
    args = parser.parse_args()
    if args.scale:
        scale(args.scale)
    else:
        compare(args.archive.resolve())
