"""The pages: their tables against the raw results, the notebook against the script."""

import json
import re
import sys
from statistics import mean

import pytest
import to_notebook
from cells import run, shop
from to_notebook import SCRIPT, code_of

BENCHMARKS = SCRIPT.parent / "tests" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import tables
from changes import CHANGES

PAGES = SCRIPT, SCRIPT.parent / "README.md", BENCHMARKS / "README.md"
TEXTS = [page.read_text("utf-8") for page in PAGES]
TABLES = [x for text in TEXTS for x in re.findall(r"(?m)^\| `m(?:.+\n)+", text)]
RESULTS = (BENCHMARKS / "results.jsonl").read_text("utf-8").splitlines()
OURS = {"ml-1m": "f80d9b4e", "movielens-sample": "51d9119d"}


def runs_of(data, on, label):
    """Returns the rows that a table's row is made of, and what it takes of their results."""
    method, _, change = label.replace("*", "").partition(": ")
    if method in CHANGES:
        method, change = "GRU", method
    rows = [json.loads(line) for line in RESULTS]
    rows = [row for row in rows if (row["data"], row["on"]) == (data, on)]
    rows = [row for row in rows if row.get("archive", "")[:8] in ("", OURS[data])]
    is_it = lambda row: (
        row["change"] == change
        if change
        else row["change"] not in CHANGES or row["change"] == "none"
    )
    found = {
        row.get("seed"): row
        for row in rows
        if is_it(row) and method in row["results"] | row.get("shares", {})
    }
    return [
        (row, row["results"].get(method) or row["shares"][method])
        for row in found.values()
    ]
