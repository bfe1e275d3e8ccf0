"""What the stages that judge share: the settings of a judge, opening it, and writing down what it said."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from magpie_align.curation.scorer import ScorerSettings
from magpie_align.engines import EngineSettings, problems, resolve_kind
from magpie_align.engines.protocol import Capability
from magpie_align.engines.template import TemplateSettings
from magpie_align.evaluation.judging.prompt import PACKAGE, package_prompt, published_words
from magpie_align.evaluation.judging.settings import JudgePrompt, RewardRule
from magpie_align.flow.stage import Context, ModelRef, Reads, Ref, RowsRef
from magpie_align.settings import Runtime, Settings

if TYPE_CHECKING:
    from magpie_align.evaluation.judging.cases import Case, Judge, Verdicts
    from magpie_align.evaluation.judging.result import Judged
    from magpie_align.evaluation.outputs import Output
    from magpie_align.records import Message

HOSTS = ("api.openai.com",)
"""Where a model's name alone says which model it is; elsewhere the host stands beside it."""
PromptRef = Annotated[str, Ref("data", external=True, builtin=(PACKAGE,))]


class Judging(Settings):
    """Who judges and how. `prompt` makes `judge` a language model that is asked, `reward` a reward model whose scores decide."""

    outputs: RowsRef
    """A stage `outputs` or `published_outputs`."""
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
    found = problems(stage.engine, needs)
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


def judge_key(ctx: Context, stage: Judging, prompts: Mapping[str, JudgePrompt]) -> dict[str, Any]:
    """The part of a score's key that says who judged and how."""
    name = judge_name(ctx, stage)
    if stage.reward is not None:
        return {"judge": f"reward model {name}", "judge_prompt": stage.reward.name, "judge_dtype": stage.scorer.dtype}
    hashes = "+".join(prompt.hash for prompt in prompts.values())
    return {
        "judge": name,
        "judge_prompt": "+".join(dict.fromkeys(prompt.name for prompt in prompts.values())),
        "judge_prompt_hash": hashes,
        "judge_reads": "+".join(dict.fromkeys(prompt.reading for prompt in prompts.values())),
        "judge_temperature": next(iter(prompts.values())).temperature,
        "judge_max_tokens": next(iter(prompts.values())).max_tokens,
        "judge_engine": resolve_kind(stage.engine)[0],
    }


def judge_name(ctx: Context, stage: Judging) -> str:
    """A name that stands for one model: with the host that serves it, or what its weights are."""
    endpoint = stage.engine.endpoint
    if stage.reward is None and stage.engine.kind == "openai" and endpoint is not None:
        host = urlsplit(endpoint.base_url).hostname
        model = endpoint.model or stage.judge
        return model if host in HOSTS else f"{model} at {host}"
    revision = ctx.revision_of(stage.judge) or _weights(ctx, stage)
    name = ctx.name_of(stage.judge)
    return name if revision in name else f"{name}@{revision[:16]}"


def _weights(ctx: Context, stage: Judging) -> str:
    from magpie_align.flow.store import folder_fingerprint

    return folder_fingerprint(ctx.path(stage.judge))


@contextmanager
def opened_judge(ctx: Context, stage: Judging, prompts: Mapping[str, JudgePrompt]) -> "Iterator[Judge]":
    """The judge, its cache open; a local model is loaded only for what the cache does not know, and freed at once."""
    from pathlib import Path

    from magpie_align.engines.template import load_template
    from magpie_align.evaluation.judging.cache import Cache
    from magpie_align.evaluation.judging.language import LanguageJudge
    from magpie_align.evaluation.judging.reward import RewardJudge
    from magpie_align.stages._fill import opened

    artifact = ctx.out.parent
    file = Path(stage.cache).expanduser() if stage.cache else artifact.parent / "judgments.sqlite"
    with closing(Cache(file, artifact.name)) as cache:
        name = judge_name(ctx, stage)
        if stage.reward is not None:
            identity = {"model": name, "scorer": stage.scorer.content()}
            yield RewardJudge(name, identity, stage.reward, cache, lambda chats: _rewards(ctx, stage, chats))
            return
        served = stage.engine.chat
        model = stage.judge if served else str(ctx.path(stage.judge))
        needs: set[Capability] = {"logprobs"} if any(prompt.weighted for prompt in prompts.values()) else set()
        yield LanguageJudge(
            name,
            {"model": name, "engine": stage.engine.content()},
            prompts,
            None if served else load_template(model, stage.template, stage.engine.trust_remote_code),
            cache,
            lambda: opened(ctx, stage.engine, model, needs),
            stage.engine,
            stage.seed,
            stage.max_cost,
        )


def _rewards(
    ctx: Context, stage: Judging, chats: "Sequence[tuple[Message, ...]]"
) -> Iterator[tuple[int, float | None]]:
    from magpie_align.curation.scorer import Scorer

    scorer = Scorer(ctx.path(stage.judge), stage.scorer)
    yield from scorer.scores([scorer.dialogue(chat) for chat in chats], stage.scorer.token_budget)


def judge_all(
    ctx: Context,
    stage: Judging,
    prompts: Mapping[str, JudgePrompt],
    cases: "Sequence[Case]",
    score: "Callable[[Verdicts], Judged]",
) -> None:
    """Hear the judge on all cases and write what follows; nothing is scored where too much failed."""
    from magpie_align.evaluation.alpaca_eval import write_records
    from magpie_align.evaluation.judging.hearing import failures_of, hear, noise, repeat, write_lines
    from magpie_align.evaluation.scored import write_scored
    from magpie_align.stages._fill import whole

    with opened_judge(ctx, stage, prompts) as judge:
        try:
            verdicts = hear(judge, cases, ctx.out, stage.max_failures, ctx.progress)
        finally:
            tally = {"calls_now": judge.tally.calls, "cached": judge.tally.cached, **judge.tally.notes}
    found = [score(repeat(verdicts, number)) for number in range(stage.repeats)]
    write_scored(found[0].scored, ctx.out)
    for name, records in found[0].records.items():
        write_records(records, ctx.out / name) if name.endswith(".json") else write_lines(ctx.out / name, records)
    whole(ctx)
    ctx.note(cases=len(cases), failures=failures_of(verdicts), **tally, **found[0].notes)
    ctx.note(**noise(verdicts, [one.headline for one in found]))


def output_counts(outputs: "Sequence[Output]") -> dict[str, int]:
    """Answers that were cut, empty, or ended by a special token, for a report."""
    names = {"length": "truncated", "empty": "empty", "special": "special_token", "error": "error"}
    said = [status.split(":")[0] for output in outputs for status in output.statuses]
    return {shown: said.count(status) for status, shown in names.items()}
