"""Whole runs of the script, as a user starts it."""

import ast
import re
import subprocess

import numpy as np
import pytest
from conftest import RECOMMENDED, ROOT, SCRIPT, WATCHED
from conftest import check_quiet, copy_script, run, spy_on, table, titles


def test_it_ends_well_and_prints_titles(plain, offline):
    assert plain.returncode == 0
    lists = titles(plain.stdout)
    recommended = lists[RECOMMENDED]
    assert len(recommended) == len(set(recommended)) == offline[1]["TOP_K"] == 10
    assert all(re.search(r"\(\d{4}\)$", title) for title in lists[WATCHED])
    mine, known = lists["For you:"], offline[1]["my_titles"]
    assert len(set(mine)) == 10 and not set(mine) & set(known)


def test_watched_movies_are_printed_and_not_recommended(plain, offline):
    _, variables = offline
    title_of = variables["movie_id_to_movie_title"]
    ratings = variables["ratings_df"]
    history = ratings[ratings["UserID"] == ratings["UserID"].min()]["MovieID"].tolist()
    lists = titles(plain.stdout)
    context, label = variables["test_contexts"][0], variables["test_labels"][0]
    assert lists[WATCHED] == [title_of[movie] for movie in context if movie]
    before = history[: history.index(label)]
    assert not {title_of[movie] for movie in before} & set(lists[RECOMMENDED])

    # The true next movie is named, and whether it is among the ten.
    heading = next(h for h in lists if h.startswith("Watched next, and"))
    assert lists[heading] == [title_of[label]]
    assert ("not" in heading) == (title_of[label] not in lists[RECOMMENDED])


def test_two_runs_print_the_same(plain, offline):
    assert titles(plain.stdout) == titles(offline[0].stdout)
    assert table(plain.stdout) == table(offline[0].stdout)


def test_no_warning_of_python(plain):
    check_quiet(plain.stderr)
    assert "Warning" not in plain.stdout


def test_it_says_what_the_sample_is(plain):
    assert "Going on with tests/data/movielens-sample.zip" in plain.stdout
    assert "Connection refused" in plain.stdout


def test_one_batch_is_printed(plain):
    assert "(512, 10)" in plain.stdout and "(512,)" in plain.stdout


def test_no_screenful_of_digits(plain):
    rows = [re.fullmatch(r"[\[\]\d\s>.-]+", line) for line in plain.stdout.splitlines()]
    assert sum(row is not None for row in rows if row != "") < 40
    assert max(map(len, plain.stdout.splitlines())) < 120


def test_tensorflow_backend(tmp_path, offline):
    copy_script(tmp_path, sample=True)
    result = run(tmp_path, KERAS_BACKEND="tensorflow")
    assert result.returncode == 0
    check_quiet(result.stderr)
    assert len(titles(result.stdout)[RECOMMENDED]) == 10
    printed, expected = table(result.stdout), offline[1]["results"]
    for baseline in "most popular", "after the last movie":
        assert printed[baseline] == tuple(round(m, 3) for m in expected[baseline])
    assert printed["GRU"][0] > 1.2 * expected["after the last movie"][0]


@pytest.mark.parametrize("devices, is_split", [(2, True), (3, False)])
def test_several_devices(tmp_path, offline, devices, is_split):
    copy_script(tmp_path, sample=True)
    flag = f"--xla_force_host_platform_device_count={devices}"
    # NPROC: with only two threads, XLA's devices can wait for each other for ever.
    _, variables = spy_on(tmp_path, XLA_FLAGS=flag, NPROC="8")
    if is_split:  # All training batches over both devices, and nothing else.
        assert variables["split"] == {(512, (256, 256))}
    else:  # 512 is no multiple of 3.
        assert variables["split"] == set()
    np.testing.assert_allclose(variables["losses"], offline[1]["losses"], rtol=1e-3)


def test_imports():
    allowed = {"keras", "keras_rs", "jax", "tensorflow", "pandas", "numpy"}
    allowed |= set("os csv difflib io socket zipfile hashlib pathlib".split())
    found = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    assert found <= allowed


def test_top_level():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {name.split("/")[0] for name in files if not name.startswith(".")}
    assert top <= {"sequential_retrieval.py", "requirements.txt", "README.md", "tests"}
