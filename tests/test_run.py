"""Whole runs of the script: other data, other backends, the notebook, what it prints."""

import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import LOCAL, SAMPLE, SCRIPT, SMALL, cell_of, code_cells, execute
from conftest import index_of, ring, run, script
from nbclient import NotebookClient
from to_notebook import to_notebook


def printed_lists(printed):
    """Returns the lists of titles, in the order in which they were printed."""
    lists = re.findall(r"(?m)^.*:\n((?:    .*\n)+)", printed)
    return [[title.strip() for title in text.splitlines()] for text in lists]


def readme_lines(word):
    """Returns the README's block of Python with this word."""
    readme = (SCRIPT.parent / "README.md").read_text(encoding="utf-8")
    (block,) = [x for x in re.findall(r"(?s)```python\n(.*?)```", readme) if word in x]
    return block


def read(name):
    with zipfile.ZipFile(SAMPLE) as archive:
        text = archive.read(f"movielens-sample/{name}").decode("latin-1")
    return [line.split("::") for line in text.splitlines()]


def test_the_right_titles(sample):
    """Of the sample's first user, read anew: what was watched, and what came next."""
    names, printed = sample
    title_of = {int(row[0]): row[1] for row in read("movies.dat")}
    mine = [r for r in read("ratings.dat") if r[0] == "1" and float(r[2]) >= 2]
    mine = [title_of[int(r[1])] for r in sorted(mine, key=lambda r: int(r[3]))]
    watched, recommended, after, *_, again = printed_lists(printed)
    assert watched == mine[-11:-1] and after == mine[-1:]
    assert len(set(recommended)) == 10 and not set(recommended) & set(mine[:-1])
    assert again == recommended  # The loaded model.
    for i, original_id in enumerate(names["original_ids"], 1):
        assert names["movie_id_to_movie_title"][i] == title_of[original_id]


def test_own_titles_by_their_words(sample):
    title_of, find_movie = sample[0]["movie_id_to_movie_title"], sample[0]["find_movie"]
    for words, title in {
        "The MATRIX (1999)": "Matrix, The (1999)",
        "Star Wars": "Star Wars: Episode IV - A New Hope (1977)",
        "Alien": "Alien (1979)",
        "the dark knight": "Dark Knight, The (2008)",
    }.items():
        assert title_of[find_movie(words)] == title


def test_of_two_movies_with_one_title_the_popular_one_is_found(sample):
    title, title_of = "War of the Worlds (2005)", sample[0]["movie_id_to_movie_title"]
    counts = sample[0]["ratings_df"]["movie_id"].value_counts()
    both = [i for i in title_of if title_of[i] == title]
    assert len(both) == 2
    assert sample[0]["find_movie"](title) == max(both, key=counts.get)


def test_none_of_my_titles_is_found(sample):
    _, printed = execute([cell_of("my_titles", my_titles=["qwertz"])], **sample[0])
    assert len(printed_lists(printed)) == 1  # That it was not found, and no list.


def test_a_shop(tmp_path, monkeypatch):
    """The README's lines for CSV files, ids that are text, and each cell run twice.

    After each thing comes a certain other one, and all are equally popular.
    """
    monkeypatch.chdir(tmp_path)
    orders = [(f"u{u:02}", f"sku{m}", f"2026-01-{t + 1:02}") for u, m, _, t in ring()]
    pd.DataFrame(orders).sample(frac=1).to_csv("orders.csv", index=False)
    titles = {f"sku{i}": f"Thing {i}" for i in range(1, 29)}  # 29 and 30 have none.
    titles["sku1"] = titles["sku2"]
    pd.DataFrame(titles.items()).to_csv("products.csv", index=False)
    cells = code_cells(**SMALL, NUM_EPOCHS=15)
    cells[index_of("read_data", cells)] = readme_lines("orders.csv")
    names, printed = execute([cell for cell in cells for _ in range(2)])
    results = names["results"]
    assert results["GRU"][1] > max(0.9, results["GRU, contexts shuffled"][1])
    assert results["most popular"][0] < 0.8
    lists = printed_lists(printed)
    watched, recommended, after = lists[:3]
    assert lists[3:6] == lists[:3] and lists[-1] == lists[-2] == recommended
    assert watched == ["Thing 12", "Thing 13", "Thing 14"]
    assert after == ["Thing 15"] == recommended[:1]
    assert len(recommended) <= 30 - 14  # Fewer movies than NUM_CANDIDATES.
    shown = list(names["movie_id_to_movie_title"].values())
    assert {"sku29", "sku30"} <= set(shown) and shown.count("Thing 2") == 2


def rows_of(movies):
    """Returns ratings of users, from an array of their movies in order."""
    return [(u, m, 4, i) for (u, i), m in np.ndenumerate(movies)]


def test_no_order_is_found_where_there_is_none():
    # Movies are drawn by their popularity alone.
    keys = np.random.default_rng(4).exponential(size=(1000, 200)) * np.arange(3, 203)
    drawn = np.random.default_rng(5).permuted(np.argsort(keys)[:, :12], axis=1)
    results = run(rows_of(drawn), last="titles", MAX_CONTEXT_LENGTH=3)[0]["results"]
    popular = results["most popular"][0]
    error = math.sqrt(popular * (1 - popular) / 1000)
    assert popular > 2 * 10 / 188  # It is far above chance,
    assert results["GRU"][0] < popular + 3 * error  # and not surpassed.


def test_people_who_come_back():
    """8 songs, 60 plays each: what was played before may be the right answer."""
    plays = np.random.default_rng(0).integers(0, 8, (50, 60))
    names, _ = run(rows_of(plays), NUM_EPOCHS=1, TOP_K=3, **SMALL)
    for hit_rate, _ in names["results"].values():
        assert 0.1 < hit_rate < 0.7  # By chance, 3 of 8.


def test_memory_of_a_large_catalogue():
    """Nothing of users x items or items x items, here 80 and 800 MB."""
    movies = np.random.default_rng(0).permutation(10_000).reshape(1000, 10)
    tracemalloc.start()
    run(rows_of(movies), NUM_EPOCHS=1, EMBEDDING_DIM=4, **SMALL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.fixture(scope="module")
def small():
    """The script, cell by cell, on a small archive: its names, what it printed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return execute(code_cells(**LOCAL))


def test_two_runs_print_the_same(small):
    titles = {movie: f"Movie {movie} (2000)" for movie in range(1, 31)}
    _, printed = run(ring(), titles, NUM_EPOCHS=2, **SMALL)
    assert printed_lists(printed) == printed_lists(small[1]) != []


def test_the_notebook_in_an_empty_folder_with_tensorflow(tmp_path, monkeypatch):
    notebook = to_notebook(script(**LOCAL | {"NUM_EPOCHS": 15}))
    notebook = nbformat.from_dict(notebook)
    nbformat.validate(notebook)
    notebook.cells = [c for c in notebook.cells if not c.source.startswith("!pip")]
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=400, resources=place).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert {out.output_type for out in outputs} == {"stream"}  # No value is displayed.
    assert not [out for out in outputs if "Warning:" in out.text]
    printed = "".join(out.text for out in outputs if out.name == "stdout")
    _, recommended, after = printed_lists(printed)[:3]
    assert recommended[0] == after[0] == "Movie 15 (2000)"


def test_two_devices_train_as_one(small, tmp_path):
    """With the two lines of the README, one before the model and one after `fit`."""
    before, after = readme_lines("distribution").splitlines()
    cells = code_cells(**LOCAL)
    fit = index_of("model", cells)
    cells[fit : fit + 1] = [before, cells[fit], after]
    cells += ["print(len(model.weights[0].value.devices()))"]
    cells += ["print(*model.history.history['loss'])"]
    # NPROC: with only two threads, XLA's devices can wait for each other for ever.
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    command, env = [sys.executable, "-c", "\n".join(cells)], {**os.environ, **two}
    printed = subprocess.check_output(command, cwd=tmp_path, env=env, text=True)
    devices, losses = printed.splitlines()[-2:]
    expected = small[0]["model"].history.history["loss"]
    assert [float(x) for x in losses.split()] == pytest.approx(expected, rel=1e-3)
    assert devices == "2"
