"""A home for Keras, and one run of the script as users run it."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

HOME = tempfile.TemporaryDirectory()
os.environ["KERAS_HOME"] = HOME.name  # Before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import pytest
from cells import archive_of
from to_notebook import SCRIPT, archive_at, changed

DATASETS = Path(HOME.name, "datasets")
DATASETS.mkdir()
SAMPLE = SCRIPT.parent / "tests" / "data" / "movielens-sample.zip"
TELL_BACKEND = "\nprint('Computed by', keras.backend.backend())\n"


def keep(name, ratings, titles):
    """Puts an archive where an earlier download would be; returns the settings for it."""
    archive = archive_of(ratings, titles)
    (DATASETS / name).write_bytes(archive)
    return archive_at(f"http://127.0.0.1:9/{name}", archive)  # Port 9 refuses.


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **more: None)


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """The script as it is, on the sample with no two ratings at one time."""
    data = next(zipfile.Path(SAMPLE).iterdir())
    files = data / "ratings.dat", data / "movies.dat"
    lines = [file.read_text("latin-1").splitlines() for file in files]
    ratings, movies = ([line.split("::") for line in part] for part in lines)
    ratings.sort(key=lambda row: int(row[3]))
    ratings = [(int(u), int(m), float(s), i) for i, (u, m, s, _) in enumerate(ratings)]
    titles = {int(i): f"{title} {i}" for i, title, _ in movies}  # Each once.
    folder = tmp_path_factory.mktemp("run")
    source = changed(keep("sample.zip", ratings, titles)) + TELL_BACKEND
    (folder / "script.py").write_text(source, encoding="utf-8")
    env = {name: text for name, text in os.environ.items() if name != "KERAS_BACKEND"}
    options = {"cwd": folder, "env": env, "stdout": (folder / "printed.txt").open("w")}
    process = subprocess.Popen([sys.executable, "script.py"], **options)
    yield SimpleNamespace(**locals())
    process.kill()


@pytest.fixture(scope="session")
def finished(begun):
    assert begun.process.wait(timeout=300) == 0
    begun.printed = (begun.folder / "printed.txt").read_text()
    return begun
