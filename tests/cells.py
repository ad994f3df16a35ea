"""The script's cells, copies of it with changes, and runs of it on other tables."""

import contextlib
import io
import re
import tempfile
import zipfile
from hashlib import sha256

import pandas as pd
from to_notebook import SCRIPT, split

SOURCE = SCRIPT.read_text(encoding="utf-8")
SMALL = {"BATCH_SIZE": 64, "MAX_CONTEXT_LENGTH": 3, "NUM_EPOCHS": 2}
TITLES = {movie: f"Movie {movie} (2000)" for movie in range(1, 31)}


def changed(changes, source=SOURCE):
    """Returns the script with other values of upper-case names, or other texts."""
    for old, new in changes.items():
        is_name = old.isupper() and old.isidentifier()
        pattern = rf"(?m)^{old} = .*$" if is_name else re.escape(old)
        text = f"{old} = {new!r}" if is_name else new
        source, count = re.subn(pattern, lambda match: text, source)
        if count != 1:
            raise ValueError(f"{count} times in the script: {old}")
    return source


def code_cells(source=SOURCE):
    return [text for kind, text in split(source) if kind == "code"]


def place_of(name, cells):
    """Returns the place of the cell that assigns or defines a name."""
    defines = re.compile(rf"(?m)^(def |class )?{name}( =|\()").search
    return [bool(defines(cell)) for cell in cells].index(True)


def execute(cells, names):
    """Runs cells in an empty folder, with names as their globals; returns the output."""
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.redirect_stdout(out):
            for cell in cells:
                exec(compile(cell, "cell", "exec"), names)
    return out.getvalue()


def run(ratings, changes={}, titles={}, until=None, without=(), times=1):
    """Runs the script on two tables, up to the cell that defines `until`.

    Leaves out the cells that define a name in `without`, and runs each so many times.
    """
    columns = ["UserID", "MovieID", "Rating", "Timestamp"]
    names = {
        "ratings_df": pd.DataFrame(ratings, columns=columns),
        "movies_df": pd.DataFrame(titles.items(), columns=["MovieID", "Title"]),
    }
    cells = code_cells(changed(changes))
    left_out = {place_of(name, cells) for name in ("read_data", *without)}
    end = place_of(until, cells) if until else len(cells)
    cells = [cells[i] for i in range(end) if i not in left_out]
    return names, execute([cell for cell in cells for _ in range(times)], names)


def ring(users=60, movies=30, length=15):
    """Ratings of users who watch movies in the order of a ring, each from another on."""
    steps = [(user, i) for user in range(users) for i in range(length)]
    return [(user, (7 * user + i) % movies + 1, 4, i) for user, i in steps]


def archive_of(ratings, titles):
    """Returns the bytes of an archive in the form of MovieLens 1M."""
    movies = [(movie, title, "Drama") for movie, title in titles.items()]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in ("ratings", ratings), ("movies", movies):
            lines = "\n".join("::".join(map(str, row)) for row in rows)
            archive.writestr(f"ml-1m/{name}.dat", lines.encode("latin-1"))
    return file.getvalue()


def archive_at(url, archive):
    """Returns the changes for another archive, bytes, which is expected at a URL."""
    return {"MOVIELENS_1M_URL": url, "MOVIELENS_ZIP_HASH": sha256(archive).hexdigest()}


def lists_of(printed):
    """Returns the printed lists of titles by their headings."""
    found = re.findall(r"(?m)^(\S.*):\n((?:    .*\n)+)", printed)
    return {heading: re.findall(r" {4}(.*)\n", text) for heading, text in found}


def readme_lines(word):
    """Returns the README's block of Python with this word."""
    readme = (SCRIPT.parent / "README.md").read_text(encoding="utf-8")
    (block,) = [x for x in re.findall(r"(?s)```python\n(.*?)```", readme) if word in x]
    return block
