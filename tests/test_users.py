"""What users do: notebooks, own data, several devices, serving, cells run again."""

import ast
import os
import subprocess
import sys
from types import SimpleNamespace
from uuid import UUID

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import to_notebook
from cells import TITLES, execute, lists_of, readme_lines, results_of, run
from cells import serving, shop
from conftest import TELL_BACKEND, keep
from to_notebook import SOURCE, changed, code_cells, place_of

TRAINED = {"BATCH_SIZE": 64}
MINE = [TITLES[movie] for movie in [*range(1, 7), *range(41, 46), 10]]


def assert_the_last_movie_decides(printed):
    """In a made-up shop, where nothing else does."""
    results, lists = results_of(printed), lists_of(printed)
    assert results["GRU"][0] > 0.9 and results["GRU, contexts shuffled"][0] < 0.5
    assert lists["Watched next"] == lists["Recommended"][:1]
    return lists


def test_cells_run_twice(monkeypatch):
    """With weights of the rows, and twelve titles without capitals. The loaded is asked."""
    predict = lambda *x, verbose: {"predictions": np.arange(80, 0, -1)[None]}
    other = lambda path: SimpleNamespace(predict=predict)
    monkeypatch.setattr(keras.saving, "load_model", other)
    mine = ["qwertz", *(title.lower() for title in MINE)]
    ones = "train_ds = train_ds.map(lambda x, y: (x, y, tf.ones_like(y['label'])))"
    settings, after = TRAINED | {"my_titles": mine}, {"train_ds": ones}
    _, printed = run(shop(), settings, TITLES, after=after, times=2)
    lists = assert_the_last_movie_decides(printed)
    assert lists["You watched"] == ["(no movie)", *MINE]
    assert lists["For you"][0] == "Sequel 10 (2001)"
    assert lists["Recommended again"] != lists["Recommended"][:3]


def test_two_runs_print_the_same(untrained):
    runs = [run(shop(60), {}, TITLES)[1] for _ in range(2)]
    assert lists_of(runs[0]) == lists_of(runs[1]) != {}
    assert results_of(runs[0]) == results_of(runs[1])


def read_own(folder, orders, products, until=None):
    """Runs the cells, with the README's lines on two CSV files in place of the first."""
    orders.to_csv(folder / "orders.csv", index=False)
    products.to_csv(folder / "products.csv", index=False)
    cells, names = code_cells(), {}
    cells[place_of("read_data", cells)] = readme_lines("orders.csv")
    cells = cells[: place_of(until, cells) if until else None]
    return names, execute(cells, names, folder)


IDS = {"zeros": "{:010}".format, "UUIDs": lambda m: str(UUID(int=m)), "numbers": str}


@pytest.mark.parametrize("form", IDS)
def test_own_ids_and_titles(form, untrained, tmp_path):
    """Holes, another column, titles that are numbers, missing or twice; and serving."""
    rows = [(f"2026-01-{10 + i}", IDS[form](m), f"u{u}") for u, m, _, i in shop(60, 8)]
    day, item, user = rows[0]
    holes = [(day, None, user), (None, item, user), (day, item, None)]
    orders = pd.DataFrame(rows + holes, columns=["time", "item", "user"])
    orders.insert(0, "note", None)
    titles = {IDS[form](m): str(1900 + m) for m in range(1, 80)}
    titles |= {IDS[form](7): None, IDS[form](8): "1909"}
    products = pd.DataFrame(titles.items(), columns=["item", "title"])
    products = products.assign(price=1)[["price", "title", "item"]].sample(frac=1)
    names, printed = read_own(tmp_path, orders, products)
    lists, title = lists_of(printed), lambda item: titles.get(item) or item
    watched = [item for _, item, user in rows if user == "u0"]
    shown = lists["Watched, the last one last"] + lists["Watched next"]
    assert shown == [title(item) for item in watched[-11:]]
    served = execute([serving(["unknown", *watched[:-1]])], names, tmp_path)
    assert [title(x) for x in ast.literal_eval(served)] == lists["Recommended"]
    with pytest.raises(ValueError):
        execute([serving(["unknown", "unknown, too"])], names, tmp_path)


TIMES = {
    "offsets": "2026-10-25T02:50+02:00 2026-10-25T02:10+01:00 2026-10-25T01:20Z",
    "fractions": "2026-01-01T00:00:00 2026-01-01T00:00:00.5 2026-01-01T00:00:01",
    "dates": "2026-01-01 2026-01-01T12:00:00 2026-01-02",
}


@pytest.mark.parametrize("form", TIMES)
def test_own_times(form, tmp_path):
    times = TIMES[form].split()
    rows = [(user, item, time) for user in "ab" for item, time in enumerate(times)]
    orders = pd.DataFrame(rows[::-1], columns=["user", "item", "time"])
    products = pd.DataFrame({"item": [0], "title": ["Thing"]})
    names, _ = read_own(tmp_path, orders, products, until="train_ds")
    assert names["watched_df"]["MovieID"].tolist() == ["0", "1", "2"] * 2
    with pytest.raises(ValueError):
        read_own(tmp_path, orders.replace(times[0], "13.1.2019"), products)


def test_the_notebook_in_an_empty_folder_with_tensorflow(tmp_path, monkeypatch):
    settings = keep("small.zip", shop(), TITLES) | TRAINED
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    printed = to_notebook.run(changed(settings) + TELL_BACKEND, tmp_path)
    assert_the_last_movie_decides("".join(printed))
    assert "Computed by tensorflow" in printed[-1]


def test_two_devices(tmp_path):
    """With the lines of the README, before the model and after `fit`; odd last batches."""
    cells = code_cells(changed(keep("odd.zip", shop(321)[:-1], TITLES) | TRAINED))
    fit = place_of("model", cells)
    *before, after = readme_lines("distribution").splitlines()
    count = "print(len(model.weights[0].value.devices()), 'devices')"
    cells[fit] = "\n".join([*before, cells[fit], after, count])
    # NPROC: with only two threads, XLA's devices can wait for each other for ever.
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    command, env = [sys.executable, "-c", "\n".join(cells)], {**os.environ, **two}
    options = {"cwd": tmp_path, "env": env, "text": True, "timeout": 120}
    printed = subprocess.check_output(command, **options)
    assert "2 devices" in printed
    assert_the_last_movie_decides(printed)


def test_what_is_installed_is_what_is_imported():
    (shell,) = [text for kind, text in to_notebook.split(SOURCE) if kind == "shell"]
    packages = {"keras", "keras-rs", "jax", "tensorflow", "pandas"}  # Which need NumPy.
    assert set(shell.split()) - {"pip", "install", "-q"} == packages


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_the_gpu_is_hidden_from_tensorflow_unless_it_computes(backend, monkeypatch):
    hidden = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *x: hidden.append(x))
    execute(code_cells()[:1], {})
    assert hidden == ([] if backend == "tensorflow" else [([], "GPU")])
