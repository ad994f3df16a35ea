"""The published recipe, against which the benchmark holds the script.

python tests/benchmarks/published_recipe.py ml-1m.zip SEED, in an empty folder, does what
the Keras RS notebook does (keras-io, commit 311b191), step by step and in other words,
mended only so that it runs on today's Keras. The clock stops at the titles. Then it is
judged by the rules of the script, on the movies that are last in the file's order.
"""

import collections
import json
import sys
import time
import zipfile
from pathlib import Path

import keras
import keras_rs
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import naive

keras.utils.set_random_seed(int(sys.argv[2]))
zipfile.ZipFile(sys.argv[1]).extractall()
start = time.perf_counter()
read = {"sep": "::", "header": None, "engine": "python", "encoding": "unicode_escape"}
folder = next(path.parent for path in Path().glob("*/ratings.dat"))
ratings_df = pd.read_csv(folder / "ratings.dat", **read)
movies_df = pd.read_csv(folder / "movies.dat", **read)
ratings_df[3] = ratings_df[3].apply(int)
watched = collections.defaultdict(list)
for user, movie, stars, when in ratings_df[ratings_df[2] >= 2].values:
    watched[user].append({"movie": movie, "stars": stars, "when": when})
train, test = [], []
for movies in watched.values():
    movies.sort(key=lambda row: row["when"])
    for i in range(1, len(movies) if len(movies) >= 3 else 0):
        context = movies[max(0, i - 10) : i]
        while len(context) < 10:
            context.append({"movie": 0, "stars": 0.0, "when": 0})
        example = {"context": [int(row["movie"]) for row in context]}
        example["label"] = int(movies[i]["movie"])
        (test if i == len(movies) - 1 else train).append(example)
datasets = []
for part, size in (train, 4096), (test, 2048):
    columns = collections.defaultdict(list)
    for example in part:
        for name, value in example.items():
            columns[name].append(value)
    dataset = tf.data.Dataset.from_tensor_slices(dict(columns))
    dataset = dataset.map(lambda row: (row["context"], row["label"]))
    datasets.append(dataset.batch(size).cache().prefetch(tf.data.AUTOTUNE))
prepared = time.perf_counter() - start


class PublishedModel(keras.Model):
    def __init__(self, num_movies):
        super().__init__()
        towers = [keras.layers.Embedding(num_movies, 32), keras.layers.GRU(32)]
        self.query_tower = keras.Sequential(towers)
        self.candidates = keras.layers.Embedding(num_movies, 32)
        self.candidates.build(None)
        self.retrieval = keras_rs.layers.BruteForceRetrieval(k=10, return_scores=False)
        self.retrieval.candidate_embeddings = self.candidates.embeddings

    def call(self, contexts, training=False):
        queries = self.query_tower(contexts)
        more = {} if training else {"predictions": self.retrieval(queries)}
        return {"queries": queries} | more

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        scores = ops.matmul(y_pred["queries"], ops.transpose(self.candidates(y)))
        labels = ops.eye(ops.shape(scores)[0])
        return super().compute_loss(x, labels, scores, sample_weight, training)


model = PublishedModel(int(movies_df[0].max()) + 1)
adam, loss = keras.optimizers.AdamW(0.005), keras.losses.CategoricalCrossentropy
model.compile(adam, loss(from_logits=True))
model.fit(datasets[0], validation_data=datasets[1], epochs=5, verbose=2)
top = model.predict(datasets[1], verbose=0)["predictions"]
titles = dict(zip(movies_df[0], movies_df[1]))
print([titles.get(int(movie), "") for movie in top[0]])
end = time.perf_counter() - start

scores = model.predict(datasets[1], verbose=0)["queries"]
scores = scores @ np.asarray(model.candidates.embeddings).T
occurring = np.unique([int(row["movie"]) for own in watched.values() for row in own])
scores[:, np.setdiff1d(np.arange(scores.shape[1]), occurring)] = -np.inf
seen = [[int(row["movie"]) for row in x[:-1]] for x in watched.values() if len(x) >= 3]
labels = [example["label"] for example in test]
ranks = [*map(naive.rank, scores, labels, seen)]
results = {"published recipe": naive.metrics(ranks)}
print(json.dumps({"prepared": prepared, "titles": end, "results": results}))
