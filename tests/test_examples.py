"""The examples, the split and the batches, against a loop over the ratings."""

import numpy as np
import pytest
from conftest import RATINGS, Tables, ring, run
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import naive_examples


def rows(dataset, names):
    """Returns the examples of a dataset as tuples of the tables' own MovieIDs."""
    ids = [0, *names["original_ids"]]
    found = []
    for contexts, y in dataset.as_numpy_iterator():
        found += np.column_stack([contexts, y["movie_id"]]).tolist()
    return [tuple(ids[movie] for movie in row) for row in found]


def expected(ratings, is_last, names):
    limits = "MAX_CONTEXT_LENGTH", "MIN_SEQUENCE_LENGTH", "MIN_RATING"
    examples = naive_examples(ratings, *(names[name] for name in limits))
    examples = [example for example in examples if example["is_last"] == is_last]
    return [(*example["context"], example["label"]) for example in examples]


rating = st.tuples(
    st.integers(1, 4),  # Few users, so that some have more movies than the context.
    st.integers(1, 30),
    st.sampled_from([0.5, 1, 1.5, 2, 3.5, 5]),
    st.integers(0, 5),  # Few times, so that many are equal.
)


@settings(max_examples=50, deadline=None)
@given(ratings=st.lists(rating, min_size=1, max_size=90))
def test_examples_equal_those_of_a_loop(ratings):
    limits = {"MAX_CONTEXT_LENGTH": 10, "MIN_SEQUENCE_LENGTH": 3, "MIN_RATING": 2}
    train, test = (expected(ratings, is_last, limits) for is_last in (False, True))
    tables = Tables(ratings, {})
    if not train:
        with pytest.raises(ValueError, match="MIN_RATING=2.*MIN_SEQUENCE_LENGTH=3"):
            run(tables, last="SequentialRetrievalModel", BATCH_SIZE=1)
        return
    names, _ = run(tables, last="SequentialRetrievalModel", BATCH_SIZE=1)
    assert sorted(rows(names["train_ds"], names)) == sorted(train)
    assert rows(names["test_ds"], names) == test
    assert next(names["train_ds"].as_numpy_iterator())[0].dtype == np.int32


def test_the_user_of_the_text():
    """Who watched 5, 8, 3, 9 and 6, with contexts of three."""
    ratings = [(1, movie, 4, time) for time, movie in enumerate([5, 8, 3, 9, 6])]
    limits = {"BATCH_SIZE": 1, "MAX_CONTEXT_LENGTH": 3}
    names, _ = run(Tables(ratings, {}), last="SequentialRetrievalModel", **limits)
    train = {(0, 0, 5, 8), (0, 5, 8, 3), (5, 8, 3, 9)}
    assert set(rows(names["train_ds"], names)) == train
    assert rows(names["test_ds"], names) == [(8, 3, 9, 6)]


def test_the_sample(sample):
    names, _ = sample
    ratings = names["ratings_df"][RATINGS].to_numpy()
    train, test = (expected(ratings, is_last, names) for is_last in (False, True))
    found = rows(names["train_ds"], names)
    assert len(found) == len(train) // 512 * 512
    left = iter(sorted(train))
    assert all(row in left for row in sorted(found))  # Each example at most once.
    assert rows(names["test_ds"], names) == test


def test_what_travels_with_the_labels(sample):
    names, _ = sample
    y = [y for _, y in names["train_ds"].as_numpy_iterator()]
    labels = np.concatenate([batch["movie_id"] for batch in y])
    told = np.concatenate([batch["sampling_probability"] for batch in y])
    # One batch that is not full is missing from `labels`.
    share = np.bincount(labels)[labels] / len(labels)
    np.testing.assert_allclose(told, share, atol=600 / len(labels))
    assert np.corrcoef(told, share)[0, 1] > 0.99


def test_batches_mix_users_and_are_new_in_each_epoch(sample):
    train_ds = sample[0]["train_ds"]
    contexts, y = next(train_ds.as_numpy_iterator())
    follows = (contexts[1:, -1] == y["movie_id"][:-1]).mean()
    assert follows < 0.05  # In the order of the users, it would be nearly 1.

    epochs = [[set(map(bytes, x)) for x, _ in train_ds.as_numpy_iterator()] for _ in "12"]
    assert max(len(a & b) for a in epochs[0] for b in epochs[1]) < 400  # Of 512.


def test_nothing_to_learn_from():
    tables = ring()
    tables.ratings = [(user, movie, 1, time) for user, movie, _, time in tables.ratings]
    with pytest.raises(ValueError, match="MIN_RATING=2.*MIN_SEQUENCE_LENGTH=3"):
        run(tables, last="SequentialRetrievalModel")
