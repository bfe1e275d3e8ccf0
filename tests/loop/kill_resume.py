"""Kill the whole loop at random moments, resume it each time, and compare with a run that nothing disturbed.

    python tests/loop/kill_resume.py --kills 20

Every data set of the store must hold the same bytes; it also says whether the trained weights do. Each kill takes, at random,
the runner alone, a worker alone, or both at once. Exit code 0 if all data sets are equal.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"


def start(folder: Path, recipe: Path) -> "subprocess.Popen[bytes]":
    """The run as a user starts it, in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said.txt").open("ab") as said:
        command = [sys.executable, "-m", "magpie_align", f"recipe={recipe.resolve()}"]
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)


def workers(folder: Path) -> list[int]:
    """Processes of stages whose current folder this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = os.readlink(process / "cwd") == str(folder)
            if inside and b"magpie_align.flow.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def strike(run: "subprocess.Popen[bytes]", folder: Path, rng: random.Random) -> str:
    """SIGKILL the runner, its workers, or both."""
    target, running = rng.choice(("runner", "worker", "both")), workers(folder)
    target = target if running else "runner"
    victims = ([run.pid] if target != "worker" else []) + (running if target != "runner" else [])
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    run.wait()
    return target


def stage_now(folder: Path) -> str:
    """The artifacts being made: those with a lock but no manifest."""
    open_ones = [f.parent.name for f in folder.glob("store/*/lock") if not (f.parent / "manifest.json").exists()]
    return ", ".join(sorted(open_ones)) or "between stages"


def finish(folder: Path, recipe: Path) -> None:
    run = start(folder, recipe)
    if run.wait() != 0:
        sys.exit(f"the run failed:\n{(folder / 'said.txt').read_text()[-2000:]}")


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    """File -> hash of its content, for the files of every artifact that match."""
    files = sorted(folder.glob(f"store/*/data/{pattern}"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def torment(folder: Path, kills: int, rng: random.Random, seconds: float, recipe: Path, struck: list[str]) -> None:
    """Run until done, killed on the way until there were `kills` in all; `struck` gets where each one struck."""
    while len(struck) < kills:
        run = start(folder, recipe)
        try:
            run.wait(rng.uniform(0.2, seconds))
        except subprocess.TimeoutExpired:
            where = stage_now(folder)
            struck.append(f"{strike(run, folder, rng)} in {where}")
            print(f"kill {len(struck)}: {struck[-1]}", flush=True)
            continue
        if run.returncode == 0:
            break
        sys.exit(f"the run failed:\n{(folder / 'said.txt').read_text()[-2000:]}")
    finish(folder, recipe)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--recipe", type=Path, default=RECIPES / "loop.yaml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="a kill comes this long after a start at the latest"
    )
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch).resolve() / "whole"
        started = time.monotonic()
        finish(whole, args.recipe)
        print(f"undisturbed: {time.monotonic() - started:.0f} s", flush=True)
        expected, weights = hashes(whole, "part-*.parquet"), hashes(whole, "*.safetensors")
        struck: list[str] = []
        rounds = 0
        while len(struck) < args.kills:
            rounds += 1
            folder = whole.with_name(f"killed-{rounds}")
            torment(folder, args.kills, rng, args.seconds, args.recipe, struck)
            differ = [name for name, value in hashes(folder, "part-*.parquet").items() if expected.get(name) != value]
            missing = sorted(expected.keys() - hashes(folder, "part-*.parquet").keys())
            if differ or missing:
                print(f"different: {differ}; missing: {missing}")
                return 1
            same_weights = hashes(folder, "*.safetensors") == weights
        figures = {"kills": len(struck), "runs": rounds, "files_equal": len(expected), "weights_equal": same_weights}
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
