"""The Pro filter of the paper and its 300K longest responses out of 4M rows: this project's way against the official notebook's.

    python benchmarks/selection.py

Makes a data set with all official columns (synthetic text of realistic lengths) in a temporary folder, then selects from it,
each time in a process of its own whose peak memory is measured:

    ours      the function that the stage `select` runs
    official  `datasets`: load the Parquet files, filter with a Python lambda, sort by length, select the first

Neither has the rows copied when it knows which they are, in their order: `speedup` compares the time to that point. Then both
write the selected rows to Parquet: `speedup_written` compares the time to that. Both must select the same rows.

The official way touches over 20 GB of memory for 4M rows, so it gets the first `--official-rows` of them, and ours runs on the same
rows too: `speedup` and `same` compare the two there, like with like. `peak_gb` is ours on all the rows. `speedup_all` sets the
official time, taken as proportional to the rows, which flatters it (its sort is not), against ours on all. The last line is one
JSON object of the figures. 4M rows need some 20 GB of disk; fewer rows keep the shares.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

PART = 20_000
SHARE = 300_000 / 4_000_000
QUALITY = ["very poor", "poor", "average", "good", "excellent"]
DIFFICULTY = ["very easy", "easy", "medium", "hard", "very hard"]
CATEGORIES = [
    "Information seeking",
    "Reasoning",
    "Planning",
    "Editing",
    "Coding & Debugging",
    "Math",
    "Creative writing",
]
WHERE = ["input_quality >= 'average'", "min_neighbor_distance > 0", "instruct_reward > -12"]


def text_pool(rng: np.random.Generator) -> bytes:
    """Some 40 MB of words with the frequencies of a language, to cut texts from."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = np.array(["".join(letters[rng.integers(0, 22, n)]) for n in rng.integers(2, 10, 20_000)])
    frequency = 1 / np.arange(1, len(words) + 1)
    return " ".join(words[rng.choice(len(words), 6_000_000, p=frequency / frequency.sum())].tolist()).encode()


def texts(rng: np.random.Generator, pool: bytes, rows: int, mean: int, spread: float) -> pa.Array:
    """Log-normal lengths around `mean` characters."""
    lengths = np.clip(rng.lognormal(np.log(mean) - spread**2 / 2, spread, rows), 10, 12_000).astype(np.int32)
    starts = rng.integers(0, len(pool) - 12_000, rows)
    data = b"".join(pool[a : a + n] for a, n in zip(starts.tolist(), lengths.tolist(), strict=True))
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(data)])


def official_rows(rng: np.random.Generator, pool: bytes, rows: int) -> pa.Table:
    """One part of the data set, with the columns of the released ones."""
    said = {"instruction": texts(rng, pool, rows, 250, 1.0), "response": texts(rng, pool, rows, 2000, 0.6)}
    turns = pa.concat_arrays(list(said.values())).take(pa.array(np.arange(2 * rows).reshape(2, rows).T.ravel()))
    speakers = pa.array(["human", "gpt"] * rows)
    turn = pa.StructArray.from_arrays([speakers, turns], ["from", "value"])
    uuids = pa.array([rng.bytes(16).hex() for _ in range(rows)])
    draw = {"temperature": 1.0, "top_p": 1.0, "input_generator": "model", "seed": 0, "pre_query_template": "<|user|>"}

    def pick(labels: list[str], shares: list[float] | None = None) -> pa.Array:
        return pa.array(np.array(labels)[rng.choice(len(labels), rows, p=shares)])

    return pa.table(
        {
            "uuid": uuids,
            "model": ["model"] * rows,
            "gen_input_configs": [draw] * rows,
            **said,
            "conversations": pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * rows + 1, 2, dtype=np.int32)), turn),
            "task_category": pick(CATEGORIES),
            "other_task_category": [["Others"]] * rows,
            "task_category_generator": ["tagger"] * rows,
            "difficulty": pick(DIFFICULTY),
            "intent": texts(rng, pool, rows, 120, 0.3),
            "knowledge": texts(rng, pool, rows, 150, 0.3),
            "difficulty_generator": ["tagger"] * rows,
            "input_quality": pick(QUALITY, [0.05, 0.1, 0.25, 0.4, 0.2]),
            "quality_explanation": texts(rng, pool, rows, 250, 0.3),
            "quality_generator": ["tagger"] * rows,
            "llama_guard_2": ["safe"] * rows,
            "reward_model": ["reward model"] * rows,
            "instruct_reward": rng.normal(-3, 6, rows),
            "min_neighbor_distance": rng.random(rows) * (rng.random(rows) > 0.2),
            "repeat_count": rng.integers(0, 3, rows),
            "min_similar_uuid": uuids,
            "instruction_length": pa.compute.utf8_length(said["instruction"]).cast(pa.int64()),
            "response_length": pa.compute.utf8_length(said["response"]).cast(pa.int64()),
            "language": ["EN"] * rows,
        }
    )


def make(folder: Path, rows: int) -> float:
    """Write the data set part by part; returns its size in GB of text and labels."""
    rng = np.random.default_rng(0)
    pool = text_pool(rng)
    folder.mkdir(parents=True)
    size = 0
    for number, first in enumerate(range(0, rows, PART)):
        table = official_rows(rng, pool, min(PART, rows - first))
        size += table.nbytes
        pq.write_table(table, folder / f"part-{number:06d}.parquet", compression="zstd")
    return size / 1e9


Clock = Callable[[str], None]


def ours(data: Path, scratch: Path, limit: int, lap: Clock) -> None:
    from magpie_align.curation.candidates import open_candidates
    from magpie_align.curation.gather import gather
    from magpie_align.curation.query import Query
    from magpie_align.curation.selection import choose

    query = Query(where=WHERE, order_by="response_length desc", limit=limit)
    (scratch / "out").mkdir()
    with open_candidates([data], scratch / "work", memory_gb=1.5) as candidates:
        outcome = choose(candidates, query)
        lap("known")
        gather(candidates, scratch / "out", scratch / "work", outcome.rows)
    lap("written")


def official(data: Path, scratch: Path, limit: int, lap: Clock) -> None:
    os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1")
    import datasets

    datasets.disable_progress_bars()
    files = sorted(map(str, data.glob("*.parquet")))
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(scratch / "cache"))
    lap("loaded")
    good = rows.filter(
        lambda row: (
            row["input_quality"] in ("average", "good", "excellent")
            and row["min_neighbor_distance"] > 0
            and row["instruct_reward"] > -12
        )
    )
    lap("filtered")
    longest = good.sort("response_length", reverse=True).select(range(limit))
    lap("known")
    (scratch / "out").mkdir()
    longest.to_parquet(str(scratch / "out" / "part-000000.parquet"))
    lap("written")


def one_side(name: str, data: Path, scratch: Path, limit: int) -> None:
    """Select, and print the seconds and the CPU seconds to each point and the peak memory of this process."""
    started, laps, work = time.perf_counter(), {}, {}

    def lap(point: str) -> None:
        laps[point] = round(time.perf_counter() - started, 2)
        work[point] = round(time.process_time(), 2)

    {"ours": ours, "official": official}[name](data, scratch, limit, lap)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": laps, "cpu_seconds": work, "peak_gb": round(peak, 2)}))


def first_rows(data: Path, folder: Path, rows: int) -> int:
    """Link the first parts of the data set into `folder`, whole parts only; returns their rows."""
    folder.mkdir()
    parts = sorted(data.iterdir())[: max(1, rows // PART)]
    for part in parts:
        os.link(part, folder / part.name)
    return sum(pq.read_metadata(part).num_rows for part in parts)


def measured(name: str, data: Path, scratch: Path, limit: int) -> dict[str, Any]:
    """One side in its own process; what it wrote is left in `scratch`."""
    scratch.mkdir()
    command = [sys.executable, __file__, "--side", name, "--data", str(data), "--scratch", str(scratch)]
    done = subprocess.run([*command, "--limit", str(limit)], stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:<9} {figures}", flush=True)
    return figures


def agree(one: Path, other: Path) -> bool:
    """Whether both selected the same rows; of several rows as long as the shortest, any may have been taken."""
    (a, b) = (pq.read_table(side / "out", columns=["uuid", "response_length"]).to_pandas() for side in (one, other))
    if sorted(a["response_length"]) != sorted(b["response_length"]):
        return False
    shortest = a["response_length"].min()
    above = [set(rows[rows["response_length"] > shortest]["uuid"]) for rows in (a, b)]
    return above[0] == above[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--official-rows", type=int, default=500_000, help="of them, for the official way")
    parser.add_argument("--folder", type=Path, help="where to work, instead of the system's temporary folder")
    for hidden in ("--side", "--data", "--scratch", "--limit"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        one_side(args.side, Path(args.data), Path(args.scratch), int(args.limit))
        return 0
    slice_rows = min(args.official_rows, args.rows)
    needed, free = args.rows * 3.5e3 + slice_rows * 8.5e3, shutil.disk_usage(args.folder or tempfile.gettempdir()).free
    if free < needed:
        sys.exit(
            f"{args.rows} rows need {needed / 1e9:.0f} GB of disk and there are {free / 1e9:.0f}; take fewer --rows or another --folder"
        )
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root, limit = Path(folder), round(args.rows * SHARE)
        size = make(root / "data", args.rows)
        print(f"{args.rows:,} rows, {size:.1f} GB, of which the {limit:,} longest good ones are wanted", flush=True)
        whole = measured("ours", root / "data", root / "whole", limit)
        few = first_rows(root / "data", root / "slice", slice_rows)
        limit = round(few * SHARE)
        print(f"its first {few:,} rows, of which the {limit:,} longest good ones are wanted", flush=True)
        mine = measured("ours", root / "slice", root / "ours", limit)
        theirs = measured("official", root / "slice", root / "official", limit)
        same = agree(root / "ours", root / "official")
    ratio = {point: round(theirs["seconds"][point] / mine["seconds"][point], 1) for point in ("known", "written")}
    in_all = round(theirs["seconds"]["known"] * args.rows / few / whole["seconds"]["known"], 1)
    print(
        f"same rows: {same}; {ratio['known']} times faster to the rows, {ratio['written']} times faster to their files; "
        f"{in_all} times faster to the rows of all {args.rows:,}"
    )
    figures = {"rows": args.rows, "official_rows": few, "speedup": ratio["known"], "speedup_written": ratio["written"]}
    peaks = {"peak_gb": whole["peak_gb"], "official_peak_gb": theirs["peak_gb"]}
    print(json.dumps(figures | {"speedup_all": in_all} | peaks | {"same": same}))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
