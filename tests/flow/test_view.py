"""What is seen while a recipe runs: a live view in a real pseudo-terminal, plain lines in a pipe, and how far the whole is."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magpie_align.flow import outlook, view
from magpie_align.flow.outlook import Outlook
from magpie_align.flow.progress import Progress, one_line, read_progress
from magpie_align.flow.view import PlainView, describe
from tests.conftest import SMALL
from tests.synthesis.families import family

ROOT = Path(__file__).parents[2]
RECIPE = """
defaults: [base, _self_]
name: live
stages:
  public:  {use: mini_public, rows: 150}
  answers: {use: responses, model: ./model, data: public, engine: {kind: scripted, script: "tests.engines.scripts:hostile"}}
"""


def drawn(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and all that a command writes to a terminal of 100 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    said = b""
    try:
        while data := os.read(terminal, 65536):
            said += data
    except OSError:  # it has ended
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_a_terminal_sees_the_stages_their_last_samples_and_the_whole(workdir: Path) -> None:
    family("llama-3").save_pretrained(workdir / "model")
    (workdir / "model/config.json").write_text('{"model_type": "llama"}')
    (workdir / "live.yaml").write_text(RECIPE)
    code, said = drawn([sys.executable, "-m", "magpie_align", "recipe=live.yaml"], workdir)
    assert code == 0, said
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said)
    assert re.search(r"answers +\S* *0:\d\d:\d\d \d+/150 rows  [\d.]+/s  [\dms ]+ left", plain), plain
    assert re.search(r"^  answers: .+ \| owned \[red\]seven\[/red\]", plain, re.M), plain
    assert re.search(r"^  1 of 2 stages, about [\dms ]+ left, [\dms ]+ so far", plain, re.M), plain
    assert "\u202e" not in said and "\x1b[2J" not in said
    lines = plain.splitlines()
    assert next(line for line in lines if "✓ answers" in line).endswith("rows 150  ok 150  tokens 5100")
    # The live part is gone at the end: its last line was erased before what follows was written.
    assert "\x1b[1A\x1b[2Kfinished in" in said and lines[-1] == "done: runs/live"


def test_a_pipe_gets_lines_even_where_colours_are_forced(workdir: Path) -> None:
    command = [sys.executable, "-m", "magpie_align", SMALL]
    done = subprocess.run(command, env=os.environ | {"FORCE_COLOR": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr
    times = [line for line in done.stdout.splitlines() if re.match(r"\[\d\d:\d\d:\d\d\] ", line)]
    assert [sum(word in line for line in times) for word in (": started", "] done ")] == [4, 4]
    assert times[-1].endswith("4 of 4 stages")


def test_a_plain_line_tells_the_last_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(tmp_path / "progress.json")
    progress(1, 9)
    progress(9, 9, sample=lambda: "What is 3 + 4?\n" + "7" * 500, loss=0.5)
    state = read_progress(tmp_path / "progress.json")
    assert state and describe(state).endswith("loss 0.5") and state["sample"].startswith("What is 3 + 4? 777")
    assert len(state["sample"]) < 310
    monkeypatch.setattr(view, "_QUIET", -1.0)
    shown = PlainView()
    shown.start(node("answers"))
    shown.update(node("answers"), state)
    assert "answers: 9/9 rows" in (line := capsys.readouterr().out.splitlines()[-1]) and "last: What is 3 + 4?" in line


def test_a_sample_cannot_steer_the_terminal() -> None:
    assert one_line("a\x1b[2J\u202eb\r\n c\x07") == "a\ufffd[2J\ufffdb c\ufffd"


def node(name: str, *inputs: Any) -> Any:
    return SimpleNamespace(name=name, inputs={parent.name: parent for parent in inputs})


def test_the_time_left_is_that_of_the_longest_way_through_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(outlook, "time", SimpleNamespace(monotonic=lambda: now[0]))
    a, b = node("a"), node("b")
    c, d = node("c", a), node("d", a, b)
    e = node("e", c, d)
    whole = Outlook([a, b, c, d, e], {"a": 10.0, "b": 40.0, "c": 20.0, "d": 30.0, "e": 5.0}, jobs=2)
    whole.start(a)
    whole.start(b)
    assert whole.left() is None and whole.count() == "0 of 5 stages"
    now[0] = 12.0
    whole.finish(a, 12.0)  # 2 seconds beside its work, as every other stage is now taken to have
    whole.start(c)
    # b ends at 42, then d until 74, then e until 81; c is beside them.
    assert whole.left() == pytest.approx(81 - 12)
    whole.update(b, {"done": 10, "total": 40, "rate": 5.0})  # b itself knows better: 6 seconds
    assert whole.left() == pytest.approx(6 + 32 + 7)
    now[0] = 20.0
    whole.finish(b, 20.0)
    whole.finish(c, 8.0)
    whole.start(d)
    # Stages were shorter than predicted, but nothing takes less than its work.
    assert whole.left() == pytest.approx(30 + 5)
    assert whole.count() == "3 of 5 stages"
