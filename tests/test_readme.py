"""The README's tables render, and the run that it shows is a run of the script."""

import re

import pytest
from conftest import RECOMMENDED, ROOT, table, titles
from markdown_it import MarkdownIt

PAGES = [ROOT / "README.md", ROOT / "tests/data/README.md"]


def cells(line):
    return re.sub(r"`[^`]*`", "code", line.strip()).strip("|").split("|")


def broken_tables(text):
    """Returns the lines of a page that look like a row of a table and are none."""
    lines = text.splitlines()
    in_tables = {}
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "table_open":
            start, end = token.map
            in_tables |= {
                number: len(cells(lines[start])) for number in range(start, end)
            }
    return [
        line
        for number, line in enumerate(lines)
        if line.startswith("|") and len(cells(line)) != in_tables.get(number)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_render(page):
    assert not broken_tables(page.read_text())


def test_a_broken_table_is_found():
    assert not broken_tables("| a | b |\n|---|---|\n| 1 | `|` |\n")
    assert broken_tables("| a | b |\n|---|---|\n| 1 |\n")
    assert broken_tables("| a | b |\n|---|---|---|\n| 1 | 2 |\n")
    assert broken_tables("text\n| 1 | 2 |\n")


def test_the_run_that_it_shows(plain):
    readme = PAGES[0].read_text()
    shown = re.search(r"```\n( +HR@10 .*?\n)```", readme, re.DOTALL)[1]
    printed = plain.stdout[plain.stdout.index(" " * 20 + "  HR@10") :]
    cpu = re.search(r"(?m)^model name\s*: (.*)$", open("/proc/cpuinfo").read())
    if cpu and f'"{cpu[1]}"' in readme:  # The machine on which it was made.
        assert shown.strip() == printed.strip()
        return
    # Elsewhere, other roundings train a slightly other model.
    for name, metrics in table(shown).items():
        close = 0.03 if name == "GRU" else 0
        assert table(printed)[name] == pytest.approx(metrics, abs=close)
    for heading in titles(shown):
        if not heading.startswith(("For you", "Recommended", "Watched next")):
            assert titles(printed)[heading] == titles(shown)[heading]
    assert set(titles(printed)[RECOMMENDED]) & set(titles(shown)[RECOMMENDED])
