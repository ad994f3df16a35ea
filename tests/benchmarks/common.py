"""Runs changed copies of the script, with a clock beside it."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent.parent / "sequential_retrieval.py"

# Runs the script cell by cell. It tells the seconds, without the imports, until the
# examples are prepared, the model is trained, all is evaluated, and the end; and as "fit"
# the seconds of the processor for training.
CLOCK = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from to_notebook import split
marks = {"train_ds": "prepared", "model": "trained", "results": "evaluated"}
names, told, clock = {}, {}, 0
cells = [text for kind, text in split(open("script.py").read()) if kind == "code"]
exec(cells[0], names)
for cell in cells[1:]:
    start, busy = time.perf_counter(), time.process_time()
    exec(compile(cell, "cell", "exec"), names)
    clock, busy = clock + time.perf_counter() - start, time.process_time() - busy
    for name in set(marks) & set(names):
        mark = marks.pop(name)
        told |= {mark: clock} | ({"fit": busy} if mark == "trained" else {})
results = {name: [float(x) for x in row] for name, row in names["results"].items()}
print("\\n" + json.dumps({**told, "end": clock, "results": results}))
"""


def changed(text, changes):
    """Returns the text with changes made; an upper-case name is the line that sets it."""
    for old, new in changes.items():
        if old.isupper():
            text, count = re.subn(rf"(?m)^{old} = .*$", f"{old} = {new}", text)
        else:
            text, count = text.replace(old, new), text.count(old)
        if count == 0:
            raise ValueError(f"not in the script: {old}")
    return text


def run(command, folder):
    """Runs Python in a folder; returns its last line, and on Linux its peak in MB."""
    with tempfile.TemporaryFile("w+") as out:
        command = [sys.executable, "-W", "ignore", *map(str, command)]
        env = {**os.environ, "KERAS_HOME": str(folder), "KERAS_BACKEND": "jax"}
        process = subprocess.Popen(command, stdout=out, cwd=folder, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        if status:
            raise RuntimeError(out.read()[-2000:])
        return out.read().splitlines()[-1], usage.ru_maxrss * 1024 / 1e6


def run_script(archive, changes):
    """Returns what CLOCK tells of a changed copy on an archive, and "memory"."""
    content = archive.read_bytes()
    changes = changes | {
        "MOVIELENS_1M_URL": f"'http://127.0.0.1:9/{archive.name}'",
        "MOVIELENS_ZIP_HASH": repr(hashlib.sha256(content).hexdigest()),
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text(changed(SCRIPT.read_text(), changes))
        Path(folder, "datasets").mkdir()
        Path(folder, "datasets", archive.name).write_bytes(content)
        line, memory = run(["-c", CLOCK, HERE.parent], folder)
    return {**json.loads(line), "memory": memory}
