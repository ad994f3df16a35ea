"""Time and memory of the script, side by side with the naive recipe.

python tests/benchmark.py [FOLDER]

FOLDER holds ratings.dat and movies.dat; without one, the sample is unpacked. Both
programs start from these files. Time counts from the reading of the files on, without
imports; memory is the peak of the whole process.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SCRIPT = TESTS.parent / "sequential_retrieval.py"

# The script itself, with the folder in place of the download, and a clock.
CLOCKED = """
import os, sys, time
os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
def found(*args, **kwargs):
    global start
    start = time.perf_counter()
    return sys.argv[1]
keras.utils.get_file = found
code = open(sys.argv[2]).read()
before, mark, after = code.partition("for context, label in train_ds.take(1)")
assert mark
clock = 'import time; print(f"prepared in {time.perf_counter() - start:.2f} s")\\n'
exec(before + clock + mark + after, globals())
print(f"ended after {time.perf_counter() - start:.2f} s")
"""


def measure(name, folder, *command):
    """Runs a program and returns its times in s and its peak memory in MB (10^6 B)."""
    with tempfile.TemporaryFile("w+") as out:
        environment = {"KERAS_BACKEND": "jax", **os.environ}
        process = subprocess.Popen(
            [sys.executable, *command], stdout=out, cwd=folder, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"{name} failed:\n{text[-2000:]}")
    prepared, ended = (
        float(re.search(rf"{words} ([\d.]+) s", text)[1])
        for words in ("prepared in", "ended after")
    )
    memory = usage.ru_maxrss * 1024 / 1e6
    print(f"{name:14}{prepared:12.2f} s{ended:12.1f} s{memory:12.0f} MB", flush=True)
    return prepared, ended, memory


with tempfile.TemporaryDirectory() as scratch:
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1]).resolve()
    else:
        zipfile.ZipFile(TESTS / "data/movielens-sample.zip").extractall(scratch)
        folder = Path(scratch, "movielens-sample")
    print(f"{folder.name:14}{'to train_ds':>14}{'to the titles':>14}{'peak':>15}")
    script = measure("script", scratch, "-c", CLOCKED, str(folder), str(SCRIPT))
    naive = measure(
        "naive recipe", scratch, str(TESTS / "naive_recipe.py"), str(folder)
    )
    ratios = [b / a for a, b in zip(script, naive)]
    print("naive / script {:12.1f}{:14.1f}{:15.1f}".format(*ratios))
