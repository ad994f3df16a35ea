"""Ranks and metrics, by the script's own cells on small tables."""

import naive
import numpy as np
import pytest
from cells import ring, run

ALL = range(1, 21)
SPLIT = '~ratings_df.duplicated("UserID", keep="last")'


def prepare(ratings, changes={}):
    """Runs the script without the model, up to the results."""
    changes = {"BATCH_SIZE": 4, "MAX_CONTEXT_LENGTH": 3} | changes
    without = "model", "SequentialRetrievalModel"
    return run(ratings, changes, until="results", without=without)[0]


def evaluate(users, k, scores=None):
    """Evaluates users; the scores of movies 1 to 20 fall, that of number 0 is above."""
    rows = [(u, m, 4, i) for u, x in enumerate([*users, ALL]) for i, m in enumerate(x)]
    names = prepare(rows)
    scores = scores or [-float(movie) for movie in (0, *names["original_ids"])]
    score = lambda contexts: np.array([scores] * len(contexts))
    return names["evaluate"](score, names["test_rows"][:-1], k)


def test_ranks_by_hand():
    """Ranks 1, 4 and 15, as in the text; the tenth counts and the eleventh does not."""
    users = [19, 20, 1], [19, 20, 4], [19, 20, 15]
    assert evaluate(users, 10) == pytest.approx((0.667, 0.477), abs=0.0005)
    assert evaluate([[19, 20, 10]], 10) == pytest.approx((1, 0.289), abs=0.0005)
    assert evaluate([[19, 20, 11]], 10) == (0, 0)


CASES = [([1, 2, 3, 16, 17, 13], 10), ([1, 2, 1], 1), ([2, 3, 1, 2], 2)]


@pytest.mark.parametrize("movies, rank", CASES)
def test_what_was_watched_is_left_out_unless_it_is_watched_again(movies, rank):
    assert [evaluate([movies], k)[0] for k in (rank - 1, rank)] == [0, 1]


@pytest.mark.parametrize("scores", [[np.nan] * 21, [0.5] * 21, [-np.inf] * 21])
def test_scores_that_tell_nothing_hit_nothing(scores):
    assert evaluate([ALL[:3]], 10, scores) == (0, 0)


@pytest.mark.parametrize("split", [SPLIT, 'ratings_df["Timestamp"] > 7'])
def test_rows_in_any_order_and_number(split):
    """Each test row knows its own history, also where the split is one by time."""
    late = [(99, movie, 4, time) for movie, time in ((3, 20), (4, 21), (5, 22))]
    names = prepare(ring() + late, {SPLIT: split} if split != SPLIT else {})
    users, labels = names["ratings_df"]["UserID"].to_numpy(), names["labels"]
    table = np.random.default_rng(0).normal(size=(31, 31))
    rows = names["test_rows"]
    assert len(rows) == (61 if split == SPLIT else 60 * 7 + 2)
    for some in rows, rows[::-1], rows[::7], rows[5:6]:
        ranks = []
        for row in some:
            seen = labels[[i for i in range(row) if users[i] == users[row]]]
            ranks.append(naive.rank(table[seen[-1]], labels[row], seen))
        found = names["evaluate"](lambda contexts: table[contexts[:, -1]], some, 10)
        assert found == pytest.approx(naive.metrics(ranks))
