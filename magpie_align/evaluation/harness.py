"""lm-evaluation-harness through vLLM or transformers: real tasks, per-sample logs kept, every score with interval and key.

tasks, local_data   which tasks, with which shots, on whose files
lm, copies          lm-eval's models, watched; several of them at once
samples             from lm-eval's results to scores
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from magpie_align.engines import EngineSettings
from magpie_align.errors import StageError
from magpie_align.evaluation.lm import Watch, open_lm, prompt_hash
from magpie_align.evaluation.samples import Run, mean_problems, scored_means, scored_tasks
from magpie_align.evaluation.scored import Scored
from magpie_align.evaluation.tasks import Loaded, load_tasks
from magpie_align.settings import Runtime, Settings


class HarnessSettings(Settings):
    """How lm-eval is asked. `tasks` maps each task or group to its number of shots (null: the task's own)."""

    tasks: dict[str, int | None] = Field(min_length=1)
    chat_template: bool = True
    multiturn: bool = True
    """With a chat template, whether each few-shot example is a turn of the chat; else they all stand in the user's one turn."""
    system: str | None = None
    """A system instruction in front of every prompt."""
    means: dict[str, list[str]] = {}
    """Name -> scores, each as `TASK METRIC`, whose unweighted mean is a score too."""
    fewshot_seed: int = 1234
    """Which examples are drawn; lm-eval's own default, so that its numbers can be compared."""
    limit: int | None = Field(None, gt=0, description="items a task, for a quick look")
    batch_size: Runtime[int] = Field(64, gt=0, description="for transformers; vLLM batches by itself")


def evaluate(
    model: Path,
    own: Path | None,
    data: Path | None,
    settings: HarnessSettings,
    engine: EngineSettings,
    out: Path,
    seed: int,
) -> list[Scored]:
    """Score the model in `model` on tasks from the folder `own` (None: lm-eval's), read from `data` (None: the hub).

    Leaves lm-eval's own results, without the samples, in `out/lm_eval.json`, and these in `out/samples/TASK.jsonl`. Scores carry
    no model name yet: the report that shows them gives it. Raises StageError where tasks, their data or a chat template lack.
    """
    loaded = load_tasks(settings.tasks, own, data)
    problems = mean_problems(settings.means, loaded)
    if problems:
        raise StageError("; ".join(problems))
    lm, watch, close = _open(model, engine, settings.batch_size)
    try:
        messages = _hear_messages(lm) if settings.chat_template else {}
        result = _run(lm, loaded, settings, seed)
    finally:
        close()
    samples = result.pop("samples")
    _keep(result, samples, out)
    run = Run(result, samples, loaded, watch, messages, _key(settings))
    scored = scored_tasks(run)
    return scored + scored_means(settings.means, scored, run.key)


def _open(model: Path, engine: EngineSettings, batch_size: int) -> tuple[Any, Watch, Callable[[], None]]:
    from magpie_align.engines.replicas import replica_count

    count = replica_count(engine)
    if count > 1:
        from magpie_align.evaluation.copies import Copies

        copies = Copies(model, engine, batch_size, count)
        return copies, copies.watch, copies.close
    return *open_lm(model, engine, batch_size), lambda: None


def _run(lm: Any, loaded: Loaded, settings: HarnessSettings, seed: int) -> dict[str, Any]:
    import lm_eval

    result = lm_eval.simple_evaluate(
        model=lm,
        tasks=loaded.asked,
        task_manager=loaded.manager,
        limit=settings.limit,
        system_instruction=settings.system,
        apply_chat_template=settings.chat_template,
        fewshot_as_multiturn=settings.chat_template and settings.multiturn,
        log_samples=True,
        bootstrap_iters=0,
        random_seed=seed,
        fewshot_random_seed=settings.fewshot_seed,
    )
    assert result is not None  # None only on the other ranks of a distributed run
    return dict(result)


def _hear_messages(lm: Any) -> dict[str, str]:
    """Hash of each prompt -> hash of the messages that it renders, which is the same whatever the model's template."""
    heard: dict[str, str] = {}
    render = lm.apply_chat_template

    def rendered(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        try:
            text = str(render(messages, add_generation_prompt=add_generation_prompt))
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            raise StageError(f"the prompts cannot be put into a chat ({reason}); set chat_template: false") from error
        heard[prompt_hash(text)] = prompt_hash(json.dumps(messages, ensure_ascii=False))
        return text

    lm.apply_chat_template = rendered
    return heard


def _keep(result: dict[str, Any], samples: dict[str, list[dict[str, Any]]], out: Path) -> None:
    (out / "samples").mkdir(parents=True, exist_ok=True)
    for task, rows in samples.items():
        with (out / "samples" / f"{task.replace('/', '_')}.jsonl").open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
    (out / "lm_eval.json").write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")


def _key(settings: HarnessSettings) -> dict[str, Any]:
    """What all scores of a run share of their keys."""
    return {
        "harness": "lm-eval",
        "harness_version": version("lm_eval"),
        "chat_template": settings.chat_template,
        **({"multiturn": settings.multiturn} if settings.chat_template else {}),
        **({"system": settings.system} if settings.system else {}),
        **({"limit": settings.limit} if settings.limit else {}),
    }
