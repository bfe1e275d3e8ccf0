"""The verb push: what would go to the hub, and with --yes it goes. A run by itself sends nothing."""

from typing import TYPE_CHECKING

from magpie_align.errors import ConfigError

if TYPE_CHECKING:
    from magpie_align.flow.graph import Node
    from magpie_align.recipe import Plan
    from magpie_align.stages._published import Published

_LISTED = 30


def push(yes: bool, plan: "Plan") -> None:
    """Show every release that names where it is to go; send them all with `yes`."""
    from magpie_align.report import hub
    from magpie_align.stages._published import Published

    found = [(node, node.stage) for node in plan.nodes if isinstance(node.stage, Published) and node.stage.push]
    if not found:
        raise ConfigError(
            "no stage of this recipe says where to push: name one of use: release or model_release, as stages.STAGE.push=ORG/NAME"
        )
    waiting = [node.name for node, _ in found if not node.artifact.done]
    if waiting:
        raise ConfigError(f"{', '.join(waiting)}: not made yet; run the recipe with these settings, then push")
    for node, stage in found:
        _show(node, stage)
    if not yes:
        print("nothing was sent; the same command with --yes sends it")
        return
    for node, stage in found:
        assert stage.push
        print(f"sent: {hub.push(node.artifact.data, stage.push, private=stage.private, kind=stage.hub_kind)}")


def _show(node: "Node", stage: "Published") -> None:
    files = sorted(file for file in node.artifact.data.rglob("*") if file.is_file())
    whole = sum(file.stat().st_size for file in files)
    seen = "private" if stage.private else "PUBLIC"
    licence = node.artifact.manifest.get("summary", {}).get("licence", "unknown")
    print(f"{node.name}: {stage.hub_kind} {stage.push}, {seen}, licence {licence}, {len(files)} files, {_size(whole)}")
    for file in files[:_LISTED]:
        print(f"  {_size(file.stat().st_size):>9}  {file.relative_to(node.artifact.data)}")
    if len(files) > _LISTED:
        print(f"  ... and {len(files) - _LISTED} more")


def _size(count: int) -> str:
    from magpie_align.pricing.span import brief

    return f"{brief(count, 3, 'kMGT')}B"
