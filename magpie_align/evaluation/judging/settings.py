"""The settings of a judge: how a language model is asked and its answer read, or how rewards decide. Light: recipes read them."""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator

from magpie_align.engines.protocol import Sampling
from magpie_align.settings import Settings

Form = Literal["labels", "brackets", "choice", "rating", "score"]
Seats = Literal["drawn", "both"]

PAIRS: tuple[Form, ...] = ("labels", "brackets", "choice")
"""Forms that compare two answers; the others rate one."""
CHOICES = {"A++": (1.0, True), "A+": (1.0, False), "A=B": (0.5, False), "B+": (0.0, False), "B++": (0.0, True)}
"""WildBench's words for a verdict: seat A's share of a win, and whether it is decisive."""
PUBLISHED = {
    "20af7b0a0bb96c5b": ("weighted_alpaca_eval_gpt4_turbo", "labels weighted"),
    "ec4abd402cd26b58": ("arena-hard-v0.1", "brackets unanimous"),
    "f19681929d0fd0a9": ("arena-hard-v0.1", "brackets unanimous"),  # with the slots' names of 2025
    "ba584055b2974a55": ("wildbench-v2.0625", "score"),
}
"""Hash of the words of a published prompt -> the name that published scores know it by, and how they read it."""


class JudgePrompt(Settings):
    """What a judge is asked, and how its answer is read (see `reading`)."""

    system: str | None = None
    user: str = ""
    reads: Form
    labels: tuple[str, str] = ("m", "M")
    """What the answers in seats A and B are called, for `labels`."""
    weighted: bool = False
    """Read the probabilities of the labels, not the label that was written."""
    unanimous: bool = False
    """A text that gives several verdicts fails; without, its last one counts."""
    structured: bool = False
    """Hold the judge to the form of its answer, of an engine that can: labels as they are, JSON with `fields` of free text ahead of
    the choice or score."""
    fields: tuple[str, ...] = ()
    text_length: int = Field(600, gt=0)
    """Characters that each of those fields may have."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(1024, gt=0)
    alternatives: int = Field(5, gt=0, le=20)
    """How many of the likeliest tokens are asked for where the verdict is weighted."""

    @model_validator(mode="after")
    def _sense(self) -> "JudgePrompt":
        if self.weighted and self.reads != "labels":
            raise ValueError(
                f"weighted reads the probabilities of labels, but the form is {self.reads}; set reads: labels"
            )
        if self.structured and self.reads in ("brackets", "rating"):
            raise ValueError(f"{self.reads} stand in free text, which has no form; leave structured out")
        if self.labels[0] == self.labels[1]:
            raise ValueError("the two labels are the same; give each answer its own")
        return self

    @property
    def compares(self) -> bool:
        """Whether it is about two answers."""
        return self.reads in PAIRS

    @property
    def hash(self) -> str:
        """Stands for the words alone, whatever their white space."""
        words = " ".join(f"{self.system or ''}\n{self.user}".split())
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    @property
    def sampling(self) -> Sampling:
        """As an engine takes it, without stops and seed."""
        alternatives = self.alternatives if self.weighted else 0
        return Sampling(self.temperature, 1.0, self.max_tokens, logprobs=alternatives, **self._form)

    @property
    def _form(self) -> dict[str, Any]:
        """The field of `Sampling` that holds an answer to the form."""
        if not self.structured:
            return {}
        if self.reads == "labels":
            return {"choice": self.labels}
        said = {name: {"type": "string", "maxLength": self.text_length} for name in self.fields}
        values = list(CHOICES) if self.reads == "choice" else [str(n) for n in range(1, 11)]
        properties = said | {self.reads: {"enum": values}}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return {"schema": json.dumps(schema | {"additionalProperties": False})}

    @property
    def reading(self) -> str:
        """How a verdict is read, in words."""
        more = [name for name in ("weighted", "unanimous", "structured") if getattr(self, name)]
        return " ".join([self.reads, *more])

    @property
    def name(self) -> str:
        """What a score's key calls it: a published prompt's name, if the words are its own and read as it reads them."""
        name, reading = PUBLISHED.get(self.hash, ("", ""))
        return name if name and reading == self.reading else f"own:{self.hash}"


class RewardRule(Settings):
    """From two rewards to a verdict: a tie where they are no more than `margin` apart (0: only equal ones)."""

    margin: float = Field(0.0, ge=0)
    decisive: float | None = Field(None, gt=0)
    """Apart by more than this, the better answer is much better; left out, it never is."""
    weighted: bool = False
    """The share of a win is the logistic function of the difference, as the model was trained (Bradley-Terry); no ties."""

    @model_validator(mode="after")
    def _sense(self) -> "RewardRule":
        if self.decisive is not None and self.decisive <= self.margin:
            raise ValueError(f"decisive ({self.decisive:g}) must be more than margin ({self.margin:g})")
        if self.weighted and self.margin:
            raise ValueError("a weighted verdict has no ties; leave margin out")
        return self

    @property
    def name(self) -> str:
        """As a score's key says it, in place of a prompt."""
        how = "weighted" if self.weighted else "the higher wins"
        return f"reward, {how}, margin {self.margin:g}, decisive {self.decisive}"
