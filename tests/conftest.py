"""What the tests share: the script's cells, and runs of them on other data."""

import ast
import contextlib
import hashlib
import io
import os
import re
import tempfile
import zipfile
from pathlib import Path

HOME = tempfile.TemporaryDirectory()
os.environ["KERAS_HOME"] = HOME.name  # Before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

import pandas as pd
import pytest
import tensorflow as tf
from to_notebook import SCRIPT, split

SAMPLE = SCRIPT.parent / "tests" / "data" / "movielens-sample.zip"
RATINGS = ["UserID", "MovieID", "Rating", "Timestamp"]
NOWHERE = "http://127.0.0.1:9/small.zip"  # Port 9 refuses the connection.


def script(**values):
    """Returns the source of the script, with other values for some of its variables."""
    source = SCRIPT.read_text(encoding="utf-8")
    for name, value in values.items():
        source, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", source)
        assert count == 1, f"the script assigns {name} in {count} lines"
    return source


def code_cells(**values):
    return [text for kind, text in split(script(**values)) if kind == "code"]


def index_of(name, cells):
    """Returns the place of the first cell that assigns or defines `name`."""
    for i, cell in enumerate(cells):
        for node in ast.walk(ast.parse(cell)):
            names = getattr(node, "name", None), getattr(node, "id", None)
            if name in names and not isinstance(getattr(node, "ctx", None), ast.Load):
                return i
    raise AssertionError(f"no cell defines {name}")


def cell_of(name, **values):
    cells = code_cells(**values)
    return cells[index_of(name, cells)]


def execute(cells, **names):
    """Runs cells one after the other; returns their names and what they printed."""
    out = io.StringIO()
    tf.random.set_seed(None)  # As in a new process.
    with contextlib.redirect_stdout(out):
        for cell in cells:
            exec(compile(cell, "cell", "exec"), names)
    return names, out.getvalue()


def run(ratings, titles={}, last=None, **values):
    """Runs the script with two tables in place of the cell that reads them.

    Ratings are rows of user, movie, stars, time; titles a dict by movie. The run ends
    before the cell that defines `last`.
    """
    cells = code_cells(**values)
    end = index_of(last, cells) if last else len(cells)
    del cells[end:], cells[index_of("read_data", cells)]
    tables = {
        "ratings_df": pd.DataFrame(ratings, columns=RATINGS),
        "movies_df": pd.DataFrame(titles.items(), columns=["MovieID", "Title"]),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return execute(cells, **tables)


def ring(users=60, movies=30, length=15):
    """Ratings of users who watch movies in the order of a ring, each from another on."""
    steps = [(user, i) for user in range(users) for i in range(length)]
    return [(user, (7 * user + i) % movies + 1, 4, i) for user, i in steps]


def archive_of(ratings):
    """Returns the bytes of an archive in the form of MovieLens 1M."""
    movies = sorted({movie for _, movie, _, _ in ratings})
    lines = ["::".join(map(str, row)) for row in ratings]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "\n".join(lines))
        lines = [f"{movie}::Movie {movie} (2000)::Drama" for movie in movies]
        archive.writestr("ml-1m/movies.dat", "\n".join(lines))
    return file.getvalue()


def values_for(url, archive):
    sha256 = hashlib.sha256(archive).hexdigest()
    return {"MOVIELENS_1M_URL": url, "MOVIELENS_ZIP_HASH": sha256}


ARCHIVE = archive_of(ring())
SMALL = {"BATCH_SIZE": 64, "MAX_CONTEXT_LENGTH": 3}  # Compiles faster.
LOCAL = {**values_for(NOWHERE, ARCHIVE), **SMALL, "NUM_EPOCHS": 2}
Path(HOME.name, "datasets").mkdir()
Path(HOME.name, "datasets", "small.zip").write_bytes(ARCHIVE)


@pytest.fixture(scope="session")
def sample():
    """The whole script on the sample, without internet: its names, what it printed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("tests/data").mkdir(parents=True)
        Path("tests/data", SAMPLE.name).write_bytes(SAMPLE.read_bytes())
        return execute(code_cells(MOVIELENS_1M_URL="http://127.0.0.1:9/ml-1m.zip"))
