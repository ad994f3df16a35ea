"""What a run prints, each thing against the same thing made another way."""

import json
import re
from types import SimpleNamespace

import naive
import numpy as np
import pytest
from cells import execute, lists_of, results_of, serving
from to_notebook import code_cells, place_of

MINE = ["Snow White and the Seven Dwarfs (1937) 594", "Bambi (1942) 2018"]
MINE += ["Cinderella (1950) 1022", "Dumbo (1941) 1029"]


@pytest.fixture(scope="module")
def saved(finished):
    """What the README's lines for another program make of what the run left, and more."""
    cells, names = code_cells(), {}
    first_user = [movie for user, movie, *_ in finished.ratings if user == 1]
    cells = [cells[0], cells[place_of("SequentialRetrievalModel", cells)]]
    served = execute([*cells, serving(first_user[:-1])], names, finished.folder)
    model, ids = names["model"], names["ids"]
    numbers = {movie: number for number, movie in enumerate(ids)}
    rows = [(user, numbers[movie], s, t) for user, movie, s, t in finished.ratings]
    examples, title_of = naive.examples(rows), [finished.titles.get(x) for x in ids]
    train, test = ([x for x in examples if x["is_last"] is y] for y in (False, True))
    counts = np.bincount([example["label"] for example in train], minlength=len(ids))
    contexts = np.array([example["context"] for example in test])
    scores, lists = naive.scores(model, contexts), lists_of(finished.printed)
    return SimpleNamespace(**locals())


def assert_best_titles(titles, scores, seen, title_of):
    scores = scores.copy()
    scores[[0, *seen]] = -np.inf
    naive.assert_best(np.array([title_of.index(title) for title in titles]), scores)
    assert len(titles) == 10


def test_the_model_is_good(finished):
    """With five seeds, the GRU hit 0.109 to 0.139, counting 0.080, popular 0.037."""
    assert "Computed by jax" in finished.printed
    rates = {name: rate for name, (rate, _) in results_of(finished.printed).items()}
    assert rates["GRU"] > max(0.1, 1.2 * rates["after the last movie"])
    assert rates["after the last movie"] > 1.2 * rates["most popular"]


def test_examples(finished, saved):
    """The first three, their numbers, and three rows of a batch."""
    printed = re.findall(r"\[([ \d]+)\] -> (\d+)", finished.printed)
    printed = [([*map(int, context.split())], int(label)) for context, label in printed]
    assert printed == [(x["context"], x["label"]) for x in saved.train[:3]]
    counts = re.findall(r"[\d,]+(?= (?:training|test))", finished.printed)
    assert counts == [f"{len(saved.train):,}", f"{len(saved.test):,}"]
    batch = r"(?s)contexts \(256, 10\):(.*?)labels .*?:(.*?\])"
    texts = re.search(batch, finished.printed).groups()
    contexts, labels = ([*map(int, re.findall(r"\d+", text))] for text in texts)
    rows = np.column_stack([np.reshape(contexts, (3, 10)), labels]).tolist()
    assert {*map(tuple, rows)} <= {(*x["context"], x["label"]) for x in saved.train}


def test_losses(finished, saved):
    labels = np.array([example["label"] for example in saved.test])
    share = np.maximum(saved.counts[labels], 1).astype("float32") / len(saved.train)
    y = {"label": labels, "sampling_probability": share}
    expected = saved.model.evaluate(saved.contexts, y, 256, verbose=0)
    printed = re.findall(r"loss: ([\d.]+) - val_loss: ([\d.]+)", finished.printed)
    loss, val_loss = map(float, printed[-1])
    assert val_loss == pytest.approx(expected, abs=0.001)  # Of all test users.
    assert max(loss, val_loss) < np.log(256)


def test_results(finished, saved):
    def metrics(scores, abs=0.002):  # A rank or two.
        rows = zip(scores, saved.test)
        ranks = [naive.rank(row, x["label"], x["seen"]) for row, x in rows]
        return pytest.approx(naive.metrics(ranks), abs=abs)

    after = {}
    for example in saved.train:
        row = after.setdefault(example["context"][-1], saved.counts / 1e6)
        row[example["label"]] += 1
    after = [after.get(last, saved.counts) for last in saved.contexts[:, -1]]
    shuffled = np.random.default_rng(0).permuted(saved.contexts, axis=1)
    printed = results_of(finished.printed)
    assert printed["most popular"] == metrics([saved.counts] * len(saved.test))
    assert printed["after the last movie"] == metrics(after)
    assert printed["GRU"] == metrics(saved.scores)
    expected = metrics(naive.scores(saved.model, shuffled), abs=0.02)
    assert printed["GRU, contexts shuffled"] == expected


def test_lists(saved):
    """Of the first user, twice, and served; and of the four titles of one's own."""
    first, lists, title_of = saved.test[0], saved.lists, saved.title_of
    watched = [title_of[number] for number in first["seen"][-10:]]
    assert lists["Watched, the last one last"] == watched
    assert lists["Watched next"] == [title_of[first["label"]]]
    assert_best_titles(lists["Recommended"], saved.scores[0], first["seen"], title_of)
    assert lists["Recommended again"] == lists["Recommended"][:3]
    served = [title_of[saved.numbers[movie]] for movie in json.loads(saved.served)]
    assert served == lists["Recommended"]
    assert lists["You watched"] == MINE
    mine = [title_of.index(title) for title in MINE]
    scores = naive.scores(saved.model, np.array([mine]))[0]
    assert_best_titles(lists["For you"], scores, mine, title_of)
    short_lists = saved.model.predict(saved.contexts, verbose=0)["predictions"]
    assert short_lists.shape == (len(saved.test), 100)
    naive.assert_best(short_lists, saved.scores)
