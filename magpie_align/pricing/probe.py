"""A short real run of the engine on this machine: what share of the roofline it reaches with the models that are here."""

import random
import time
from pathlib import Path

from magpie_align.engines import EngineSettings, Request, Sampling, open_engine
from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.flow.stage import is_external
from magpie_align.pricing.flowing import Made
from magpie_align.pricing.memory import fit
from magpie_align.pricing.models import config_behind
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.roofline import streaming_seconds
from magpie_align.pricing.shapes import shape_of
from magpie_align.pricing.work import Work, work_of

REQUESTS, PROMPT, NEW = 256, 32, 64
"""Enough for a full batch; each answer of the same length, so that the measurement does not depend on what is said."""


def measured(nodes: list[Node], made: dict[str, Made], resources: Resources) -> dict[str, float]:
    """Model -> share of the roofline it reached here, for every model that a stage still to run generates with and that is here.

    Raises ConfigError where none is.
    """
    works: dict[str, tuple[Node, Work]] = {}
    for node in nodes:
        work = work_of(node, made)
        if (
            isinstance(work, Work)
            and work.doing == "generate"
            and work.engine
            and work.engine.kind in ("vllm", "transformers")
        ):
            works.setdefault(work.model, (node, work))
    here = {model: folder for model, (node, _) in works.items() if (folder := _folder(node, model))}
    if not here:
        named = ", ".join(works) or "none"
        raise ConfigError(
            f"--probe measures models that are on this machine, and of those this recipe generates with ({named}) none is"
        )
    return {model: _share(works[model][0], works[model][1], folder, resources) for model, folder in here.items()}


def _folder(node: Node, model: str) -> Path | None:
    """Where the model's weights are, without fetching anything."""
    if not is_external(model):
        artifact = node.inputs[model].artifact
        return artifact.data if artifact.done else None
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    repo, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
    except Exception:  # any way of not being in the cache
        return None


def _share(node: Node, work: Work, folder: Path, resources: Resources) -> float:
    shape = shape_of(config_behind(node, work.model))
    assert work.engine is not None
    if shape is None:
        raise ConfigError(f"--probe cannot tell the roofline of {work.model}: its config.json is not understood")
    laid = fit(shape, work.engine, resources, PROMPT + NEW)
    seconds = run(folder, work.engine, shape.vocabulary)
    batch = min(REQUESTS, laid.batch)
    return streaming_seconds(shape, resources.device, laid.gpus, REQUESTS, PROMPT, NEW, batch) / seconds


def run(folder: Path, engine: EngineSettings, vocabulary: int) -> float:
    """Seconds that the engine takes for `REQUESTS` answers of `NEW` tokens, once it is warm; loading is not counted."""
    ready = open_engine(engine, str(folder))
    try:
        list(ready.generate(_requests(8, vocabulary, "warm")))
        started = time.perf_counter()
        done = list(ready.generate(_requests(REQUESTS, vocabulary, "")))
        seconds = time.perf_counter() - started
    finally:
        ready.close()
    tokens = sum(one.tokens for one in done)
    return seconds * REQUESTS * NEW / max(tokens, 1)


def _requests(count: int, vocabulary: int, name: str) -> list[Request]:
    """Prompts of random tokens, which no cache has seen; sampled hot, with no stop, so that they run to their length."""
    draw = random.Random(name)
    sampling = Sampling(temperature=1.0, max_tokens=NEW)
    return [
        Request(f"{name}{n}", tuple(draw.randrange(3, vocabulary) for _ in range(PROMPT)), sampling=sampling)
        for n in range(count)
    ]
