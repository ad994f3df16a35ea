"""What users do: notebooks, own data, several devices, serving, cells run again."""

import json
import os
import subprocess
import sys

import keras
import pandas as pd
import pytest
import tensorflow as tf
import to_notebook
from cells import SCRIPT, SMALL, SOURCE, TITLES, changed, code_cells, execute
from cells import lists_of, place_of, readme_lines, ring, run
from conftest import keep

sys.path.insert(0, str(SCRIPT.parent / "tests" / "benchmarks"))
from changes import CHANGES, CUT


def test_two_runs_print_the_same_and_weights_of_the_rows_do_no_harm():
    y, ones = "((contexts[rows], y))", "((contexts[rows], y, np.ones(len(rows))))"
    runs = [run(ring(), SMALL | x, TITLES) for x in ({}, {}, {y: ones})]
    assert lists_of(runs[0][1]) == lists_of(runs[1][1]) != {}
    plain, weighted = (runs[i][0]["results"] for i in (0, 2))
    assert weighted["after the last movie"] == plain["after the last movie"]
    assert weighted["GRU"] == pytest.approx(plain["GRU"], abs=0.04)  # Two users of 60.


def test_each_cell_run_twice():
    """As in a notebook. After each movie comes a certain other one."""
    names, printed = run(ring(), SMALL | {"NUM_EPOCHS": 10}, TITLES, times=2)
    assert names["results"]["GRU"][1] > 0.9 > names["results"]["most popular"][0]
    lists = lists_of(printed)
    assert lists["Watched next"] == lists["Recommended"][:1] == ["Movie 15 (2000)"]
    assert lists["Recommended again"] == lists["Recommended"]
    context, seen, model = names["context"], names["seen"], names["model"]
    shown = names["recommend"](model, context, seen, 100)
    assert sorted([*shown, *seen]) == list(range(1, 31))


def test_none_of_my_titles_is_found():
    """Then the ten most popular movies are for you."""
    more = [(1000 + user, movie, 4, 0) for movie in TITLES for user in range(3 * movie)]
    typed = {'["Alien", "Fargo", "Toy Story", "The Matrix"]': '["qwertz"]'}
    lists = lists_of(run(ring() + more, typed | SMALL, TITLES)[1])
    assert set(lists["For you"]) == {TITLES[movie] for movie in range(21, 31)}


def test_own_data(tmp_path):
    """The README's lines on text ids, US dates, and rows with holes."""
    days = [f"{i % 12 + 1}/1/{2019 + i // 12}" for i in range(15)]
    rows = [(f"u{u}", f"sku{m}", days[i]) for u, m, _, i in ring()]
    holes = [("u1", None, days[0]), ("u2", "sku5", None), (None, "sku5", days[0])] * 9
    titles = {f"sku{i}": f"Thing {i}" for i in range(1, 29)} | {"sku29": None}
    cells, lines = code_cells(changed(SMALL)), readme_lines("orders.csv")
    for name, table in ("orders.csv", rows + holes), ("products.csv", titles.items()):
        table = pd.DataFrame(table).sample(frac=1, random_state=1)
        table.to_csv(tmp_path / name, index=False)
        lines = lines.replace(name, str(tmp_path / name))
    cells[place_of("read_data", cells)] = lines
    names = {}
    lists = lists_of(execute(cells, names))
    assert len(names["ratings_df"]) == len(rows)
    assert lists["Watched, the last one last"] == ["Thing 12", "Thing 13", "Thing 14"]
    assert lists["Watched next"] == ["Thing 15"]
    shown = [title or item for item, title in titles.items()]
    expected = {"(not found)", *shown, "sku30"}
    assert {*names["movie_id_to_movie_title"].values()} == expected


def test_the_notebook_in_an_empty_folder_with_tensorflow(tmp_path, monkeypatch):
    changes = keep("small.zip", ring(), TITLES) | SMALL | {"NUM_EPOCHS": 15}
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    lists = lists_of("".join(to_notebook.run(changed(changes), tmp_path)))
    assert lists["Watched next"] == lists["Recommended"][:1] == ["Movie 15 (2000)"]


def test_the_notebook_with_its_output_is_of_this_script():
    path = SCRIPT.parent / "tests" / "sequential_retrieval.ipynb"
    notebooks = json.loads(path.read_text("utf-8")), to_notebook.to_notebook(SOURCE)
    written, expected = ([c["source"] for c in x["cells"]] for x in notebooks)
    assert written[1:] == expected[1:]  # The first says on which archive.


def test_two_devices(tmp_path):
    """With the two lines of the README, one before the model and one after `fit`."""
    changes = keep("devices.zip", ring(), TITLES) | SMALL | {"NUM_EPOCHS": 15}
    cells = code_cells(changed(changes))
    fit = place_of("model", cells)
    before, after = readme_lines("distribution").splitlines()
    count = "print(len(model.weights[0].value.devices()), 'devices')"
    cells[fit] = "\n".join([before, cells[fit], after, count])
    # NPROC: with only two threads, XLA's devices can wait for each other for ever.
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    command, env = [sys.executable, "-c", "\n".join(cells)], {**os.environ, **two}
    printed = subprocess.check_output(command, cwd=tmp_path, env=env, text=True)
    lists = lists_of(printed)
    assert "2 devices" in printed and lists["Watched next"] == lists["Recommended"][:1]


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_the_gpu_is_hidden_from_tensorflow_unless_it_computes(backend, monkeypatch):
    hidden = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *x: hidden.append(x))
    execute(code_cells()[:1], {})
    assert hidden == ([] if backend == "tensorflow" else [([], "GPU")])


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_benchmarks_fits_the_script(change):
    source = changed(CHANGES[change] | CUT)
    compile(source, change, "exec")
    assert source != changed(CUT) or change == "none"
