"""Whole runs of the script, as a user starts it."""

import re

import numpy as np
import pytest
from conftest import ROOT, SCRIPT, copy_script, run, spy_on, titles


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plain run on the sample, in a fresh folder."""
    folder = tmp_path_factory.mktemp("plain")
    copy_script(folder, sample=True)
    return run(folder)


def test_it_ends_well_and_prints_titles(plain, offline):
    assert plain.returncode == 0
    watched, recommended = titles(plain.stdout)
    assert len(recommended) == len(set(recommended)) == offline[1]["TOP_K"] == 10
    assert all(re.search(r"\(\d{4}\)", title) for title in watched + recommended)


def test_watched_movies_are_printed_and_not_recommended(plain, offline):
    _, variables = offline
    title_of = variables["movie_id_to_movie_title"]
    table = variables["ratings_df"]
    history = table[table["UserID"] == table["UserID"].min()]["MovieID"].tolist()
    watched, recommended = titles(plain.stdout)
    liked = variables["test_contexts"][0]
    assert watched == [title_of[movie] for movie in liked if movie]
    label = variables["test_labels"][0]
    before = history[: history.index(label)]
    assert not {title_of[movie] for movie in before} & set(recommended)


def test_two_runs_print_the_same(plain, offline):
    assert titles(plain.stdout) == titles(offline[0].stdout)
    assert re.findall(r"GRU .*", plain.stdout) == re.findall(
        r"GRU .*", offline[0].stdout
    )


def test_nothing_on_the_screen_that_nobody_asked_for(plain):
    assert plain.stderr == ""
    for noise in "Warning", "WARNING", "oneDNN", "cardinality", "rendezvous", "I0000":
        assert noise not in plain.stdout


def test_it_says_what_the_sample_is(plain):
    assert "Going on with tests/data/movielens-sample.zip" in plain.stdout
    assert "Connection refused" in plain.stdout


def test_one_batch_is_printed(plain):
    assert "(512, 10)" in plain.stdout and "(512,)" in plain.stdout


def test_tensorflow_backend(tmp_path, offline):
    copy_script(tmp_path, sample=True)
    result = run(tmp_path, KERAS_BACKEND="tensorflow")
    assert result.returncode == 0
    assert result.stderr == ""
    assert len(titles(result.stdout)[1]) == 10
    table = dict(
        re.findall(
            r"(?m)^(most popular|after the last movie|GRU) +(0\.\d+)", result.stdout
        )
    )
    expected = offline[1]["results"]
    for baseline in "most popular", "after the last movie":
        assert float(table[baseline]) == round(expected[baseline]["HR@10"], 3)
    assert float(table["GRU"]) > 1.1 * expected["after the last movie"]["HR@10"]


@pytest.mark.parametrize("devices, parts", [(2, (256, 256)), (3, (512, 512, 512))])
def test_several_devices(tmp_path, offline, devices, parts):
    copy_script(tmp_path, sample=True)
    flag = f"--xla_force_host_platform_device_count={devices}"
    # NPROC: with only two threads, XLA's devices can wait for each other for ever.
    _, variables = spy_on(tmp_path, XLA_FLAGS=flag, NPROC="8")
    rows = dict(variables["split"])
    assert rows[512] == parts  # All training batches,
    assert rows[250] == (250,) * devices  # but none of the test,
    assert rows[171] == (171,) * devices  # whose last one is odd.
    for name, losses in offline[1]["history"].items():
        np.testing.assert_allclose(variables["history"][name], losses, rtol=1e-3)


def test_imports():
    allowed = {"keras", "keras_rs", "jax", "tensorflow", "pandas", "numpy"}
    allowed |= set("io os pathlib socket urllib warnings zipfile".split())
    found = re.findall(r"(?m)^\s*(?:import|from) (\w+)", SCRIPT.read_text())
    assert set(found) <= allowed


def test_top_level():
    import subprocess

    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {name.split("/")[0] for name in files if not name.startswith(".")}
    assert top <= {"sequential_retrieval.py", "requirements.txt", "README.md", "tests"}
