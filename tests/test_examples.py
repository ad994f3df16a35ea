"""The examples, the split and the batches, against a loop over the ratings."""

from collections import Counter

import naive
import numpy as np
import pytest
from cells import run

MODEL = "SequentialRetrievalModel"


@pytest.mark.parametrize("seed", range(10))
def test_examples_equal_those_of_a_loop(seed):
    """A shop of 6 users with up to 40 movies, half stars, and many at the same time."""
    rng = np.random.default_rng(seed)
    users = np.repeat(range(6), rng.integers(1, 41, 6))
    drawn = [rng.integers(1, 30, len(users)), rng.choice([0.5, 1.5, 2, 5], len(users))]
    ratings = [*zip(users, *drawn, rng.integers(0, 9, len(users)))]
    names, _ = run(ratings, until=MODEL)
    ordered = [*names["ratings_df"].itertuples(index=False, name=None)]
    assert [row[::3] for row in ordered] == sorted(row[::3] for row in ordered)
    counts = Counter(row[0] for row in ratings if row[2] >= 2)
    left = [row for row in ratings if row[2] >= 2 and counts[row[0]] >= 3]
    assert sorted(ordered) == sorted(left)
    ids, parts = [0, *names["original_ids"]], {False: [], True: []}
    for example in naive.examples(ordered):
        parts[example["is_last"]].append((*example["context"], example["label"]))
    counts = Counter(row[-1] for row in parts[False])
    for dataset, part in zip((names["train_ds"], names["test_ds"]), parts.values()):
        ((contexts, y),) = dataset.as_numpy_iterator()  # One batch, if a small one.
        table = np.column_stack([contexts, y["movie_id"]])
        found = [tuple(ids[movie] for movie in row) for row in table]
        assert sorted(found) == sorted(part) and contexts.dtype == np.int32
        shares = [max(counts[row[-1]], 1) / len(parts[False]) for row in found]
        assert y["sampling_probability"] == pytest.approx(shares)  # Never 0.


def test_batches(finished):
    names, _ = run(finished.ratings, until=MODEL)
    epochs = [list(names["train_ds"].as_numpy_iterator()) for _ in range(2)]
    assert {len(x) for x, _ in [*epochs[0], *names["test_ds"]]} == {256}
    places = {x.tobytes(): i for i, x in enumerate(names["contexts"])}
    places = [places[x.tobytes()] / len(places) for x in epochs[0][0][0]]
    assert 0.3 < np.median(places) < 0.7  # From all over the users.
    assert np.mean(np.abs(np.diff(places)) < 1e-4) < 0.05  # And not one by one.
    batches = [[set(map(bytes, x)) for x, _ in epoch] for epoch in epochs]
    assert max(len(a & b) for a in batches[0] for b in batches[1]) < 200


def test_the_order_of_the_file_is_not_learnt():
    """Items drawn by popularity alone, at one time, in a file sorted by item."""
    keys = np.random.default_rng(4).exponential(size=(1000, 200)) * np.arange(3, 203)
    drawn = np.sort(np.argsort(keys)[:, :12])
    ratings = [(user, item, 4, 0) for (user, _), item in np.ndenumerate(drawn)]
    names, _ = run(ratings, {"MAX_CONTEXT_LENGTH": 3}, until="movie_id_to_movie_title")
    results = {method: hit_rate for method, (hit_rate, _) in names["results"].items()}
    limit = results["most popular"] + 3 * (0.15 * 0.85 / 1000) ** 0.5
    assert results["most popular"] > 2 * 10 / 188  # It is far above chance,
    assert max(results.values()) < limit  # and not surpassed.
