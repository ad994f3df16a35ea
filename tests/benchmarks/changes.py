"""What is measured. A change is code that runs after the cell that defines a name."""

CLASS, SETTINGS = "SequentialRetrievalModel", "SEED"
IN_ORDER = """
train_ds = make_dataset(train_rows).batch(BATCH_SIZE).shuffle(len(train_rows))
train_ds = train_ds.prefetch(2).with_options(options)
"""
SHUFFLED = "contexts = np.random.default_rng(SEED).permuted(contexts, axis=1)"
CORRECTION = "keras_rs.layers.SamplingProbabilityCorrection"
NO_CORRECTION = f"{CORRECTION}.call = lambda self, scores, shares: scores"
CONSTANT = "keras.optimizers.schedules.CosineDecay = lambda rate, steps: rate"
NO_MASK = "layers.Embedding = lambda *x, mask_zero, old=layers.Embedding: old(*x)"
TWO_TABLES = """
class SequentialRetrievalModel(SequentialRetrievalModel):
    def __init__(self, *args):
        super().__init__(*args)
        self.candidate_model = layers.Embedding(args[0] + 1, args[1])
        self.candidate_model.build(None)
"""
EQUAL_LABELS = """
class SequentialRetrievalModel(SequentialRetrievalModel):
    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        same = ops.cast(ops.equal(y["label"][:, None], y["label"]), "float32")
        others = same - ops.eye(ops.shape(same)[0])
        share = y["sampling_probability"] * (1 + 1e30 * others)
        y = {"label": y["label"], "sampling_probability": share}
        self.correction = lambda scores, share: scores - ops.log(share)
        return super().compute_loss(x, y, y_pred, sample_weight, training)
"""
LARGER = "EMBEDDING_DIM = 128, MAX_CONTEXT_LENGTH = 20"
SINGLE = ["NUM_EPOCHS = 1", "MAX_CONTEXT_LENGTH = 20", "EMBEDDING_DIM = 128"]
SINGLE += ["WEIGHT_DECAY = 0", "TEMPERATURE = 1"]
FILE = {"read_data": "pd.DataFrame.sample = lambda table, **options: table"}
CHANGES = {
    "none": {},
    "no correction for popularity": {SETTINGS: NO_CORRECTION},
    "users in order, only whole batches shuffled": {"train_ds": IN_ORDER},
    "contexts shuffled, in training, too": {"contexts": SHUFFLED},
    **{setting: {SETTINGS: setting} for setting in SINGLE},
    "constant rate of 0.002": {SETTINGS: f"LEARNING_RATE = 0.002\n{CONSTANT}"},
    "equal labels in a batch left out": {CLASS: EQUAL_LABELS},
    "NUM_EPOCHS = 3": {SETTINGS: "NUM_EPOCHS = 3"},
    "a table for each tower": {CLASS: TWO_TABLES},
    "padding not masked": {SETTINGS: NO_MASK},
    "file's order": FILE,
    f"file's order, {LARGER}": {SETTINGS: LARGER.replace(", ", "\n"), **FILE},
}
ALL = list(CHANGES)
PLAN = {
    ("ml-1m", "test"): ["published recipe", *ALL[:2], *ALL[-2:]],
    ("ml-1m", "validation"): [*ALL[:11], *ALL[12:14]],
    ("movielens-sample", "test"): ["none"],
    ("movielens-sample", "validation"): [*ALL[:2], ALL[8], *ALL[10:14]],
}
