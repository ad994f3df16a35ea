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

import pytest
from cells import archive_at, archive_of, changed
from to_notebook import SCRIPT

DATASETS = Path(HOME.name, "datasets")
DATASETS.mkdir()
SAMPLE = SCRIPT.parent / "tests" / "data" / "movielens-sample.zip"


def keep(name, ratings, titles):
    """Puts an archive where an earlier download would be; returns the changes for it."""
    archive = archive_of(ratings, titles)
    (DATASETS / name).write_bytes(archive)
    return archive_at(f"http://127.0.0.1:9/{name}", archive)  # Port 9 refuses.


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The script as it is, on the sample with no two ratings at one time."""
    data = next(zipfile.Path(SAMPLE).iterdir())
    files = data / "ratings.dat", data / "movies.dat"
    lines = [file.read_text("latin-1").splitlines() for file in files]
    ratings, movies = ([line.split("::") for line in part] for part in lines)
    ratings.sort(key=lambda row: int(row[3]))
    ratings = [(int(u), int(m), float(s), i) for i, (u, m, s, _) in enumerate(ratings)]
    titles = {int(movie): title for movie, title, _ in movies}
    folder = tmp_path_factory.mktemp("run")
    changes = keep("sample.zip", ratings, titles)
    (folder / "script.py").write_text(changed(changes), encoding="utf-8")
    command = [sys.executable, "script.py"]
    printed = subprocess.check_output(command, cwd=folder, text=True)
    return SimpleNamespace(**locals())
