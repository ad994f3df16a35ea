"""The naive recipe that the benchmark holds the script against.

python naive_recipe.py FOLDER: a loop over the ratings, batches of 4,096 without a mask,
plain one-hot labels, dimension 32, 5 epochs, top 10 titles.
"""

import sys
import time
from pathlib import Path

import keras
import keras_rs
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
    contexts = [example["context"] for example in part]
    labels = [example["label"] for example in part]
    dataset = tf.data.Dataset.from_tensor_slices((contexts, labels))
    datasets.append(dataset.batch(4096).cache().prefetch(tf.data.AUTOTUNE))
print(f"prepared in {time.perf_counter() - start:.2f} s", flush=True)


class NaiveModel(keras.Model):
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


model = NaiveModel(int(movies_df[0].max()) + 1)
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=0.001),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
)
model.fit(datasets[0], validation_data=datasets[1], epochs=5, shuffle=False, verbose=2)
top = model.predict(datasets[1], verbose=0)["predictions"]
titles = dict(zip(movies_df[0], movies_df[1]))
print([titles.get(int(movie), "") for movie in top[0]])
print(f"ended after {time.perf_counter() - start:.2f} s", flush=True)
