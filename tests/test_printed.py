"""What a run prints, each thing against the same thing made another way."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import keras
import naive
import numpy as np
import pytest
from cells import code_cells, execute, lists_of, place_of, readme_lines

MY_MOVIES = ["Alien (1979)", "Fargo (1996)", "Toy Story (1995)", "Matrix, The (1999)"]


@pytest.fixture(scope="module")
def saved(finished):
    """What the run left, the model and the movies' own ids, and what follows from it."""
    cells = code_cells()
    model_cell = cells[place_of("SequentialRetrievalModel", cells)]
    execute([cells[0], model_cell], {})
    model = keras.saving.load_model(finished.folder / "sequential_retrieval.keras")
    ids = [0, *json.loads((finished.folder / "sequential_retrieval.json").read_text())]
    number_of = {movie: number for number, movie in enumerate(ids)}
    rows = [
        (u, number_of[m], s, t) for u, m, s, t in finished.ratings if m in number_of
    ]
    examples, title_of = naive.examples(rows), [finished.titles.get(x) for x in ids]
    train, test = ([x for x in examples if x["is_last"] is y] for y in (False, True))
    counts = np.bincount([example["label"] for example in train], minlength=len(ids))
    contexts = np.array([example["context"] for example in test])
    scores, lists = naive.scores(model, contexts), lists_of(finished.printed)
    return SimpleNamespace(**locals())


def assert_titles(titles, scores, left_out, title_of, count):
    """Asserts that titles are those of the best movies, but for the ones left out."""
    scores = scores.copy()
    scores[[0, *left_out]] = -np.inf
    shown = []
    for title in titles:  # Of two movies with one title, the better one.
        same = {i for i, t in enumerate(title_of) if t == title}.difference(shown)
        shown.append(max(same, key=scores.item))
    assert len(shown) == count
    naive.assert_best(np.array(shown), scores)


def test_examples_and_their_numbers(finished, saved):
    printed = re.findall(r"\[([ \d]+)\] -> (\d+)", finished.printed)
    printed = [([*map(int, context.split())], int(label)) for context, label in printed]
    assert printed == [(e["context"], e["label"]) for e in saved.train[:3]]
    counts = f"{len(saved.train):,}", f"{len(saved.test):,}"
    assert re.findall(r"[\d,]+(?= (?:training|test))", finished.printed) == [*counts]


def test_rows_of_a_batch(finished, saved):
    text = re.search(r"(?s)contexts \(256, 10\):(.*?)Epoch", finished.printed)[1]
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    contexts, labels = np.reshape(numbers[:30], (3, 10)), numbers[-3:]
    train = {(*example["context"], example["label"]) for example in saved.train}
    assert {(*x, label) for x, label in zip(contexts.tolist(), labels)} <= train


def test_losses(finished, saved):
    labels = np.array([example["label"] for example in saved.test[:512]])
    share = np.maximum(saved.counts[labels], 1).astype("float32") / len(saved.train)
    y = {"movie_id": labels, "sampling_probability": share}
    expected = saved.model.evaluate(saved.contexts[:512], y, 256, verbose=0)
    printed = re.findall(r"loss: ([\d.]+) - val_loss: ([\d.]+)", finished.printed)
    loss, val_loss = map(float, printed[-1])
    assert val_loss == pytest.approx(expected, abs=0.05)  # Of other batches.
    assert loss < np.log(256) > val_loss


def test_the_rate_falls_to_0_and_weights_decay(saved):
    assert float(saved.model.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)
    assert saved.model.optimizer.weight_decay == 0.1


def test_results(finished, saved):
    text = re.search(r"(?m)^ +HR@10 +NDCG@10\n(?:.+\n){4}", finished.printed)[0]
    rows = [re.split(r"  +", line) for line in text.splitlines()[1:]]
    printed = {name: [float(hr), float(ndcg)] for name, hr, ndcg in rows}

    def metrics(scores, abs=0.002):  # A rank or two.
        rows = zip(scores, saved.test)
        ranks = [naive.rank(row, e["label"], e["seen"]) for row, e in rows]
        return pytest.approx(naive.metrics(ranks), abs=abs)

    after = {}
    for example in saved.train:
        row = after.setdefault(example["context"][-1], saved.counts / 1e6)
        row[example["label"]] += 1
    after = [after.get(last, saved.counts) for last in saved.contexts[:, -1]]
    shuffled = np.random.default_rng(0).permuted(saved.contexts, axis=1)
    assert printed["most popular"] == metrics([saved.counts] * len(saved.test))
    assert printed["after the last movie"] == metrics(after)
    assert printed["GRU"] == metrics(saved.scores)
    expected = metrics(naive.scores(saved.model, shuffled), abs=0.02)
    assert printed["GRU, contexts shuffled"] == expected


def test_the_first_user(saved):
    example, lists = saved.test[0], saved.lists
    watched = [saved.title_of[i] for i in example["seen"]]
    assert lists["Watched, the last one last"] == watched[-10:]
    assert lists["Watched next"] == [saved.title_of[example["label"]]]
    assert_titles(
        lists["Recommended"], saved.scores[0], example["seen"], saved.title_of, 10
    )
    assert lists["Recommended again"] == lists["Recommended"]  # The loaded model.


def test_my_own_titles(saved):
    assert saved.lists["You watched"] == MY_MOVIES
    mine = [saved.title_of.index(title) for title in MY_MOVIES]
    (scores,) = naive.scores(saved.model, np.array([mine]))
    assert_titles(saved.lists["For you"], scores, mine, saved.title_of, 10)


def test_similar_movies(saved):
    table = saved.model.candidate_model.get_weights()[0]
    for title in MY_MOVIES:
        movie = saved.title_of.index(title)
        titles = saved.lists[f"Similar to {title}"]
        assert_titles(titles, table @ table[movie], [movie], saved.title_of, 5)


def test_the_short_list(saved):
    found = saved.model.predict(saved.contexts, verbose=0)["predictions"]
    assert found.shape == (len(saved.test), 100)
    naive.assert_best(found, saved.scores)


def test_serving_in_another_program(finished, saved):
    """The README's lines, in a process that has the class and nothing else."""
    seen = [saved.ids[number] for number in saved.test[0]["seen"]]
    lines = re.sub(r"\[\d\d.*?\]", str(seen), readme_lines("load_model"))
    imports = "import keras, keras_rs\nfrom keras import layers, ops"
    program = "\n".join([imports, saved.model_cell, lines])
    command = [sys.executable, "-c", program]
    printed = subprocess.check_output(command, cwd=finished.folder, text=True)
    shown = [finished.titles[movie] for movie in json.loads(printed.splitlines()[-1])]
    assert shown == saved.lists["Recommended"]
