"""Brings the notebook in tests/ up to date: python tests/to_notebook.py

It replaces the prose and keeps the output. Changed code needs to run, on what the script
downloads or on ARCHIVE: python tests/to_notebook.py --run [ARCHIVE [WHAT_IT_IS]]
"""

import json
import re
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "sequential_retrieval.py"
SOURCE = SCRIPT.read_text(encoding="utf-8")
NOTEBOOK = SCRIPT.parent / "tests" / "sequential_retrieval.ipynb"


def split(source):
    """Returns the cells of a script as (kind, text): "code", "markdown" or "shell"."""
    texts = re.split(r'(?m)^"""(shell)?\n', source)
    tags = ["code", *(tag or "markdown" for tag in texts[1::2])]
    tags[2::2] = ["code"] * len(tags[2::2])
    cells = zip(tags, (text.strip("\n") for text in texts[::2]))
    return [(kind, text) for kind, text in cells if text]


def place_of(name, cells):
    """Returns the place of the first cell that assigns or defines a name."""
    defines = re.compile(rf"(?m)^(def |class )?{name}( =|\()").search
    return [bool(defines(cell)) for cell in cells].index(True)


def code_cells(source=SOURCE, after={}):
    """Returns the cells of code, with more code behind those that define a name."""
    cells = [text for kind, text in split(source) if kind == "code"]
    for name, code in after.items():
        cells[place_of(name, cells)] += f"\n{code}"
    return cells


def changed(settings, source=SOURCE):
    """Returns the script with other code behind names that it assigns in one line."""
    for name, code in settings.items():
        line = f"{name} = {code}"
        source, count = re.subn(rf"(?m)^{name} = .*$", lambda match: line, source)
        if count != 1:
            raise ValueError(f"The script assigns {name} in {count} lines.")
    return source


def archive_at(url, archive):
    """Returns the settings for another archive, bytes, which is expected at a URL."""
    known = {"MOVIELENS_1M_URL": url, "MOVIELENS_ZIP_HASH": sha256(archive).hexdigest()}
    return {name: repr(text) for name, text in known.items()}


def to_notebook(source):
    """Returns a script, a str, as a notebook, a dict."""
    (_, header), *cells = split(source)
    title, *fields = [line.partition(": ")[::2] for line in header.splitlines()]
    header = "\n".join([f"# {title[1]}\n", *(f"- **{k}:** {v}" for k, v in fields)])
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    for number, (kind, text) in enumerate([("markdown", header), *cells]):
        cell = {"id": f"cell-{number}", "cell_type": "markdown", "metadata": {}}
        if kind != "markdown":
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        cell["source"] = re.sub("(?m)^", "!", text) if kind == "shell" else text
        notebook["cells"].append(cell)
    return notebook


def run(source, folder):
    """Runs a script as a notebook; returns what each cell printed in the end."""
    import nbformat
    from nbclient import NotebookClient

    notebook = to_notebook(source.replace('"""shell\npip', '"""\npip'))
    notebook = nbformat.from_dict(notebook)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=3600, resources=place).execute()
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    texts = [
        "".join(x.text for x in own if x.get("name") == "stdout") for own in outputs
    ]
    texts = [re.sub(r"\x1b\[\d*m|[\r\b]+(?=\n)", "", text) for text in texts]
    return [re.sub(r"(?m)^.*[\r\b](?=.)", "", text) for text in texts]


def code_of(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def with_new_output(archive=None, told="MovieLens 1M"):
    """Returns the notebook with the output of a run, and with what is told of its data."""
    notebook, settings = to_notebook(SOURCE), {}
    if archive:
        content = Path(archive).read_bytes()
        settings = archive_at(Path(archive).absolute().as_uri(), content)
        told += f" (SHA-256 {sha256(content).hexdigest()})"
    with tempfile.TemporaryDirectory() as folder:
        texts = run(changed(settings), folder)
    for cell, text in zip(notebook["cells"], texts):
        stream = {"output_type": "stream", "name": "stdout", "text": text}
        cell |= {"outputs": [stream]} if text else {}
    for count, cell in enumerate(code_of(notebook), 1):
        cell["execution_count"] = count
    return notebook | {"metadata": {"run_on": told}}


def with_old_output():
    """Returns the notebook with the output of the one in tests/, if its code is this."""
    old, new = json.loads(NOTEBOOK.read_text("utf-8")), to_notebook(SOURCE)
    codes = [[cell["source"] for cell in code_of(notebook)] for notebook in (old, new)]
    if codes[0] != codes[1]:
        sys.exit("Code has changed: run to_notebook.py --run [ARCHIVE [WHAT_IT_IS]].")
    for before, after in zip(code_of(old), code_of(new)):
        after |= {key: before[key] for key in ("outputs", "execution_count")}
    return new | {"metadata": old["metadata"]}


if __name__ == "__main__":
    is_run = sys.argv[1:2] == ["--run"]
    notebook = with_new_output(*sys.argv[2:]) if is_run else with_old_output()
    told = notebook["metadata"]["run_on"]
    notebook["cells"][0]["source"] += f"\n- **Run on:** {told}"
    NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
