"""The towers and the loss, against NumPy."""

import keras
import numpy as np
import pytest


@pytest.fixture
def model(script):
    keras.utils.set_random_seed(1)
    counts = np.array([0, 5, 1, 3, 7, 0, 4])
    model = script["SequentialRetrievalModel"](counts)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    model.build((None, script["MAX_CONTEXT_LENGTH"]))
    return model


def softmax_loss(model, queries, labels, temperature, counts, floor=1e-6):
    """The loss, row by row; the same movie in another row is left out of the sum."""
    table = np.array(model.candidate_tower(np.arange(len(counts))), "float64")
    losses = []
    for row, query in enumerate(np.array(queries, "float64")):
        logits = {}
        for column, movie in enumerate(labels):
            if column == row or movie != labels[row]:
                probability = max(counts[movie] / sum(counts), floor)
                score = query @ table[movie] / temperature
                logits[column] = score - np.log(probability)
        total = np.log(sum(np.exp(logit) for logit in logits.values()))
        losses.append(total - logits[row])
    return np.mean(losses)


@pytest.mark.parametrize(
    "labels",
    [[1, 2, 3, 4], [4, 4, 3, 4], [6, 6, 6, 6], [5, 1, 5, 2]],
    ids=["no accidental hit", "three", "nothing but", "a movie not in training"],
)
def test_loss(script, model, labels):
    contexts = np.random.default_rng(0).integers(0, 7, (4, 10))
    contexts[:, -1] = [1, 2, 3, 4]
    outputs = model(contexts, training=True)
    labels = np.array(labels, "int32")
    loss = model.compute_loss(contexts, keras.ops.convert_to_tensor(labels), outputs)
    counts = [0, 5, 1, 3, 7, 0, 4]
    expected = softmax_loss(
        model, outputs["query_embeddings"], labels, script["TEMPERATURE"], counts
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("pad", [(10, 0), (0, 10)], ids=["in front", "behind"])
def test_padding_changes_nothing(script, model, pad):
    contexts = np.array([[0] * 7 + [3, 1, 2], [0] * 9 + [4], [1, 2, 3, 4, 6] * 2])
    short = np.array(model.query_tower(contexts))
    long = np.array(model.query_tower(np.pad(contexts, ((0, 0), pad))))
    np.testing.assert_allclose(short, long, atol=1e-6)
    assert np.abs(short[0] - short[1]).max() > 1e-3


def test_order_changes_the_query(model):
    forth, back = np.array(model.query_tower(np.array([[1, 2, 3], [3, 2, 1]])))
    assert np.abs(forth - back).max() > 1e-3


def test_retrieval_ranks_by_the_score_that_the_loss_trains(model):
    contexts = np.array([[0] * 7 + [3, 1, 2], [0] * 9 + [4]])
    assert "predictions" not in model(contexts)
    ids = np.array([1, 2, 3, 4, 6])
    model.retrieval.update_candidates(model.candidate_tower(ids), ids)
    outputs = model(contexts)
    table = np.array(model.candidate_tower(np.arange(7)))
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, rtol=1e-5)
    for query, ranking in zip(
        np.array(outputs["query_embeddings"]), np.array(outputs["predictions"])
    ):
        assert sorted(ranking) == ids.tolist()
        scores = [query @ table[movie] for movie in ranking]
        assert scores == sorted(scores, reverse=True)
    assert "predictions" not in model(contexts, training=True)
