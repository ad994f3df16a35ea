"""
Title: Sequential retrieval [GRU4Rec]
Author: Abheesht Sharma, Fabien Hertschuh (original Keras RS example)
Date created: 2026/11/24
Last modified: 2026/11/25
Description: Recommend the next movie from the last ten in their order, with a GRU.
Accelerator: None
"""

"""
## Introduction

A movie service has thousands of movies, and room for ten of them on the screen.
*Retrieval* is the first stage of choosing these ten: it searches the whole catalogue
and comes back with a short list. A second stage, *ranking*, may then sort the short
list with a slower and more careful model. In this example we build the first stage.

Our retrieval is *sequential*: it looks at the movies that somebody has watched, in the
order of watching, and predicts the next one. The order tells us something. Of two
people who saw the same ten movies, the one who ended with three thrillers is in another
mood than the one who ended with three cartoons.

A model cannot compare people with movies until both are lists of numbers of the same
length, that is, vectors. Three kinds of layers get us there:

- An *embedding* is a table with one vector for each movie. Its numbers are random at
  first, and training changes them until movies that go together have similar vectors.
- A *GRU* (gated recurrent unit) reads vectors one after the other. After each of them
  it updates a vector of its own, which sums up everything read so far. The [GRU4Rec
  paper](https://arxiv.org/abs/1511.06939) brought GRUs to recommendations.
- `UnitNormalization` scales a vector to length 1. What is left is its direction, and
  vectors that point in similar directions are similar.

With these layers we build two small networks, called *towers*. The *query tower* turns
the movies that somebody has watched into one vector, the *query*. The *candidate tower*
turns one movie that we could recommend, a *candidate*, into a vector, too. The dot
product of the two vectors is the candidate's *score* for this query. We recommend the
movies with the highest scores. In the drawing, each number stands for a movie, and 0
for "no movie". Beside the arrows are the shapes of the arrays, where `batch` is the
number of rows that are computed together.

```
  movies watched, latest last               a movie to recommend
   [0  0  12  7  9  ...  305]                       48
               |                                     |
               | (batch, 10)                         | (batch,)
               v                                     v
     +---------------------------------------------------------+
     |                        Embedding                        |
     +---------------------------------------------------------+
               | (batch, 10, 64)                     |
               v                                     |
     +-------------------+                           | (batch, 64)
     |        GRU        |                           |
     +-------------------+                           |
               | (batch, 64)                         |
               v                                     v
     +-------------------+                 +-------------------+
     | UnitNormalization |                 | UnitNormalization |
     +-------------------+                 +-------------------+
               | (batch, 64)                         | (batch, 64)
               |                                     |
               +---------->  dot product  <----------+
                                  |
                                  v
                                score
```

The run downloads a million ratings and trains on them, which takes about a minute on
two cores of a server. A GPU is used if there is one, but is not needed. Then it prints
how often the model finds the movie that somebody really watched next. At the end come
ten recommendations for one person of the data, and ten for yourself.

## Setup

Keras leaves the computing to another library, its *backend*. Here it is JAX, which must
be chosen before Keras is imported. [Keras RS](https://keras.io/keras_rs/) adds the
parts that recommenders need. TensorFlow is there for `tf.data`, its library for feeding
data to a model. The last two lines keep it from taking the GPU's memory away from JAX.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import csv
import difflib
import io
import socket
import zipfile
from hashlib import sha256
from pathlib import Path

import keras
import keras_rs
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers, ops

if keras.backend.backend() != "tensorflow":
    tf.config.set_visible_devices([], "GPU")

"""
These are the settings. The first group says where the data is and what its columns are.
Leave it alone. You may change the others, but the figures in the text hold for the
values that stand here. The second group says how we cut the data into examples, the
third how the model is built, the fourth how it is trained, and the last one how many
movies we recommend.
"""

MOVIELENS_1M_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MOVIELENS_ZIP_HASH = "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"
RATINGS_DATA_COLUMNS = ["UserID", "MovieID", "Rating", "Timestamp"]
MOVIES_DATA_COLUMNS = ["MovieID", "Title", "Genres"]

MIN_RATING = 2  # Ratings with fewer stars than this, of 5, are left out.
MIN_SEQUENCE_LENGTH = 3  # People who then have fewer ratings than this are left out.
MAX_CONTEXT_LENGTH = 10  # The model looks at this many movies of a person at most.

EMBEDDING_DIM = 64  # The length of all vectors, of movies as of queries.
TEMPERATURE = 0.1  # Scores are divided by it. See the section on the loss.

BATCH_SIZE = 512  # This many examples make one step of the training.
SHUFFLE_SIZE = 16384  # A batch is drawn from this many examples at a time.
NUM_EPOCHS = 3  # The training goes through all examples this many times.
LEARNING_RATE = 0.01  # The size of the first steps of the training.
WEIGHT_DECAY = 0.1  # How strongly the training pulls all weights towards 0.
SEED = 42  # The start of the random numbers, so that a second run does the same.

TOP_K = 10  # We recommend this many movies.

keras.utils.set_random_seed(SEED)

"""
If the machine has several devices, such as GPUs, JAX can train on all of them:
`DataParallel` gives each device an equal part of every batch. With one device, or with
a number that does not divide `BATCH_SIZE`, these lines do nothing.
"""

if keras.backend.backend() == "jax":
    num_devices = len(keras.distribution.list_devices())
    if num_devices > 1 and BATCH_SIZE % num_devices == 0:
        keras.distribution.set_distribution(keras.distribution.DataParallel())

"""
## Dataset

### Downloading and reading

[MovieLens 1M](https://grouplens.org/datasets/movielens/1m/) holds a million ratings of
movies, given by 6,040 people. `get_file` downloads it into the folder `data`, checks
that it is the right file, and finds it there next time. If a wrong file is there, we
stop, because `get_file` would replace it without asking. Without internet, `get_file`
raises a `ConnectionError`, a `TimeoutError`, or an exception of the type `Exception`
itself. Then the script goes on with a small real sample of 671 people, which comes with
this example, or stops if that is not there either. To use the whole data on such a
machine, put `ml-1m.zip` into the folder `data`.
"""

data_dir = Path("data").absolute()
archive = data_dir / "ml-1m.zip"
sample = Path("tests/data/movielens-sample.zip")
if archive.exists() and sha256(archive.read_bytes()).hexdigest() != MOVIELENS_ZIP_HASH:
    raise ValueError(f"{archive} is damaged, or another file. Please remove it.")
socket.setdefaulttimeout(30)  # Seconds that we wait for an answer.
try:
    keras.utils.get_file(
        origin=MOVIELENS_1M_URL, cache_subdir=data_dir, file_hash=MOVIELENS_ZIP_HASH
    )
except Exception as e:
    if type(e) is not Exception and not isinstance(e, (ConnectionError, TimeoutError)):
        raise  # It was not the network.
    print(f"{e}\nGoing on with {sample}: enough to see it work, not to judge it.\n")
    archive = sample

"""
The archive has a file `ratings.dat` and a file `movies.dat`. Both are text, with `::`
between the fields of a line. We turn `::` into tabs, since pandas reads much faster if
a single character stands between the fields. A line that lacks a field, or has text in
place of a number, is an error. `to_numeric` puts NaN in place of such a number, and
pandas leaves a text that is not there empty. A line that breaks off too early has an
empty last field, so that is the text we look at.
"""


def read_data(path, columns):
    """Reads lines with `::` between the fields, as a DataFrame `(lines, columns)`."""
    df = pd.read_csv(
        io.BytesIO(path.read_bytes().replace(b"::", b"\t")),
        sep="\t",
        names=columns,
        index_col=False,
        encoding="latin-1",
        quoting=csv.QUOTE_NONE,  # Quotes are part of a title.
        keep_default_na=False,  # A title may be "nan".
    )
    numbers = df.columns.difference(["Title", "Genres"])
    df[numbers] = df[numbers].apply(pd.to_numeric, errors="coerce", downcast="integer")
    is_bad = df[numbers].isna().any(axis=1) | (df[columns[-1]] == "")
    bad_lines = np.flatnonzero(is_bad) + 1
    if df.empty or len(bad_lines) > 0:
        raise ValueError(f"{path} is empty, or incomplete in line {bad_lines[:5]}.")
    return df


folder = next(zipfile.Path(archive).iterdir())  # The only one in the archive.
ratings_df = read_data(folder / "ratings.dat", RATINGS_DATA_COLUMNS)
movies_df = read_data(folder / "movies.dat", MOVIES_DATA_COLUMNS)
print(ratings_df.head(), movies_df.head().to_string(), sep="\n\n")

"""
What does the data look like? Each row of the first table is one rating: somebody gave a
movie so many stars, at a time that is counted in seconds. From here on we say that this
person *watched* the movie then. That is not quite true. People often rate many movies
in one sitting, even several in one second, and then their order may be that of a list
on the website rather than that of watching. Where two ratings have the same time, we
keep the order of the file. So "what will be watched next" means "what will be rated
next" here, and part of what a method learns from the order may be the order of that
list. Read the figures as a comparison of methods on this data, and not as a forecast
for a real service.

The movies' ids have gaps, because some ids were never given to a movie and some movies
were never rated. In an embedding each gap would be a vector that means nothing, and
could still be recommended. So we number the movies that have ratings and a title from 1
on. The number 0 stays free for "no movie". In MovieLens 1M every rated movie has a
title; in other data, ratings of a movie without one are left out.
"""

is_rated = movies_df["MovieID"].isin(ratings_df["MovieID"])
movies_df = movies_df[is_rated & (movies_df["Title"] != "")]
old_ids = pd.Index(movies_df["MovieID"])
movies_df = movies_df.assign(MovieID=range(1, len(old_ids) + 1))
ratings_df["MovieID"] = old_ids.get_indexer(ratings_df["MovieID"]).astype("int32") + 1
has_title = ratings_df["MovieID"] > 0  # Without one it is -1 + 1, which is 0.
if not has_title.all():
    print(f"{(~has_title).sum():,} ratings are left out: their movie has no title.")
ratings_df = ratings_df[has_title]
num_users = ratings_df["UserID"].nunique()
print(f"{len(ratings_df):,} ratings, {len(movies_df):,} movies, {num_users:,} users")

"""
### From ratings to examples

How does a list of ratings become something to learn from? We cut it into *examples*. An
example is a question with its answer: the question is a sequence of movies that
somebody watched, the *context*, and the answer is the movie that came next, the
*label*. First we put each user's ratings in the order of time, and drop those under
`MIN_RATING`: a movie with one star is not one to recommend. The others we call *liked*,
if only a little, since even two stars say what kind of movie somebody chose. Then there
are four steps:

1. **Form sequences of all lengths**: the first two movies of a user, the first three,
   and so on. Of a long sequence, keep the last `MAX_CONTEXT_LENGTH + 1` movies.
2. **Get labels**: the last movie of a sequence is the label, the others are the
   context.
3. **Remove users** with fewer than `MIN_SEQUENCE_LENGTH` such movies. Of three movies
   one is for the first context, one to learn from, and one for the test.
4. **Pad** short contexts with zeros in front, up to `MAX_CONTEXT_LENGTH`.

Let's do this for one user by hand. She watched the movies 5, 8, 3, 9 and 6, in this
order. If `MAX_CONTEXT_LENGTH` were 3, her five movies would give four examples:

```
[0 0 5] -> 8
[0 5 8] -> 3
[5 8 3] -> 9
[8 3 9] -> 6
```

The code sorts by two columns, which pandas does in a stable way: rows that are equal in
both keep the order of the file. It removes the short users first, and then does the
other three steps for all users at once. In the column of movies, `shift(1)` moves each
user's movies down by one row, so that each row shows the movie before. `shift(2)` shows
the one before that. For a range, `shift` returns a column for each number in it. With
the shifts from `MAX_CONTEXT_LENGTH` down to 1 side by side, each row is the context of
the movie in that row, and where the user has no earlier movie, `fill_value` puts a 0.
Only a user's first movie has no context at all.
"""

ratings_df = ratings_df.sort_values(["UserID", "Timestamp"], ignore_index=True)
liked_df = ratings_df[ratings_df["Rating"] >= MIN_RATING]
lengths = liked_df.groupby("UserID")["MovieID"].transform("size")
liked_df = liked_df[lengths >= MIN_SEQUENCE_LENGTH]
if liked_df.empty:
    raise ValueError(f"No user has {MIN_SEQUENCE_LENGTH=} ratings of {MIN_RATING=}.")

by_user = liked_df.groupby("UserID")["MovieID"]
contexts = by_user.shift(range(MAX_CONTEXT_LENGTH, 0, -1), fill_value=0).to_numpy()
labels = liked_df["MovieID"].to_numpy()
has_context = liked_df.duplicated("UserID").to_numpy()  # All but each user's first.
is_last = ~liked_df.duplicated("UserID", keep="last").to_numpy()
for context, label in zip(contexts[has_context][:4], labels[has_context]):
    print(context, "->", label)

"""
These are the first examples of the first user. Each label becomes the last movie of the
next context, and pushes the zeros to the left.

### Training and test

How do we test the model without fooling ourselves? A recommender knows the past and has
to foresee the future. So for every user, the last example is for the test, and all
earlier ones are for training. If we drew the test examples at random, the training
would contain later examples of the same user, and what was watched later betrays what
was watched before: who watches the third part of a series has most likely seen the
second. The test would measure hindsight. This is called *data leakage*.

One thing this split does not prevent: the users lived through the same years. While we
test on what one user watched in May, the training data holds what others watched in
June, which a real service could not know yet. To be strict, one would cut all users at
one date.

The training rows are shuffled here, so that a batch will not be made of one user's
examples. The section on batches says why.
"""

train_rows = np.random.permutation(np.flatnonzero(has_context & ~is_last))
train_contexts, train_labels = contexts[train_rows], labels[train_rows]
test_contexts, test_labels = contexts[is_last], labels[is_last]
del by_user, contexts, labels, lengths, train_rows  # To save memory.
print(f"{len(train_labels):,} training and {len(test_labels):,} test examples")

"""
In this data nobody rates a movie twice, so a movie that a user has watched can never be
the right answer. In the test we will not recommend it. So for each user we note which
movies were rated before the label. This includes movies that were too long ago for the
context, or rated below `MIN_RATING`.

How do we find them? `ratings_df` is sorted by user and time, and its index counts the
rows. `liked_df` is a part of it, and has kept the index. So a rating came before the
user's label if its index is smaller than the label's. `test_rows` holds the index of
each user's label, and `map` puts it beside each rating of this user. (For users that we
removed, `map` gives NaN, and a comparison with NaN is False.) `get_indexer` turns the
users' ids into row numbers of `watched`, whose rows are in the same order as the test
examples.
"""

test_rows = pd.Series(liked_df.index[is_last], index=liked_df["UserID"][is_last])
is_before = ratings_df.index < ratings_df["UserID"].map(test_rows)
users = test_rows.index.get_indexer(ratings_df["UserID"][is_before])
watched = np.zeros((len(test_rows), len(movies_df) + 1), bool)  # (users, movies + 1)
watched[users, ratings_df["MovieID"][is_before]] = True

"""
### Batches

What goes into the model? A *batch*: `BATCH_SIZE` contexts with their labels. Our model
will learn by choosing the right movie among several, and the others to choose from are
the labels of the same batch. (Why these, the section on the loss will say.) So it
matters which examples share a batch. If a batch were made of one user's examples, the
wrong answers would be movies that this very user watched, and the model would learn not
to recommend what suits the user. That is why we have shuffled the rows.

Each *epoch*, which is one pass over all examples, should also make new batches, so that
each example meets other wrong answers. `shuffle` does that: it always holds
`SHUFFLE_SIZE` rows, hands out one of them at random, and takes in the next. It need not
hold all rows, since they are in random order already. `prefetch` prepares the next
batches while the model works. The few rows that do not fill a batch are dropped; in
each epoch these are different rows. `tf.data` can also look for ways to make the
feeding faster. Ours is so simple that the search costs more time and memory than it
saves, so the options turn it off.
"""

batch_size = min(BATCH_SIZE, len(train_labels))  # If the data is very small.
steps = len(train_labels) // batch_size  # In an epoch.
train_ds = tf.data.Dataset.from_tensor_slices((train_contexts, train_labels))
train_ds = train_ds.shuffle(SHUFFLE_SIZE).batch(batch_size, drop_remainder=True)
test_ds = tf.data.Dataset.from_tensor_slices((test_contexts, test_labels))
test_ds = test_ds.batch(BATCH_SIZE)

options = tf.data.Options()
options.autotune.enabled = False
options.experimental_optimization.apply_default_optimizations = False
train_ds = train_ds.prefetch(2).with_options(options)

batch_contexts, batch_labels = next(train_ds.as_numpy_iterator())
print(f"contexts {batch_contexts.shape}:", batch_contexts[:3], sep="\n")
print(f"labels {batch_labels.shape}:", batch_labels[:3])

"""
Each row is a context, and the label at the same place is the movie that came after it.

## Model and Training

### The two towers

The query tower is the left side of the drawing. `mask_zero` tells the GRU to skip the
zeros of the padding. `unroll` writes the loop over the ten movies out as ten steps,
which is faster when there are so few. The candidate tower is the right side. Both
towers look their movies up in the same embedding. When we gave each tower an embedding
of its own, the model was almost twice as large, and no better. Both towers end with
vectors of length 1. The dot product of two such vectors is their *cosine*, a number
from -1 to 1, which says how far they point in the same direction. So all scores are in
the same range, whatever the movie.

Why two towers, and not one network that looks at the movies watched and at a candidate
together? Because in such a network all candidates must be computed anew for each query.
With two towers, a candidate's vector does not depend on the query. We compute the
vectors of all candidates once and store them in an *index*. A query then needs one run
of the query tower, and one matrix product with the stored vectors. With millions of
candidates the index can even be built so that only a part of it has to be searched. And
a candidate tower could also read a movie's genres or title, which would give new movies
a vector. Ours cannot. A movie that is never a label in training has never been a
candidate there, so its score would mean nothing. We leave such movies out of the
candidates. If one of them is the right answer in the test, that counts as a miss.

`BruteForceRetrieval` is the plain kind of index: it stores the candidates' vectors,
computes the scores of all of them, and returns the `k` best. Its vectors are copies,
which do not change when the model is trained. So we fill the index twice: with random
vectors when the model is built, because the index must know how many they are, and with
the trained ones after the training.

### The loss

What should the model answer for a batch? In each row it has to choose the label of this
row among the labels of all rows. Here is a batch of three, with examples of the user
from above (a real batch would mix users). On the left are the scores of each query with
each candidate. On the right are the labels as *one-hot* vectors, which have a 1 at the
right answer and 0 elsewhere:

```
               candidates                 one-hot labels
                8    3    9                 8  3  9
query [0 0 5]  0.9  0.2  0.4                1  0  0
query [0 5 8]  0.1  0.6  0.5                0  1  0
query [5 8 3]  0.3  0.7  0.2                0  0  1
```

The right answer of row 1 is in column 1, that of row 2 in column 2, and so on. So the
one-hot labels are always the identity matrix, whatever the movies are. Training pushes
the scores on the diagonal up and all others down: they belong to wrong answers, which
are called *negatives*. One could take all other movies of the catalogue as negatives.
With 3,706 movies it would be possible, with millions it would be slow. So we use what
is there already, the labels of the other rows. They are called *in-batch negatives*.

The *softmax* decides how strong each push is. It takes the exponential of each score
and divides by their sum over the row, which gives probabilities that add up to 1. In
the third row these are 0.29, 0.44 and 0.27. The loss of the row is minus the logarithm
of the right answer's probability, here 1.32, and is called *cross-entropy*. A wrong
answer is pushed down in proportion to its probability: movie 3, which has 0.44, is
pushed down more than movie 8, which has 0.29. The right answer, movie 9, is pushed up
in proportion to what it lacks, 1 - 0.27. (These pushes are the gradient of the loss
with respect to the scores, with the sign reversed.)

There are three things to correct in this loss. *Worth* says what a correction does:
with it and without it, the other two being in place, for how many of 100 users the
right movie is among the ten recommended ones. Here the right movie is each user's last
but one, in a model that was trained on the movies before it; the last one was not used
at all. So we don't look at the test to see what works.

**Temperature.** *Problem:* all cosines lie between -1 and 1, which is too close
together for a softmax. Even with a perfect 1 for the right answer and -1 for 511 wrong
ones, the right answer's probability would be 1.4 %. The training would go on pushing
what is right already, in place of what is still wrong. *Remedy:* we divide the scores
by `TEMPERATURE`, so that they range from -10 to 10. *Worth:* on the million ratings, 30
with it, 13 without. The value matters: with 0.05 it is 29, with 0.2 it is 26. Dot
products of vectors of any length, which need no temperature, reach 30 as well on the
million, but on the small sample only a third of what cosines reach.

**Popularity.** *Problem:* suppose that after some context, 4 in 100 people watch movie
A next, and 0.4 in 100 watch movie B. Among the labels of all contexts, A makes up 2 in
100, and B 0.2. In the rows with this context, A is the right answer ten times as often
as B, and is pushed up that often. But in the same rows A is also among the wrong
answers ten times as often, because so many more of the other rows have it as their
label, and is pushed down that often. The higher a score, the stronger it is pushed
down, so the training comes to rest where the pushes up and down are equal. There the
score says only how much *more likely than usual* a movie is in this context: 4 / 2 = 2
times for A, and 0.4 / 0.2 = 2 times for B. So both get the same score, though A is ten
times as likely to be watched. (Up to a constant, the score is the logarithm of this
number, since the softmax takes the exponential of the score.)

*Remedy:* in training, and only there, each score, after the division by the
temperature, gets a bonus for being rare: minus the logarithm of the movie's share among
all labels. For A it is 3.9, and for B 6.2, which is log 10 = 2.3 more. Training now
makes score *plus bonus* equal for both, so the score of B alone becomes 2.3 lower than
that of A, which means a tenth as likely. The vectors can do that even though they have
length 1: that of A comes to point more in the direction of all queries. When we
recommend, there is no bonus, and A comes first ([Yi et al.,
2019](https://doi.org/10.1145/3298689.3346996)).

`SamplingProbabilityCorrection` gives the bonus. By default, it takes no share to be
less than a millionth. In data with more than a million labels, a rare movie's share is
less than that. So we set this limit, `epsilon`, to the share of a single label.
*Worth:* on the million ratings, 30 with it, 19 without.

**Accidental hits.** *Problem:* if two rows of a batch have the same label, a row's
right answer is also among its negatives. *Remedy:* we subtract a billion from the score
of such a negative, which makes its probability 0.
`keras_rs.layers.RemoveAccidentalHits` is meant for this, but has no effect in version
0.4.0 ([pull request 206](https://github.com/keras-team/keras-rs/pull/206)), so we do it
by hand. *Worth:* too little to see, 30 with it and 30 without: in batches of 512, a row
has 0.4 accidental hits on the average. In larger batches there are more.

In each step, `fit` calls `call` with the contexts, and then `compute_loss` with the
labels as `y` and what `call` returned as `y_pred`. Our `call` returns the queries, for
`compute_loss`, and the predictions, which nobody needs in training and which are left
out there. Our `compute_loss` makes scores and one-hot labels, and gives both to the
loss that `compile` will set. Both methods are told by `training` whether this is
training, and pass it to the towers. The layers of our towers do not need it. But a
`Dropout` layer in one of them would otherwise have no effect in `fit`, because Keras
3.15 on JAX does not pass `training` to inner layers by itself ([pull request
23364](https://github.com/keras-team/keras/pull/23364)).

In the shapes of the comments, `B` is the batch size, and not a movie any more, and `D`
is `EMBEDDING_DIM`.
"""


class SequentialRetrievalModel(keras.Model):
    """A query tower, a candidate tower, and an index of the candidates.

    Args:
        label_counts: int array `(movies + 1,)`. How often each is a training label.
        k: int. The number of candidates that a prediction returns, the best first.
    """

    def __init__(self, label_counts, k):
        super().__init__()
        embedding = layers.Embedding(len(label_counts), EMBEDDING_DIM, mask_zero=True)
        self.query_tower = keras.Sequential(
            [
                keras.Input((MAX_CONTEXT_LENGTH,), dtype="int32"),
                embedding,
                layers.GRU(EMBEDDING_DIM, unroll=True),
                layers.UnitNormalization(),
            ]
        )
        self.candidate_tower = keras.Sequential([embedding, layers.UnitNormalization()])
        self.retrieval = keras_rs.layers.BruteForceRetrieval(k=k, return_scores=False)
        self.candidate_ids = np.flatnonzero(label_counts).astype("int32")
        self.update_candidates()
        total = label_counts.sum()
        self.probabilities = (label_counts / total).astype("float32")
        self.correct = keras_rs.layers.SamplingProbabilityCorrection(epsilon=1 / total)

    def update_candidates(self):
        candidates = self.candidate_tower(self.candidate_ids)  # (candidates, D)
        self.retrieval.update_candidates(candidates, self.candidate_ids)

    def call(self, contexts, training=False):
        queries = self.query_tower(contexts, training=training)  # (B, D)
        predictions = None if training else self.retrieval(queries)  # (B, k)
        return {"queries": queries, "predictions": predictions}

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        candidates = self.candidate_tower(y, training=training)  # (B, D)
        scores = ops.matmul(y_pred["queries"], ops.transpose(candidates))  # (B, B)
        one_hot = ops.eye(ops.shape(y)[0])  # (B, B)

        scores = self.correct(scores / TEMPERATURE, ops.take(self.probabilities, y))
        same_movie = ops.cast(ops.equal(y[:, None], y), "float32")  # (B, B)
        scores = scores - 1e9 * (same_movie - one_hot)
        return super().compute_loss(x, one_hot, scores, sample_weight, training)


"""
### Training

Some of the movies that the index returns will be left out later, because the user has
watched them. To have ten left for every test user, the index returns `k` movies: ten
more than any user has watched, or all candidates if there are not so many.

The optimizer is AdamW: Adam with *weight decay*, which makes all weights a little
smaller in each step. What only a few examples ask for is meant to fade again, so that
the model learns less by heart. `CosineDecay` lowers the learning rate from
`LEARNING_RATE` to 0 in the course of the training: large steps at first, then small
ones to settle. `from_logits` says that the loss gets scores, and has to apply the
softmax itself.

What should you see? Suppose that a model knows how popular each movie is, and nothing
else. Then a movie's score is high where its bonus is low, the sum of both is the same
for all 512 labels of a batch, and the loss is log 512 = 6.2. Our model knows not even
that at first, so its bonuses point to the rare movies, which are mostly wrong, and it
starts higher. On the million ratings, the average of the first epoch is about 4.8, and
that of the last 4.3. (`verbose=2` prints one line for each epoch.) A falling loss says
that the model learns. It cannot say whether the recommendations are good: it looks at
512 movies rather than all, and at examples that the model is trained on.

There is no `validation_data`, since `fit` should not see the test examples. If we
looked at the test after every change of a setting, we would end up with the settings
that happen to suit the test. To choose settings, one holds out other examples, such as
each user's last but one. The section "What to try next" shows how.

With several devices, only the training is spread over them: `set_distribution(None)`
ends that, since not every batch of predictions can be divided by their number.
"""

label_counts = np.bincount(train_labels, minlength=len(movies_df) + 1)  # (movies + 1,)
k = min(np.count_nonzero(label_counts), watched.sum(axis=1).max() + TOP_K)
model = SequentialRetrievalModel(label_counts, k)
schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, NUM_EPOCHS * steps)
model.compile(
    optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
)
model.fit(train_ds, epochs=NUM_EPOCHS, shuffle=False, verbose=2)  # tf.data shuffles.
keras.distribution.set_distribution(None)
model.update_candidates()

"""
## Evaluation

Is it any good? For each test user we take the ten best candidates that the user has not
watched, and look for the label among them. Two numbers sum this up:

- *HR@10*, the hit rate, is the share of users whose label is among the ten.
- *NDCG@10* (normalized discounted cumulative gain) also looks at the place. A label in
  the first place counts 1, in the second place 0.63, in the tenth 0.29, and in general
  1 / log2(1 + place). Where it is not among the ten, it counts 0.

An example with three users: the first one's label is in place 1, the second one's in
place 4, and the third one's is not among the ten. Then HR@10 is 2/3 = 0.667, and
NDCG@10 is (1 + 0.43 + 0) / 3 = 0.477.

`RecallAtK` computes the share of the right answers that are found. We have one right
answer for each user, so this is the hit rate; a user without a hit counts as 0 in both
metrics. Both sort the movies by a score first. Our lists are sorted already, so 0, -1,
-2 and so on will do as scores.

An ordered list of candidates, the best first, is called a *ranking*, like the second
stage that often makes one. `leave_out_watched` moves the movies of a ranking that are
watched behind the others, and leaves the rest in order, since the sort is *stable*. If
there are so few candidates that less than ten are left, it fills up with 0.
"""


def leave_out_watched(rankings, watched):
    """Returns the first `TOP_K` unwatched movies of each ranking, `(users, TOP_K)`."""
    is_watched = np.take_along_axis(watched, rankings, axis=1)  # (users, k)
    first = np.argsort(is_watched, axis=1, kind="stable")[:, :TOP_K]
    return np.take_along_axis(np.where(is_watched, 0, rankings), first, axis=1)


def evaluate(rank):
    """Returns HR and NDCG of `rank`, a function from contexts to rankings."""
    hits = []
    for i, (contexts, labels) in enumerate(test_ds.as_numpy_iterator()):
        is_watched = watched[i * BATCH_SIZE :][: len(labels)]  # (B, movies + 1)
        top = leave_out_watched(rank(contexts), is_watched)  # (B, TOP_K)
        hits.append(top == labels[:, None])
    hits = np.concatenate(hits)  # (users, TOP_K)
    scores = np.broadcast_to(-np.arange(hits.shape[1]), hits.shape)
    hit_rate, ndcg = keras_rs.metrics.RecallAtK(k=TOP_K), keras_rs.metrics.NDCG(k=TOP_K)
    return float(hit_rate(hits, scores)), float(ndcg(hits, scores))


"""
A number alone says little, so we compare with two methods that need no model:

- *Most popular* recommends to everybody the movies that are most often a label.
- *After the last movie* recommends what most often came right after the last movie of
  the context. Where two movies came equally often, the more popular one goes first:
  the columns of `counts` are in the order of popularity, and the sort is stable.

Each method is a function that turns contexts into rankings.
"""

order = np.argsort(-label_counts[model.candidate_ids], kind="stable")
popular = model.candidate_ids[order]  # (candidates,)
num_next = np.zeros((len(label_counts), len(label_counts)), "int32")
np.add.at(num_next, (train_contexts[:, -1], train_labels), 1)  # Counts repeated pairs.


def after_last_movie(contexts):
    counts = num_next[contexts[:, -1]][:, popular]  # (B, candidates)
    return popular[np.argsort(-counts, axis=1, kind="stable")[:, :k]]


results = {
    "most popular": evaluate(lambda contexts: np.tile(popular[:k], (len(contexts), 1))),
    "after the last movie": evaluate(after_last_movie),
    "GRU": evaluate(lambda contexts: model.predict_on_batch(contexts)["predictions"]),
}
print(pd.DataFrame(results, [f"HR@{TOP_K}", f"NDCG@{TOP_K}"]).T.round(3))

"""
How to read the table? Ten movies at random, out of the 3,706 of MovieLens 1M, would hit
the next movie of 0.3 in 100 users. On the million ratings, the ten most popular ones
hit 4 of 100, counting what comes next hits 19, and the model 29. If its hits were
spread evenly over the ten places, NDCG@10 would be 0.45 times the hit rate, which is
the average of what the ten places count. The model's is 0.56 times its hit rate, so its
hits are more often near the top. On the small sample there is less to learn from: the
model hits 12 of 100 users, against 7 by counting and 4 by popularity.

And what do others reach on these ratings? Published models that look back over 200
movies hit between 25 and 33 of 100: one version of SASRec, which has attention instead
of a GRU, [25](https://arxiv.org/abs/2309.07602), a GRU
[28](https://github.com/meta-recsys/generative-recommenders), and the largest HSTU,
which is built like a language model, [33](https://arxiv.org/abs/2402.17152). The
details of the tests differ. Some keep each user's last movie but one out of the
training; ours learns from it. Ours also leaves out movies that the user has watched,
and ratings with one star. So these numbers show the range, and not which model is
better. The README of this example lists more of them.

## Making predictions

So far movies were numbers. To show titles, we need a mapping from our numbers to
titles. Then `model.predict` takes a context and, through `BruteForceRetrieval`, returns
candidates, the best first. Let's look at one user of the test.
"""

movie_id_to_movie_title = dict(zip(movies_df["MovieID"], movies_df["Title"]))


def print_titles(heading, movie_ids):
    titles = [movie_id_to_movie_title[movie_id] for movie_id in movie_ids if movie_id]
    print(heading, *titles, sep="\n    ")


user = 0
rankings = model.predict(test_contexts[[user]], verbose=0)["predictions"]  # (1, k)
recommended = leave_out_watched(rankings, watched[[user]])[0]  # (TOP_K,)
print_titles("Watched, the last one last:", test_contexts[user])
print_titles("Recommended, the best one first:", recommended)
is_hit = test_labels[user] in recommended
print_titles(
    f"Watched next, and {'' if is_hit else 'not '}recommended:", test_labels[[user]]
)

"""
Are these good recommendations? The last title is what this user really watched next.
For most users it is not one of the ten; the hit rate says for how many it is. Compare
the two lists yourself, too. Are they of the same kind, or of the same years?

### Your own evening

Now write down what *you* have watched, the latest last. The titles must be written as
in the data. If one is not there, the cell names the nearest ones and goes on without
it. If no title is left, the GRU has nothing to read, its vector and all scores stay 0,
and the list means nothing. `pad_sequences` pads and cuts in front, as we need it.
"""

my_titles = ["Alien (1979)", "Fargo (1996)", "Toy Story (1995)", "Matrix, The (1999)"]

title_to_id = dict(zip(movies_df["Title"], movies_df["MovieID"]))
my_ids = [title_to_id[title] for title in my_titles if title in title_to_id]
for title in my_titles:
    if title not in title_to_id:
        nearest = difflib.get_close_matches(title, title_to_id)
        print(f"{title} is left out: the data does not have it, but it has {nearest}.")
my_context = keras.utils.pad_sequences([my_ids], MAX_CONTEXT_LENGTH)
my_watched = np.isin(np.arange(len(label_counts)), my_ids)[None]  # (1, movies + 1)
rankings = model.predict(my_context, verbose=0)["predictions"]  # (1, k)
heading = "For you:" if my_ids else "None of your titles is known, so this is chance:"
print_titles(heading, leave_out_watched(rankings, my_watched)[0])

"""
The model has never heard of you, and does not need to: it has no table of users.
Whoever has watched something can be turned into a query.

## What to try next

Each of these is a change of one line. We tried them on the million ratings, and not on
the test. Instead, we inserted this line before `by_user`. It cuts off each user's last
movie, so that the last but one takes its place:

```python
liked_df = liked_df[liked_df.duplicated("UserID", keep="last")]
```

Each HR@10 is the mean of three runs with different seeds, and differences up to 0.004
mean nothing. The time is that of `fit`.

| change | HR@10 | time |
|---|---|---|
| none | 0.301 | 1 |
| `NUM_EPOCHS = 2` | 0.295 | 0.6 times |
| `NUM_EPOCHS = 6` | 0.306 | 1.9 times |
| `MAX_CONTEXT_LENGTH = 20` | 0.304 | 2.1 times |
| `EMBEDDING_DIM = 96` | 0.307 | 1.5 times |
| `EMBEDDING_DIM = 128` | 0.313 | 2.8 times |

Where does the road lead from here?

- *Ranking.* Our list is short enough for a slower model, which can look at a candidate
  and a query together. Keras RS has [examples](https://keras.io/keras_rs/examples/) of
  it.
- *Approximate search.* Brute force computes the scores of all candidates. For millions
  of them, libraries such as ScaNN find nearly the same ones from a small part.
- *Several devices.* When the embedding no longer fits on one device,
  `keras_rs.layers.DistributedEmbedding` spreads it over many.
"""
