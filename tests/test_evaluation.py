"""Ranks, metrics, baselines and lists, each against a loop or numbers by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import RATINGS, cell_of, execute
from naive import naive_examples


def metrics(ranks):
    """Returns HR@10 and NDCG@10 of ranks, of which the first is 1."""
    hits = [rank for rank in ranks if rank <= 10]
    gains = sum(1 / math.log2(1 + rank) for rank in hits)
    return pytest.approx((len(hits) / len(ranks), gains / len(ranks)), abs=1e-9)


def evaluate(scores, labels, watched=None, label_counts=1):
    """Runs the script's `evaluate` on made-up test users, a row of scores for each."""
    y = {"movie_id": labels, "sampling_probability": np.ones(len(labels))}
    contexts = np.arange(len(labels))[:, None]  # The context is the row's number.
    watched = [[*movies, 0] for movies in watched or [[]] * len(labels)]
    names = {
        "np": np,
        "TOP_K": 10,
        "test_ds": tf.data.Dataset.from_tensor_slices((contexts, y)).batch(512),
        "label_counts": label_counts,
        # The last one of a user's movies is the label.
        "by_user": [(0, pd.Series(movies, dtype=int)) for movies in watched],
    }
    names, _ = execute([cell_of("evaluate")], **names)
    return names["evaluate"](lambda contexts: np.array(scores, float)[contexts[:, 0]])


def test_ranks_by_hand():
    """Ranks 1, 4 and 15, as in the text; the tenth counts and the eleventh does not."""
    scores = np.arange(20, 0, -1)
    told = pytest.approx((0.667, 0.477), abs=0.0005)
    assert evaluate([scores] * 3, [0, 3, 14]) == told
    assert evaluate([scores], [9]) == metrics([10])
    assert evaluate([scores], [10]) == (0, 0)


def test_what_is_left_out():
    scores, counts = [np.arange(20, 0, -1)], np.ones(20)
    assert evaluate(scores, [12], watched=[[0, 1, 2, 15]]) == metrics([10])
    counts[:4] = 0
    assert evaluate(scores, [12], label_counts=counts) == metrics([9])
    counts[12] = 0  # Never trained on: a miss.
    assert evaluate(scores, [12], label_counts=counts) == (0, 0)
    assert evaluate(scores, [3], watched=[[0, 3]]) == metrics([4])  # Watched again.


def test_scores_that_tell_nothing_hit_nothing():
    one_nan = np.where(np.arange(20) == 3, np.nan, np.arange(20))
    for row in np.full(20, np.nan), np.full(20, 0.5), np.full(20, -np.inf), one_nan:
        assert evaluate([row], [3]) == (0, 0)


@pytest.fixture(scope="module")
def history(sample):
    """Of the sample, what came after what in training, and each test user's movies."""
    examples = naive_examples(
        sample[0]["ratings_df"][RATINGS].itertuples(index=False), 10, 3, 2
    )
    train = [(e["context"][-1], e["label"]) for e in examples if not e["is_last"]]
    users = {}
    for example in examples:
        own = users.setdefault(example["user"], [example["context"][-1]])
        own.append(example["label"])
    return train, list(users.values())


def rank(movies, scores, candidates):
    """Returns the rank of a user's last movie, of scores by movie."""
    *watched, label = movies
    if label not in candidates:
        return math.inf
    others = list(candidates - set(watched) - {label})
    return 1 + np.sum(scores[others] >= scores[label])


def test_the_baselines(sample, history):
    """Between movies that came equally often, the more popular one goes first."""
    train, users = history
    last, labels = np.array(train, int).T
    counts, candidates = np.bincount(labels), set(labels.tolist())
    popular = [rank(movies, counts, candidates) for movies in users]
    assert sample[0]["results"]["most popular"] == metrics(popular)
    after = []
    for movies in users:
        scores = counts / len(train)
        np.add.at(scores, labels[last == movies[-2]], 1)
        after.append(rank(movies, scores, candidates))
    assert sample[0]["results"]["after the last movie"] == metrics(after)


def test_the_gru_and_its_index_agree(sample, history):
    """The lists that users see are those that the ranks are about."""
    names, _ = sample
    train, users = history
    ids = {movie: i for i, movie in enumerate(names["original_ids"], 1)}
    candidates = {ids[label] for _, label in train}
    model, ranks = names["model"], []
    contexts = np.concatenate([x for x, _ in names["test_ds"].as_numpy_iterator()])
    queries = model.predict(contexts, verbose=0)["query_embeddings"]
    movies = np.array(model.candidate_tower(np.arange(len(ids) + 1)))
    for user, scores in enumerate(queries @ movies.T):
        own = [ids[movie] for movie in users[user]]
        ranks.append(rank(own, scores, candidates))
        if user % 40 == 0:
            best = sorted(candidates - set(own[:-1]), key=scores.item, reverse=True)
            shown = names["recommend"](model, contexts[user], own[:-1]).tolist()
            assert len(shown) == 10 or len(own) > 80
            assert shown == best[: len(shown)]
    assert names["results"]["GRU"] == metrics(ranks)


def test_the_gru_is_ahead_and_needs_the_order(sample):
    results = {name: row[0] for name, row in sample[0]["results"].items()}
    assert results["GRU"] > 1.2 * results["after the last movie"]
    assert results["GRU"] > results["GRU, contexts shuffled"]
