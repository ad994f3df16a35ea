"""The download, from a real web server on this machine."""

import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest
from conftest import NOWHERE, copy_script, make_archive, run, send, small_data, titles


@pytest.fixture
def archive():
    ratings, movies = small_data()
    return make_archive("\n".join(ratings), "\n".join(movies))


def trained(result):
    return "val_loss" in result.stdout


def test_good_archive_is_downloaded_once(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, sample=True, EPOCHS=1)
    first = run(tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert "sample" not in first.stdout
    assert (tmp_path / "data/ml-1m.zip").read_bytes() == archive
    second = run(tmp_path)
    assert second.returncode == 0
    assert server.requests == 1
    assert len(titles(first.stdout)[1]) >= 5
    assert titles(first.stdout) == titles(second.stdout)


def test_wrong_sha256(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive + b"!", sample=True)
    result = run(tmp_path)
    assert result.returncode != 0
    assert "hash" in result.stderr and server.url in result.stderr
    assert "Traceback" not in result.stderr
    assert not trained(result)
    assert not list(tmp_path.rglob("ml-1m*"))


def test_truncated_archive(tmp_path, server, archive):
    server.answer = send(archive[:-9], length=len(archive))
    copy_script(tmp_path, server.url, archive, sample=True)
    result = run(tmp_path)
    assert result.returncode != 0
    assert "got only" in result.stderr
    assert "Traceback" not in result.stderr
    assert not trained(result)
    assert not list(tmp_path.rglob("ml-1m*"))


def test_not_found(tmp_path, server, archive):
    server.answer = lambda handler: handler.send_error(404)
    copy_script(tmp_path, server.url, archive, sample=True)
    result = run(tmp_path)
    assert result.returncode != 0
    assert "404" in result.stderr and "data/ml-1m.zip" in result.stderr
    assert "Traceback" not in result.stderr
    assert not trained(result)


def test_no_answer_is_no_internet(tmp_path, server, archive):
    # The 30 s are cut to 1 s here; that the script has them, the first line checks.
    copy_script(tmp_path, server.url, archive)
    script = tmp_path / "sequential_retrieval.py"
    text = script.read_text()
    assert text.count("setdefaulttimeout(30)") == 1
    script.write_text(text.replace("setdefaulttimeout(30)", "setdefaulttimeout(1)"))
    never = threading.Event()
    server.answer = lambda handler: never.wait()
    result = run(tmp_path)
    never.set()
    assert result.returncode != 0
    assert "timed out" in result.stderr
    assert "movielens-sample.zip" in result.stderr  # It was looked for.


def test_no_internet_and_no_sample(tmp_path):
    copy_script(tmp_path)
    result = run(tmp_path)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert NOWHERE in result.stderr  # Where to get the archive,
    assert str(tmp_path / "data/ml-1m.zip") in result.stderr  # and where to put it.


def test_archive_put_there_by_hand(tmp_path, archive):
    copy_script(tmp_path, archive=archive, EPOCHS=1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ml-1m.zip").write_bytes(archive)
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert trained(result)


def test_damaged_archive_of_an_earlier_run_is_replaced(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, EPOCHS=1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ml-1m.zip").write_bytes(archive[:100])
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data/ml-1m.zip").read_bytes() == archive


def test_archive_that_leads_out_of_its_folder(tmp_path, server, archive):
    file = io.BytesIO(archive)
    with zipfile.ZipFile(file, "a") as changed:
        changed.writestr("../../outside.txt", "outside")
    server.answer = send(file.getvalue())
    folder = tmp_path / "folder"
    folder.mkdir()
    copy_script(folder, server.url, file.getvalue(), sample=True)
    result = run(folder)
    assert result.returncode != 0
    assert "outside.txt" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("outside.txt"))
    assert not trained(result)


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
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("ml-1m*"))


def test_folder_that_cannot_be_made(tmp_path, server, archive):
    server.answer = send(archive)
    copy_script(tmp_path, server.url, archive, sample=True)
    (tmp_path / "data").write_text("a file where the folder should be")
    result = run(tmp_path)
    assert result.returncode == 1
    assert str(tmp_path / "data") in result.stderr
    assert "Traceback" not in result.stderr
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
    copy_script(tmp_path, server.url, archive, sample=True, EPOCHS=1)

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
    copy_script(tmp_path, server.url, archive, EPOCHS=100_000)

    def seen(process):
        for line in process.stdout:
            if "Epoch 3/" in line:
                return

    assert interrupt(tmp_path, seen) < 20
    copy_script(tmp_path, server.url, archive, EPOCHS=1)
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert server.requests == 1
