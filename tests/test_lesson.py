"""The numbers of the lesson's worked examples are those that the code makes."""

import math
import re

import keras
import keras_rs
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import SCRIPT, cells, execute
from to_notebook import split

PROSE = "\n\n".join(t for kind, t in split(SCRIPT.read_text()) if kind == "markdown")
TEXT = " ".join(PROSE.split())


def numbers(pattern):
    """Returns the numbers in the one place of the prose that the pattern matches."""
    found = re.findall(pattern, TEXT)
    assert len(found) == 1, (pattern, found)
    return [float(number) for number in np.ravel(found[0])]


def test_one_user_worked_through(script):
    sentence = re.search(r"She watched the movies ([\d, and]+), in this order", TEXT)[1]
    movies = [int(movie) for movie in re.findall(r"\d+", sentence)]
    length = int(re.search(r"If `MAX_CONTEXT_LENGTH` were (\d+)", TEXT)[1])
    told = re.findall(r"(?m)^\[([\d ]+)\] -> (\d+)$", PROSE)
    told = [([int(m) for m in context.split()], int(label)) for context, label in told]

    columns = {"UserID": 1, "MovieID": movies, "Rating": 4, "Timestamp": range(5)}
    names = {
        **script,
        "ratings_df": pd.DataFrame(columns),
        "MAX_CONTEXT_LENGTH": length,
    }
    names, printed = execute(cells("by_user = "), **names)
    rows = zip(names["contexts"][names["has_context"]].tolist(), names["labels"][1:])
    assert told == [(context, int(label)) for context, label in rows]
    assert printed.splitlines() == re.findall(r"(?m)^\[[\d ]+\] -> \d+$", PROSE)


def test_the_drawing_has_the_shapes_of_the_towers(script):
    model = script["SequentialRetrievalModel"](np.ones(6, int), k=3)
    left = [tuple(layer.output.shape) for layer in model.query_tower.layers]
    right = [tuple(layer.output.shape) for layer in model.candidate_tower.layers]
    shapes = [model.query_tower.input_shape, *left]
    shapes += [model.candidate_tower.input_shape, *right]
    drawn = re.findall(r"\(batch,([ \d,]*)\)", PROSE)
    drawn = {(None, *map(int, re.findall(r"\d+", shape))) for shape in drawn}
    assert drawn == {(None, *shape[1:]) for shape in shapes}
    both = model.query_tower.layers + model.candidate_tower.layers
    tables = {layer for layer in both if isinstance(layer, keras.layers.Embedding)}
    assert len(re.findall(r"\| +Embedding +\|", PROSE)) == len(tables)


def batch_of_three():
    """Returns the scores and the labels of the prose's batch, and its movies."""
    rows = re.findall(r"(?m)^query \[([\d ]+)\] +([\d. ]+)$", PROSE)
    values = np.array([values.split() for _, values in rows], float)
    columns = re.search(r"(?m)^ +8 +3 +9 +8 +3 +9$", PROSE)[0].split()
    assert columns[:3] == columns[3:]
    return values[:, :3], values[:, 3:], [context for context, _ in rows]


def test_the_batch_of_three():
    scores, labels, contexts = batch_of_three()
    assert (labels == np.eye(3)).all()
    assert contexts == ["0 0 5", "0 5 8", "5 8 3"]
    probabilities = np.array(keras.ops.softmax(scores, axis=1))[2]
    assert numbers(r"third row these are ([\d.]+), ([\d.]+) and ([\d.]+)\.") == (
        pytest.approx(probabilities, abs=0.005)
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    expected = float(loss(labels[2:], scores[2:]))
    assert numbers(r"here ([\d.]+), and is called") == pytest.approx(
        [expected], abs=0.005
    )
    # Pushes: the gradient is the probability, less 1 at the right answer.
    assert probabilities[1] > probabilities[0] and labels[2].argmax() == 2


def test_temperature(script):
    scores = np.full(512, -1.0)
    scores[0] = 1
    probability = np.exp(scores[0]) / np.exp(scores).sum()
    assert numbers(r"probability would be ([\d.]+) %") == (
        pytest.approx([100 * probability], abs=0.05)
    )
    ends = numbers(r"range from (-\d+) to (\d+)")
    assert ends == [-1 / script["TEMPERATURE"], 1 / script["TEMPERATURE"]]


def test_popularity():
    share_a, share_b = numbers(r"A makes up (\d+) in 100, and B ([\d.]+)\.")
    bonus = keras_rs.layers.SamplingProbabilityCorrection(epsilon=1e-9)
    shares = np.array([share_a, share_b]) / 100
    expected = np.array(bonus(np.zeros(2), shares))
    told = numbers(
        r"For A it is ([\d.]+), and for B ([\d.]+), which is log 10 = ([\d.]+)"
    )
    assert told == pytest.approx([*expected, expected[1] - expected[0]], abs=0.05)
    # Twice as likely as usual, both of them.
    a, b = numbers(r"context, (\d+) in 100 people watch movie A next, and ([\d.]+) in")
    assert a / share_a == b / share_b == 2 and a == 10 * b


def test_guessing_among_a_batch(script):
    expected = math.log(script["BATCH_SIZE"])
    assert numbers(r"log 512 = ([\d.]+)\.") == pytest.approx([expected], abs=0.05)


def test_metrics_of_three_users(script, monkeypatch):
    # Places 1 and 4, and not among the ten, as rankings of the movies 1 to 20.
    rankings = np.tile(np.arange(1, 21), (3, 1))
    data = np.arange(3)[:, None], np.array([1, 4, 15])
    test_ds = tf.data.Dataset.from_tensor_slices(data).batch(512)
    monkeypatch.setitem(script, "test_ds", test_ds)
    monkeypatch.setitem(script, "watched", np.zeros((3, 21), bool))
    results = script["evaluate"](lambda contexts: rankings[contexts[:, 0]])
    told = numbers(r"HR@10 is 2/3 = ([\d.]+), and NDCG@10 is \(.*?\) / 3 = ([\d.]+)\.")
    assert told == pytest.approx(results, abs=0.0005)
    places = numbers(r"second place ([\d.]+), in the tenth ([\d.]+),")
    assert places == pytest.approx([1 / math.log2(3), 1 / math.log2(11)], abs=0.005)
