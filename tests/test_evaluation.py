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
    places = []
    for user, (ranking, label) in enumerate(zip(run["predicted"], run["test_labels"])):
        free = [m for m in ranking.tolist() if not run["watched"][user, m]][:10]
        places.append(free.index(label) if label in free else None)
    assert run["results"]["GRU"] == pytest.approx(metrics(places), rel=1e-5)


def test_predictions_are_a_ranking_of_the_candidates(offline):
    _, run = offline
    users, candidates = len(run["test_labels"]), run["candidate_ids"]
    assert run["predicted"].shape == (users, len(candidates))
    assert (np.sort(run["predicted"], axis=1) == candidates).all()


def test_gru_is_ahead_of_both_baselines(offline):
    results = offline[1]["results"]
    for metric in "HR@10", "NDCG@10":
        assert results["GRU"][metric] > 1.1 * results["after the last movie"][metric]
        assert results["GRU"][metric] > 1.1 * results["most popular"][metric]


@pytest.fixture
def evaluate(script):
    """Calls the script's `evaluate` with its own test labels and watched movies."""

    def evaluate(rankings, test_labels, watched):
        names = {**script, "test_labels": np.array(test_labels), "watched": watched}
        return types.FunctionType(script["evaluate"].__code__, names)(rankings)

    return evaluate


def test_metrics_by_hand(evaluate):
    # Found in the first place; in the second, since a better one has been watched;
    # watched itself; not among the candidates.
    watched = np.zeros((4, 6), bool)
    watched[1, 4] = watched[2, 1] = True
    ranking = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 4]])
    results = evaluate(ranking, [1, 2, 1, 5], watched)
    assert results["HR@10"] == pytest.approx(2 / 4)
    assert results["NDCG@10"] == pytest.approx((1 + 1 / math.log2(3)) / 4)


def test_metrics_equal_a_loop(evaluate):
    rng = np.random.default_rng(0)
    rankings = [rng.permutation(np.arange(1, 41)) for _ in range(200)]
    labels, watched = rng.integers(1, 41, 200), rng.random((200, 41)) < 0.3
    places = []
    for row, label, seen in zip(rankings, labels, watched):
        free = [movie for movie in row if not seen[movie]][:10]
        places.append(free.index(label) if label in free else None)
    results = evaluate(iter(rankings), labels, watched)
    assert results == pytest.approx(metrics(places), rel=1e-5)
