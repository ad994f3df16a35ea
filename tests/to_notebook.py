"""Converts a script in the form of the Keras examples to a notebook.

python tests/to_notebook.py [SCRIPT] > NOTEBOOK, where SCRIPT is sequential_retrieval.py
unless another is named. A line that is three quotes, alone or with the tag `shell` or
`invisible`, opens a block of prose, and a line that is three quotes closes it. What
stands in between becomes a markdown cell, what stands around it code cells.
"""

import ast
import sys

import nbformat

HEADER = ["Title", "Author", "Date created", "Last modified", "Description"]
HEADER += ["Accelerator"]


def split(source):
    """Splits a script into cells.

    Args:
        source: str. The script.

    Returns:
        list of `(kind, text)`, where kind is "header", "markdown", "shell",
        "invisible" or "code".

    Raises:
        ValueError: The script breaks a rule of the form. The message names the line.
    """
    cells, kind, lines = [], "code", []

    def close():
        text = "\n".join(lines).strip("\n")
        if text:
            cells.append((kind, text))
        elif kind != "code":
            raise ValueError(f"line {number}: a block of prose is empty")

    for number, line in enumerate(source.splitlines(), 1):
        if line != line.rstrip():
            raise ValueError(f"line {number}: trailing blanks")
        if not line.startswith('"""'):
            lines.append(line)
            continue
        tag = line[3:]
        if kind == "code" and tag in ("", "shell", "invisible"):
            close()
            kind, lines = tag or "markdown", []
        elif kind != "code" and not tag:
            close()
            kind, lines = "code", []
        else:
            raise ValueError(f'line {number}: only a tag may stand next to """')
    if kind != "code":
        raise ValueError('the last block of prose has no closing """')
    close()
    return [check_header(cells[0]), *cells[1:]]


def check_header(cell):
    """Returns the first cell as a header, or raises ValueError if it is none."""
    kind, text = cell
    fields = [line.partition(": ")[::2] for line in text.splitlines()]
    if kind != "markdown" or [name for name, _ in fields] != HEADER:
        raise ValueError(f"the script must begin with the fields {', '.join(HEADER)}")
    description = dict(fields)["Description"]
    if len(description) >= 100 or not description.endswith("."):
        raise ValueError("Description must be under 100 characters and end in '.'")
    return "header", text


def to_notebook(source):
    """Returns the script `source`, a str, as a `nbformat.NotebookNode`."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    for number, (kind, text) in enumerate(split(source)):
        if kind == "header":
            fields = dict(line.partition(": ")[::2] for line in text.splitlines())
            title = fields.pop("Title")
            text = "\n".join(
                [f"# {title}", "", *(f"- **{k}:** {v}" for k, v in fields.items())]
            )
        elif kind == "shell":
            text = "\n".join(f"!{line}" for line in text.splitlines())
        if kind in ("code", "shell"):
            ast.parse(text if kind == "code" else "")
            cell = nbformat.v4.new_code_cell(text)
        elif kind == "invisible":
            continue
        else:
            cell = nbformat.v4.new_markdown_cell(text)
        cell.id = f"cell-{number}"  # The same script gives the same notebook.
        notebook.cells.append(cell)
    nbformat.validate(notebook)
    return notebook


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "sequential_retrieval.py"
    with open(name, encoding="utf-8") as file:
        print(nbformat.writes(to_notebook(file.read())))
