"""Makes a notebook beside the script: python tests/to_notebook.py [--run [ARCHIVE]]

With --run, in tests/ and with the output of a run, on ARCHIVE or what it downloads.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "sequential_retrieval.py"


def split(source):
    """Returns the cells of a script as (kind, text): "code", "markdown" or "shell"."""
    texts = re.split(r'(?m)^"""(shell)?\n', source)
    tags = ["code", *(tag or "markdown" for tag in texts[1::2])]
    tags[2::2] = ["code"] * len(tags[2::2])
    cells = zip(tags, (text.strip("\n") for text in texts[::2]))
    return [(kind, text) for kind, text in cells if text]


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


def with_output(archive):
    """Returns the notebook with its output on an archive, or on the script's own."""
    from cells import SOURCE, archive_at, changed

    notebook, changes = to_notebook(SOURCE), {}
    if archive:
        changes = archive_at(archive.absolute().as_uri(), archive.read_bytes())
        told = f"{archive.name}, SHA-256 {changes['MOVIELENS_ZIP_HASH']}"
        notebook["cells"][0]["source"] += f"\n- **Run on:** {told}"
    with tempfile.TemporaryDirectory() as folder:
        for cell, text in zip(notebook["cells"], run(changed(changes), folder)):
            stream = {"output_type": "stream", "name": "stdout", "text": text}
            cell |= {"outputs": [stream]} if text else {}
    return notebook


if __name__ == "__main__":
    notebook, target = to_notebook(SCRIPT.read_text("utf-8")), SCRIPT
    if sys.argv[1:2] == ["--run"]:
        notebook = with_output(Path(sys.argv[2]) if sys.argv[2:] else None)
        target = SCRIPT.parent / "tests" / SCRIPT.name
    content = json.dumps(notebook, indent=1) + "\n"
    target.with_suffix(".ipynb").write_text(content, encoding="utf-8")
