"""The pages: their tables against the raw results, the notebook against the script."""

import json
import re
import sys
from statistics import mean

import pytest
from to_notebook import NOTEBOOK, SCRIPT, SOURCE, code_cells, code_of, to_notebook

BENCHMARKS = SCRIPT.parent / "tests" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import tables
from changes import CHANGES

PAGES = SCRIPT, SCRIPT.parent / "README.md", BENCHMARKS / "README.md"
TEXTS = [page.read_text("utf-8") for page in PAGES]
TABLES = [x for text in TEXTS for x in re.findall(r"(?m)^\| `m(?:.+\n)+", text)]
ROWS = (BENCHMARKS / "results.jsonl").read_text("utf-8").splitlines()
ROWS = [json.loads(line) for line in ROWS]
VALUES = {
    "HR@10": lambda row, found: found[0],
    "NDCG@10": lambda row, found: found[1],
    "hits": lambda row, found: found[0],
    "share": lambda row, found: found,
    "time": lambda row, found: row["trained"] - row["prepared"],
    "time to the titles": lambda row, found: row["titles"],
    "s to the titles": lambda row, found: row["titles"],
    "peak MB": lambda row, found: row["memory"],
}


def about(row):
    return row.get("archive"), row.get("versions", "keras 0.0.0")[:13]


def raw_rows(data, on, label):
    """Returns the rows behind a line of a table, and what they found, by seed."""
    label = f"GRU: {label}" if label in CHANGES else label.replace("*", "")
    method, _, change = label.partition(": ")
    rows = [row for row in ROWS if row["data"] == data]
    ours, result = about(rows[0]), {}
    for row in rows:
        found = {**row["results"], **row.get("shares", {})}
        is_it = row["change"] == (change or "none") or row["change"] not in CHANGES
        if row["on"] == on and is_it and method in found:
            if about(row) in (ours, about({})):
                result[row.get("seed")] = row, found[method]
    return result


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table[:40])
def test_tables_are_means_of_the_raw_rows(table):
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    data, on = lines[0][0].replace("`", "").split(", ")
    first = raw_rows(data, on, lines[2][0])
    for label, *cells in lines[2:]:
        rows = raw_rows(data, on, label)
        for column, cell in zip(lines[0][1:], cells):
            value = VALUES[column]
            values = {seed: value(*row) for seed, row in rows.items()}
            if column in ("hits", "time", "time to the titles"):
                values = {seed: x / value(*first[seed]) for seed, x in values.items()}
            half = 0.501 * 10 ** -len(cell.partition(".")[2])
            expected = pytest.approx(mean(values.values()), abs=half)
            assert float(cell.replace(",", "")) == expected, (label, column)


def test_one_command_prints_the_tables_and_the_picture():
    """Those of a reader, with another archive or Keras, need not stand on the pages."""
    own = re.compile(r"\n.* \(\w{8}, keras [\d.]+\) \|.*")
    printed = {own.sub("", table) for table in tables.tables()}
    assert {table.strip() for table in TABLES} == printed
    assert tables.picture() in (BENCHMARKS / "hit_rates.svg").read_text("utf-8")


def test_the_changes_still_fit_the_script():
    for hooks in CHANGES.values():
        for cell in code_cells(after=hooks):
            compile(cell, "cell", "exec")


def test_the_notebook_with_its_output_is_of_this_script():
    notebooks = json.loads(NOTEBOOK.read_text("utf-8")), to_notebook(SOURCE)
    written, expected = ([x["source"] for x in code_of(n)] for n in notebooks)
    assert written == expected
