"""Prints the tables of all pages from results.jsonl, as Markdown. It runs nothing.

python tests/benchmarks/tables.py, or with --picture, which prints hit_rates.svg instead.
Figures are means over the seeds. What was measured on another archive than ours, or with
other versions, stands below our row and says so.
"""

import json
import sys
from statistics import mean

from changes import CHANGES
from measure import RESULTS, hash_of_code

COLUMNS = {  # By name: the value of a run, its format, is it relative to the first row.
    "HR@10": (lambda run: run["HR@10"], ".3f", False),
    "NDCG@10": (lambda run: run["NDCG@10"], ".3f", False),
    "hits": (lambda run: run["HR@10"], ".2f", True),
    "time": (lambda run: run["trained"] - run["prepared"], ".1f", True),
    "s to the titles": (lambda run: run["titles"], ".0f", False),
    "time to the titles": (lambda run: run["titles"], ".2f", True),
    "peak MB": (lambda run: run["memory"], ",.0f", False),
    "share": (lambda run: run["share"], ".2f", False),
}
METRICS, ON = ["HR@10", "NDCG@10"], ("ml-1m", "test")
COSTS = ["s to the titles", "time to the titles", "peak MB"]
METHODS = ["most popular", "after the last movie", "GRU", "GRU, contexts shuffled"]
PARTS = [f"{x}, last movie {y}" for x in METHODS[1:3] for y in ("alone", "in a list")]
CHANGED = [f"GRU: {change}" for change in CHANGES]
NAMED = [*METHODS[:3], "published recipe", *CHANGED[-2:], "GRU4Rec [1]", "SASRec+ [1]"]
NAMED += ["SASRec+, 3,000 negatives [1]", "HSTU [2]", "HSTU-large [2]"]
NAMED += ["GRU4Rec, the authors' program"]
BAR = """<text x="560" y="{0}" text-anchor="end">{2}</text>
<rect x="570" y="{1}" width="{3:.0f}" height="22" fill="#8ecae6"/>
<text x="{4:.0f}" y="{0}">{5:.3f}</text>"""
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 970 {0}" width="970">
<rect width="100%" height="100%" fill="white"/><g font-family="sans-serif">"""


def read_runs():
    """Returns the newest runs, by data and movies, label, archive, and seed."""
    runs, ours = {}, {}
    for line in RESULTS.read_text("utf-8").splitlines():
        row = json.loads(line)
        on, change, versions = row["on"], row["change"], row.get("versions")
        if change in CHANGES and row["code"] != hash_of_code(on, change):
            print("Of an older script:", on, change, row["seed"], file=sys.stderr)
        about = versions and f" ({row['archive'][:8]}, {versions})"
        other = "" if about in (None, ours.setdefault(row["data"], about)) else about
        found = [(x, dict(zip(METRICS, pair))) for x, pair in row["results"].items()]
        found += [(x, {"share": share}) for x, share in row.get("shares", {}).items()]
        for label, values in found:
            label += f": {change}" if change in CHANGES and change != "none" else ""
            place = runs.setdefault((row["data"], on), {}).setdefault(label, {})
            place.setdefault(other, {})[row.get("seed")] = row | values
    return runs


def table(data, on, labels, columns):
    """Returns a table of the runs with these labels, of those that exist, as Markdown."""
    lines, first = [[f"`{data}`, {on}", *columns], ["---"] * (len(columns) + 1)], {}
    for label in filter(RUNS[data, on].get, labels):
        for other, by_seed in RUNS[data, on][label].items():
            base = first.setdefault(other, by_seed)
            shown = label.removeprefix("GRU: ") if "hits" in columns else label
            lines.append([(f"**{shown}**" if label == "GRU" else shown) + other])
            for value, form, is_relative in map(COLUMNS.get, columns):
                values = [
                    value(run) / (value(base[seed]) if is_relative else 1)
                    for seed, run in by_seed.items()
                ]
                lines[-1].append(format(mean(values), form))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rate(label):
    return mean(run["HR@10"] for run in RUNS[ON][label][""].values())


def tables():
    """Returns all tables, of the README, the script, and the benchmarks' page."""
    validation, sample = ("ml-1m", "validation"), "movielens-sample"
    quoted = [label for label in RUNS[ON] if "[" in label or "authors" in label]
    shares = [x for x, y in RUNS[ON].items() if "share" in y[""].get(42, {})]
    shares = [x for x in shares if ":" not in x or "recommended" in x and "no cor" in x]
    return [
        table(*ON, sorted(NAMED, key=rate), METRICS),
        table(*validation, ["GRU", *CHANGED[1:7]], ["hits", "time"]),
        table(*ON, [*METHODS, *PARTS, *CHANGED], METRICS),
        table(sample, "test", METHODS, METRICS),
        table(*validation, [*METHODS, *CHANGED], METRICS),
        table(sample, "validation", [*METHODS, *CHANGED], METRICS),
        table(*ON, sorted([*quoted, "GRU", *CHANGED[-2:]], key=rate), METRICS),
        table(*ON, ["published recipe", "GRU"], [*COSTS, *METRICS]),
        table(*ON, shares, ["share"]),
    ]


def picture():
    """Returns bars of hit rates, as SVG."""
    parts = [HEAD.format(30 * len(NAMED) + 4)]
    for i, name in enumerate(sorted(NAMED, key=rate)):
        width, at = 1000 * rate(name), (30 * i + 20, 30 * i + 4)
        parts.append(BAR.format(*at, name, width, width + 578, width / 1000))
    return "\n".join([*parts, "</g></svg>"])


RUNS = read_runs()
if __name__ == "__main__":
    print(picture() if "--picture" in sys.argv else "\n\n".join(tables()))
