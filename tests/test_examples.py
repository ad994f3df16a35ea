"""The examples and the split, against a loop over the ratings."""

import numpy as np
import pandas as pd
import pytest
from conftest import cells, execute
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import naive_examples

COLUMNS = ["UserID", "MovieID", "Rating", "Timestamp"]
LIMITS = "MAX_CONTEXT_LENGTH", "MIN_SEQUENCE_LENGTH", "MIN_RATING"


def make_examples(ratings, script, **limits):
    """Runs the script's cells from the ratings to the split; returns their names."""
    table = pd.DataFrame(ratings, columns=COLUMNS)
    table = table.astype({"Rating": "float64", "MovieID": "int32"})
    movies = pd.DataFrame({"MovieID": range(1, table["MovieID"].max() + 1)})
    names = {**script, "ratings_df": table, "movies_df": movies, **limits}
    code = cells("by_user = ", "train_rows = ", "test_rows = ")
    return execute(code, **names)[0]


def rows_of(examples):
    return [(*example["context"], example["label"]) for example in examples]


rating = st.tuples(
    st.integers(1, 4),  # Few users, so that some have more movies than the context.
    st.integers(1, 30),
    st.sampled_from([0.5, 1, 1.5, 2, 3.5, 5]),
    st.integers(0, 5),  # Few timestamps, so that many are equal.
)


@settings(max_examples=150, deadline=None)
@given(ratings=st.lists(rating, min_size=1, max_size=90))
def test_examples_equal_those_of_a_loop(script, ratings):
    expected = naive_examples(ratings, *(script[name] for name in LIMITS))
    if not expected:
        with pytest.raises(ValueError, match="No user"):
            make_examples(ratings, script)
        return
    names = make_examples(ratings, script)
    train = np.column_stack([names["train_contexts"], names["train_labels"]])
    test = np.column_stack([names["test_contexts"], names["test_labels"]])
    is_train = [example for example in expected if not example["is_last"]]
    is_test = [example for example in expected if example["is_last"]]
    assert sorted(map(tuple, train.tolist())) == sorted(rows_of(is_train))
    assert list(map(tuple, test.tolist())) == rows_of(is_test)  # In the users' order.

    # Watched is what the user rated before the label, liked or not.
    for row, example in enumerate(is_test):
        mine = [r for r in ratings if r[0] == example["user"]]
        mine.sort(key=lambda r: r[3])
        last = max(i for i, r in enumerate(mine) if r[2] >= script["MIN_RATING"])
        before = {movie for _, movie, _, _ in mine[:last]}
        assert set(np.flatnonzero(names["watched"][row])) == before


def test_a_user_by_hand(script):
    # User 7 has 12 movies, of which the third is not liked; user 8 has too few.
    ratings = [(7, m, 1 if m == 3 else 4, m) for m in range(12, 0, -1)]
    ratings += [(8, 1, 4, 1), (8, 2, 4, 2)]
    names = make_examples(ratings, script)
    assert sorted(names["train_labels"].tolist()) == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert names["test_labels"].tolist() == [12]
    assert names["test_contexts"].tolist() == [[1, 2, 4, 5, 6, 7, 8, 9, 10, 11]]
    assert names["train_contexts"].dtype == names["train_labels"].dtype == np.int32


def test_equal_timestamps_keep_the_order_of_the_file(script):
    names = make_examples([(1, m, 4, 5) for m in (9, 2, 7, 2)], script)
    assert names["test_contexts"][0, -3:].tolist() == [9, 2, 7]
    assert names["test_labels"].tolist() == [2]


@pytest.mark.parametrize(
    "ratings",
    [
        [(1, m, 1.5, m) for m in range(1, 9)],
        [(u, 1, 5, 1) for u in range(9)],
    ],
    ids=["every rating too low", "every user too short"],
)
def test_nothing_to_learn_from(script, ratings):
    with pytest.raises(ValueError, match="MIN_SEQUENCE_LENGTH=3.*MIN_RATING=2"):
        make_examples(ratings, script)


def test_the_split_of_the_sample(offline):
    _, run = offline
    ratings = run["ratings_df"][COLUMNS].to_numpy()
    expected = naive_examples(ratings, *(run[name] for name in LIMITS))
    train = sorted(rows_of([e for e in expected if not e["is_last"]]))
    test = rows_of([e for e in expected if e["is_last"]])

    rows = np.column_stack([run["train_contexts"], run["train_labels"]])
    assert sorted(map(tuple, rows.tolist())) == train
    batches = [np.column_stack(batch) for batch in run["train_ds"]]
    assert {batch.shape for batch in batches} == {(512, 11)}
    assert len(batches) == len(train) // 512
    in_batches = sorted(map(tuple, np.concatenate(batches).tolist()))
    left = iter(train)
    assert all(row in left for row in in_batches)  # Each row at most once.

    rows = np.concatenate([np.column_stack(batch) for batch in run["test_ds"]])
    assert list(map(tuple, rows.tolist())) == test
    users = [e["user"] for e in expected if e["is_last"]]
    assert len(set(users)) == len(users) == len(test)


def test_batches_mix_users(offline):
    # In the order of the users, the rows of a batch would follow from one another.
    contexts, labels = offline[1]["train_ds"][0]
    follows = (contexts[1:, -1] == labels[:-1]).mean()
    assert follows < 0.05


def test_each_epoch_has_other_batches(script):
    # Movie i is the label of row i, so that labels tell rows apart.
    names = {"train_contexts": np.ones((2000, 10), "int32"), **script}
    names["train_labels"] = np.arange(2000, dtype="int32")
    names["test_contexts"], names["test_labels"] = names["train_contexts"], np.arange(9)
    names["test_contexts"] = names["test_contexts"][:9]
    train_ds = execute(cells("train_ds = "), **names)[0]["train_ds"]
    epochs = [[set(y.tolist()) for _, y in train_ds.as_numpy_iterator()] for _ in "12"]
    assert [len(batch) for epoch in epochs for batch in epoch] == [512] * 6
    common = max(len(a & b) for a in epochs[0] for b in epochs[1])
    assert common < 400  # A batch that comes again would have 512.
    assert len(set.union(*epochs[0])) == 3 * 512


def test_what_is_counted_is_what_is_trained(offline):
    _, run = offline
    counts = [0] * (len(run["movies_df"]) + 1)
    for label in run["train_labels"]:
        counts[label] += 1
    assert run["label_counts"].tolist() == counts


def test_ids_have_no_gaps(offline):
    _, run = offline
    count = len(run["movies_df"])
    assert run["movies_df"]["MovieID"].tolist() == list(range(1, count + 1))
    assert set(run["ratings_df"]["MovieID"]) == set(range(1, count + 1))
