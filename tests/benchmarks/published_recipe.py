"""The published recipe, against which the benchmark holds the script.

python published_recipe.py FOLDER: what the Keras RS example does, mended only so
that it runs on today's Keras: a loop makes the examples, padded behind; batches of 4,096
in the users' order, through `map`, `cache` and `prefetch` with AUTOTUNE; no mask, plain
one-hot labels, dimension 32, AdamW with a learning rate of 0.005, 5 epochs, the test set
as `validation_data`. After the clock has stopped, the model is judged like the script's:
all movies of the training ranked, those that the user has rated before left out.
"""

import sys
import time
from pathlib import Path

import keras
import keras_rs
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops
from naive import naive_examples

start = time.perf_counter()
folder = Path(sys.argv[1])
read = {"sep": "::", "header": None, "engine": "python", "encoding": "latin-1"}
ratings_df = pd.read_csv(folder / "ratings.dat", **read)
movies_df = pd.read_csv(folder / "movies.dat", **read)
examples = naive_examples(ratings_df.values, 10, 3, 2)
datasets = []
for is_last in False, True:
    part = [example for example in examples if example["is_last"] == is_last]
    behind = [
        sorted(example["context"], key=lambda movie: movie == 0) for example in part
    ]
    columns = {"context": behind, "label": [example["label"] for example in part]}
    dataset = tf.data.Dataset.from_tensor_slices(columns).map(
        lambda row: (row["context"], row["label"]), num_parallel_calls=tf.data.AUTOTUNE
    )
    datasets.append(dataset.batch(4096).cache().prefetch(tf.data.AUTOTUNE))
print(f"prepared in {time.perf_counter() - start:.2f} s", flush=True)


class PublishedModel(keras.Model):
    def __init__(self, num_movies):
        super().__init__()
        self.query_tower = keras.Sequential(
            [keras.layers.Embedding(num_movies, 32), keras.layers.GRU(32)]
        )
        self.candidates = keras.layers.Embedding(num_movies, 32)
        self.candidates.build(None)
        self.retrieval = keras_rs.layers.BruteForceRetrieval(k=10, return_scores=False)
        self.retrieval.candidate_embeddings = self.candidates.embeddings

    def call(self, contexts, training=False):
        queries = self.query_tower(contexts)
        outputs = {"queries": queries}
        if not training:
            outputs["predictions"] = self.retrieval(queries)
        return outputs

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        scores = ops.matmul(y_pred["queries"], ops.transpose(self.candidates(y)))
        labels = ops.eye(ops.shape(scores)[0])
        return super().compute_loss(x, labels, scores, sample_weight, training)


model = PublishedModel(int(movies_df[0].max()) + 1)
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=0.005),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
)
model.fit(datasets[0], validation_data=datasets[1], epochs=5, verbose=2)
top = model.predict(datasets[1], verbose=0)["predictions"]
titles = dict(zip(movies_df[0], movies_df[1]))
print([titles.get(int(movie), "") for movie in top[0]])
print(f"ended after {time.perf_counter() - start:.2f} s", flush=True)

queries = model.predict(datasets[1], verbose=0)["queries"]
table = np.asarray(model.candidates.embeddings)
candidates = np.unique([e["label"] for e in examples if not e["is_last"]])
rated = {}
for user, movie, _, timestamp in ratings_df.values.tolist():
    rated.setdefault(user, []).append((timestamp, movie))
gains = []
for query, example in zip(queries, [e for e in examples if e["is_last"]]):
    in_order = [
        movie for _, movie in sorted(rated[example["user"]], key=lambda r: r[0])
    ]
    before = in_order[: in_order.index(example["label"])]
    free = np.setdiff1d(candidates, before)
    ranking = free[np.argsort(-(table[free] @ query), kind="stable")].tolist()[:10]
    found = example["label"] in ranking
    gains.append(1 / np.log2(ranking.index(example["label"]) + 2) if found else 0)
print(f"HR@10 {np.mean(np.array(gains) > 0):.3f} NDCG@10 {np.mean(gains):.3f}")
