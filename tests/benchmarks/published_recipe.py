"""The published recipe, against which the benchmark holds the script.

What the Keras RS example does, mended only so that it runs on today's Keras: a loop makes
the examples, padded behind; batches of 4,096 in the users' order; no mask, plain one-hot
labels, dimension 32, AdamW with a rate of 0.005, 5 epochs, the test as `validation_data`.
After the clock has stopped, the model is judged as the script's.
"""

import json
import sys
import time
from pathlib import Path

import keras
import keras_rs
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from naive import naive_examples

start = time.perf_counter()
folder = Path(sys.argv[1])
read = {"sep": "::", "header": None, "engine": "python", "encoding": "latin-1"}
ratings_df = pd.read_csv(folder / "ratings.dat", **read)
movies_df = pd.read_csv(folder / "movies.dat", **read)
examples = naive_examples(ratings_df.values, 10, 3, 2)
datasets = []
for is_last in False, True:
    part = [e for e in examples if e["is_last"] == is_last]
    behind = [sorted(e["context"], key=lambda movie: movie == 0) for e in part]
    columns = {"context": behind, "label": [e["label"] for e in part]}
    dataset = tf.data.Dataset.from_tensor_slices(columns).map(
        lambda row: (row["context"], row["label"]), num_parallel_calls=tf.data.AUTOTUNE
    )
    datasets.append(dataset.batch(4096).cache().prefetch(tf.data.AUTOTUNE))
prepared = time.perf_counter() - start


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
        found = {} if training else {"predictions": self.retrieval(queries)}
        return {"queries": queries, **found}

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        scores = ops.matmul(y_pred["queries"], ops.transpose(self.candidates(y)))
        labels = ops.eye(ops.shape(scores)[0])
        return super().compute_loss(x, labels, scores, sample_weight, training)


model = PublishedModel(int(movies_df[0].max()) + 1)
loss = keras.losses.CategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.AdamW(learning_rate=0.005), loss)
model.fit(datasets[0], validation_data=datasets[1], epochs=5, verbose=2)
top = model.predict(datasets[1], verbose=0)["predictions"]
titles = dict(zip(movies_df[0], movies_df[1]))
print([titles.get(int(movie), "") for movie in top[0]])
end = time.perf_counter() - start

queries = model.predict(datasets[1], verbose=0)["queries"]
table = np.asarray(model.candidates.embeddings)
candidates = {e["label"] for e in examples if not e["is_last"]}
watched, ranks = {}, []
for e in examples:  # All but the label of the last example.
    watched.setdefault(e["user"], set()).add(e["context"][-1])
for query, e in zip(queries, [e for e in examples if e["is_last"]]):
    scores, others = table @ query, list(candidates - watched[e["user"]])
    rank = 1 + np.sum(scores[others] > scores[e["label"]])
    ranks.append(rank if e["label"] in candidates else np.inf)
gains = [1 / np.log2(1 + rank) if rank <= 10 else 0 for rank in ranks]
results = {"GRU": [float(np.mean(np.array(ranks) <= 10)), float(np.mean(gains))]}
print(json.dumps({"prepared": prepared, "end": end, "results": results}))
