"""The model by itself: its loss, its queries, its lists, and copies of it."""

import contextlib

import keras
import naive
import numpy as np
import pytest
from cells import execute
from to_notebook import code_cells, place_of

PROBABILITIES = np.array([1, 0.3, 0.02, 1e-5, 0.2, 0.1, 0.4], "float32")
CONTEXTS = np.random.default_rng(0).integers(1, 7, (8, 3), "int32")
CELLS, NAMES = code_cells(), {}
execute([CELLS[0], CELLS[place_of("SequentialRetrievalModel", CELLS)]], NAMES)
Model = NAMES["SequentialRetrievalModel"]


def make_model(movies_count=6, temperature=0.1, k=7):
    keras.utils.set_random_seed(1)
    model = Model(movies_count, 16, temperature, k)
    model.compile("adam")
    model.build((None, None))
    return model


def targets(labels):
    return {"label": labels, "sampling_probability": PROBABILITIES[labels]}


def test_loss():
    """Also of rows with the same label. In training, no catalogue is searched."""
    model, labels, weights = make_model(temperature=0.2), [4, 4, 3, 4], np.arange(4.0)
    logits = naive.scores(model, CONTEXTS[:4])[:, labels] / 0.2
    logits -= np.log(PROBABILITIES[labels])
    losses = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    y_pred = model(CONTEXTS[:4], training=True)
    loss = model.compute_loss(None, targets(np.array(labels)), y_pred, weights)
    assert float(loss) == pytest.approx(np.mean(weights * losses), rel=1e-5)
    assert "predictions" not in y_pred


def test_queries_skip_number_0():
    """Wherever it stands, and however long the context is. The order counts."""
    predict = make_model().query_model.predict
    contexts = np.array([[3, 1, 2], [2, 1, 3], [4, 1, 3]])
    expected = predict(contexts, verbose=0)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    for pad in (197, 0), (0, 17):
        found = predict(np.pad(contexts, ((0, 0), pad)), verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lists_are_right_after_every_kind_of_fit():
    """Stopped by hand, too; and all that makes the model is in its config."""
    model, y = make_model(), targets(CONTEXTS[:, 0])
    fail = lambda batch, logs: 1 / 0
    interrupt = keras.callbacks.LambdaCallback(on_train_batch_end=fail)
    best = keras.callbacks.EarlyStopping(restore_best_weights=True)
    for callback in best, best, interrupt:
        with contextlib.suppress(ZeroDivisionError):
            more = {"validation_data": (CONTEXTS, y), "callbacks": [callback]}
            model.fit(CONTEXTS, y, batch_size=2, epochs=2, verbose=0, **more)
        found = model.predict(CONTEXTS, verbose=0)["predictions"]
        naive.assert_best(found, naive.scores(model, CONTEXTS))
    config = model.get_config()
    made_of = {"movies_count": 6, "embedding_dimension": 16, "temperature": 0.1, "k": 7}
    assert config == config | made_of == Model.from_config(config).get_config()


def test_mixed_precision():
    """4,000 movies stay apart, and the index scores queries in float32."""
    movies = np.arange(1, 4001, 63)
    y = {"label": movies, "sampling_probability": np.full(64, 1e-3, "float32")}
    expected = make_model(4000).predict(movies[:, None], verbose=0)["query_embeddings"]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_model(4000, k=20)
        loss = model.evaluate(movies[:, None], y, 64, verbose=0)
        queries = model.predict(movies[:, None], verbose=0)["query_embeddings"]
        found = keras.ops.convert_to_numpy(model.retrieval(queries))
    finally:
        keras.config.set_dtype_policy("float32")
    assert loss == pytest.approx(np.log(64), rel=0.01)
    table, queries = model.candidate_model.get_weights()[0], np.asarray(queries, "f4")
    np.testing.assert_allclose(queries, expected, atol=1e-3)
    naive.assert_best(found, queries @ table.T, atol=1e-6)
