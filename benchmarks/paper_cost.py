"""The plan's GPU-hours for the paper's synthesis beside the paper's own: 206 for Magpie-Air, 614 for Magpie-Pro, on 4 x A100-80GB.

    python benchmarks/paper_cost.py

In rounds of 200 requests, as the official scripts send them, and streamed, as here; of instructions and responses alone, which is
what the paper counts; in its order, and with the filters of its table 5 pushed down (then tags come first; their hours are given
apart). Needs no GPU. The last line is one JSON object: predicted over printed hours.
"""

import json

from magpie_align.pricing.assume import Assume
from magpie_align.pricing.estimate import estimates
from magpie_align.pricing.resources import PAPER
from magpie_align.pricing.show import hours_text
from magpie_align.pricing.span import Span, added
from magpie_align.pricing.speed import Basis
from magpie_align.recipe import load

PRINTED = {"air_300k": 206, "sft_300k": 614}
SYNTHESIS, LABELS = ("instructions", "responses"), ("quality", "difficulty", "category")


def hours(recipe: str, rounds: int | None, pushdown: bool, stages: tuple[str, ...]) -> Span:
    plan = load(recipe, [f"pushdown={str(pushdown).lower()}"])
    told = estimates(plan.nodes, Basis(PAPER, Assume(rounds=rounds), explicit=False))
    return added([one.gpu_hours for one in told if one.node.name in stages and one.gpu_hours])


def main() -> None:
    shares = {}
    print(
        "| | paper | rounds of 200 | streamed | streamed, filter pushed down | its tags |\n|---|---:|---:|---:|---:|---:|"
    )
    for recipe, printed in PRINTED.items():
        rounds, stream = hours(recipe, 200, False, SYNTHESIS), hours(recipe, None, False, SYNTHESIS)
        pushed, tags = hours(recipe, None, True, SYNTHESIS), hours(recipe, None, True, LABELS)
        name = "Magpie-Air, 3M" if recipe == "air_300k" else "Magpie-Pro, 1M"
        print(f"| {name} | {printed} | {' | '.join(hours_text(span) for span in (rounds, stream, pushed, tags))} |")
        shares[recipe] = round(rounds.high / printed, 3)
    print(json.dumps(shares))


if __name__ == "__main__":
    main()
