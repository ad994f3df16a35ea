"""The download, up to the two tables, from an address on this machine."""

from contextlib import chdir

import keras
import pytest
from cells import TITLES, archive_of, shop
from conftest import SAMPLE
from to_notebook import SCRIPT, archive_at, changed, code_cells, place_of

pytestmark = pytest.mark.usefixtures("begun")  # It runs beside the first tests.
GOOD = archive_of(shop(), {**TITLES, 81: '"Quoted', 82: 'Movie" (2000)'})
HASH = "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"


def read(settings, folder=SCRIPT.parent):
    """Runs the script up to the two tables; returns their sizes."""
    cells, names = code_cells(changed(settings)), {}
    with chdir(folder):
        exec("\n".join(cells[: place_of("read_data", cells) + 1]), names)
    return len(names["ratings_df"]), len(names["movies_df"])


@pytest.mark.parametrize("name, reason", [("none", "No such file"), ("page", "hash")])
def test_an_archive_that_cannot_be_had(tmp_path, capsys, name, reason):
    archive = tmp_path / f"{name}.zip"
    settings = archive_at(archive.as_uri(), GOOD)
    if name == "page":
        archive.write_text("Please log in")
    assert read(settings) == (99_997, 9_061)
    printed = capsys.readouterr().out
    assert SAMPLE.name in printed and reason in printed
    with pytest.raises(FileNotFoundError, match="ml-1m.zip.*datasets"):
        read(settings, tmp_path)  # Where there is no sample.
    archive.write_bytes(GOOD)
    assert read(settings) == (3840, 82)  # Now it can be had,
    archive.unlink()
    assert read(settings, tmp_path) == (3840, 82)  # and need not be had again.


def test_what_is_asked_for_and_how_it_is_interrupted(monkeypatch):
    def interrupt(origin, file_hash):
        assert origin == "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
        assert file_hash == HASH
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.utils, "get_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read({})
