"""Metrics, baselines and what is left out, each against a loop."""

import math
import types

import numpy as np
import pytest


def ranks(run, score):
    """Returns the place of each test user's movie, 0 for the first, or None.

    Every candidate is scored by `score(user, movie)`. Equal scores are in the order of
    popularity, equal popularity in the order of the ids.
    """
    counts = run["label_counts"]
    candidates = [m for m in range(len(counts)) if counts[m] > 0]
    candidates.sort(key=lambda m: -counts[m])
    table = run["ratings_df"]
    places = []
    for user, group in table.groupby("UserID"):
        liked = group[group["Rating"] >= run["MIN_RATING"]]
        if len(liked) < run["MIN_SEQUENCE_LENGTH"]:
            continue
        label = liked["MovieID"].iloc[-1]
        watched = set(group["MovieID"][group.index < liked.index[-1]])
        last = liked["MovieID"].iloc[-2]
        free = [m for m in candidates if m not in watched]
        free.sort(key=lambda m: -score(last, m))
        places.append(free.index(label) if label in free[:10] else None)
    return places


def metrics(places):
    hits = [place for place in places if place is not None]
    ndcg = sum(1 / math.log2(place + 2) for place in hits)
    return {"HR@10": len(hits) / len(places), "NDCG@10": ndcg / len(places)}


def test_most_popular(offline):
    _, run = offline
    places = ranks(run, lambda last, movie: run["label_counts"][movie])
    assert run["results"]["most popular"] == pytest.approx(metrics(places), rel=1e-5)


def test_after_the_last_movie(offline):
    _, run = offline
    follows = {}
    for context, label in zip(run["train_contexts"].tolist(), run["train_labels"]):
        follows[context[-1], label] = follows.get((context[-1], label), 0) + 1
    places = ranks(run, lambda last, movie: follows.get((last, movie), 0))
    expected = metrics(places)
    assert run["results"]["after the last movie"] == pytest.approx(expected, rel=1e-5)


def test_gru(offline):
    _, run = offline
    hits = []
    for user, (ranking, label) in enumerate(
        zip(run["predictions"], run["test_labels"])
    ):
        free = [m for m in ranking.tolist() if not run["watched"][user, m]][:10]
        hits.append(free.index(label) if label in free else None)
    assert run["results"]["GRU"] == pytest.approx(metrics(hits), rel=1e-5)


def test_predictions_are_a_ranking_of_the_candidates(offline):
    _, run = offline
    assert run["predictions"].shape == (
        len(run["test_labels"]),
        len(run["candidate_ids"]),
    )
    assert (np.sort(run["predictions"], axis=1) == run["candidate_ids"]).all()


def test_gru_is_ahead_of_both_baselines(offline):
    results = offline[1]["results"]
    for metric in "HR@10", "NDCG@10":
        assert results["GRU"][metric] > 1.1 * results["after the last movie"][metric]
        assert results["GRU"][metric] > 1.1 * results["most popular"][metric]


@pytest.fixture
def functions(script):
    """The script's functions, with variables of their own for each test."""
    names = dict(script)
    for name in "leave_out_watched", "evaluate":
        names[name] = types.FunctionType(script[name].__code__, names)
    return names


def test_leave_out_watched_by_hand(functions):
    functions["TOP_K"] = 2
    ranking = np.array([[3, 1, 2, 4], [3, 1, 2, 4], [4, 3, 2, 1], [1, 2, 3, 4]])
    watched = np.zeros((4, 5), bool)
    watched[0, 3] = watched[1, [1, 3, 4]] = watched[3, 1:] = True
    top = functions["leave_out_watched"](ranking, watched)
    assert top.tolist() == [[1, 2], [2, 0], [4, 3], [0, 0]]


def test_metrics_by_hand(functions):
    # Found in the first place, in the third, watched before, not among the candidates.
    functions["test_labels"] = np.array([1, 2, 1, 5])
    functions["watched"] = np.zeros((4, 6), bool)
    functions["watched"][1, 4] = functions["watched"][2, 1] = True
    ranking = np.array([[1, 2, 3, 4], [4, 3, 1, 2], [1, 2, 3, 4], [1, 2, 3, 4]])
    results = functions["evaluate"](ranking)
    assert results["HR@10"] == pytest.approx(2 / 4)
    assert results["NDCG@10"] == pytest.approx((1 + 1 / 2) / 4)  # 1 / log2(3 + 1)


def test_metrics_equal_numpy(functions):
    rng = np.random.default_rng(0)
    ranking = np.array([rng.permutation(np.arange(1, 41)) for _ in range(200)])
    functions["test_labels"] = rng.integers(1, 41, 200)
    functions["watched"] = rng.random((200, 41)) < 0.3
    places = []
    for row, label, seen in zip(
        ranking, functions["test_labels"], functions["watched"]
    ):
        free = [movie for movie in row if not seen[movie]][:10]
        places.append(free.index(label) if label in free else None)
    assert functions["evaluate"](ranking) == pytest.approx(metrics(places), rel=1e-5)
