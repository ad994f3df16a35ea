"""The download, from a real web server on this machine, up to the two tables."""

import http.server
import threading
from contextlib import chdir
from functools import partial

import pytest
from cells import TITLES, archive_at, archive_of, changed, code_cells, place_of, ring
from conftest import SAMPLE
from to_notebook import SCRIPT

GOOD = archive_of(ring(), TITLES)


@pytest.fixture
def site(tmp_path):
    """A folder and the URL at which a web server shows it."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def read(url, folder=SCRIPT.parent):
    """Runs the script up to the two tables; returns their sizes."""
    cells, names = code_cells(changed(archive_at(url, GOOD))), {}
    with chdir(folder):
        exec("\n".join(cells[: place_of("read_data", cells) + 1]), names)
    return len(names["ratings_df"]), len(names["movies_df"])


@pytest.mark.parametrize("content, reason", [(b"", "404"), (b"Please log in", "hash")])
def test_an_archive_that_cannot_be_had(site, capsys, content, reason):
    folder, url = site
    (folder / "page.zip").write_bytes(content)
    url = f"{url}/page.zip" if content else f"{url}/none.zip"
    assert read(url) == (99_997, 9_061)
    printed = capsys.readouterr().out
    assert SAMPLE.name in printed and reason in printed
    with pytest.raises(FileNotFoundError, match=SAMPLE.name):  # Where there is none.
        read(url, folder)
    archive = folder / url.rpartition("/")[2]
    archive.write_bytes(GOOD)
    assert read(url) == (900, 30)  # The network is back.
    archive.unlink()
    assert read(url, folder) == (900, 30)  # It was downloaded once.
