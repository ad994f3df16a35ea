"""Draws hit_rates.svg, the bars of the README: python tests/benchmarks/picture.py"""

from statistics import mean

from changes import read_results
from common import HERE

RECIPE, GRU4REC, HSTU = 0.157, 0.281, 0.329  # From compare.py, and published.

TEXT = '<text x="{}" y="{}" font-size="15" text-anchor="{}">{}</text>'
BAR = '<rect x="225" y="{}" width="{:.0f}" height="22" fill="{}"/>'
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {0}" width="760" {1}>'


def bars(rows):
    """Returns an SVG picture of named hit rates, of which one is ours."""
    parts = [HEAD.format(30 * len(rows) + 4, 'font-family="sans-serif"')]
    parts.append('<rect width="100%" height="100%" fill="white"/>')
    for i, (name, hit_rate) in enumerate(rows.items()):
        y, width = 30 * i, 1400 * hit_rate
        color = "#d00000" if "this script" in name else "#8ecae6"
        parts.append(TEXT.format(215, y + 20, "end", name))
        parts.append(BAR.format(y + 4, width, color))
        parts.append(TEXT.format(232 + width, y + 20, "start", f"{hit_rate:.3f}"))
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    runs = [row for row in read_results() if row["change"] == "none"]
    runs = [r["results"] for r in runs if (r["data"], r["on"]) == ("ml-1m", "test")]
    hit_rate = {name: mean(run[name][0] for run in runs) for name in runs[0]}
    rows = {
        "most popular": hit_rate["most popular"],
        "published recipe": RECIPE,
        "counting what came next": hit_rate["after the last movie"],
        "GRU4Rec, as published": GRU4REC,
        "GRU, this script": hit_rate["GRU"],
        "HSTU-large, as published": HSTU,
    }
    (HERE / "hit_rates.svg").write_text(bars(rows))
