"""The towers and the loss, against NumPy."""

import keras
import numpy as np
import pytest

COUNTS = np.array([0, 5, 1, 3, 7, 0, 4])


def make_model(script, counts=COUNTS):
    keras.utils.set_random_seed(1)
    model = script["SequentialRetrievalModel"](counts, k=np.count_nonzero(counts))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def model(script):
    return make_model(script)


def softmax_loss(model, contexts, labels, temperature, counts):
    """The loss, row by row; the same movie in another row is left out of the sum."""
    queries = np.array(model.query_tower(contexts), "float64")
    table = np.array(model.candidate_tower(np.arange(len(counts))), "float64")
    losses = []
    for row, query in enumerate(queries):
        logits = {}
        for column, movie in enumerate(labels):
            if column == row or movie != labels[row]:
                score = query @ table[movie] / temperature
                logits[column] = score - np.log(counts[movie] / sum(counts))
        total = np.log(sum(np.exp(logit) for logit in logits.values()))
        losses.append(total - logits[row])
    return np.mean(losses)


def check_loss(script, model, labels, counts):
    contexts = np.random.default_rng(0).integers(0, 7, (4, 10))
    contexts[:, -1] = [1, 2, 3, 4]
    labels = np.array(labels, "int32")
    outputs = model(contexts, training=True)
    loss = model.compute_loss(contexts, keras.ops.convert_to_tensor(labels), outputs)
    expected = softmax_loss(model, contexts, labels, script["TEMPERATURE"], counts)
    assert float(loss) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "labels",
    [[1, 2, 3, 4], [4, 4, 3, 4], [6, 6, 6, 6], [6, 1, 6, 2]],
    ids=["no accidental hit", "three", "nothing but", "one"],
)
def test_loss(script, model, labels):
    check_loss(script, model, labels, COUNTS)


def test_no_label_is_so_rare_that_its_probability_is_clipped(script):
    counts = np.array([0, 1, 10**8, 3, 7, 0, 4])  # Movie 1 is at 1e-8.
    check_loss(script, make_model(script, counts), [1, 2, 3, 4], counts)


def test_towers_return_vectors_of_length_1(model):
    contexts = np.random.default_rng(0).integers(1, 7, (20, 10))
    for vectors in model.query_tower(contexts), model.candidate_tower(np.arange(7)):
        lengths = np.linalg.norm(np.array(vectors), axis=1)
        np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_padding_changes_nothing(script, monkeypatch):
    # Of towers for contexts of 10 and of 20 movies, with the same weights.
    short = make_model(script).query_tower
    monkeypatch.setitem(script, "MAX_CONTEXT_LENGTH", 20)
    long = make_model(script).query_tower
    long.set_weights(short.get_weights())
    contexts = np.array([[0] * 7 + [3, 1, 2], [0] * 9 + [4], [1, 2, 3, 4, 6] * 2])
    expected = np.array(short(contexts))
    for pad in (10, 0), (0, 10):
        padded = np.array(long(np.pad(contexts, ((0, 0), pad))))
        np.testing.assert_allclose(padded, expected, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_order_changes_the_query(model):
    contexts = np.array([[0] * 7 + [1, 2, 3], [0] * 7 + [3, 2, 1]])
    forth, back = np.array(model.query_tower(contexts))
    assert np.abs(forth - back).max() > 1e-3


@keras.saving.register_keras_serializable()
class Recorder(keras.layers.Layer):
    """Notes with which `training` it is called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs, training=None):
        self.seen.append(training)
        return inputs


def test_fit_and_predict_hand_training_on_to_the_towers(model):
    towers = {"query_tower": Recorder(), "candidate_tower": Recorder()}
    for name, recorder in towers.items():
        setattr(model, name, keras.Sequential([*getattr(model, name).layers, recorder]))
    contexts = np.random.default_rng(0).integers(1, 7, (8, 10))
    labels = np.array([1, 2, 3, 4] * 2)
    for recorder in towers.values():
        recorder.seen.clear()
    model.fit(contexts, labels, batch_size=4, verbose=0)
    for name, recorder in towers.items():
        assert True in recorder.seen, name
        recorder.seen.clear()
    model.predict(contexts, verbose=0)
    assert set(towers["query_tower"].seen) == {False}


def test_a_dropout_in_the_query_tower_changes_the_training(script):
    # The same seed and no noise but that of the layer: a rate must make a difference.
    contexts = np.random.default_rng(0).integers(1, 7, (64, 10))
    labels = np.random.default_rng(1).choice([1, 2, 3, 4, 6], 64)
    losses = []
    for rate in 0.0, 0.5:
        model = make_model(script)
        embedding, *rest = model.query_tower.layers
        model.query_tower = keras.Sequential(
            [embedding, keras.layers.Dropout(rate, seed=1), *rest]
        )
        history = model.fit(contexts, labels, batch_size=64, verbose=0, shuffle=False)
        losses.append(history.history["loss"][0])
    assert abs(losses[0] - losses[1]) > 1e-4


def test_retrieval_ranks_by_the_score_that_the_loss_trains(model):
    contexts = np.array([[0] * 7 + [3, 1, 2], [0] * 9 + [4]])
    model.candidate_tower.set_weights(
        [
            np.random.default_rng(0).normal(
                size=(7, model.candidate_tower.output_shape[-1])
            )
        ]
    )
    model.update_candidates()  # Without it, the old vectors would rank.
    outputs = model(contexts)
    table = np.array(model.candidate_tower(np.arange(7)))
    for query, ranking in zip(
        np.array(outputs["queries"]), np.array(outputs["predictions"])
    ):
        assert sorted(ranking) == [1, 2, 3, 4, 6]  # Movie 5 is never a label.
        scores = [query @ table[movie] for movie in ranking]
        assert scores == sorted(scores, reverse=True)
    assert model(contexts, training=True)["predictions"] is None
