"""What the miniature shows of the paper's claims, over several seeds: every seed makes a world of its own.

    python benchmarks/claims.py --seeds 0,1,2

Runs the recipe beside this file, the quickstart and some more, over the seeds (what is made already is not made again). Then
prints for each model and measure the mean over the seeds with every seed's own value and 95% interval, and whether the intervals
of two models are apart on every seed. The last line is one JSON object of the means.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

APART = (
    ("base", "base + narrow public data"),
    ("base + narrow public data", "base + Magpie raw"),
    ("base + narrow public data", "base + Magpie selected"),
    ("base + Magpie raw", "base + Magpie selected"),
    ("base + Magpie, all of it", "base + Magpie selected"),
    ("base + Magpie, as many at random", "base + Magpie, the choicest"),
    ("base + Magpie selected", "base + Magpie selected + DPO"),
    ("base + Magpie selected + DPO", "teacher"),
)

RECIPE = Path(__file__).with_suffix(".yaml")

Rows = dict[tuple[str, str, str], list[dict[str, float]]]


def collect(seeds: list[str]) -> Rows:
    """(task, metric, model) -> its row of every seed, in the order of the seeds."""
    rows: Rows = {}
    for seed in seeds:
        for row in json.loads(Path(f"runs/{RECIPE.stem}/seed={seed}/results.json").read_text()):
            rows.setdefault((row["task"], row["metric"], row["model"]), []).append(row)
    return rows


def verdict(lower: list[dict[str, float]], upper: list[dict[str, float]]) -> str:
    """Whether the second is above the first by its interval on every seed, below on every seed, or neither."""
    pairs = list(zip(lower, upper, strict=True))
    if all(a["high"] < b["low"] for a, b in pairs):
        return "better on every seed, intervals apart"
    if all(a["low"] > b["high"] for a, b in pairs):
        return "worse on every seed, intervals apart"
    return "no difference shown on every seed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    seeds = parser.parse_args().seeds
    command = [sys.executable, "-m", "magpie_align", f"recipe={RECIPE}", f"seed={seeds}", "--multirun"]
    subprocess.run(command, check=True)
    rows = collect(seeds.split(","))
    means = {}
    for (task, metric, model), found in rows.items():
        mean = sum(row["value"] for row in found) / len(found)
        means[f"{task} {metric} / {model}"] = round(mean, 4)
        each = "  ".join(f"{100 * r['value']:5.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]" for r in found)
        print(f"{task:<13} {metric:<12} {model:<30} mean {100 * mean:5.1f}   {each}")
    for first, second in APART:
        key = ("mini_gen", "exact_match")
        print(f"{second} against {first}: {verdict(rows[*key, first], rows[*key, second])}")
    print(json.dumps(means))
    return 0


if __name__ == "__main__":
    sys.exit(main())
