"""The pages: their tables against the raw results, the notebook against the script."""

import json
import re
import sys
from statistics import mean

import pytest
from to_notebook import NOTEBOOK, SCRIPT, SOURCE, code_of, to_notebook

BENCHMARKS = SCRIPT.parent / "tests" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import tables
from changes import CHANGES

PAGES = SCRIPT, SCRIPT.parent / "README.md", BENCHMARKS / "README.md"
TEXTS = [page.read_text("utf-8") for page in PAGES]
TABLES = [x for text in TEXTS for x in re.findall(r"(?m)^\| `m(?:.+\n)+", text)]
ROWS = [json.loads(x) for x in (BENCHMARKS / "results.jsonl").open(encoding="utf-8")]
RELATIVE = "hits", "time", "time to the titles"
VALUES = {
    "NDCG@10": lambda row, found: found[1],
    "share": lambda row, found: found,
    "time": lambda row, found: row["trained"] - row["prepared"],
    "time to the titles": lambda row, found: row["titles"],
    "s to the titles": lambda row, found: row["titles"],
    "peak MB": lambda row, found: row["memory"],
}


def raw_rows(data, on, label):
    """Returns the rows behind a line of a table, and what they found, by seed."""
    label = label.replace("*", "")
    method, change = ("GRU", label) if label in CHANGES else label.partition(": ")[::2]
    rows, result = [row for row in ROWS if row["data"] == data], {}
    for row in rows:
        found = {**row["results"], **row.get("shares", {})}.get(method)
        is_ours = all(row.get(x) in (None, rows[0][x]) for x in ("archive", "versions"))
        is_it = row["change"] == (change or "none") or row["change"] not in CHANGES
        if row["on"] == on and found and is_it and is_ours:
            result[row.get("seed")] = row, found
    return result


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table[:40])
def test_tables_are_means_of_the_raw_rows(table):
    head, _, *lines = [x.strip("| ").split(" | ") for x in table.splitlines()]
    data, on = head[0].replace("`", "").split(", ")
    first = raw_rows(data, on, lines[0][0])
    for label, *cells in lines:
        for column, cell in zip(head[1:], cells):
            value = VALUES.get(column, lambda row, found: found[0])
            values = {x: value(*pair) for x, pair in raw_rows(data, on, label).items()}
            if column in RELATIVE:
                values = {seed: x / value(*first[seed]) for seed, x in values.items()}
            half = 0.501 * 10 ** -len(cell.partition(".")[2])
            expected = pytest.approx(mean(values.values()), abs=half)
            assert float(cell.replace(",", "")) == expected, (label, column)


def test_one_command_prints_the_tables_and_the_picture():
    """Those of a reader, with another archive or versions, need not stand there."""
    own = re.compile(r"\n.* \(\w{8}, keras .*\) \|.*")
    assert {own.sub("", x) for x in tables.tables()} == {x.strip() for x in TABLES}
    assert tables.picture() in (BENCHMARKS / "hit_rates.svg").read_text("utf-8")


def test_the_notebook_with_its_output_is_of_this_script():
    notebooks = json.loads(NOTEBOOK.read_text("utf-8")), to_notebook(SOURCE)
    written, expected = ([x["source"] for x in code_of(n)] for n in notebooks)
    assert written == expected
