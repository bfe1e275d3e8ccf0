"""Pushing, against a hub on this machine: private unless asked, never into a repository that all can see, no token left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.hub import Hub, Repo, serve

SECRET = "hf_" + "x" * 30
PUSH = """
import sys
from pathlib import Path
from magpie_align.errors import StageError
from magpie_align.report.hub import push
try:
    print(push(Path(sys.argv[1]), sys.argv[2], private=sys.argv[3] == "private", kind="dataset"))
except StageError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    hub = Hub()
    server = serve(hub)
    yield hub, hub.address
    server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data/messages").mkdir(parents=True)
    (tmp_path / "data/README.md").write_text("---\nlicense: mit\n---\n# x\n")
    (tmp_path / "data/messages/train.jsonl").write_text('{"a": 1}\n')
    return tmp_path / "data"


def push(folder: Path, address: str, *args: str) -> "subprocess.CompletedProcess[str]":
    home = {"HF_HOME": str(folder.parent / "home"), "HF_ENDPOINT": address, "HF_TOKEN": SECRET}
    offline = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    command = [sys.executable, "-c", PUSH, str(folder), *args]
    return subprocess.run(command, env=os.environ | home | offline, capture_output=True, text=True)


def test_a_push_is_private_and_whole(hub: tuple[Hub, str], folder: Path) -> None:
    store, address = hub
    done = push(folder, address, "org/name", "private")
    assert done.returncode == 0, done.stderr
    files = {"README.md": (folder / "README.md").read_bytes(), "messages/train.jsonl": b'{"a": 1}\n'}
    assert store.repos == {"datasets/org/name": Repo(True, files)}
    again = push(folder, address, "org/name", "private")
    assert again.returncode == 0, again.stderr
    assert any(SECRET in token for token in store.tokens)
    left = [file for file in folder.parent.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
    assert left == [] and SECRET not in done.stdout + done.stderr


def test_public_is_asked_for(hub: tuple[Hub, str], folder: Path) -> None:
    store, address = hub
    assert push(folder, address, "org/name", "public").returncode == 0
    (repo,) = store.repos.values()
    assert not repo.private
    repo.files.clear()
    refused = push(folder, address, "org/name", "private")
    assert "refused: 'org/name' exists and is public, and this release is to be private" in refused.stderr
    assert repo.files == {}


def test_a_hub_that_does_not_let_us_in(hub: tuple[Hub, str], folder: Path) -> None:
    store, address = hub
    store.refuse = True
    refused = push(folder, address, "org/name", "private")
    assert "refused: cannot push to 'org/name' (" in refused.stderr and "log in with `hf auth login`" in refused.stderr
    assert SECRET not in refused.stderr
