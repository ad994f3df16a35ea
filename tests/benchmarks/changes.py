"""What changes of the script are worth: quality and time, for several seeds.

python tests/benchmarks/changes.py [ARCHIVE] [--test] [--only NAME ...]

Runs the script on ARCHIVE, a zip file like ml-1m.zip, with each of CHANGES and of SEEDS,
adds what is not there yet to results.jsonl, and prints the tables. Quality is measured on
each user's last movie but one, with the last one cut off, or with --test on the last one;
time is that of the processor for training, relative to the run of "none" with the same
seed: run these on the same machine, one on each core.
"""

import argparse
import itertools
import json
from pathlib import Path
from statistics import mean, median

from common import HERE, run_script

RESULTS = HERE / "results.jsonl"
SEEDS = 42, 1, 2

LENGTHS = "ratings_df = ratings_df[lengths >= MIN_SEQUENCE_LENGTH]\n"
CUT = 'ratings_df = ratings_df[ratings_df.duplicated("UserID", keep="last")]\n'
LABELS = 'labels = ratings_df["movie_id"].to_numpy()\n'
SHUFFLED = "contexts = np.random.default_rng(SEED).permuted(contexts, axis=1)\n"
MIXED = "np.random.default_rng(SEED).permutation(train_rows)"
SHUFFLE = ".shuffle(16_384, seed=SEED)"
BATCH = ".batch(BATCH_SIZE, drop_remainder=True)"
UNIT = "layers.UnitNormalization()"
TOWER = "[inputs, lookup, unit_length]"
OWN = "layers.Embedding(movies_count + 1, embedding_dimension)"
CORRECTION = 'self.correction(scores / TEMPERATURE, y["sampling_probability"])'

CHANGES = {
    "none": {},
    "trained on shuffled contexts": {LABELS: LABELS + SHUFFLED},
    "`NUM_EPOCHS = 2`": {"NUM_EPOCHS": "2"},
    "`NUM_EPOCHS = 5`": {"NUM_EPOCHS": "5"},
    "`MAX_CONTEXT_LENGTH = 20`": {"MAX_CONTEXT_LENGTH": "20"},
    "`EMBEDDING_DIM = 96`": {"EMBEDDING_DIM": "96"},
    "`EMBEDDING_DIM = 96`, `NUM_EPOCHS = 2`": {
        "EMBEDDING_DIM": "96",
        "NUM_EPOCHS": "2",
    },
    "`EMBEDDING_DIM = 128`": {"EMBEDDING_DIM": "128"},
    "no popularity correction": {CORRECTION: "scores / TEMPERATURE"},
    "no normalization, no temperature": {
        UNIT: "layers.Identity()",
        "TEMPERATURE": "1.0",
    },
    "users not mixed": {MIXED: "train_rows", SHUFFLE: "", BATCH: BATCH + SHUFFLE},
    "no mask": {"mask_zero=True": "mask_zero=False"},
    "an embedding for each tower": {TOWER: TOWER.replace("lookup", OWN)},
}


def read_results():
    RESULTS.touch()
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def measure(archive, on, change, seed):
    """Runs a change with a seed, unless RESULTS has it already."""
    key = {"data": archive.stem, "on": on, "change": change, "seed": seed}
    if any(key.items() <= row.items() for row in read_results()):
        return
    edits = CHANGES[change] | {"SEED": str(seed)}
    if on == "validation":
        edits = {LENGTHS: LENGTHS + CUT} | edits
    told = run_script(archive, edits)
    with RESULTS.open("a") as file:
        file.write(json.dumps(key | {k: told[k] for k in ("results", "fit")}) + "\n")


def mean_and_spread(values):
    return f"{mean(values):.3f} ± {(max(values) - min(values)) / 2:.3f}"


def print_tables():
    """Prints means over the seeds, and half the distance of the best and the worst."""
    results = read_results()
    for data, on in sorted({(row["data"], row["on"]) for row in results}):
        print(f"\n{data}, {on}\n\n| change | method | HR@10 | NDCG@10 | time |")
        print("|---|---|---|---|---|")
        here = [row for row in results if (row["data"], row["on"]) == (data, on)]
        base = {row["seed"]: row["fit"] for row in here if row["change"] == "none"}
        for change in CHANGES:
            rows = [row for row in here if row["change"] == change]
            times = [row["fit"] / base[row["seed"]] for row in rows]
            for method in rows[0]["results"] if rows else ():
                if change == "none" or method == "GRU":
                    columns = zip(*(row["results"][method] for row in rows))
                    cells = [change, method, *map(mean_and_spread, columns)]
                    print(
                        "|", *(f"{cell} |" for cell in cells), f"{median(times):.1f} |"
                    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CHANGES))
    args = parser.parse_args()
    for seed, change in itertools.product(SEEDS, args.only if args.archive else ()):
        on = "test" if args.test else "validation"
        measure(args.archive.resolve(), on, change, seed)
    print_tables()
