"""vLLM's own engine behind the streaming protocol: requests join the running batch as others leave it.

vLLM is imported here alone, and only when an engine is opened.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from magpie_align.engines.intake import Intake, Limits, failed, finished, lacking
from magpie_align.engines.protocol import Capability, Completion, Finish, Request, Sampling
from magpie_align.engines.settings import EngineSettings
from magpie_align.engines.tokenizer import end_ids, load_tokenizer
from magpie_align.engines.wire import form
from magpie_align.errors import StageError

if TYPE_CHECKING:
    from vllm.logprobs import Logprob
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine

FIRST_TOKEN = "magpie_first_token"
"""Key of a request's first-token control in vLLM's `extra_args`."""
PLAIN: frozenset[Capability] = frozenset({"tokens", "seed", "structured", "logprobs"})
STEERED: frozenset[Capability] = PLAIN | {"first_token"}
AHEAD = 2
"""Requests handed to vLLM for each sequence that can run, so that a freed slot never waits for us."""


class VllmEngine:
    """One vLLM model, in this process on a CPU, in a process of its own on GPUs.

    A completion ends at `sampling.stop_ids` or at the model's own end ids. Only an engine opened with `first_token` carries
    the logits processor for that: it costs every step a little. Raises StageError if vLLM cannot load.
    """

    def __init__(
        self, settings: EngineSettings, model_path: str, revision: str | None = None, first_token: bool = False
    ) -> None:
        self.capabilities = STEERED if first_token else PLAIN
        # vLLM reads these on import: its log must stay off stdout, and nothing is reported home.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if first_token:
            # vLLM's second model runner, its choice on GPUs, takes logits processors of another interface.
            os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
        vllm, current_platform = _import_vllm()
        self._on_cpu = current_platform.is_cpu()
        if self._on_cpu:
            # vLLM's worker process would need a __main__ guard in every caller and take 10 s longer to start.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        self._tokenizer = load_tokenizer(model_path, revision, settings.trust_remote_code)
        self._ends = end_ids(self._tokenizer, model_path, revision)
        self._engine: LLMEngine | None = _load(
            engine_args(settings, model_path, revision, on_cpu=self._on_cpu, first_token=first_token)
        )
        config = self._engine.vllm_config
        self._limits = Limits(config.model_config.max_model_len, config.model_config.get_vocab_size())
        self.window = AHEAD * config.scheduler_config.max_num_seqs
        self._ids = count()
        self.provenance: dict[str, Any] = {
            "engine": "vllm",
            "version": vllm.__version__,
            "model": model_path,
            "revision": revision,
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "max_model_len": self._limits.max_model_len,
        }

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Completion]:
        engine, intake, running = self._engine, Intake(requests), dict[str, Request]()
        if engine is None:
            raise StageError("this engine is closed; open a new one to generate")
        try:
            while running or not intake.exhausted:
                for request in intake.take(self.window - len(running), idle=not running):
                    reason = lacking(request.sampling, self.capabilities) or self._limits.refuse(request)
                    reason = reason or self._add(engine, request, running)
                    if reason:
                        yield failed(request, reason)
                for output in engine.step() if running else ():
                    if output.finished and output.request_id in running:
                        yield self._complete(running.pop(output.request_id), output)  # type: ignore[arg-type]
        finally:
            engine.abort_request(list(running))

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        engine.engine_core.shutdown()
        del engine
        cleanup_dist_env_and_memory()

    def _add(self, engine: "LLMEngine", request: Request, running: dict[str, Request]) -> str | None:
        """Hand one request to vLLM; the sentence of its refusal, if it refuses."""
        from vllm.exceptions import VLLMClientError
        from vllm.inputs.engine import tokens_input

        name = str(next(self._ids))
        try:
            engine.add_request(name, tokens_input(list(request.prompt)), sampling_params(request.sampling, self._ends))
        except (VLLMClientError, ValueError) as error:
            return f"vLLM refused the request: {error}"
        running[name] = request
        return None

    def _complete(self, request: Request, output: "RequestOutput") -> Completion:
        (best,) = output.outputs
        if best.finish_reason not in ("stop", "length"):
            return failed(request, f"vLLM ended the request with '{best.finish_reason}' before it was complete")
        ids = tuple(best.token_ids)
        finish: Finish = "stop" if best.finish_reason == "stop" else "length"
        done = finished(request, self._tokenizer, ids, finish, best.stop_reason)
        if not request.sampling.logprobs:
            return done
        return replace(done, logprobs=tuple(self._named(place) for place in best.logprobs or ()))

    def _named(self, place: "Mapping[int, Logprob]") -> dict[str, float]:
        """The alternatives at one token by their text, likeliest first; of two that read the same the likelier counts."""
        found: dict[str, float] = {}
        for i, one in sorted(place.items(), key=lambda item: -item[1].logprob):
            found.setdefault(str(self._tokenizer.decode([i])), one.logprob)
        return found


def sampling_params(sampling: Sampling, ends: tuple[int, ...]) -> "SamplingParams":
    """vLLM's form of `sampling`. End ids go in as stop ids, so that the one that ended a text is always reported."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        repetition_penalty=sampling.repetition_penalty,
        logprobs=sampling.logprobs or None,
        stop=list(sampling.stop),
        stop_token_ids=[*dict.fromkeys([*sampling.stop_ids, *ends])],
        ignore_eos=True,
        # Only stop strings need text while generating; the final text is decoded once, at the end.
        detokenize=bool(sampling.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args=first_args(sampling) if sampling.steers_first else None,
        structured_outputs=StructuredOutputsParams(**form(sampling)) if sampling.structured else None,
    )


def first_args(sampling: Sampling) -> dict[str, Any]:
    """What the logits processor of `vllm_first` reads: ids to ban, and by what to divide the first token's logits."""
    hot = sampling.first_temperature
    return {FIRST_TOKEN: {"banned": list(sampling.first_banned), "heat": hot / sampling.temperature if hot else 1.0}}


def engine_args(
    settings: EngineSettings, model_path: str, revision: str | None, *, on_cpu: bool, first_token: bool = False
) -> dict[str, Any]:
    """The keyword arguments of vLLM's `EngineArgs`; settings left out keep vLLM's own defaults."""
    kv_cache_gb = settings.kv_cache_gb or (1.0 if on_cpu else None)
    chosen = {
        "model": model_path,
        "revision": revision,
        "tokenizer_revision": revision,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "trust_remote_code": settings.trust_remote_code,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_num_seqs": settings.max_num_seqs,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_memory_bytes": int(kv_cache_gb * 2**30) if kv_cache_gb else None,
        "enforce_eager": on_cpu if settings.enforce_eager is None else settings.enforce_eager,
        # A prompt read in two halves makes vLLM wind a seeded generator back, which a CPU generator cannot do.
        "enable_chunked_prefill": False if on_cpu else None,
        # Sampling is ours alone: a model's generation config must not change it behind the recipe's back.
        "generation_config": "vllm",
        "logits_processors": ["magpie_align.engines.vllm_first:FirstTokenProcessor"] if first_token else None,
        # A model held to a JSON schema must not fill its answer with line breaks.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    return {key: value for key, value in chosen.items() if value is not None} | settings.extra


def _import_vllm() -> tuple[Any, Any]:
    """vLLM and its platform. A broken installation fails in many ways; each is a StageError here."""
    try:
        import vllm
        from vllm.platforms import current_platform
    except Exception as error:
        raise StageError(
            f"vllm is installed but does not import ({type(error).__name__}: {error}); "
            "mend the installation or set engine.kind=transformers"
        ) from error
    return vllm, current_platform


def _load(arguments: dict[str, Any]) -> "LLMEngine":
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    try:
        return LLMEngine.from_engine_args(EngineArgs(**arguments))
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise StageError(f"vLLM could not load '{arguments['model']}': {reason}") from error
