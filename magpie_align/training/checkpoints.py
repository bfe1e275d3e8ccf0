"""Checkpoints of a training: the newest whole one to go on from, by whom it was written, and what of it is left out.

A checkpoint is whole when the list of its files, `whole.json`, stands in it: it is written last, when every process is done.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.training.distributed import Distributed, is_first, processes

LIST = "whole.json"


def newest_checkpoint(folder: Path, distributed: Distributed | None = None) -> str | None:
    """The newest whole checkpoint; those that are not are removed, with a line in the log.

    Raises StageError if processes spread otherwise wrote it, which these cannot read: to start again silently is no answer.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        problem = damage(checkpoint)
        if problem is None:
            _ask_same_writer(checkpoint, distributed or Distributed())
            print(f"resuming from {checkpoint.name}", flush=True)
            return str(checkpoint)
        print(f"{checkpoint.name} is left out: {problem}", flush=True)
        if is_first():
            shutil.rmtree(checkpoint)
    return None


def damage(checkpoint: Path) -> str | None:
    """None if it is whole; else what is wrong with it."""
    try:
        files = json.loads((checkpoint / LIST).read_text())["files"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return "it was not written whole"
    for name, size in files.items():
        file = checkpoint / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            return f"its file {name} has {'no' if found is None else found} bytes, not {size}"
    return None


def declare_whole(checkpoint: Path, distributed: Distributed) -> None:
    """List the files of a checkpoint that every process has finished writing."""
    files = {str(f.relative_to(checkpoint)): f.stat().st_size for f in sorted(checkpoint.rglob("*")) if f.is_file()}
    scratch = checkpoint / "whole.tmp"
    scratch.write_text(json.dumps({"writer": _writer(distributed), "files": files}, indent=1))
    os.replace(scratch, checkpoint / LIST)


def _writer(distributed: Distributed) -> dict[str, Any]:
    """What must be the same to read it: ZeRO's parts are each process's own, all else fits any number of them."""
    return {"kind": distributed.kind, "processes": processes() if distributed.stage else None}


def _ask_same_writer(checkpoint: Path, distributed: Distributed) -> None:
    wrote, now = json.loads((checkpoint / LIST).read_text())["writer"], _writer(distributed)
    if wrote != now:
        before, ours = (
            f"{w['kind']}" + (f" on {w['processes']} processes" if w["processes"] else "") for w in (wrote, now)
        )
        raise StageError(
            f"{checkpoint} was written under {before} and this is {ours}, which cannot go on from it; set `distributed` as it was, "
            f"or remove {checkpoint.parent} to start again"
        )
