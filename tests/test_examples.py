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


def examples_of(ratings, script):
    """Runs the script's cell on a table of ratings, and returns its four arrays."""
    table = pd.DataFrame(ratings, columns=COLUMNS).astype({"Rating": "float64"})
    names, _ = execute(cells("def make_examples"), **{**script, "ratings_df": table})
    return *(names[n] for n in ("contexts", "labels", "rows", "is_last")), names


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
        with pytest.raises(SystemExit, match="Nothing to learn from"):
            examples_of(ratings, script)
        return
    contexts, labels, rows, is_last, names = examples_of(ratings, script)
    assert contexts.tolist() == [example["context"] for example in expected]
    assert labels.tolist() == [example["label"] for example in expected]
    assert is_last.tolist() == [example["is_last"] for example in expected]
    table = names["ratings_df"].loc[rows]
    assert table["UserID"].tolist() == [example["user"] for example in expected]
    assert table["MovieID"].tolist() == labels.tolist()


def test_a_user_by_hand(script):
    # User 7 has 12 movies, of which the third is not liked; user 8 has too few.
    ratings = [(7, m, 1 if m == 3 else 4, m) for m in range(12, 0, -1)]
    ratings += [(8, 1, 4, 1), (8, 2, 4, 2)]
    contexts, labels, rows, is_last, _ = examples_of(ratings, script)
    assert labels.tolist() == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert contexts[0].tolist() == [0] * 9 + [1]
    assert contexts[-1].tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert is_last.tolist() == [False] * 9 + [True]
    assert contexts.dtype == labels.dtype == np.int32


def test_equal_timestamps_keep_the_order_of_the_file(script):
    contexts, labels, *_ = examples_of([(1, m, 4, 5) for m in (9, 2, 7, 2)], script)
    assert contexts[-1][-3:].tolist() == [9, 2, 7]
    assert labels.tolist() == [2, 7, 2]


@pytest.mark.parametrize(
    "ratings, message",
    [
        ([(1, m, 1.5, m) for m in range(9)], "MIN_RATING=2"),
        ([(u, 1, 5, 1) for u in range(9)], "MIN_SEQUENCE_LENGTH=3"),
    ],
)
def test_nothing_to_learn_from(script, ratings, message):
    with pytest.raises(SystemExit, match=message):
        examples_of(ratings, script)


def test_the_split_of_the_sample(offline):
    _, run = offline
    ratings = run["ratings_df"][COLUMNS].to_numpy()
    limits = [run[name] for name in LIMITS]
    expected = naive_examples(ratings, *limits)
    train = {(*e["context"], e["label"]) for e in expected if not e["is_last"]}
    test = [(*e["context"], e["label"]) for e in expected if e["is_last"]]

    batches = [np.column_stack(batch) for batch in run["train_ds"]]
    assert len({batch.shape for batch in batches}) == 1
    rows = [tuple(row) for row in np.concatenate(batches).tolist()]
    assert set(rows) <= train
    assert 0 <= sum(not e["is_last"] for e in expected) - len(rows) < len(batches[0])

    rows = np.concatenate([np.column_stack(batch) for batch in run["test_ds"]])
    assert [tuple(row) for row in rows.tolist()] == test
    users = [e["user"] for e in expected if e["is_last"]]
    assert len(set(users)) == len(users) == len(test)


def test_batches_mix_users(offline):
    # In the order of the users, the rows of a batch would follow from one another.
    contexts, labels = offline[1]["train_ds"][0]
    follows = (contexts[1:, -1] == labels[:-1]).mean()
    assert follows < 0.05


def test_what_is_counted_is_what_is_trained(offline):
    _, run = offline
    counts = [0] * (len(run["movies_df"]) + 1)
    for _, labels in run["train_ds"]:
        for label in labels:
            counts[label] += 1
    assert run["label_counts"].tolist() == counts
    assert run["candidate_ids"].tolist() == [i for i, c in enumerate(counts) if c]


def test_ids_have_no_gaps(offline):
    _, run = offline
    count = len(run["movies_df"])
    assert run["movies_df"]["MovieID"].tolist() == list(range(1, count + 1))
    assert set(run["ratings_df"]["MovieID"]) == set(range(1, count + 1))
