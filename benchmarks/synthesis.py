"""How near synthesis comes to vLLM's own ceiling, and how far it is from rounds that drain.

    python benchmarks/synthesis.py                 # the teacher of recipe=quickstart, made first if the store does not have it

Instruction and response for every row, three ways, with the same model, vLLM settings and sampling:

  ceiling  raw `LLM.generate` over all instruction prompts at once, then over all response prompts at once; keeps nothing on disk
  ours     this framework: both steps in one stream by turns, every row durable as it finishes, both data sets whole at the end
  rounds   200 prompts a call and a drain after each, as the official scripts do; also keeps nothing on disk

Instructions are sampled at temperature 1, responses greedily, as in the paper. So small a model's answers are short and alike, so
the length of each answer is imposed: lognormal, of the spread (coefficient of variation) that the paper's responses have, 0.5, and
in a second table of 1.0.

Each way has a process of its own that stays loaded, and they take turns, so that all meet the same machine; a ratio is the median of
those of the turns. The last line is one JSON object: rows a second of each way, and the ratios at spread 0.5.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import log, sqrt
from pathlib import Path

ROUND = 200
WAYS = ("ceiling", "ours", "rounds")
SPREADS = (0.5, 1.0)


def lengths(rows: int, spread: float, mean: float, longest: int) -> list[int]:
    """Imposed length in tokens of each answer."""
    rng, sigma = random.Random(0), sqrt(log(1 + spread**2))
    return [max(1, min(longest, round(rng.lognormvariate(log(mean) - sigma**2 / 2, sigma)))) for _ in range(rows)]


def settings(args: argparse.Namespace):
    from magpie_align.engines import EngineSettings

    return EngineSettings(kind="vllm", max_model_len=args.max_model_len, max_num_seqs=args.max_num_seqs)


def plan(args: argparse.Namespace):
    """The draws of step 1, as the stage makes them."""
    from magpie_align.synthesis.asking import Asking

    asking = Asking(grid=[{"temperature": 1.0, "rows": args.rows}], max_tokens=args.longest)
    return asking.draws(args.model, seed=0)


def impose() -> None:
    """A request without stop ids runs to its `max_tokens`, in every way."""
    from magpie_align.engines import vllm as ours

    original = ours.sampling_params
    ours.sampling_params = lambda sampling, ends: original(sampling, ends if sampling.stop_ids else ())


def answer(request, tokens: int):
    return replace(request, sampling=replace(request.sampling, max_tokens=tokens, stop_ids=(), stop=()))


Way = Callable[[list[int]], float]
"""From the imposed length of each answer to the seconds that both steps took."""


def ours(args: argparse.Namespace) -> Way:
    from magpie_align.engines import Sampling, open_engine
    from magpie_align.engines.stream import TURN
    from magpie_align.flow.table import Table, read_rows
    from magpie_align.synthesis import instructions, responses

    draws, engine = plan(args), open_engine(settings(args), args.model)

    def run(wanted: list[int]) -> float:
        class Imposed:
            def generate(self, requests: Iterable) -> Iterator:
                yield from engine.generate(r and (answer(r, wanted[r.key[1]]) if r.key[0] else r) for r in requests)

        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            asked = Table(Path(folder, "i"), Path(folder, "ij"), args.rows, instructions.SCHEMA)
            made = Table(Path(folder, "r"), Path(folder, "rj"), args.rows, responses.SCHEMA)
            asking = instructions.Instructing(draws, asked, "teacher")
            answering = responses.Answering(draws.template, made, 1, 0, Sampling(), "teacher", iter(()))
            for _ in responses.write_both(Imposed(), asking, answering, args.turn or TURN):
                pass
            asked.close()
            made.close()
            seconds = time.perf_counter() - started
            found = sum(row["response_tokens"] for row in read_rows(Path(folder, "r"), ["response_tokens"]))
        assert found == sum(wanted)
        return seconds

    return run


def by_calls(args: argparse.Namespace, size: int) -> Way:
    """Both steps by `LLM.generate`, `size` prompts a call."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm import LLM, TokensPrompt
    from vllm.platforms import current_platform

    from magpie_align.engines import Request, Sampling
    from magpie_align.engines import vllm as adapter
    from magpie_align.engines.tokenizer import decode, end_ids, load_tokenizer
    from magpie_align.records import Message
    from magpie_align.synthesis.instructions import row_seed
    from magpie_align.synthesis.sanitise import sanitise

    draws = plan(args)
    tokenizer = load_tokenizer(args.model)
    ends = end_ids(tokenizer, args.model)
    llm = LLM(**adapter.engine_args(settings(args), args.model, None, on_cpu=current_platform.is_cpu()))

    def complete(requests: list) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for first in range(0, len(requests), size):
            some = requests[first : first + size]
            prompts = [TokensPrompt(prompt_token_ids=list(r.prompt)) for r in some]
            sampling = [adapter.sampling_params(r.sampling, ends) for r in some]
            found += [tuple(o.outputs[0].token_ids) for o in llm.generate(prompts, sampling, use_tqdm=False)]
        return found

    def run(wanted: list[int]) -> float:
        started = time.perf_counter()
        asked = complete([draws.request(index) for index in range(args.rows)])
        texts = [sanitise(decode(tokenizer, ids, None)).text for ids in asked]
        requests = []
        for index, text in enumerate(texts):
            prompt = draws.template.response_prompt([Message("user", text or "?")])
            requests.append(answer(Request(index, prompt, sampling=Sampling(seed=row_seed(0, index))), wanted[index]))
        made = complete(requests)
        answers = [decode(tokenizer, ids, None) for ids in made]
        seconds = time.perf_counter() - started
        assert len(answers) == args.rows and sum(map(len, made)) == sum(wanted)
        return seconds

    return run


def serve(args: argparse.Namespace) -> None:
    """One way, in this process: for each spread on standard input a line with its seconds."""
    impose()
    run = ours(args) if args.way == "ours" else by_calls(args, ROUND if args.way == "rounds" else args.rows)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = run(lengths(args.rows, float(line), args.mean, args.longest))
        print(f"seconds {seconds}", flush=True)


class Child:
    """A way in a process of its own."""

    def __init__(self, args: argparse.Namespace, way: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, __file__, "--way", way, "--model", args.model]
        for name in ("rows", "mean", "longest", "max_model_len", "max_num_seqs", "turn"):
            command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.hear("ready")

    def hear(self, word: str) -> str:
        """What follows `word` on the next line that begins with it; vLLM prints lines of its own."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word)
        sys.exit("a way ended before its time; what it said is above")

    def seconds(self, spread: float) -> float:
        """One turn."""
        assert self.process.stdin
        print(spread, file=self.process.stdin, flush=True)
        return float(self.hear("seconds"))

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def teacher(store: str) -> str:
    """The folder of the quickstart's teacher."""
    for stage in ("base", "teacher"):
        command = [sys.executable, "-m", "magpie_align", "stage", stage, "recipe=quickstart", f"store={store}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return str(Path(done.stdout.splitlines()[-1].removeprefix("done: ")) / "data")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder; the quickstart's teacher by default")
    parser.add_argument("--store", default="store")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--mean", type=float, default=100, help="tokens of an answer")
    parser.add_argument("--longest", type=int, default=400)
    parser.add_argument("--max-model-len", type=int, default=512)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=4, help="turns of each way")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of OpenMP; as many as a run takes")
    parser.add_argument(
        "--turn", type=int, default=0, help="requests that a step of ours goes on for; 0 is its own default"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.model = args.model or teacher(args.store)
    if args.way:
        serve(args)
        return 0
    figures: dict[str, object] = {
        "rows": args.rows,
        "threads": args.threads,
        "mean_tokens": args.mean,
        "max_num_seqs": args.max_num_seqs,
    }
    children = {way: Child(args, way) for way in WAYS}
    for spread in SPREADS:
        speed: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(args.repeats):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                speed[way].append(args.rows / children[way].seconds(spread))
            print(f"spread {spread}  " + "  ".join(f"{way} {speed[way][-1]:.1f} rows/s" for way in WAYS), flush=True)

        def ratio(one: str, other: str, speed: dict[str, list[float]] = speed) -> float:
            return round(statistics.median(a / b for a, b in zip(speed[one], speed[other], strict=True)), 3)

        tail = "" if spread == SPREADS[0] else f"_spread_{spread}"
        figures |= {f"{way}_rows_per_s{tail}": round(statistics.median(speed[way]), 1) for way in WAYS}
        figures |= {f"vs_ceiling{tail}": ratio("ours", "ceiling"), f"vs_rounds{tail}": ratio("ours", "rounds")}
        figures |= {f"ceiling_vs_rounds{tail}": ratio("ceiling", "rounds")}
    for child in children.values():
        child.end()
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
