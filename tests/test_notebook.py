"""The script as a notebook."""

import re
import sys

import nbformat
import pytest
from conftest import ROOT, SAMPLE, SCRIPT, check_quiet, copy_script, run, send
from nbclient import NotebookClient
from to_notebook import split, to_notebook


def test_code_is_short():
    cells = [text for kind, text in split(SCRIPT.read_text()) if kind == "code"]
    lengths = [sum(bool(line.strip()) for line in text.splitlines()) for text in cells]
    assert sum(lengths) <= 230
    for length, text in zip(lengths, cells):
        assert length <= (50 if "(keras.Model)" in text else 35), text[:200]


def test_no_file_and_no_command_line():
    assert not re.search(r"__file__|__name__|sys\.argv|argparse", SCRIPT.read_text())


@pytest.mark.parametrize(
    "source, message",
    [
        ('"""\nTitle: x\n"""\n', "must begin"),
        ("x = 1 \n", "line 1: trailing"),
        ('"""Prose.\n"""\n', "line 1: only a tag"),
        ('"""\nProse.\n', "no closing"),
        ('"""\n"""\n', "line 2: a block of prose is empty"),
    ],
)
def test_broken_form(source, message):
    with pytest.raises(ValueError, match=message):
        to_notebook(source)


def test_markdown_renders():
    for kind, text in split(SCRIPT.read_text()):
        if kind != "markdown":
            continue
        assert text.count("`") % 2 == 0, text
        assert text.count("**") % 2 == 0, text
        assert text.count("](http") == len(re.findall(r"\[[^][]+\]\(http\S+\)", text))
        lines = text.splitlines()
        for before, line in zip(lines, lines[1:]):
            if re.match(r"([-*]|\d+\.) ", line):  # A list needs a blank line before it.
                assert before == "" or re.match(r"([-*]|\d+\.|  )", before), line
            if line.startswith("#"):
                assert before == "", line


def test_it_runs_as_a_notebook_in_an_empty_folder(tmp_path, server):
    source, folder = tmp_path / "source", tmp_path / "empty"
    source.mkdir(), folder.mkdir()
    server.answer = send(SAMPLE.read_bytes())
    copy_script(source, server.url, SAMPLE.read_bytes(), NUM_EPOCHS=1)
    script = str(source / "sequential_retrieval.py")
    written = run(source, str(ROOT / "tests/to_notebook.py"), script)
    assert written.returncode == 0, written.stderr
    notebook = nbformat.reads(written.stdout, as_version=4)
    notebook.metadata.kernelspec.name = "python3"
    NotebookClient(
        notebook, timeout=400, resources={"metadata": {"path": str(folder)}}
    ).execute()

    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert {out.output_type for out in outputs} == {"stream"}  # No value is displayed.
    printed = {name: "" for name in ("stdout", "stderr")}
    for out in outputs:
        printed[out.name] += out.text
    check_quiet(printed["stderr"])
    assert "Recommended" in printed["stdout"] and "For you:" in printed["stdout"]
