"""Draws hit_rates.svg, the bars of the README, of results.jsonl and OTHERS' results."""

from statistics import mean

from changes import read_results
from common import HERE

OTHERS = {"published recipe": 0.163, "GRU4Rec, published": 0.281, "HSTU-large": 0.329}
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {0}" width="760">'
STYLE = '<rect width="100%" height="100%" fill="white"/><g font-family="sans-serif">'
BAR = """<text x="245" y="{0}" text-anchor="end">{name}</text>
<rect x="255" y="{1}" width="{width:.0f}" height="22" fill="{color}"/>
<text x="{end:.0f}" y="{0}">{rate:.3f}</text>"""

if __name__ == "__main__":
    rows = [r for r in read_results() if (r["data"], r["on"]) == ("ml-1m", "test")]
    runs = [row["results"] for row in rows if row["change"] == "none"]
    rates = {name: mean(run[name][0] for run in runs) for name in runs[0]}
    ours = ("most popular", "most popular"), ("GRU, this script", "GRU")
    ours = (*ours, ("counting what came next", "after the last movie"))
    named = OTHERS | {label: rates[name] for label, name in ours}
    named = sorted(named.items(), key=lambda row: row[1])
    parts = [HEAD.format(30 * len(named) + 4), STYLE]
    for i, (name, rate) in enumerate(named):
        color = "#d00000" if "this script" in name else "#8ecae6"
        more = {"name": name, "rate": rate, "color": color, "width": 1350 * rate}
        parts.append(BAR.format(30 * i + 20, 30 * i + 4, end=262 + 1350 * rate, **more))
    (HERE / "hit_rates.svg").write_text("\n".join([*parts, "</g></svg>\n"]))
