"""What each kind of stage has to do: tokens to read, to generate, to train on, by which model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from magpie_align.engines import EngineSettings
from magpie_align.flow.graph import Node
from magpie_align.pricing.flowing import Made
from magpie_align.pricing.span import Span, added
from magpie_align.records import TRAININGS
from magpie_align.stages.tags import Tags
from magpie_align.training.settings import TrainingSettings

Doing = Literal["generate", "read", "train"]
FRAME = 11
"""Tokens that a chat template prints around an instruction and the answer's header (Llama-3's; others differ by a few)."""
CHARACTERS = 4
"""Of English in a token, as a rule of thumb."""


@dataclass(frozen=True)
class Work:
    """`rows` times `prompt` tokens read and `new` tokens generated (or, in a training, `prompt` trained on) by `model`.

    Figures are None where they cannot be known. `passes` are a training's forward passes' worth of work a token.
    """

    doing: Doing
    model: str
    rows: Span | None
    prompt: Span | None
    new: Span | None = None
    longest: int = 0
    times: float = 1
    """How often a row is read: a training's epochs, and both sides of a pair."""
    passes: float = 1
    engine: EngineSettings | None = None

    @property
    def tokens_in(self) -> Span | None:
        return self.rows * self.prompt * self.times if self.rows and self.prompt else None

    @property
    def tokens_out(self) -> Span | None:
        return self.rows * self.new if self.rows and self.new else None


def work_of(node: Node, made: Mapping[str, Made]) -> Work | Literal["unknown"] | None:
    """What a stage does with models; None if it needs none, `unknown` where its work cannot be told beforehand."""
    rule = RULES.get(node.kind)
    if rule is None:
        return None if node.kind in WITHOUT else "unknown"
    return rule(node, made)


def _generating(node: Node, rows: Span | None, prompt: Span | None, new: Span | None, longest: int) -> Work:
    stage: Any = node.stage
    return Work("generate", stage.model, rows, prompt, new, longest, engine=stage.engine)


def _instructions(node: Node, made: Mapping[str, Made]) -> Work:
    own = made[node.name]
    new = Span.of(own.instruction) if own.instruction is not None else None
    stage: Any = node.stage
    return _generating(node, own.rows, Span.of(FRAME // 2), new, stage.max_tokens)


def _probe(node: Node, made: Mapping[str, Made]) -> Work:
    from magpie_align.pricing.facts import lengths

    stage: Any = node.stage
    known = lengths(stage.model)
    new = Span.of(known[0]) if known else None
    return _generating(node, Span.of(stage.n), Span.of(FRAME // 2), new, stage.max_tokens)


def _responses(node: Node, made: Mapping[str, Made]) -> Work:
    own, stage = made[node.name], node.stage
    longest: int = getattr(stage, "max_tokens", 0)
    return _generating(node, own.rows, _sum(own.instruction, FRAME), own.response, longest)


def _outputs(node: Node, made: Mapping[str, Made]) -> Work:
    """Answers to questions, few and short beside their answers: what is read counts for nothing."""
    own, stage = made[node.name], node.stage
    return _generating(node, own.rows, Span.of(FRAME), own.response, getattr(stage, "max_tokens", 0))


def _turns(node: Node, made: Mapping[str, Made]) -> Work:
    """A later question and its answer are two requests over all that was said before; what was read stays in the cache."""
    data, stage = made.get(getattr(node.stage, "data", ""), Made()), node.stage
    later = float(getattr(stage, "turns", 2) - 1)
    said = added([data.response, Span.of(data.instruction)]) if data.response and data.instruction is not None else None
    new = said * later if said else None
    return _generating(node, data.rows, said, new, getattr(stage, "max_tokens", 0))


def _tags(node: Node, made: Mapping[str, Made]) -> Work:
    """The text in front of the instruction is the same for all rows and stays in vLLM's cache; what is behind it is read."""
    assert isinstance(node.stage, Tags)
    own, tagger = made[node.name], node.stage.tagger
    behind = len(tagger.user.rpartition("{instruction}")[2]) / CHARACTERS
    least = sum(len(column) + 8 for column in tagger.columns) / CHARACTERS if tagger.fields else len(tagger.columns)
    new = Span(min(least, tagger.max_tokens), tagger.max_tokens)
    return _generating(node, own.rows, _sum(own.instruction, FRAME + behind), new, tagger.max_tokens)


def _safety(node: Node, made: Mapping[str, Made]) -> Work:
    own, stage = made[node.name], node.stage
    most: int = getattr(stage, "max_tokens", 64)
    return _generating(node, own.rows, _chat(own), Span(2, most), most)


def _scored(node: Node, made: Mapping[str, Made]) -> Work:
    own = made[node.name]
    return Work("read", getattr(node.stage, "model", ""), own.rows, _chat(own))


def _embedded(node: Node, made: Mapping[str, Made]) -> Work | None:
    own, model = made[node.name], getattr(node.stage, "model", "")
    return None if model == "ngram" else Work("read", model, own.rows, _sum(own.instruction, 2))


def _trained(node: Node, made: Mapping[str, Made]) -> Work:
    """A row is trained on `epochs` times; a preference pair is two, and a frozen reference reads them once more. KTO has both
    models read answers to other prompts too."""
    stage: Any = node.stage
    assert isinstance(stage, TrainingSettings)
    data = made.get(stage.data, Made())  # type: ignore[attr-defined]
    sides = 1 if node.kind == "sft" else 2
    backward = 1 if stage.adapter else 2  # a frozen weight needs no gradient of its own
    passes = 1 + backward + bool(stage.gradient_checkpointing) + {"dpo": 1, "kto": 3}.get(node.kind, 0)
    chat = _chat(data)
    cut = chat.at_most(stage.max_length) if chat else None
    return Work("train", stage.model, data.rows, cut, times=sides * stage.epochs, passes=passes)  # type: ignore[attr-defined]


def _chat(made: Made) -> Span | None:
    return (
        added([made.response, Span.of(made.instruction + FRAME)])
        if made.response and made.instruction is not None
        else None
    )


def _sum(tokens: float | None, more: float) -> Span | None:
    return None if tokens is None else Span.of(tokens + more)


RULES: dict[str, Callable[[Node, Mapping[str, Made]], Work | None]] = {
    "instructions": _instructions,
    "probe": _probe,
    **dict.fromkeys(("responses", "base_responses"), _responses),
    "outputs": _outputs,
    "turns": _turns,
    "tags": _tags,
    "safety": _safety,
    **dict.fromkeys(("rewards", "base_rewards"), _scored),
    "embed": _embedded,
    **dict.fromkeys((*TRAININGS, "reward_model"), _trained),
}
WITHOUT = (
    *(
        "published_outputs",
        "select",
        "neighbours",
        "pairs",
        "language",
        "mix",
        "split",
        "dataset",
        "contamination",
        "untouched",
        "release",
        "model_release",
        "report",
    ),
    *("mini_public", "mini_preferences", "mini_benchmark", "mini_truth"),
)
"""Kinds that need no model and no GPU."""
