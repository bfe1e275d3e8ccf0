"""What orchestration costs a finished run: the part of its wall time in which no stage was at its own work.

    python benchmarks/overhead.py RECIPE [store=FOLDER] [key=value ...]

Reads the manifests of the recipe's stages, which say when each began and ended its own work: after its process had started and
imported, until its artifact was whole. What lies between is starting processes and noticing
their end. `idle` is the part of the wall time in which nothing was at work; `overhead` counts each start, also where another stage
worked meanwhile. The run must have been made in one go (its gaps longer than a minute are refused: that is somebody at lunch). The last line is one JSON object.
"""

import argparse
import json
from pathlib import Path

from magpie_align.flow.graph import Node
from magpie_align.flow.store import Artifact
from magpie_align.recipe import load

PAUSE = 60.0


def span(artifact: Artifact) -> tuple[float, float]:
    """When a stage's own work began and ended, in seconds since the epoch: its manifest is the last file it writes."""
    end = (artifact.folder / "manifest.json").stat().st_mtime
    return end - artifact.manifest["seconds"], end


def gaps(spans: list[tuple[float, float]]) -> list[float]:
    """Seconds between stretches in which at least one stage was at work."""
    found, until = [], min(spans)[1]
    for begin, end in sorted(spans)[1:]:
        if begin > until:
            found.append(begin - until)
        until = max(until, end)
    return found


def delays(nodes: list[Node], spans: dict[Path, tuple[float, float]], jobs: int) -> float:
    """Seconds that stages began later than they could have: their inputs were done and one of the `jobs` places was free."""
    begun = min(begin for begin, _ in spans.values())
    places, late = [begun] * jobs, 0.0
    for folder, (begin, end) in sorted(spans.items(), key=lambda one: one[1]):
        inputs = next(node.inputs for node in nodes if node.artifact.folder == folder)
        ready = max([begun, *(spans[parent.artifact.folder][1] for parent in inputs.values())])
        if ready > begin:  # it joined its parent's process
            continue
        free = [place for place in places if place <= begin]
        place = max(free, default=begin)
        late += begin - max(ready, place)
        if free:
            places[places.index(place)] = end
    return late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    plan = load(given.recipe, given.overrides)
    nodes = plan.nodes
    waiting = [node.name for node in nodes if not node.artifact.done]
    if waiting:
        raise SystemExit(f"not finished: {', '.join(waiting)}")
    found = {node.artifact.folder: span(node.artifact) for node in nodes}
    between = gaps(list(found.values()))
    if between and max(between) > PAUSE:
        raise SystemExit(f"{max(between):.0f} seconds passed between two stages: this was not one run")
    wall = max(end for _, end in found.values()) - min(begin for begin, _ in found.values())
    own, late = sum(end - begin for begin, end in found.values()), delays(nodes, found, plan.recipe.jobs)
    print(
        f"{len(found)} stages, {wall:.0f} s from the first's beginning to the last's end, {own:.0f} s of own work in all"
    )
    print(
        f"nothing was at work in {sum(between):.1f} s, in {len(between)} gaps, the longest {max(between, default=0):.1f} s"
    )
    print(
        f"stages began {late:.1f} s in all after they could have, {100 * late / (own + late):.1f}% of their time and that"
    )
    figures = {"idle": round(sum(between) / wall, 4), "overhead": round(late / (own + late), 4), "wall": round(wall, 1)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
