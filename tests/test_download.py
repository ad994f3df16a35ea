"""The download, from a real web server on this machine, up to the two tables."""

import http.server
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from contextlib import chdir
from pathlib import Path

import pytest
from conftest import ARCHIVE as GOOD
from conftest import HOME, SAMPLE, code_cells, execute, index_of, values_for

DATASETS = Path(HOME.name, "datasets")


@pytest.fixture
def server():
    """A web server; `server.answer(handler)` is all that it does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            self.server.answer(self)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.requests = True, 0
        server.url = f"http://127.0.0.1:{server.server_port}/{uuid.uuid4()}.zip"
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
        then()

    return answer


@pytest.fixture
def read(server, tmp_path, monkeypatch):
    """A function that runs the script up to the tables; a second is as 30 are to it."""
    wait = socket.setdefaulttimeout
    monkeypatch.setattr(socket, "setdefaulttimeout", lambda s: wait(s / 30))

    def read(sample=True):
        cells = code_cells(**values_for(server.url, GOOD))
        if sample:
            (tmp_path / "tests/data").mkdir(parents=True, exist_ok=True)
            shutil.copy(SAMPLE, tmp_path / "tests/data")
        with chdir(tmp_path):
            names, printed = execute(cells[: index_of("read_data", cells) + 1])
        return names["ratings_df"], names["movies_df"], printed

    yield read
    wait(None)


def sizes(tables):
    return len(tables[0]), len(tables[1])


IS_GOOD, IS_SAMPLE = (900, 30), (99_997, 9_061)


def test_a_good_archive_is_downloaded_once(server, read):
    server.answer = send(GOOD)
    assert sizes(read()) == IS_GOOD
    tables = read(sample=False)
    assert sizes(tables) == IS_GOOD and server.requests == 1
    assert SAMPLE.name not in tables[2]
    assert tables[1]["Title"][0] == "Movie 1 (2000)"


FAILURES = {
    "not found": (lambda handler: handler.send_error(404), "404"),
    "no answer": (lambda handler: time.sleep(3), "timed out"),
    "truncated": (send(GOOD[:100], length=len(GOOD)), str(len(GOOD))),
    "login page": (send(b"<html>Please log in</html>"), "hash"),
}


@pytest.mark.parametrize("answer, reason", FAILURES.values(), ids=FAILURES)
def test_an_archive_that_cannot_be_had(server, read, answer, reason):
    server.answer = answer
    *tables, printed = read()
    assert sizes(tables) == IS_SAMPLE
    assert SAMPLE.name in printed and reason in printed
    server.answer = send(GOOD)  # The network is back.
    assert sizes(read()) == IS_GOOD


def test_a_disk_that_cannot_be_written(read):
    aside = DATASETS.rename(DATASETS.with_name("aside"))
    DATASETS.touch()  # A file in the place of the folder.
    try:
        *tables, printed = read()
    finally:
        DATASETS.unlink()
        aside.rename(DATASETS)
    assert sizes(tables) == IS_SAMPLE and str(DATASETS) in printed


def test_no_sample_either(server, read):
    server.answer = FAILURES["not found"][0]
    with pytest.raises(FileNotFoundError, match="ml-1m.zip") as error:
        read(sample=False)
    assert SAMPLE.name in str(error.value) and "404" in str(error.value.__cause__)


def test_ctrl_c(server, read):
    def press():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    server.answer = send(GOOD[:100], length=len(GOOD), then=press)
    with pytest.raises(KeyboardInterrupt):
        read()
    assert not (DATASETS / server.url.rpartition("/")[2]).exists()
    server.answer = send(GOOD)
    assert sizes(read()) == IS_GOOD
