"""How every training stage runs its training: in one process or many, with its figures kept for the manifest."""

from collections.abc import Callable
from typing import Any

from magpie_align.flow.stage import Context


def train_into(ctx: Context, stage: Any, train: Callable[..., dict[str, Any]]) -> None:
    """Train `stage.model` on `stage.data` into the artifact; the stage itself is the settings."""
    from magpie_align.training.processes import train_spread

    figures = train_spread(
        train,
        model=ctx.path(stage.model),
        rows=ctx.path(stage.data),
        out=ctx.out,
        work=ctx.work,
        settings=stage,
        template=ctx.path(stage.template) if stage.template else None,
        seed=stage.seed,
        progress=ctx.progress,
    )
    ctx.note(**figures)
