"""What changes of the script are worth: quality and time, for several seeds.

python tests/benchmarks/changes.py ml-1m.zip [--test] [--only NAME ...] prints a table of
CHANGES and SEEDS, on each user's second-to-last movie, with the last one cut off, or with
--test on the last one. Time is that of the processor in training, relative to "none" on
the same machine. What results.jsonl has of the same archive, code and versions is taken
from there; what is run is added to results.local.jsonl, which git ignores.
"""

import argparse
import json
import os
import platform
from pathlib import Path
from statistics import mean, median

from common import HERE, key_of, run_script

RESULTS = HERE / "results.jsonl", HERE / "results.local.jsonl"
MACHINE = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
SEEDS = 42, 1, 2

LENGTHS = "ratings_df = ratings_df[lengths >= MIN_SEQUENCE_LENGTH]\n"
LAST = 'ratings_df.duplicated("UserID", keep="last")'
CUT = {LENGTHS: f"{LENGTHS}ratings_df = ratings_df[{LAST}]\n"}
POSITION = "position = by_user.cumcount().to_numpy()"
SHUFFLED = "contexts = np.random.default_rng(SEED).permuted(contexts, axis=1)\n"
BATCH = "return dataset.batch(min(batch_size, len(rows)), drop_remainder=True)"
CORRECTION = 'self.correction(scores / self.temperature, y["sampling_probability"])'
BUILD = "    def build(self, input_shape):\n"
FILE = {".sample(frac=1)": ""}
LARGER = {"EMBEDDING_DIM": 128, "MAX_CONTEXT_LENGTH": 20}

CHANGES = {
    "none": {},
    "contexts shuffled, in training, too": {POSITION: SHUFFLED + POSITION},
    "no correction for popularity": {CORRECTION: "scores / self.temperature"},
    "users in order, only whole batches shuffled": {
        "np.random.permutation(train_rows)": "train_rows",
        ".shuffle(16_384)": "",
        BATCH: f"{BATCH}.shuffle(16_384)",
    },
    "TEMPERATURE = 1": {"TEMPERATURE": 1.0},
    "query not of unit length": {"layers.UnitNormalization()": "layers.Identity()"},
    "padding not masked": {", mask_zero=True": ""},
    "a table for each tower": {
        "[inputs, table, gru": "[inputs, table.from_config(table.get_config()), gru",
        BUILD: f"{BUILD}        self.candidate_model.build(None)\n",
    },
    "NUM_EPOCHS = 2": {"NUM_EPOCHS": 2},
    "MAX_CONTEXT_LENGTH = 20": {"MAX_CONTEXT_LENGTH": 20},
    "EMBEDDING_DIM = 128": {"EMBEDDING_DIM": 128},
    "file's order": FILE,
    "MIN_RATING = 1": {"MIN_RATING": 1},
    "MIN_RATING = 1, file's order": {"MIN_RATING": 1} | FILE,
    "MIN_RATING = 1, file's order, larger": {"MIN_RATING": 1} | FILE | LARGER,
}


def read_results():
    files = [file for file in RESULTS if file.exists()]
    return [json.loads(row) for file in files for row in file.read_text().splitlines()]


def measure(archive, on, change, seed):
    """Returns the result of a change with a seed; runs what has no result yet."""
    edits = CHANGES[change] | {"SEED": seed} | (CUT if on == "validation" else {})
    key = key_of(archive, edits)
    for row in read_results():
        if key.items() <= row.items():
            return row
    row = {"data": archive.stem, "on": on, "change": change, "seed": seed}
    row |= key | {"machine": MACHINE} | run_script(archive, edits)
    with RESULTS[1].open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def mean_and_spread(values):  # Half the distance of the best and the worst.
    return f"{mean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}"


def print_table(results):
    print("| change | method | HR@10 | NDCG@10 | time |\n|---|---|---|---|---|")
    fits = {(r["change"], r["seed"], r["machine"]): r["fit"] for r in results}
    for change in dict.fromkeys(row["change"] for row in results):
        rows = [row for row in results if row["change"] == change]
        base = [fits.get(("none", row["seed"], row["machine"])) for row in rows]
        times = [row["fit"] / fit for row, fit in zip(rows, base) if fit]
        time = f"{median(times):.1f}" if times else ""
        for method in rows[0]["results"]:
            columns = zip(*(row["results"][method] for row in rows))
            cells = [change, method, *map(mean_and_spread, columns), time]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--only", nargs="+", default=list(CHANGES))
    args = parser.parse_args()
    on, archive = "test" if args.test else "validation", args.archive.resolve()
    runs = [(change, seed) for seed in SEEDS for change in args.only]
    print_table([measure(archive, on, change, seed) for change, seed in runs])
