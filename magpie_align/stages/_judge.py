"""The settings that all stages which judge share, and what cannot work of them, known before any work."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from magpie_align.curation.scorer import ScorerSettings
from magpie_align.engines import EngineSettings, problems
from magpie_align.engines.protocol import Capability
from magpie_align.engines.template import TemplateSettings
from magpie_align.evaluation.judging.prompt import PACKAGE, package_prompt, published_words
from magpie_align.evaluation.judging.settings import JudgePrompt, RewardRule
from magpie_align.flow.stage import Context, ModelRef, Reads, Ref, RowsRef
from magpie_align.settings import Runtime, Settings

PromptRef = Annotated[str, Ref("data", external=True, builtin=(PACKAGE,))]


class Judging(Settings):
    """Who judges and how. `prompt` makes `judge` a language model that is asked, `reward` a reward model whose scores decide."""

    version: ClassVar[int]

    outputs: RowsRef
    """A stage `outputs` or `published_outputs`."""
    without: RowsRef | None = None
    """A stage `contamination`: leave out the questions that it found in the training data. What was said of the others is kept."""
    judge: ModelRef
    """Where an endpoint serves it, a name; the endpoint's own `model` goes before it."""
    prompt: JudgePrompt | None = None
    prompt_file: PromptRef | None = None
    """A published prompt's file, in place of the words of `prompt`; `package` is that of the installed alpaca-eval package."""
    reward: RewardRule | None = None
    scorer: ScorerSettings = Field(default_factory=ScorerSettings)  # type: ignore[arg-type]
    """How a reward model is loaded."""
    template: TemplateSettings = TemplateSettings()
    engine: EngineSettings = EngineSettings()
    seed: int = 0
    repeats: int = Field(1, ge=1)
    """How often everything is judged; the score is the first one's, the others tell how far the judge agrees with itself."""
    max_failures: float = Field(0.02, ge=0, lt=1)
    """The share of cases that may be without a verdict; with more there is no score."""
    max_cost: Runtime[float | None] = Field(None, ge=0)
    """Do not start if the calls still to be made may cost more, at the endpoint's prices."""
    cache: Runtime[str | None] = None
    """The SQLite file of all that judges said; `judgments.sqlite` in the store where left out."""

    def reads(self, ref: Ref) -> Reads:
        """As a stage says it."""
        return self.engine.reads if ref.product == "model" and self.reward is None else ref.reads

    def prompts(self) -> dict[str, JudgePrompt]:
        """Every prompt by the name that cases ask for."""
        return {"": self.prompt} if self.prompt else {}


def judge_problems(stage: Judging, compares: bool) -> list[str]:
    """Sentences on what cannot work, known before any work."""
    prompts = stage.prompts()
    if bool(prompts) == (stage.reward is not None):
        return ["give either a prompt (for a language model) or reward (for a reward model), and not both"]
    if stage.reward is not None:
        return _reward_problems(stage, compares)
    needs: set[Capability] = set() if stage.engine.chat else {"tokens"}
    needs |= {"logprobs"} if any(prompt.weighted for prompt in prompts.values()) else set()
    needs |= {"structured"} if any(prompt.structured for prompt in prompts.values()) else set()
    found = problems(stage.engine, needs)
    if stage.engine.chat and any(prompt.structured and prompt.reads == "labels" for prompt in prompts.values()):
        found.append("an endpoint in chat mode holds answers to JSON alone, not to labels; leave prompt.structured out")
    for name, prompt in prompts.items():
        where = f"prompt{f's.{name}' if name else ''}"
        if prompt.compares != compares:
            wanted = "compares two answers: labels, brackets or choice" if compares else "rates one: rating or score"
            found.append(f"{where}.reads is {prompt.reads}, but this benchmark {wanted}")
        if not prompt.user and not stage.prompt_file:
            found.append(f"{where}.user is empty and there is no prompt_file; give the judge its words")
        if stage.repeats > 1 and not prompt.temperature and not stage.engine.chat:
            found.append(
                f"repeats is {stage.repeats} at {where}.temperature 0, where a local judge says the same each time; raise it"
            )
    if stage.prompt_file == PACKAGE and package_prompt() is None:
        found.append("prompt_file is package, but the alpaca-eval package is not installed; install it or give a file")
    return found


def _reward_problems(stage: Judging, compares: bool) -> list[str]:
    if not compares:
        return ["a reward model gives no rating from 1 to 10; give a prompt, or compare with a baseline"]
    found = ["prompt_file is for a language model, but the judge is a reward model"] if stage.prompt_file else []
    if stage.repeats > 1:
        found.append(f"repeats is {stage.repeats}, but a reward model says the same each time; leave it out")
    return found


def settled_prompts(ctx: Context, stage: Judging, entries: Mapping[str, str] | None = None) -> dict[str, JudgePrompt]:
    """The prompts with a published file's words, where one is named; `entries` say which of several prompts in it."""
    if stage.prompt_file is None:
        return stage.prompts()
    file = package_prompt() if stage.prompt_file == PACKAGE else ctx.path(stage.prompt_file)
    assert file is not None  # refused before any work
    return {
        name: prompt.model_copy(update=published_words(file, (entries or {}).get(name)))
        for name, prompt in stage.prompts().items()
    }
