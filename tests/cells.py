"""Runs of the script's cells, made-up data for them, and what they print."""

import contextlib
import io
import re
import tempfile
import zipfile

import numpy as np
import pandas as pd
from to_notebook import SCRIPT, changed, code_cells, place_of


def execute(cells, names, folder=None):
    """Runs cells in a folder, else an empty one, with these globals; returns the output."""
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(folder or empty):
        with contextlib.redirect_stdout(out):
            for cell in cells:
                exec(compile(cell, "cell", "exec"), names)
    return out.getvalue()


def run(ratings, settings={}, titles={}, until=None, after={}, times=1):
    """Runs the script on two tables, each cell so many times, up to that of `until`."""
    columns = ["UserID", "MovieID", "Rating", "Timestamp"]
    names = {
        "ratings_df": pd.DataFrame(ratings, columns=columns),
        "movies_df": pd.DataFrame(titles.items(), columns=["MovieID", "Title"]),
    }
    cells = code_cells(changed(settings), after)
    cells[place_of("read_data", cells)] = ""
    cells = cells[: place_of(until, cells) if until else None]
    return names, execute([cell for cell in cells for _ in range(times)], names)


def shop(users=320, pairs=40, length=6):
    """Ratings of users who watch some openers, and after each its own sequel.

    So the last movie decides the next one, and what was before is random. Openers have
    the ids 1 to 40, their sequels 41 to 80. Half of the ratings have one star.
    """
    rng, rows = np.random.default_rng(0), []
    for user in range(users):
        openers = rng.permutation(pairs)[:length] + 1
        movies = np.column_stack([openers, openers + pairs]).ravel().tolist()
        rows += [(user, movie, 1 + i // 2 % 2, i) for i, movie in enumerate(movies)]
    return rows


TITLES = {movie: f"Opener {movie} (2000)" for movie in range(1, 41)}
TITLES |= {movie: f"Sequel {movie - 40} (2001)" for movie in range(41, 81)}


def archive_of(ratings, titles):
    """Returns the bytes of an archive in the form of MovieLens 1M."""
    movies = [(movie, title, "Drama") for movie, title in titles.items()]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in ("ratings", ratings), ("movies", movies):
            lines = "\n".join("::".join(map(str, row)) for row in rows)
            archive.writestr(f"ml-1m/{name}.dat", lines.encode("latin-1"))
    return file.getvalue()


def lists_of(printed):
    """Returns the printed lists of titles by their headings."""
    found = re.findall(r"(?m)^(\S.*):\n((?:    .*\n)+)", printed)
    return {heading: re.findall(r" {4}(.*)\n", text) for heading, text in found}


def results_of(printed):
    """Returns HR@10 and NDCG@10 of the methods, as printed in a table."""
    rows = re.findall(r"(?m)^(\S.*?) +([01]\.\d+) +([01]\.\d+)", printed)
    return {method: (float(hr), float(ndcg)) for method, hr, ndcg in rows}


def readme_lines(word):
    """Returns the README's block of Python with this word."""
    readme = (SCRIPT.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?s)```python\n(.*?)```", readme)
    return next(block for block in blocks if word in block)


def serving(watched):
    """Returns the README's lines for another program, with what was watched."""
    return re.sub(r"\[\d+, .*?\]", repr(watched), readme_lines("json.load"), count=1)
