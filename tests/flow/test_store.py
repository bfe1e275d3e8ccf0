"""An artifact is believed only when it is whole, and made by one process at a time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from magpie_align.errors import LockedError
from magpie_align.flow import store
from magpie_align.flow.store import Artifact, Store, fingerprint, folder_fingerprint


def made(tmp_path: Path) -> Artifact:
    artifact = Store(tmp_path).artifact("rows", "0123456789abcdef")
    artifact.data.mkdir(parents=True)
    (artifact.data / "part-000000.parquet").write_bytes(b"twelve bytes")
    artifact.finish({"kind": "rows"})
    return Artifact(artifact.folder)


def test_done_means_manifest_and_files(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    assert artifact.done
    assert artifact.manifest["files"] == {"part-000000.parquet": 12}
    (artifact.data / "part-000000.parquet").write_bytes(b"half")
    assert "4 bytes where the manifest says 12" in (Artifact(artifact.folder).damage() or "")
    (artifact.data / "part-000000.parquet").unlink()
    assert not Artifact(artifact.folder).done


def test_a_torn_manifest_is_not_believed(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    (artifact.folder / "manifest.json").write_text('{"kind": ')
    assert Artifact(artifact.folder).damage() == "its manifest cannot be read"


def test_lock_names_its_owner_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Store(tmp_path).artifact("rows", "0123456789abcdef")
    program = (
        "import sys, time; from pathlib import Path; from magpie_align.flow.store import Artifact\n"
        "with Artifact(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(artifact.folder)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    monkeypatch.setattr(store, "_PATIENCE", 0.3)
    with (
        pytest.raises(LockedError, match=rf"is being made by process {other.pid} on .*; wait for that run or stop it"),
        artifact.lock(),
    ):
        pass
    other.kill()
    other.wait()
    started = time.monotonic()
    with artifact.lock():
        assert time.monotonic() - started < 1


def test_fingerprint_is_of_content_not_of_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})


def test_folder_fingerprint_sees_a_changed_byte_and_a_new_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = folder_fingerprint(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    changed = folder_fingerprint(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    assert len({before, changed, folder_fingerprint(tmp_path)}) == 3
