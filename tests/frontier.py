"""How far one changed line takes the script: quality and time, and the picture of both.

python tests/frontier.py ARCHIVE [--test] [--jobs N] [--seeds 42 1 2] [--only NAME ...]

Runs the script itself on ARCHIVE, a zip file like ml-1m.zip, with one of the CHANGES
below, once for each seed, and adds a line for each run to tests/frontier.jsonl; runs that
are there already are left out. Quality is measured on each user's last movie but one,
after the last one has been cut off, or with --test on the last one. With --jobs 2, two
runs at a time share the machine's cores; compare times only within one number of jobs.
Time is processor time, which other programs on the machine disturb the least.
Without ARCHIVE, it prints the table of what has been measured, and draws
tests/frontier.svg. To add a row, add a line to CHANGES.
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

import numpy as np

TESTS = Path(__file__).resolve().parent
SCRIPT = TESTS.parent / "sequential_retrieval.py"
RUNS = TESTS / "frontier.jsonl"

LOOKUP = "embedding,\n                layers.GRU("
TWO_TABLES = "keras.Sequential([embedding, layers.UnitNormalization()])"
SHUFFLE = "train_ds.shuffle(SHUFFLE_SIZE).batch(batch_size, drop_remainder=True)"
LONG = "liked_df = liked_df[lengths >= MIN_SEQUENCE_LENGTH]"
CUT = '\nliked_df = liked_df[liked_df.duplicated("UserID", keep="last")]'


def after_lookup(layer):
    return {LOOKUP: f"embedding, {layer}, layers.GRU("}


# What replaces what. An upper-case name stands for the line that assigns it.
CHANGES = {
    "as it stands": {},
    "NUM_EPOCHS = 2": {"NUM_EPOCHS": "2"},
    "NUM_EPOCHS = 5": {"NUM_EPOCHS": "5"},
    "NUM_EPOCHS = 6": {"NUM_EPOCHS": "6"},
    "NUM_EPOCHS = 8": {"NUM_EPOCHS": "8"},
    "EMBEDDING_DIM = 96": {"EMBEDDING_DIM": "96"},
    "EMBEDDING_DIM = 96, NUM_EPOCHS = 2": {"EMBEDDING_DIM": "96", "NUM_EPOCHS": "2"},
    "EMBEDDING_DIM = 128": {"EMBEDDING_DIM": "128"},
    "EMBEDDING_DIM = 192": {"EMBEDDING_DIM": "192"},
    "MAX_CONTEXT_LENGTH = 20": {"MAX_CONTEXT_LENGTH": "20"},
    "MAX_CONTEXT_LENGTH = 50": {"MAX_CONTEXT_LENGTH": "50"},
    "TEMPERATURE = 0.05": {"TEMPERATURE": "0.05"},
    "TEMPERATURE = 0.2": {"TEMPERATURE": "0.2"},
    "BATCH_SIZE = 256": {"BATCH_SIZE": "256"},
    "BATCH_SIZE = 1024": {"BATCH_SIZE": "1024"},
    "SHUFFLE_SIZE = 1_000_000": {"SHUFFLE_SIZE": "1_000_000"},
    "the same batches in each epoch": {
        SHUFFLE: (
            "train_ds.batch(batch_size, drop_remainder=True).cache().shuffle(steps)"
        )
    },
    "layers.Dropout(0.1)": after_lookup("layers.Dropout(0.1)"),
    "layers.Dropout(0.1), NUM_EPOCHS = 6": {
        **after_lookup("layers.Dropout(0.1)"),
        "NUM_EPOCHS": "6",
    },
    # A context whose every movie is dropped must not give a vector of zeros, which
    # has no direction: hence the biases.
    "dropout of whole movies": {
        LOOKUP: (
            "embedding, layers.Dropout(0.1, noise_shape=(None, None, 1)), "
            "layers.GRU(bias_initializer='uniform', units="
        )
    },
    "dimension 128, context 50": {
        "EMBEDDING_DIM": "128",
        "MAX_CONTEXT_LENGTH": "50",
        "unroll=True": "unroll=False",
    },
    "best of context 20": {
        **after_lookup("layers.Dropout(0.2)"),
        "EMBEDDING_DIM": "128",
        "MAX_CONTEXT_LENGTH": "20",
        "NUM_EPOCHS": "6",
    },
    "best of context 50": {
        **after_lookup("layers.Dropout(0.2)"),
        "EMBEDDING_DIM": "128",
        "MAX_CONTEXT_LENGTH": "50",
        "unroll=True": "unroll=False",
        "NUM_EPOCHS": "5",
    },
    "without sharing the embedding": {
        TWO_TABLES: (
            "keras.Sequential([layers.Embedding(len(label_counts), EMBEDDING_DIM), "
            "layers.UnitNormalization()])"
        )
    },
    "without the popularity correction": {
        "self.correct(scores / TEMPERATURE, ops.take(self.probabilities, y))": (
            "scores / TEMPERATURE"
        )
    },
    "without normalized towers and temperature": {
        "layers.UnitNormalization()": "layers.Identity()",
        "TEMPERATURE": "1.0",
    },
    "without temperature": {"TEMPERATURE": "1.0"},
    "without shuffling across users": {
        "np.random.permutation(np.flatnonzero(has_context & ~is_last))": (
            "np.flatnonzero(has_context & ~is_last)"
        ),
        SHUFFLE: (
            "train_ds.batch(batch_size, drop_remainder=True).cache().shuffle(steps)"
        ),
    },
    "without removing accidental hits": {"1e9 *": "0.0 *"},
    "without masking the padding": {"mask_zero=True": "mask_zero=False"},
}

WORDS = {"validation": "last movie but one", "test": "last movie"}

CLOCK = """
import json, resource, runpy, time
import keras
fit = keras.Model.fit
def clocked(*args, **kwargs):
    global seconds
    start = time.process_time()
    fit(*args, **kwargs)
    seconds = time.process_time() - start
keras.Model.fit = clocked
start = time.process_time()
results = runpy.run_path("sequential_retrieval.py")["results"]
run = {"results": results, "fit": seconds, "whole": time.process_time() - start}
run["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print("\\n" + json.dumps(run))
"""


def change(text, changes):
    """Returns the script's text with the changes made, each of which must apply."""
    for old, new in changes.items():
        if old.isupper():
            text, count = re.subn(rf"(?m)^{old} = .*$", f"{old} = {new}", text)
        else:
            text, count = text.replace(old, new), text.count(old)
        if count == 0:
            raise ValueError(f"not in the script: {old}")
    return text


def measure(archive, name, seed, on_test, cores):
    """Runs the script once, on some of the cores, and returns a dict of what it did."""
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    changes = {**CHANGES[name], "SEED": str(seed), "MOVIELENS_ZIP_HASH": repr(sha256)}
    if not on_test:
        changes[LONG] = LONG + CUT
    with tempfile.TemporaryDirectory() as folder:
        text = change(SCRIPT.read_text(), changes)
        Path(folder, "sequential_retrieval.py").write_text(text)
        Path(folder, "data").mkdir()
        Path(folder, "data/ml-1m.zip").symlink_to(archive)
        result = subprocess.run(
            [sys.executable, "-c", CLOCK],
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": "jax"},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        raise RuntimeError(f"{name}, seed {seed}:\n{result.stderr[-2000:]}")
    run = json.loads(result.stdout.strip().splitlines()[-1])
    hit_rate, ndcg = run["results"]["GRU"]
    return {
        "name": name,
        "seed": seed,
        "on": "test" if on_test else "validation",
        "cores": len(cores),
        "HR@10": hit_rate,
        "NDCG@10": ndcg,
        "fit": run["fit"],
        "whole": run["whole"],
        "memory": run["memory"],
    }


def measure_all(archive, names, seeds, on_test, num_jobs):
    """Measures what RUNS does not have yet, `num_jobs` at a time, and adds it there."""
    done = {(run["name"], run["seed"], run["on"]) for run in read_runs()}
    on = "test" if on_test else "validation"
    tasks = [(n, s) for n in names for s in seeds if (n, s, on) not in done]
    cores, free = sorted(os.sched_getaffinity(0)), Queue()
    for job in range(num_jobs):
        free.put(set(cores[job::num_jobs]))

    def work(task):
        mine = free.get()
        try:
            run = measure(archive, *task, on_test, mine)
        finally:
            free.put(mine)
        with RUNS.open("a") as file:
            file.write(json.dumps(run) + "\n")
        print(json.dumps(run), flush=True)

    with ThreadPoolExecutor(num_jobs) as pool:
        list(pool.map(work, tasks))


def read_runs():
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


def summary(on):
    """Returns a dict by name of HR@10, NDCG@10, their spreads, and times relative to 1.

    The spread is half the distance between the best and the worst seed.
    """
    rows = {}
    runs = read_runs()
    base = [run for run in runs if run["name"] == "as it stands" and run["fit"]]
    for name in CHANGES:
        mine = [run for run in runs if run["name"] == name and run["on"] == on]
        if not mine:
            continue
        row = {"seeds": len(mine)}
        for key in "HR@10", "NDCG@10":
            values = [run[key] for run in mine]
            row[key], row[f"±{key}"] = np.mean(values), np.ptp(values) / 2
        for key in "fit", "whole":
            timed = [r[key] for r in runs if r["name"] == name and r[key]]
            row[key] = np.median(timed)
            row[key] /= np.median([run[key] for run in base])
        rows[name] = row
    return rows


def print_table(on):
    print(
        f"\nEach user's {WORDS[on]}:\n\n| | seeds | HR@10 | NDCG@10 | fit | whole run |"
    )
    print("|---|---|---|---|---|---|")
    for name, row in summary(on).items():
        quality = [f"{row[k]:.3f} ± {row[f'±{k}']:.3f}" for k in ("HR@10", "NDCG@10")]
        times = [f"{row[key]:.1f}" for key in ("fit", "whole")]
        print("|", " | ".join([f"`{name}`", str(row["seeds"]), *quality, *times]), "|")


# Published on MovieLens 1M, each with a context of 200: see the README.
PUBLISHED = {
    "SASRec": 0.2500,
    "GRU4Rec": 0.2811,
    "BERT4Rec": 0.284,
    "SASRec, sampled softmax": 0.285,
    "HSTU": 0.3097,
    "SASRec+": 0.315,
    "SASRec+, 3,000 negatives": 0.3159,
    "HSTU-large": 0.3294,
}
COUNTED = {"most popular: 0.039, far below": 0.18, "after the last movie": 0.192}


def draw(path):
    """Draws HR@10 against time: our settings, the baselines and the published rows."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "the same picture for the same numbers"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 10))
    axes.set(xlabel="time of fit, relative to the script as it stands", ylabel="HR@10")
    axes.set(xscale="log", xlim=(0.5, 50), ylim=(0.18, 0.34))  # Lower is at the edge.
    ticks = [0.5, 1, 2, 5, 10, 20, 50]
    axes.set_xticks(ticks, map(str, ticks))
    numbers = {}  # Of the names, in the picture and in its key.
    points = []  # Pixels of each number's point.
    for on, color in ("validation", "tab:blue"), ("test", "tab:red"):
        rows = {n: r for n, r in summary(on).items() if not n.startswith("without")}
        axes.errorbar(
            [row["fit"] for row in rows.values()],
            [row["HR@10"] for row in rows.values()],
            [row["±HR@10"] for row in rows.values()],
            fmt="o",
            markersize=4,
            color=color,
            label=f"this script, on each user's {WORDS[on]}",
        )
        for name, row in rows.items():
            number = numbers.setdefault(name, len(numbers) + 1)
            point = axes.transData.transform((row["fit"], row["HR@10"]))
            points.append((number, point))
    taken = [point for _, point in points]
    sides = [(10, 0), (-10, 0), (8, 8), (-8, 8), (8, -8), (-8, -8), (18, 0), (-18, 0)]
    for number, point in points:  # Each beside its point, away from all the others.
        others = [other for other in taken if other is not point]
        place = max(
            (point + side for side in sides),
            key=lambda place: min(np.hypot(*np.transpose(place - others)).min(), 9),
        )
        taken.append(place)
        place = axes.transData.inverted().transform(place)
        axes.text(*place, number, size=7, ha="center", va="center")
    key = "\n".join(f"{number}  {name}" for name, number in numbers.items())
    axes.text(0.58, 0.09, key, size=7, transform=axes.transAxes)
    place = 0  # Of a label, so far above the last one that both can be read.
    right = axes.get_yaxis_transform()
    for lines, style in (COUNTED, ":"), (PUBLISHED, "--"):
        for name, hit_rate in lines.items():
            axes.axhline(hit_rate, linestyle=style, color="gray", linewidth=0.8)
            place = max(hit_rate, place + 0.0035)
            axes.text(1.01, place, name, size=7, va="center", transform=right)
    axes.set_title("MovieLens 1M, all ratings kept. Dashed: published; dotted: counted")
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CHANGES))
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    args = parser.parse_args()
    RUNS.touch()
    if args.archive:
        names = args.only
        archive = args.archive.resolve()
        measure_all(archive, names, args.seeds, args.test, args.jobs)
    else:
        for on in WORDS:
            print_table(on)
        draw(TESTS / "frontier.svg")
