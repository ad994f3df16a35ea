"""The towers, the loss and what a saved model answers."""

import keras
import numpy as np
import pytest
from conftest import SMALL, code_cells, execute, index_of, ring, run

PROBABILITIES = np.array([1, 0.3, 0.02, 1e-8, 0.2, 0.1, 0.4], "float32")


def make_model(movies_count=6, length=3):
    cells = code_cells(MAX_CONTEXT_LENGTH=length)
    cells = cells[:2] + [cells[index_of("SequentialRetrievalModel", cells)]]
    names, _ = execute(cells)  # The imports, the settings, the class.
    keras.utils.set_random_seed(1)
    model = names["SequentialRetrievalModel"](movies_count, names["EMBEDDING_DIM"])
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def model():
    return make_model()


def vectors(tower, ids):
    return keras.ops.convert_to_numpy(tower(np.asarray(ids))).astype("float64")


def contexts_of(count):
    return np.random.default_rng(0).integers(1, 7, (count, 3))


@pytest.mark.parametrize("labels", [[1, 2, 3, 4], [4, 4, 3, 4]])
def test_loss_equals_numpy(model, labels):
    contexts, labels = contexts_of(4), np.array(labels)
    y = {"movie_id": labels, "sampling_probability": PROBABILITIES[labels]}
    queries = vectors(model.query_tower, contexts)
    scores = queries @ vectors(model.candidate_tower, labels).T / 0.1
    logits = scores - np.log(PROBABILITIES[labels])
    losses = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    loss = model.compute_loss(contexts, y, model(contexts, training=True))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5, abs=1e-6)


def test_towers_return_vectors_of_length_1(model):
    queries = vectors(model.query_tower, contexts_of(20))
    for found in queries, vectors(model.candidate_tower, range(7)):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_padding_changes_nothing_and_the_order_does(model):
    long = make_model(length=30)  # Longer than the loop is unrolled.
    long.set_weights(model.get_weights())
    contexts = np.array([[3, 1, 2], [2, 1, 3], [0, 1, 3], [0, 0, 4]])
    expected = vectors(model.query_tower, contexts)
    for pad in (27, 0), (0, 27):
        padded = vectors(long.query_tower, np.pad(contexts, ((0, 0), pad)))
        np.testing.assert_allclose(padded, expected, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_a_long_context_does_not_make_a_large_program():
    jax = pytest.importorskip("jax")
    sizes = []
    for length in 50, 200:
        tower = make_model(length=length).query_tower
        program = jax.make_jaxpr(tower)(np.zeros((1, length), "int32"))
        sizes.append(len(str(program)))
    assert sizes[1] < 1.1 * sizes[0]


class Recorder(keras.layers.Layer):

    def __init__(self):
        super().__init__()
        self.seen = set()

    def call(self, inputs, training=None):
        self.seen.add(training)
        return inputs


def test_fit_hands_training_on_to_both_towers(monkeypatch):
    plain = keras.Sequential
    monkeypatch.setattr(keras, "Sequential", lambda x: plain([*x, Recorder()]))
    model = make_model()
    recorders = [model.query_tower.layers[-1], model.candidate_tower.layers[-1]]
    labels = np.array([1, 2, 3, 4] * 2)
    y = {"movie_id": labels, "sampling_probability": PROBABILITIES[labels]}
    model.fit(contexts_of(8), y, verbose=0)
    assert [True in recorder.seen for recorder in recorders] == [True, True]
    recorders[0].seen.clear()
    model.predict(contexts_of(8), verbose=0)
    assert True not in recorders[0].seen


def test_mixed_precision_keeps_the_movies_apart():
    labels, contexts = np.arange(1, 4001, 63), np.arange(1, 65)[:, None]
    y = {"movie_id": labels, "sampling_probability": np.full(64, 1e-3, "float32")}
    losses = []
    for policy in "float32", "mixed_bfloat16", "mixed_float16":
        keras.config.set_dtype_policy(policy)
        try:
            model = make_model(4000, length=1)
            outputs = model(contexts, training=True)
            losses.append(float(model.compute_loss(contexts, y, outputs)))
            found = vectors(model.candidate_tower, range(4001))
        finally:
            keras.config.set_dtype_policy("float32")
        assert len(np.unique(found, axis=0)) == 4001, policy
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=0.01)


def test_saved_and_loaded(tmp_path):
    """`save`, weights into a new model, and `ModelCheckpoint` with `validation_data`."""
    names, _ = run(ring(), last="evaluate", NUM_EPOCHS=2, **SMALL)
    model, contexts = names["model"], names["contexts"]
    expected = model.predict(contexts, verbose=0)["predictions"]
    other = names["SequentialRetrievalModel"](30, 64)
    assert (other.predict(contexts, verbose=0)["predictions"] != expected).any()
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for loaded in keras.saving.load_model(tmp_path / "model.keras"), other:
        assert (loaded.predict(contexts, verbose=0)["predictions"] == expected).all()

    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras")
    more = {"validation_data": names["test_ds"], "callbacks": [checkpoint]}
    model.fit(names["train_ds"], **more, shuffle=False, verbose=0)
    found = vectors(
        keras.saving.load_model(tmp_path / "best.keras").query_tower, contexts
    )
    np.testing.assert_allclose(found, vectors(model.query_tower, contexts), atol=1e-6)
