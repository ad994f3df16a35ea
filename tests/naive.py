"""What the script computes, made slowly and obviously."""

import math

import numpy as np


def examples(ratings, max_context_length=10, min_sequence_length=3):
    """Returns a list of dicts by user and time, from rows of user, movie, stars, time."""
    history = {}
    for user, movie, _, time in ratings:
        history.setdefault(user, []).append((time, movie))
    result = []
    for user in sorted(history):
        in_order = sorted(history[user], key=lambda watched: watched[0])
        movies = [movie for _, movie in in_order]
        for i in range(1, len(movies) if len(movies) >= min_sequence_length else 0):
            context = movies[max(0, i - max_context_length) : i]
            context = [0] * (max_context_length - len(context)) + context
            example = {"context": context, "label": movies[i], "seen": movies[:i]}
            result.append({**example, "is_last": i == len(movies) - 1})
    return result


def scores(model, contexts):
    queries = model.query_model.predict(contexts, verbose=0)
    return queries @ model.candidate_model.get_weights()[0].T


def assert_best(shown, scores, atol=1e-5):
    """Asserts that movies have the highest scores, the best first, but for near ties."""
    best = np.sort(scores)[..., ::-1][..., : shown.shape[-1]]
    shown = np.take_along_axis(scores, shown, axis=-1)
    np.testing.assert_allclose(shown, best, atol=atol)


def rank(scores, label, seen):
    """Returns a label's place among the movies not seen; the last one, if it was seen."""
    if label in seen:
        return len(scores)
    others = np.ones(len(scores), bool)
    others[[0, label, *seen]] = False  # Number 0 is no movie.
    return 1 + np.sum(~(scores[others] < scores[label]))


def metrics(ranks):
    """Returns HR@10 and NDCG@10 of ranks, of which the first is 1."""
    gains = [1 / math.log2(1 + rank) for rank in ranks if rank <= 10]
    return len(gains) / len(ranks), sum(gains) / len(ranks)
