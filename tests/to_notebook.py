"""Writes sequential_retrieval.ipynb beside the script: python tests/to_notebook.py"""

import json
import re
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


if __name__ == "__main__":
    notebook = json.dumps(to_notebook(SCRIPT.read_text(encoding="utf-8")), indent=1)
    SCRIPT.with_suffix(".ipynb").write_text(notebook, encoding="utf-8")
