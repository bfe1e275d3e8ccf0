"""The content-addressed store: one folder an artifact, named by what decides its content; its manifest is written last.

Layout: `STORE/KIND-FINGERPRINT/` with `data/` (the content), `work/` (scratch until done), `log.txt`, `progress.json`,
`lock`s, and `manifest.json`, whose presence means done.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magpie_align.errors import LockedError

_PATIENCE = 10.0  # seconds: a worker whose runner was killed needs a moment to notice and let go


@dataclass(frozen=True)
class Artifact:
    """One folder of the store."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.json"

    def progress_of(self, shard: str) -> Path:
        """How far one shard is, `3-of-16`; of the whole where it is empty."""
        return self.folder / f"progress-{shard}.json" if shard else self.progress

    @property
    def manifest(self) -> dict[str, Any]:
        """What was made, from what, by what. Raises FileNotFoundError until it is done."""
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return manifest

    def damage(self) -> str | None:
        """None if done and whole; else what is wrong: 'not made yet', or the first file that is not as the manifest says."""
        try:
            files = self.manifest["files"]
        except (FileNotFoundError, NotADirectoryError):
            return "not made yet"
        except (json.JSONDecodeError, KeyError):
            return "its manifest cannot be read"
        for name, size in files.items():
            file = self.data / name
            found = file.stat().st_size if file.is_file() else None
            if found != size:
                return f"data/{name} has {'no' if found is None else found} bytes where the manifest says {size}"
        return None

    @property
    def done(self) -> bool:
        return self.damage() is None

    def shards_done(self, of: int) -> set[int]:
        """Which of `of` shards are done, as long as the whole is not."""
        return {k for k in range(of) if (self.work / f"shard-{k}-of-{of}").exists()}

    def finish(self, manifest: dict[str, Any]) -> None:
        """Declare the content complete; only after this may anyone read it."""
        files = {str(f.relative_to(self.data)): f.stat().st_size for f in sorted(self.data.rglob("*")) if f.is_file()}
        scratch = self.folder / "manifest.tmp"
        scratch.write_text(json.dumps(manifest | {"files": files}, indent=2, default=str))
        os.replace(scratch, self.folder / "manifest.json")
        shutil.rmtree(self.work, ignore_errors=True)
        for left in (*self.folder.glob("progress*.json"), *self.folder.glob("lock-*")):
            left.unlink(missing_ok=True)

    def clear(self) -> None:
        """Drop content that cannot be trusted, manifest first, so that it is never believed half gone."""
        (self.folder / "manifest.json").unlink(missing_ok=True)
        for part in (self.data, self.work):
            shutil.rmtree(part, ignore_errors=True)

    @contextmanager
    def lock(self, shard: str = "") -> Iterator[None]:
        """Hold the artifact alone, or one shard of it alone beside others who hold other shards.

        The system frees it when the process ends, however it ends. Raises LockedError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(locked(self.folder / "lock", fcntl.LOCK_SH if shard else fcntl.LOCK_EX))
            if shard:
                held.enter_context(locked(self.folder / f"lock-{shard}", fcntl.LOCK_EX))
            yield


@contextmanager
def locked(file: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a file alone, or (LOCK_SH) beside others who share it. Raises LockedError."""
    with file.open("a+") as handle:
        _acquire(handle, file.parent, how)
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        handle.flush()
        yield


def _acquire(handle: Any, folder: Path, how: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() > deadline:
                handle.seek(0)
                owner = handle.read() or "another process"
                raise LockedError(
                    f"{folder} is being made by {owner}; wait for that run or stop it, then run again"
                ) from None
            time.sleep(0.1)


@dataclass(frozen=True)
class Store:
    """A folder of artifacts, shared by recipes."""

    root: Path

    def artifact(self, kind: str, fingerprint: str) -> Artifact:
        return Artifact(self.root / f"{kind}-{fingerprint}")


def fingerprint(payload: Any) -> str:
    """16 hexadecimal digits that stand for a JSON value."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def folder_fingerprint(folder: Path) -> str:
    """Stands for the content of a model folder: names, sizes, small files whole, large ones by their first and last MiB."""
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder)}:{size}:".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(1 << 20))
            if size > 1 << 20:
                stream.seek(-(1 << 20), os.SEEK_END)
                digest.update(stream.read())
    return digest.hexdigest()[:16]


def content_fingerprint(path: Path) -> str:
    """Stands for every byte of a data file, or of a folder of them; about a second a GB.

    Unlike a model's weights, data is edited by hand, and an edit in the middle of a large file must count.
    """
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file()):
        digest.update(f"{file.relative_to(path)}:{file.stat().st_size}:".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
