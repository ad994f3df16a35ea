"""What several tests share: the script's cells, runs of it, archives, a web server."""

import ast
import contextlib
import hashlib
import http.server
import io
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")

from to_notebook import split

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "sequential_retrieval.py"
SAMPLE = ROOT / "tests" / "data" / "movielens-sample.zip"
CELLS = [text for kind, text in split(SCRIPT.read_text()) if kind == "code"]
NOWHERE = "http://127.0.0.1:9/ml-1m.zip"  # Port 9 refuses the connection.

# Runs the script, then saves those of its variables that can be pickled, the losses, and
# how JAX arrays are laid out over the devices.
SPY = """
import pickle, runpy, jax, keras, numpy, pandas
make, split = jax.make_array_from_process_local_data, set()
def spy(sharding, data, *args):
    array = make(sharding, data, *args)
    split.add((array.shape[0], tuple(s.data.shape[0] for s in array.addressable_shards)))
    return array
jax.make_array_from_process_local_data = spy
fit, losses = keras.Model.fit, []
keras.Model.fit = lambda *args, **kwargs: losses.append(fit(*args, **kwargs).history)
names = runpy.run_path("sequential_retrieval.py", run_name="__main__")
kept = {"split": split, "losses": losses[0]["loss"]}
kept["predicted"] = names["model"].predict(names["test_ds"], verbose=0)["predictions"]
for name in ("train_ds", "test_ds"):
    kept[name] = [(c.numpy(), l.numpy()) for c, l in names[name]]
kinds = int, float, str, list, dict, numpy.ndarray, pandas.DataFrame
for name, value in names.items():
    if isinstance(value, kinds) and not name.startswith("__"):
        kept.setdefault(name, value)
pickle.dump(kept, open("variables.pkl", "wb"))
"""


def cells(*texts):
    """Returns the code of the cells that contain `texts`, one cell for each text."""
    found = [[cell for cell in CELLS if text in cell] for text in texts]
    assert all(len(some) == 1 for some in found), f"not in exactly one cell: {texts}"
    return "\n".join(some[0] for some in found)


def execute(code, **names):
    """Executes code of the script; returns its names and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "sequential_retrieval.py", "exec"), names)
    return names, out.getvalue()


@pytest.fixture(scope="session")
def script():
    """The names that the script's imports, variables, functions and class define."""
    tree = ast.parse(SCRIPT.read_text())
    kinds = ast.FunctionDef, ast.ClassDef
    tree.body = [node for node in tree.body if isinstance(node, kinds)]
    code = cells("import keras\n", "SEED = ") + "\n" + ast.unparse(tree)
    return execute(code)[0]


def copy_script(folder, url=NOWHERE, archive=b"", sample=False, **variables):
    """Puts a copy of the script into a folder, which downloads from another place.

    Args:
        folder: Path of the folder.
        url: str. Where the copy shall download from.
        archive: bytes of the archive, whose SHA-256 the copy shall expect.
        sample: bool. Whether the sample stands beside it.
        **variables: New values of upper-case variables.
    """
    variables["MOVIELENS_1M_URL"] = url
    variables["MOVIELENS_ZIP_HASH"] = hashlib.sha256(archive).hexdigest()
    text = SCRIPT.read_text()
    for name, value in variables.items():
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", text)
        assert count == 1, name
    (folder / "sequential_retrieval.py").write_text(text)
    if sample:
        (folder / "tests/data").mkdir(parents=True)
        (folder / "tests/data" / SAMPLE.name).write_bytes(SAMPLE.read_bytes())


def run(folder, *command, **environment):
    """Runs the script, or another command, in a folder.

    Returns:
        `subprocess.CompletedProcess`; what a terminal would show in the end of
        standard output, where a progress bar has overwritten itself.
    """
    result = subprocess.run(
        [sys.executable, *(command or ["sequential_retrieval.py"])],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    lines = re.sub(r"\x1b\[[0-9;]*m|\x08", "", result.stdout).split("\n")
    result.stdout = "\n".join(line.rpartition("\r")[2] for line in lines)
    return result


def spy_on(folder, **environment):
    """Runs the script in a folder and returns a dict of its variables as well."""
    result = run(folder, "-c", SPY, **environment)
    assert result.returncode == 0, result.stderr
    return result, pickle.loads((folder / "variables.pkl").read_bytes())


def titles(stdout):
    """Returns a dict of the lists of titles in what was printed, by their headings."""
    lists = {}
    for line in stdout.splitlines():
        if line.startswith("    ") and lists:
            lists[heading].append(line.strip())
        elif line.endswith(":"):
            heading = line
            lists[heading] = []
    return {heading: titles for heading, titles in lists.items() if titles}


def table(stdout):
    """Returns the printed metrics, a dict by name of HR@10 and NDCG@10."""
    row = r"(?m)^(most popular|after the last movie|GRU) +([\d.]+) +([\d.]+)$"
    found = re.findall(row, stdout)
    return {name: (float(hit_rate), float(ndcg)) for name, hit_rate, ndcg in found}


WATCHED, RECOMMENDED = "Watched, the last one last:", "Recommended, the best one first:"


def check_quiet(stderr):
    """Checks that there is nothing from Python; TensorFlow and JAX may say a word."""
    assert "Warning:" not in stderr and "Traceback" not in stderr, stderr


def run_on(folder, archive, **variables):
    """Runs a copy of the script on an archive that lies where it is looked for."""
    copy_script(folder, archive=archive, **variables)
    (folder / "data").mkdir()
    (folder / "data/ml-1m.zip").write_bytes(archive)
    return spy_on(folder)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A plain run on the sample, in a fresh folder."""
    folder = tmp_path_factory.mktemp("plain")
    copy_script(folder, sample=True)
    return run(folder)


@pytest.fixture(scope="session")
def offline(tmp_path_factory):
    """A run of the script on the sample, and its variables."""
    folder = tmp_path_factory.mktemp("offline")
    copy_script(folder, sample=True)
    return spy_on(folder)


def make_archive(ratings, movies, extra={}):
    """Returns the bytes of an archive with these two files, given as str or bytes."""
    files = {"ml-1m/ratings.dat": ratings, "ml-1m/movies.dat": movies, **extra}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def small_data(users=8, movies=12, length=6):
    """Returns the lines of a ratings.dat and of a movies.dat.

    User u watches `length` movies in a row, from movie u on, in a ring of `movies`.
    Their ids are 10, 20, ...
    """
    ratings = [
        f"{u}::{10 * ((u + i) % movies + 1)}::4::{100 + i}"
        for u in range(1, users + 1)
        for i in range(length)
    ]
    return ratings, [f"{10 * m}::Movie {m}::Drama" for m in range(1, movies + 1)]


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
        server.url = f"http://127.0.0.1:{server.server_port}/ml-1m.zip"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def send(archive, length=None, pause=None):
    """Returns an answer that sends an archive, saying that it has `length` bytes."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length or len(archive)))
        handler.end_headers()
        handler.wfile.write(archive)
        handler.wfile.flush()
        if pause:
            pause.wait()

    return answer
