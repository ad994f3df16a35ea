"""What changes of the script are worth: quality and time, for several seeds.

python tests/benchmarks/changes.py ARCHIVE [--test] [--jobs N] [--only NAME ...]

Runs copies of the script on ARCHIVE, a zip file like ml-1m.zip, each with one of CHANGES
and one of SEEDS, and adds a line for each run to results.jsonl, where it is not there yet.
Quality is measured on each user's last movie but one, as if the last one were not there,
or with --test on the last one. Time is the processor time of `fit`. With --jobs 2, two
runs share the cores; compare times of the same number of jobs only. Without ARCHIVE, it
prints the tables of what has been measured.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from statistics import mean, median

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "sequential_retrieval.py"
RESULTS = HERE / "results.jsonl"
SEEDS = 42, 1, 2

LENGTHS = "ratings_df = ratings_df[lengths >= MIN_SEQUENCE_LENGTH]\n"
CUT = 'ratings_df = ratings_df[ratings_df.duplicated("UserID", keep="last")]\n'
LABELS = 'labels = ratings_df["movie_id"].to_numpy()\n'
SHUFFLE = "contexts = np.random.default_rng(SEED).permuted(contexts, axis=1)\n"
BATCHES = "train_ds.batch(BATCH_SIZE, drop_remainder=True)"
CANDIDATE = 'dtype="int32"), table,'

# What replaces what. An upper-case name stands for the line that assigns it.
CHANGES = {
    "none": {},
    "trained on shuffled contexts": {LABELS: LABELS + SHUFFLE},
    "NUM_EPOCHS = 2": {"NUM_EPOCHS": "2"},
    "NUM_EPOCHS = 5": {"NUM_EPOCHS": "5"},
    "MAX_CONTEXT_LENGTH = 20": {"MAX_CONTEXT_LENGTH": "20"},
    "EMBEDDING_DIM = 96": {"EMBEDDING_DIM": "96"},
    "EMBEDDING_DIM = 96, NUM_EPOCHS = 2": {"EMBEDDING_DIM": "96", "NUM_EPOCHS": "2"},
    "EMBEDDING_DIM = 128": {"EMBEDDING_DIM": "128"},
    "no popularity correction": {
        'self.correct(scores / TEMPERATURE, y["sampling_probability"])': (
            "scores / TEMPERATURE"
        )
    },
    "no normalization, no temperature": {
        "layers.UnitNormalization()": "layers.Identity()",
        "TEMPERATURE": "1.0",
    },
    "users not mixed": {
        "np.random.default_rng(SEED).permutation(train_rows)": "train_rows",
        ".shuffle(16_384, seed=SEED)": "",
        BATCHES: BATCHES + ".shuffle(16_384, seed=SEED)",
    },
    "no mask": {"mask_zero=True": "mask_zero=False"},
    "an embedding for each tower": {
        CANDIDATE: CANDIDATE.replace(
            "table", "layers.Embedding(movies_count + 1, embedding_dimension)"
        )
    },
}

CLOCK = """
import json, runpy, time
import keras
fit = keras.Model.fit
def clocked(*args, **kwargs):
    global seconds
    start = time.process_time()
    fit(*args, **kwargs)
    seconds = time.process_time() - start
keras.Model.fit = clocked
results = runpy.run_path("sequential_retrieval.py")["results"]
results = {name: [round(float(x), 5) for x in row] for name, row in results.items()}
print("\\n" + json.dumps({"results": results, "fit": round(seconds, 1)}))
"""


def changed(text, changes):
    """Returns the script's text with the changes made.

    Raises:
        ValueError: A change does not apply.
    """
    for old, new in changes.items():
        if old.isupper():
            text, count = re.subn(rf"(?m)^{old} = .*$", f"{old} = {new}", text)
        else:
            text, count = text.replace(old, new), text.count(old)
        if count == 0:
            raise ValueError(f"not in the script: {old}")
    return text


def run(archive, change, seed, on, cores):
    """Runs the script once, on some of the cores, and returns a dict of what it did."""
    content = archive.read_bytes()
    changes = {**CHANGES[change], "SEED": str(seed)}
    changes["MOVIELENS_ZIP_HASH"] = repr(hashlib.sha256(content).hexdigest())
    if on == "validation":
        changes[LENGTHS] = LENGTHS + CUT
    with tempfile.TemporaryDirectory() as folder:
        text = changed(SCRIPT.read_text(), changes)
        Path(folder, "sequential_retrieval.py").write_text(text)
        Path(folder, "datasets").mkdir()
        Path(folder, "datasets", "ml-1m.zip").write_bytes(content)
        process = subprocess.run(
            [sys.executable, "-c", CLOCK],
            cwd=folder,
            env={**os.environ, "KERAS_HOME": folder, "KERAS_BACKEND": "jax"},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
        )
    if process.returncode != 0:
        raise RuntimeError(f"{change}, seed {seed}:\n{process.stderr[-2000:]}")
    done = json.loads(process.stdout.strip().splitlines()[-1])
    return {"data": archive.stem, "on": on, "change": change, "seed": seed, **done}


def read_results():
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def run_all(archive, changes, on, num_jobs):
    """Runs what RESULTS does not have yet, `num_jobs` at a time."""
    RESULTS.touch()
    keys = "data", "on", "change", "seed"
    done = {tuple(row[key] for key in keys) for row in read_results()}
    cores, free = sorted(os.sched_getaffinity(0)), Queue()
    for job in range(num_jobs):
        free.put(set(cores[job::num_jobs]))

    def work(task):
        mine = free.get()
        try:
            line = json.dumps(run(archive, *task, on, mine))
        finally:
            free.put(mine)
        with RESULTS.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    tasks = [(change, seed) for seed in SEEDS for change in changes]
    tasks = [(c, s) for c, s in tasks if (archive.stem, on, c, s) not in done]
    with ThreadPoolExecutor(num_jobs) as pool:
        list(pool.map(work, tasks))


def print_tables():
    """Prints means over the seeds, and half the distance of the best and the worst."""
    results = read_results()
    for data, on in sorted({(row["data"], row["on"]) for row in results}):
        print(f"\n{data}, {on}\n\n| change | method | seeds | HR@10 | NDCG@10 | fit |")
        print("|---|---|---|---|---|---|")
        here = [row for row in results if (row["data"], row["on"]) == (data, on)]
        base = median(row["fit"] for row in here if row["change"] == "none")
        for change in CHANGES:
            rows = [row for row in here if row["change"] == change]
            for method in rows[0]["results"] if rows else ():
                if change != "none" and method != "GRU":
                    continue
                cells = []
                for values in zip(*(row["results"][method] for row in rows)):
                    spread = (max(values) - min(values)) / 2
                    cells.append(f"{mean(values):.3f} ± {spread:.3f}")
                fit = median(row["fit"] for row in rows) / base
                cells = change, method, str(len(rows)), *cells, f"{fit:.1f}"
                print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CHANGES))
    args = parser.parse_args()
    if args.archive:
        on = "test" if args.test else "validation"
        run_all(args.archive.resolve(), args.only, on, args.jobs)
    print_tables()
