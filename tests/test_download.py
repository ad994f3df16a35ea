"""The download, from a real web server on this machine."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import (
    NOWHERE,
    check_quiet,
    copy_script,
    make_archive,
    run,
    send,
    small_data,
    titles,
)


@pytest.fixture
def archive():
    ratings, movies = small_data()
    return make_archive("\n".join(ratings), "\n".join(movies))


def trained(result):
    return "/step - loss" in result.stdout


def put(folder, content):
    """Puts an archive where the script looks for one; returns its path."""
    (folder / "data").mkdir()
    (folder / "data/ml-1m.zip").write_bytes(content)
    return folder / "data/ml-1m.zip"


def test_good_archive_is_downloaded_once(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, sample=True, NUM_EPOCHS=1)
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    check_quiet(first.stderr)
    assert "sample" not in first.stdout
    assert (tmp_path / "data/ml-1m.zip").read_bytes() == archive
    second = run(tmp_path)
    assert second.returncode == 0
    assert server.requests == 1
    assert titles(first.stdout) == titles(second.stdout)


def test_wrong_sha256(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive + b"!", sample=True)
    result = run(tmp_path)
    assert result.returncode == 1
    assert "hash" in result.stderr.splitlines()[-1]
    assert not trained(result)
    result = run(tmp_path)  # What it has left behind is not taken for good.
    assert result.returncode == 1
    assert "damaged" in result.stderr
    assert not trained(result)


@pytest.mark.parametrize("online", [True, False])
def test_damaged_archive_put_there_by_hand(tmp_path, server, archive, online):
    server.answer = send(archive)
    copy_script(tmp_path, server.url if online else NOWHERE, archive, sample=True)
    path = put(tmp_path, archive[:100])
    result = run(tmp_path)
    assert result.returncode == 1
    assert str(path) in result.stderr.splitlines()[-1]
    assert "damaged" in result.stderr.splitlines()[-1]
    assert not trained(result)
    assert path.read_bytes() == archive[:100]


def test_good_archive_put_there_by_hand(tmp_path, archive):
    copy_script(tmp_path, archive=archive, NUM_EPOCHS=1)
    put(tmp_path, archive)
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert trained(result)


def never(handler):
    """Waits for longer than the script does."""
    time.sleep(5)


def close(handler):
    handler.close_connection = True


@pytest.mark.parametrize(
    "answer, reason",
    [
        (send(b"short", length=1000), "got only"),
        (lambda handler: handler.send_error(404), "404"),
        (never, "timed out"),
        (close, "closed connection"),
    ],
    ids=["truncated", "not found", "no answer", "closed"],
)
def test_archive_that_does_not_come(tmp_path, server, archive, answer, reason):
    # Without a sample, so that the test is short: the script says what it would go on
    # with, and then does not find it.
    copy_script(tmp_path, server.url, archive)
    script = tmp_path / "sequential_retrieval.py"
    text = script.read_text()
    script.write_text(text.replace("setdefaulttimeout(30)", "setdefaulttimeout(1)"))
    server.answer = answer
    result = run(tmp_path)
    assert reason in result.stdout
    assert "Going on with tests/data/movielens-sample.zip" in result.stdout
    assert result.returncode == 1
    assert "tests/data/movielens-sample.zip" in result.stderr.splitlines()[-1]
    assert not trained(result)
    assert not list(tmp_path.rglob("ml-1m*"))


def test_archive_that_leads_out_of_its_folder(tmp_path):
    ratings, movies = small_data()
    extra = {"../../outside.txt": "outside"}
    archive = make_archive("\n".join(ratings), "\n".join(movies), extra=extra)
    folder = tmp_path / "folder"
    folder.mkdir()
    copy_script(folder, archive=archive, NUM_EPOCHS=1)
    put(folder, archive)
    run(folder)
    assert not list(tmp_path.rglob("outside.txt"))


def test_disk_full(tmp_path, server, archive):
    server.answer = send(archive * 50)
    copy_script(tmp_path, server.url, archive * 50, sample=True)
    # No file may grow beyond 20 kB, which stops a write like a full disk does.
    result = subprocess.run(
        [sys.executable, "sequential_retrieval.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert not trained(result)
    assert not list(tmp_path.rglob("ml-1m*"))


def test_folder_that_cannot_be_made(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, sample=True)
    (tmp_path / "data").write_text("a file where the folder should be")
    result = run(tmp_path)
    assert result.returncode == 1
    assert str(tmp_path / "data") in result.stderr
    assert not trained(result)


def interrupt(folder, seen):
    """Runs the script, presses Ctrl-C once `seen()`, and returns how long it took."""
    process = subprocess.Popen(
        [sys.executable, "-u", "sequential_retrieval.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen(process)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Recommended" not in out
    return time.monotonic() - start


def test_ctrl_c_during_the_download(tmp_path, server, archive):
    pause, arrived = threading.Event(), threading.Event()
    slow = send(archive[:100], length=len(archive), pause=pause)

    def answer(handler):
        arrived.set()
        slow(handler)

    server.answer = answer
    copy_script(tmp_path, server.url, archive, sample=True, NUM_EPOCHS=1)

    def seen(process):
        assert arrived.wait(60)
        while not list(tmp_path.rglob("ml-1m.zip")):
            time.sleep(0.05)

    assert interrupt(tmp_path, seen) < 20
    pause.set()
    assert not list(tmp_path.rglob("ml-1m*"))
    server.answer = send(archive)
    assert run(tmp_path).returncode == 0


def test_ctrl_c_during_training(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, NUM_EPOCHS=100_000)

    def seen(process):
        for line in process.stdout:
            if "Epoch 3/" in line:
                return

    assert interrupt(tmp_path, seen) < 20
    copy_script(tmp_path, server.url, archive, NUM_EPOCHS=1)
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert server.requests == 1
