"""
Title: Sequential retrieval [GRU4Rec]
Author: Abheesht Sharma, Fabien Hertschuh (original Keras RS example)
Date created: 2026/11/24
Last modified: 2026/11/24
Description: Recommend the next movie from the order of the last ten, with a GRU.
Accelerator: GPU
"""

"""
## Introduction

*Sequential retrieval* picks, out of a whole catalogue, the movies that a person is most
likely to watch next. The order of those watched so far matters: of two people who saw
the same ten, the one who saw the thrillers last is likelier to want another thriller.

We build a two-tower model in the manner of
[GRU4Rec](https://arxiv.org/abs/1511.06939). The *query tower* turns a sequence of
movies into a vector with a recurrent layer, the *candidate tower* turns one movie into
a vector, and the dot product of the two is the movie's score. At the end we hold the
model against two baselines that only count.

The backend must be chosen before Keras is imported: JAX, unless the environment names
another. TensorFlow is here for `tf.data`, and must leave the GPU's memory alone. It
reports its start on standard error whatever the log level, so we look away meanwhile.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
try:
    import tensorflow as tf
finally:
    os.dup2(stderr, 2)

import io
import socket
import urllib.error
import warnings
import zipfile
from pathlib import Path

import keras
import keras_rs
import numpy as np
import pandas as pd
from keras import layers, ops

if keras.backend.backend() != "tensorflow":
    tf.config.set_visible_devices([], "GPU")

"""
All variables stand here. Those of the model were chosen on a validation split, each
user's last movie but one, by quality per second.
"""

ARCHIVE_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
ARCHIVE_SHA256 = "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"
DATA_DIR = Path("data").absolute()
SAMPLE = Path("tests/data/movielens-sample.zip")  # For a machine without internet.

MAX_CONTEXT_LENGTH = 10  # The model sees this many of a user's last movies.
MIN_SEQUENCE_LENGTH = 3  # One movie for context, one to learn from, one for the test.
MIN_RATING = 2  # In stars; a movie rated lower is not one to recommend.
TOP_K = 10  # Movies to recommend.

BATCH_SIZE = 512  # Each label has the 511 others of its batch as negatives.
TEST_BATCH_SIZE = 250  # Another number, by which training batches are told apart.
QUERY_EMBEDDING_DIM = 32  # Of the movies of a context.
EMBEDDING_DIM = 64  # Of queries and candidates.
TEMPERATURE = 0.1  # Divides the cosines, which alone are too alike for a softmax.
LEARNING_RATE = 0.008  # At the start; falls to 0 along half a cosine.
WEIGHT_DECAY = 0.05
EPOCHS = 4
SEED = 42
keras.utils.set_random_seed(SEED)

"""
## Dataset

MovieLens 1M is a million ratings that 6,040 people gave to 3,706 movies. `get_file`
downloads it, checks its SHA-256, unpacks it, and next time finds it where it is. If
nobody answers, a small real sample takes its place. Anything else that goes wrong is an
error: a damaged archive is no reason to train on other data without being asked.
"""

archive = DATA_DIR / "ml-1m.zip"
socket.setdefaulttimeout(30)  # Seconds. `get_file` itself would wait forever.
try:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Of paths out of its folder.
        data_dir = keras.utils.get_file(
            archive.name,
            ARCHIVE_URL,
            cache_subdir=DATA_DIR,  # If not absolute, it may end up in /tmp/.keras.
            file_hash=ARCHIVE_SHA256,
            extract=True,
        )
    data_dir = next(Path(data_dir).rglob("ratings.dat")).parent
except Exception as error:
    cause = error.__context__ or error
    advice = f"To do it by hand, download {ARCHIVE_URL} to {archive}."
    if isinstance(error, ValueError):  # The wrong SHA-256.
        archive.unlink(missing_ok=True)
    is_silence = isinstance(cause, (ConnectionError, TimeoutError))
    if not is_silence and type(cause) is not urllib.error.URLError:
        raise SystemExit(f"{ARCHIVE_URL} is not in {DATA_DIR}: {error}\n{advice}")
    if not SAMPLE.exists():
        raise SystemExit(f"{error}\nThere is no {SAMPLE} here either. {advice}")
    print(f"{error}\nGoing on with {SAMPLE}: enough to see it work, not to judge it.\n")
    data_dir = zipfile.Path(SAMPLE, "movielens-sample/")
finally:
    socket.setdefaulttimeout(None)

"""
One function reads both files. A line that it cannot read is an error, not a gap.
"""


def read_data(path, numbers, texts=()):
    """Reads a MovieLens `.dat` file, in the format of the `README` in ml-1m.zip.

    Args:
        path: Path of the file, in a folder or in a zip archive.
        numbers: list of str. Names of the fields that hold numbers; they come first.
        texts: list of str. Names of the fields that hold text.

    Returns:
        DataFrame of shape `(lines, fields)`. Raises SystemExit, and names the file and
        the line, if a field is missing, or no number where one belongs.
    """
    names = [*numbers, *texts]
    text = path.read_bytes().rstrip()
    try:
        df = pd.read_csv(
            io.BytesIO(text.replace(b"::", b"\t")),  # For `sep="::"` it is slow.
            sep="\t",
            names=names,
            dtype=dict.fromkeys(texts, str),
            encoding="latin-1",
            quoting=3,  # None: quotes are part of a title.
            na_filter=False,  # "Null" may be one.
            skip_blank_lines=False,
            index_col=False,
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        raise SystemExit(f"{path}: {error}")
    if df.empty:
        raise SystemExit(f"{path} is empty. Delete it and run this again.")
    bad = df[numbers].apply(pd.to_numeric, errors="coerce").isna().any(axis=1)
    bad |= df[names[-1]] == ""  # What is missing from a line is read as "".
    if bad.any():
        line = text.splitlines()[bad.argmax()].decode("latin-1")
        raise SystemExit(
            f"{path}, line {bad.argmax() + 1}: {line!r} is not "
            f"{'::'.join(names)}. Correct the line or delete it."
        )
    return df


ratings_df = read_data(
    data_dir / "ratings.dat", ["UserID", "MovieID", "Rating", "Timestamp"]
)
movies_df = read_data(data_dir / "movies.dat", ["MovieID"], ["Title", "Genres"])
print(f"{len(ratings_df):,} ratings\n{ratings_df.head()}\n")
print(f"{len(movies_df):,} movies\n{movies_df.head().to_string()}\n")

"""
The ids have gaps. In an embedding table each is a row that takes memory and can be
recommended, though it has no title. So we number the movies that have ratings and a
title anew, from 1 without gaps; 0 is for padding.
"""

movies_df = movies_df[movies_df["Title"] != ""].drop_duplicates("MovieID")
has_title = ratings_df["MovieID"].isin(movies_df["MovieID"])
if not has_title.all():
    print(f"{(~has_title).sum():,} ratings left out: movies.dat has no such movie.")
ratings_df = ratings_df[has_title]
movies_df = movies_df[movies_df["MovieID"].isin(ratings_df["MovieID"])]
old_ids = pd.Index(movies_df["MovieID"])
ratings_df = ratings_df.assign(MovieID=old_ids.get_indexer(ratings_df["MovieID"]) + 1)
movies_df = movies_df.assign(MovieID=np.arange(1, len(movies_df) + 1))

"""
Next, each user's sequence of movies, by timestamp, and where that is equal in the order
of the file. A user with n movies gives n - 1 examples, one for every movie that has
others before it. That movie is the *label*; the ones before it, up to
`MAX_CONTEXT_LENGTH`, are the *context*. To get all contexts at once we slide a window
over the movies of all users, and pad with 0 where it reaches back to another user.
"""


def make_examples(ratings_df):
    """Makes one example of each movie that its user watched after others.

    Args:
        ratings_df: DataFrame of `UserID`, `MovieID` (from 1 on) and `Rating` (in
            stars), ordered by user, and for each user by time.

    Returns:
        Four arrays: contexts, int32 `(examples, MAX_CONTEXT_LENGTH)`, ids with the
        latest last and padding in front; labels, int32 `(examples,)`; the labels'
        index in `ratings_df`, `(examples,)`; whether it is the user's last example.
        Raises SystemExit if one of the limits leaves nothing to learn from.
    """
    df = ratings_df[ratings_df["Rating"] >= MIN_RATING]
    if df.empty:
        raise SystemExit(f"Nothing to learn from: no rating reaches {MIN_RATING=}.")
    df = df[df.groupby("UserID")["UserID"].transform("size") >= MIN_SEQUENCE_LENGTH]
    if df.empty:
        raise SystemExit(f"Nothing to learn from: no user has {MIN_SEQUENCE_LENGTH=}.")
    movies = df["MovieID"].to_numpy("int32")  # (M,)
    num_before = df.groupby("UserID").cumcount().to_numpy()  # (M,)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(movies, (MAX_CONTEXT_LENGTH, 0))[:-1], MAX_CONTEXT_LENGTH
    )  # (M, MAX_CONTEXT_LENGTH)
    is_own = np.arange(MAX_CONTEXT_LENGTH, 0, -1) <= num_before[:, None]
    contexts = np.where(is_own, windows, 0)
    is_last = ~df["UserID"].duplicated(keep="last").to_numpy()
    some = num_before > 0
    return contexts[some], movies[some], df.index.to_numpy()[some], is_last[some]


ratings_df = ratings_df.sort_values(["UserID", "Timestamp"], ignore_index=True)
contexts, labels, rows, is_last = make_examples(ratings_df)
print("The first contexts and labels:\n", np.column_stack([contexts, labels])[:3], "\n")

"""
**The split**: each user's last example is for the test, all others are for training. A
random split would let the model learn from what people watched after the test movie.
Nothing below that shapes the model looks at the test labels, not even to count them.
The training rows are shuffled before they are batched: the other labels of a batch are
going to be the negatives, and must not all be one user's. `cache()` keeps the batches,
`shuffle()` gives them a new order in every epoch. Autotuning is off, since it can hold
up the start of an epoch for seconds (we saw 2.3 s, instead of 0.02 s without it).
"""

train = np.random.permutation(np.flatnonzero(~is_last))
batch_size = min(BATCH_SIZE, len(train))
train = train[: len(train) // batch_size * batch_size]  # Whole batches.
train_contexts, train_labels = contexts[train], labels[train]
test_contexts, test_labels = contexts[is_last], labels[is_last]
del contexts, labels, train
print(f"{len(train_labels):,} training and {len(test_labels):,} test examples\n")

options = tf.data.Options()
options.autotune.enabled = False
train_ds = tf.data.Dataset.from_tensor_slices((train_contexts, train_labels))
train_ds = train_ds.batch(batch_size).cache()
train_ds = train_ds.shuffle(len(train_ds)).prefetch(2).with_options(options)
test_ds = tf.data.Dataset.from_tensor_slices((test_contexts, test_labels))
test_ds = test_ds.batch(TEST_BATCH_SIZE).cache().prefetch(2).with_options(options)
for context, label in train_ds.take(1):
    print(
        f"A batch: contexts {context.shape}\n{context}\nlabels {label.shape}\n{label}\n"
    )

"""
## Model and training

The query tower embeds the movies of a context and runs a GRU over them. `mask_zero`
keeps the padding out, and `unroll` makes ten steps in a row of the loop, which is
faster when they are so few. The candidate tower embeds one movie. Both end in vectors
of length 1, so that the score is a cosine. `BruteForceRetrieval` scores a query against
all candidates and sorts them; training does without, and scores only within a batch.

The loss is a softmax over the batch. The labels are one-hot vectors, in all an identity
matrix of shape `(batch_size, batch_size)`: a query's right answer is the movie of its
own row, and the movies of the other rows are its negatives. Two things make it right.

- *Popularity.* A popular movie is a negative more often. Unless the scores are
  [corrected](https://doi.org/10.1145/3298689.3346996) by the logarithm of that
  probability, the model learns to avoid it: HR@10 falls from 0.295 to 0.185.
- *Accidental hits.* Another row with the same label is no negative.
  `keras_rs.layers.RemoveAccidentalHits` should see to that, but in keras-rs 0.4.0 it
  adds some 1e-40 to the score, which changes nothing. So we subtract 1e9 by hand.
"""


class SequentialRetrievalModel(keras.Model):
    """A query tower and a candidate tower.

    Args:
        label_counts: int array `(movies + 1,)`. How often each id is a training label.
    """

    def __init__(self, label_counts):
        super().__init__()
        num_rows = len(label_counts)
        self.query_tower = keras.Sequential(
            [
                layers.Embedding(num_rows, QUERY_EMBEDDING_DIM, mask_zero=True),
                layers.GRU(EMBEDDING_DIM, unroll=True),
                layers.UnitNormalization(),
            ]
        )
        self.candidate_tower = keras.Sequential(
            [layers.Embedding(num_rows, EMBEDDING_DIM), layers.UnitNormalization()]
        )
        self.retrieval = keras_rs.layers.BruteForceRetrieval(
            k=np.count_nonzero(label_counts), return_scores=False
        )
        self.correct = keras_rs.layers.SamplingProbabilityCorrection()
        self.probability = (label_counts / label_counts.sum()).astype("float32")

    def build(self, input_shape):
        self.query_tower.build(input_shape)
        self.candidate_tower.build((None,))

    def call(self, contexts, training=False):
        query_embeddings = self.query_tower(contexts)  # (B, D)
        outputs = {"query_embeddings": query_embeddings}
        if self.retrieval.built and not training:
            outputs["predictions"] = self.retrieval(query_embeddings)  # (B, k)
        return outputs

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        queries = y_pred["query_embeddings"] / TEMPERATURE  # (B, D)
        candidates = self.candidate_tower(y)  # (B, D)
        scores = ops.matmul(queries, ops.transpose(candidates))  # (B, B)
        scores = self.correct(scores, ops.take(self.probability, y))  # (B, B) - (B,)
        one_hot = ops.eye(ops.shape(y)[0])  # (B, B)
        same_movie = ops.cast(ops.equal(y[:, None], y), "float32")  # (B, B)
        scores = scores - 1e9 * (same_movie - one_hot)
        return super().compute_loss(x, one_hot, scores, sample_weight, training)


"""
With several devices on JAX, each gets a part of every training batch; the negatives are
still those of the whole batch, so the result is the same. Other batches, which may not
split evenly, go to every device whole.
"""


class SplitTrainingBatches(keras.distribution.DataParallel):
    def get_data_layout(self, data_shape):
        if data_shape[0] == batch_size and batch_size % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        whole = [None] * len(data_shape)
        return keras.distribution.TensorLayout(whole, self.device_mesh)


if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
    keras.distribution.set_distribution(SplitTrainingBatches())

"""
Let's instantiate, compile and train the model. `val_loss` has other negatives than
`loss`, and says little about recommendations. After training, `BruteForceRetrieval`
gets the candidate tower's vectors, and so ranks by the very score that was trained. A
movie that was never a label in training still has a random vector and is left out.
"""

label_counts = np.bincount(train_labels, minlength=len(movies_df) + 1)
model = SequentialRetrievalModel(label_counts)
schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, EPOCHS * len(train_ds))
model.compile(
    optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
)
history = model.fit(train_ds, epochs=EPOCHS, validation_data=test_ds, shuffle=False)

candidate_ids = np.flatnonzero(label_counts)
model.retrieval.update_candidates(model.candidate_tower(candidate_ids), candidate_ids)

"""
## Evaluation

For every test user we rank all candidates and leave out what the user watched before
the test movie, in the context or earlier, liked or not. HR@10, the hit rate, is the
share of users whose test movie is among the ten now on top. NDCG@10 gives 1 for the
first place, down to 0.29 for the tenth. With one right answer, HR is the recall.
"""

test_rows = pd.Series(rows[is_last], index=ratings_df["UserID"][rows[is_last]])
is_before = ratings_df.index < ratings_df["UserID"].map(test_rows)
users = test_rows.index.get_indexer(ratings_df["UserID"][is_before])
watched = np.zeros((len(test_labels), len(movies_df) + 1), bool)  # (users, movies + 1)
watched[users, ratings_df["MovieID"][is_before]] = True


def evaluate(rankings):
    """Returns a dict of metrics, floats from 0 to 1, of one ranking for each test user.

    Args:
        rankings: Iterable of int arrays of shape `(candidates,)`: ids, best first.
    """
    hits = np.zeros((len(test_labels), TOP_K), "float32")
    for user, ranking in enumerate(rankings):
        top = ranking[~watched[user, ranking]][:TOP_K]
        hits[user, : len(top)] = top == test_labels[user]
    scores = np.tile(-np.arange(TOP_K, dtype="float32"), (len(hits), 1))  # In order.
    metrics = {
        f"HR@{TOP_K}": keras_rs.metrics.RecallAtK(k=TOP_K, shuffle_ties=False),
        f"NDCG@{TOP_K}": keras_rs.metrics.NDCG(k=TOP_K, shuffle_ties=False),
    }
    return {name: float(metric(hits, scores)) for name, metric in metrics.items()}


"""
The baselines count training examples: how often a movie is watched at all, and how
often right after the user's last movie, with equal counts in the order of the first.
"""

most_popular = candidate_ids[np.argsort(-label_counts[candidate_ids], kind="stable")]

rows_after = pd.Series(train_labels).groupby(train_contexts[:, -1]).indices
counts = (
    np.bincount(train_labels[rows_after.get(movie, [])], minlength=len(label_counts))
    for movie in test_contexts[:, -1]
)
after_last_movie = (
    most_popular[np.argsort(-count[most_popular], kind="stable")] for count in counts
)

gru = (
    ranking
    for context, _ in test_ds.as_numpy_iterator()
    for ranking in model.predict_on_batch(context)["predictions"]
)

results = {
    "most popular": evaluate([most_popular] * len(test_labels)),
    "after the last movie": evaluate(after_last_movie),
    "GRU": evaluate(gru),
}
print(pd.DataFrame(results).T.round(3), "\n")

"""
## Making predictions

So far, movies were numbers. For people, we map them to their titles. `model.predict()`
takes contexts and returns every candidate, best first, by way of the
`BruteForceRetrieval` layer. Movies watched already are among them; we leave them out.
"""

movie_id_to_movie_title = dict(zip(movies_df["MovieID"], movies_df["Title"]))
user = 0
context = test_contexts[[user]]  # (1, MAX_CONTEXT_LENGTH)
ranking = model.predict(context, verbose=0)["predictions"][0]  # (candidates,)
recommended = ranking[~watched[user, ranking]][:TOP_K]

titles = map(movie_id_to_movie_title.get, context[context > 0])
print("Watched, the last one last:", *titles, sep="\n    ")
titles = map(movie_id_to_movie_title.get, recommended)
print("Recommended, the best one first:", *titles, sep="\n    ")
