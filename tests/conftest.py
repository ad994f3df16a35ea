"""What the tests share: the script's cells, runs of them, archives, a web server."""

import ast
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

HOME = tempfile.TemporaryDirectory()
os.environ["KERAS_HOME"] = HOME.name  # Before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

import pandas as pd
import pytest
from to_notebook import SCRIPT, split

SAMPLE = SCRIPT.parent / "tests" / "data" / "movielens-sample.zip"
RATINGS = ["UserID", "MovieID", "Rating", "Timestamp"]


def script(**values):
    """Returns the source of the script, with other values for some of its variables."""
    source = SCRIPT.read_text(encoding="utf-8")
    for name, value in values.items():
        source, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", source)
        assert count == 1, f"the script assigns {name} in {count} lines"
    return source


def code_cells(source):
    return [text for kind, text in split(source) if kind == "code"]


def defines(cell, name):
    """Whether a cell assigns the variable, or defines the function or class."""
    nodes = ast.walk(ast.parse(cell))
    return any(name in (getattr(n, "name", 0), getattr(n, "id", 0)) for n in nodes)


def cell_of(name, **values):
    """Returns the cell that is the first to define `name`."""
    return next(cell for cell in code_cells(script(**values)) if defines(cell, name))


def execute(cells, **names):
    """Runs cells one after the other; returns their names and what they printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for cell in cells:
            exec(compile(cell, "cell", "exec"), names)
    return names, out.getvalue()


@dataclass
class Tables:
    """The two tables that the script wants, from ratings in any order."""

    ratings: list
    titles: dict

    def names(self):
        ratings_df = pd.DataFrame(self.ratings, columns=RATINGS)
        movies_df = pd.DataFrame(self.titles.items(), columns=["MovieID", "Title"])
        return {"ratings_df": ratings_df, "movies_df": movies_df}

    def archive(self):
        """Returns the bytes of an archive in the form of MovieLens 1M."""
        ratings = "\n".join("::".join(map(str, row)) for row in self.ratings)
        movies = "\n".join(f"{i}::{title}::Drama" for i, title in self.titles.items())
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("ml-1m/ratings.dat", ratings.encode("latin-1"))
            archive.writestr("ml-1m/movies.dat", movies.encode("latin-1"))
        return file.getvalue()


def run(tables, first="MIN_RATING", last=None, times=1, **values):
    """Runs the script in this process, its reading cell replaced by `tables`.

    Args:
        first, last: Runs the cells from the one that defines `first` to the one before
            that defines `last`, and before them only the imports and settings.
        times: How often each cell is run.
        **values: Of variables of the script.
    """
    cells = code_cells(script(**values))
    settings = next(i for i, cell in enumerate(cells) if defines(cell, "MIN_RATING"))
    start = next(i for i, cell in enumerate(cells) if defines(cell, first))
    end = next((i for i, cell in enumerate(cells) if defines(cell, last)), len(cells))
    chosen = cells[: settings + 1] + cells[max(start, settings + 1) : end]
    chosen = [cell for cell in chosen if not defines(cell, "read_data")]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        names, printed = execute(
            [cell for cell in chosen for _ in range(times)], **tables.names()
        )
    return names, printed


def process(folder, source, **environment):
    """Runs a script in a process; returns it, and its last line, which is JSON."""
    (folder / "script.py").write_text(source, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result, json.loads(result.stdout.splitlines()[-1])


def put_archive(home, content):
    """Puts an archive where Keras keeps its downloads; returns values to find it."""
    (home / "datasets").mkdir(parents=True, exist_ok=True)
    (home / "datasets" / "small.zip").write_bytes(content)
    return values_for("http://127.0.0.1:9/small.zip", content)  # Port 9 refuses.


def values_for(url, content):
    sha256 = hashlib.sha256(content).hexdigest()
    return {"MOVIELENS_1M_URL": url, "MOVIELENS_ZIP_HASH": sha256}


@pytest.fixture(scope="session")
def sample():
    """The whole script on the sample, without internet: its names, what it printed."""
    cells = code_cells(script(MOVIELENS_1M_URL="http://127.0.0.1:9/ml-1m.zip"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("tests/data").mkdir(parents=True)
        Path("tests/data", SAMPLE.name).write_bytes(SAMPLE.read_bytes())
        return execute(cells)


def ring(users=60, movies=30, length=15):
    """Users who watch movies in the order of a ring, each from another one on."""
    ratings = [
        (user, 10 * ((7 * user + i) % movies) + 10, 4, i)
        for user in range(users)
        for i in range(length)
    ]
    return Tables(ratings, {10 * i: f"Movie {i} (2000)" for i in range(1, movies + 1)})


@pytest.fixture
def server():
    """A web server on this machine; `server.answer(handler)` is all that it does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            self.server.answer(self)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.requests = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def send(content, length=None, then=lambda: None):
    """Returns an answer that sends content, and says that it has `length` bytes."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length or len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()
        then()

    return answer
