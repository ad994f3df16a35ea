"""The examples, the split and the batches, against a loop over the ratings."""

import numpy as np
import pytest
from conftest import run
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from naive import naive_examples

LIMITS = {"MAX_CONTEXT_LENGTH": 10, "MIN_SEQUENCE_LENGTH": 3, "MIN_RATING": 2}


def rows(dataset, names):
    """Returns the examples of a dataset as tuples of the tables' own MovieIDs."""
    ids = [0, *names["original_ids"]]
    batches = [
        np.column_stack([x, y["movie_id"]]) for x, y in dataset.as_numpy_iterator()
    ]
    return [tuple(ids[movie] for movie in row) for row in np.concatenate(batches)]


def expected(ratings):
    """Returns the rows of the loop, for training and for the test."""
    examples = naive_examples(ratings, *LIMITS.values())
    return [
        [(*e["context"], e["label"]) for e in examples if e["is_last"] == is_last]
        for is_last in (False, True)
    ]


rating = st.tuples(
    st.integers(1, 4),  # Few users, so that some have more movies than the context.
    st.integers(1, 30),
    st.sampled_from([0.5, 1, 1.5, 2, 3.5, 5]),
    st.integers(0, 5),  # Few times, so that many are equal.
)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(ratings=st.lists(rating, min_size=1, max_size=90))
def test_examples_equal_those_of_a_loop(ratings):
    train, test = expected(ratings)
    values = {**LIMITS, "BATCH_SIZE": 1}
    if not train:
        with pytest.raises(ValueError, match="MIN_RATING=2.*MIN_SEQUENCE_LENGTH=3"):
            run(ratings, last="SequentialRetrievalModel", **values)
        return
    names, _ = run(ratings, last="SequentialRetrievalModel", **values)
    assert sorted(rows(names["train_ds"], names)) == sorted(train)
    assert rows(names["test_ds"], names) == test
    assert next(names["train_ds"].as_numpy_iterator())[0].dtype == np.int32


def test_batches(sample):
    train_ds = sample[0]["train_ds"]
    epochs = [list(train_ds.as_numpy_iterator()) for _ in range(2)]
    contexts, y = epochs[0][0]
    places = {x.tobytes(): i for i, x in enumerate(sample[0]["contexts"])}
    places = [places[x.tobytes()] / len(places) for x in contexts]
    assert 0.3 < np.median(places) < 0.7  # From all over the users.
    follows = contexts[1:, -1] == y["movie_id"][:-1]
    assert follows.mean() < 0.05  # In the order of the users, it would be nearly 1.
    rows = [[set(map(bytes, x)) for x, _ in batches] for batches in epochs]
    assert max(len(a & b) for a in rows[0] for b in rows[1]) < 400  # Of 512.

    # The sampling probability is the share of the labels, but for those in no batch.
    labels, told = (np.concatenate([y[k] for _, y in epochs[0]]) for k in sorted(y))
    share = np.bincount(labels)[labels] / len(labels)
    np.testing.assert_allclose(told, share, atol=20 / len(labels))
