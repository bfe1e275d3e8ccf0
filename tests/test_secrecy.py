"""Secrets are refused in settings, and those of the environment are in nothing that a whole run writes or says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from magpie_align.secrecy import cleaned, secrets_in
from tests.conftest import SMALL
from tests.report.hub import Hub, serve

PLANTED = {
    "HF_TOKEN": "hf_" + "Qx7" * 11,
    "OPENAI_API_KEY": "sk-proj-" + "Zk4" * 10,
    "THE_SERVER_PASSPHRASE": "correct-horse-battery",  # named by the recipe, and by nothing in its own name
    "WANDB_API_KEY": "0123456789abcdef" * 2,
}
RECIPE = """
defaults: [base, _self_]
name: secretive
stages:
  public: {{use: mini_public, rows: 40}}
  responses:
    use: responses
    model: somebody/some-model
    data: public
    engine:
      kind: openai
      endpoint: {{base_url: "http://127.0.0.1:{port}/v1", mode: chat, concurrency: 4, api_key_env: THE_SERVER_PASSPHRASE}}
  selected: {{use: select, data: responses, where: [response_status = 'ok']}}
  release: {{use: release, data: selected, title: A set, push: org/name}}
  report: {{use: report, title: Secretive, models: {{}}, selections: {{Selected: selected}}}}
"""


class Talkative(BaseHTTPRequestHandler):
    """A server that repeats the key it was sent: it refuses it, or refuses every fifth request, or answers."""

    status = 401
    seen = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Talkative.seen += 1
        status = 401 if Talkative.status == 401 else 400 if Talkative.seen % 5 == 0 else 200
        said = {"error": f"not with {self.headers['Authorization']}"}
        message = {"content": body["messages"][-1]["content"].upper()}
        answer = {"choices": [{"message": message, "finish_reason": "stop"}], "model": "m"} if status == 200 else said
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Talkative)
    Thread(target=served.serve_forever, daemon=True).start()
    yield served.server_address[1]
    served.shutdown()


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All that a run left, tables unpacked."""
    for file in (file for file in folder.rglob("*") if file.is_file()):
        yield file, file.read_bytes()
        if file.suffix == ".parquet":
            yield file, json.dumps(pq.read_table(file).to_pylist(), default=str).encode()


def test_a_whole_run_writes_none_of_them(server: int, tmp_path: Path) -> None:
    hub = Hub()
    served = serve(hub)
    (tmp_path / "secretive.yaml").write_text(RECIPE.format(port=server))
    hub_settings = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment = os.environ | PLANTED | hub_settings | {"HF_HOME": str(tmp_path / "hf")}
    said = b""

    def magpie(*words: str, code: int) -> bytes:
        nonlocal said
        command = [sys.executable, "-m", "magpie_align", *words, "recipe=secretive.yaml"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        said += done.stdout + done.stderr
        assert done.returncode == code, said.decode()
        return done.stdout

    for status, code in ((401, 1), (200, 0)):
        Talkative.status = status
        magpie("run", code=code)
    magpie("push", "--yes", code=0)
    scripts = magpie("submit", "launcher=slurm", "stages.public.rows=41", "--dry-run", code=0)
    assert b"#SBATCH" in scripts
    served.shutdown()
    assert f"Bearer {PLANTED['HF_TOKEN']}" in hub.tokens
    assert b"not with Bearer ***" in said
    found = [(file.name, content) for file, content in written(tmp_path)]
    assert {"report.html", "README.md", "manifest.json", "log.txt", "recipe.yaml"} <= {name for name, _ in found}
    assert any(b"not with Bearer ***" in content for name, content in found if name.endswith(".parquet"))
    leaks = [
        (name, key)
        for key, value in PLANTED.items()
        for name, content in [*found, ("output", said)]
        if value.encode() in content
    ]
    assert leaks == []


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("+stages.some.token=abc", "stages.some.token: this is a secret"),
        ("stages.some.hub_token=abc", "stages.some.hub_token: this is a secret"),
        ("engine.endpoint.extra_body.api_key=abc", "engine.endpoint.extra_body.api_key: this is a secret"),
        ("description=${oc.env:WANDB_API_KEY}", "description: it holds the value of WANDB_API_KEY"),
        (
            "engine.endpoint.base_url=http://me:pass@host/v1",
            "engine.endpoint.base_url: it holds what looks like a secret",
        ),
        (f"stages.some.where=[{PLANTED['HF_TOKEN']}]", "stages.some.where.0: it holds what looks like a secret"),
    ],
)
def test_a_secret_in_a_setting_is_refused_and_not_repeated(
    refused: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, setting: str, where: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", PLANTED["WANDB_API_KEY"])
    (said,) = refused(SMALL, setting)
    assert said.startswith(f"{where}, which has no place in settings; keep it in the environment: ")
    assert not any(value in said for value in (*PLANTED.values(), "abc", "pass@"))


def test_a_secret_in_a_line_that_jobs_run_first_is_refused(refused: Callable[..., list[str]]) -> None:
    (said,) = refused("submit", SMALL, "launcher=slurm", f"launcher.setup=['export HF_TOKEN={PLANTED['HF_TOKEN']}']")
    assert said.startswith("launcher.setup.0: it holds what looks like a secret") and PLANTED["HF_TOKEN"] not in said


def test_what_only_sounds_like_one_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    plain = {"trl": {"pad_token": "<|pad|>", "eos_token": "EMPTY"}, "max_tokens": 9, "api_key_env": "OPENAI_API_KEY"}
    assert list(secrets_in(plain | {"source": "https://host:80/a@b", "script": "package.keys:write"})) == []
    assert cleaned("EMPTY") == "EMPTY"
