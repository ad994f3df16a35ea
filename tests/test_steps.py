"""The steps of the script on small tables: examples, batches, ranks; and a large one."""

from collections import Counter

import keras
import naive
import numpy as np
import pytest
from cells import execute, run
from conftest import keep
from to_notebook import changed, code_cells, place_of

MODEL = "SequentialRetrievalModel"


@pytest.mark.parametrize("seed", range(10))
def test_examples_equal_those_of_a_loop(seed):
    """A shop of 6 users with up to 40 movies, half stars, and many at the same time."""
    rng = np.random.default_rng(seed)
    users = np.repeat(range(6), [2, 3, *rng.integers(1, 41, 4)])
    drawn = [rng.integers(1, 30, len(users)), rng.choice([0.5, 1.5, 2, 5], len(users))]
    ratings = [*zip(users, *drawn, rng.integers(0, 9, len(users)))]
    names, _ = run(ratings, until=MODEL)
    ordered = [*names["watched_df"].itertuples(index=False, name=None)]
    assert [row[::3] for row in ordered] == sorted(row[::3] for row in ordered)
    counts = Counter(row[0] for row in ratings)
    assert sorted(ordered) == sorted(row for row in ratings if counts[row[0]] >= 3)
    ids, parts = [0, *names["original_ids"][1:]], {False: [], True: []}
    for example in naive.examples(ordered):
        parts[example["is_last"]].append((*example["context"], example["label"]))
    counts = Counter(row[-1] for row in parts[False])
    for dataset, part in zip((names["train_ds"], names["test_ds"]), parts.values()):
        ((contexts, y),) = dataset.as_numpy_iterator()  # One batch, if a small one.
        table = np.column_stack([contexts, y["label"]])
        found = [tuple(ids[number] for number in row) for row in table]
        assert sorted(found) == sorted(part) and contexts.dtype == np.int32
        shares = [max(counts[row[-1]], 1) / len(parts[False]) for row in found]
        assert y["sampling_probability"] == pytest.approx(shares)  # Never 0.


def test_ratings_of_one_second_are_mixed():
    ratings = [(user, item, 4, 0) for user in range(500) for item in range(12)]
    names, _ = run(ratings, until=MODEL)
    last = [label for _, y in names["test_ds"] for label in y["label"].numpy()]
    assert max(Counter(last).values()) < 80  # In the file's order it would be 500.


def test_batches(begun):
    """They come from all over the users, and differ from epoch to epoch."""
    names, _ = run(begun.ratings, until=MODEL)
    batches = [next(names["train_ds"].as_numpy_iterator())[0] for _ in range(2)]
    places = {row.tobytes(): place for place, row in enumerate(names["contexts"])}
    places = [{places[row.tobytes()] // 1000 for row in batch} for batch in batches]
    assert min(map(len, places)) > 60  # Of 100.
    assert len(np.unique(np.concatenate(batches), axis=0)) > 500  # Of 512.


def evaluate(users, scores, k=10):
    """Evaluates users of a shop with the movies 1 to 20, by a function for scores."""
    everybody = [*users, range(1, 21)]
    rows = [(u, m, 4, i) for u, x in enumerate(everybody) for i, m in enumerate(x)]
    names, _ = run(rows, until="results")
    scores = [scores(movie) for movie in (0, *names["original_ids"][1:])]
    score = lambda contexts: np.array([scores] * len(contexts))
    return names["evaluate"](score, names["test_rows"][:-1], k)


BY_HAND = [
    ([[19, 20, 1], [19, 20, 4], [19, 20, 15]], 10, (0.667, 0.477)),  # As in the text.
    ([[19, 20, 10]], 10, (1, 0.289)),
    ([[19, 20, 11]], 10, (0, 0)),
    ([[1, 16, 17, 2, 3, 13]], 10, (1, 0.289)),  # Three before it are left out.
    ([[1, 16, 17, 2, 3, 13]], 9, (0, 0)),
    ([[1, 2, 1]], 10, (0, 0)),  # Its own label, too, which no list would show.
]


@pytest.mark.parametrize("users, k, expected", BY_HAND)
def test_ranks_by_hand(users, k, expected, untrained):
    """The scores of movies 1 to 20 fall, and that of number 0 is the highest."""
    found = evaluate(users, lambda movie: -float(movie), k)
    assert found == pytest.approx(expected, abs=0.0005)


@pytest.mark.parametrize("score", [np.nan, 0.5, -np.inf])
def test_scores_that_tell_nothing_hit_nothing(score, untrained):
    assert evaluate([[1, 2, 3]], lambda movie: score) == (0, 0)


def test_nothing_of_a_large_archive_is_left_out(monkeypatch):
    """From the reading to the results; `fit` only counts what it is given."""
    drawn = np.random.default_rng(0).exponential(size=(1200, 500)) * np.arange(10, 510)
    movies, given = np.argsort(drawn)[:, :95] + 1, []
    ratings = [(user, movies[user, i], 4, i) for user, i in np.ndindex(movies.shape)]

    def fit(self, train, validation_data, epochs, **more):
        for dataset in train, validation_data:
            given.append(sum(len(x) for x, _ in dataset.as_numpy_iterator()))

    monkeypatch.setattr(keras.Model, "fit", fit)
    settings = keep("large.zip", ratings, {1: "Movie 1 (2000)"}) | {"BATCH_SIZE": 64}
    cells, names = code_cells(changed(settings)), {}
    execute(cells[: place_of("results", cells) + 1], names)
    assert given == [1200 * 93, 1200]
    counts = np.bincount(movies[:, 1:-1].ravel())
    ranks = [naive.rank(counts, own[-1], own[:-1]) for own in movies]
    assert names["results"]["most popular"] == pytest.approx(naive.metrics(ranks))
