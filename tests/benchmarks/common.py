"""Runs changed copies of the script, each in a process of its own, with a clock."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from cells import archive_at, changed

PACKAGES = "keras", "keras-rs", "jax", "tensorflow", "pandas", "numpy"
VERSIONS = " ".join(f"{name} {version(name)}" for name in PACKAGES)

# Runs the script cell by cell. It tells the seconds, without imports, until it reaches the
# marks; as "fit" those of the processor in training; the losses; and the GRU's results
# apart for users whose label is alone in its second and for the others.
CLOCK = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from cells import code_cells
marks = {"train_ds": "prepared", "model": "trained", "results": "evaluated"}
names, told, clock = {}, {}, 0
cells = code_cells(open("script.py", encoding="utf-8").read())
exec(cells[0], names)
for cell in cells[1:]:
    start, busy = time.perf_counter(), time.process_time()
    exec(compile(cell, "cell", "exec"), names)
    clock, busy = clock + time.perf_counter() - start, time.process_time() - busy
    for name in set(marks) & set(names):
        mark = marks.pop(name)
        told |= {mark: clock} | ({"fit": busy} if mark == "trained" else {})
results, rows = names["results"], names["test_rows"]
shares = names["ratings_df"].duplicated(["UserID", "Timestamp"], keep=False)
shares = shares.to_numpy()[rows]
for name, part in ("alone", rows[~shares]), ("shared", rows[shares]):
    if len(part):
        told[name], score = len(part), names["gru_scores"]
        results[f"GRU, second {name}"] = names["evaluate"](score, part, 10)
results = {name: [round(float(x), 5) for x in row] for name, row in results.items()}
losses = {k: v[-1] for k, v in names["model"].history.history.items()}
print("\\n" + json.dumps({**told, **losses, "end": clock, "results": results}))
"""


def key_of(archive, changes):
    """Returns what a result belongs to: archive, code without prose, and versions."""
    code = re.sub(r'(?s)(""".*?"""|#[^\n]*|\s+)+', " ", changed(changes))
    contents = archive.read_bytes(), code.encode()
    archive, script = (hashlib.sha256(x).hexdigest()[:16] for x in contents)
    return {"archive": archive, "script": script, "versions": VERSIONS}


def run(command, folder):
    """Runs Python in a folder; returns its last line, and on Linux its peak in MB."""
    command = [sys.executable, "-W", "ignore", *map(str, command)]
    with tempfile.TemporaryFile("w+") as out:
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
    changes = changes | archive_at(f"http://127.0.0.1:9/{archive.name}", content)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text(changed(changes), encoding="utf-8")
        Path(folder, "datasets").mkdir()
        Path(folder, "datasets", archive.name).write_bytes(content)
        line, memory = run(["-c", CLOCK, HERE.parent], folder)
    return {**json.loads(line), "memory": memory}
