"""A judge behind a real HTTP server on loopback, which knows what it wants: the answer with more letters x in it.

`behave` may say otherwise for a call: an oddity of the transport (see the tests of the endpoint engine), one of
`MISBEHAVIOURS`, texts that look like verdicts and are none, or `say TEXT`.
"""

import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from tests.engines.test_openai_engine import Handler

MISBEHAVIOURS = {
    "wrong JSON": '{"choice": "A is the',
    "refusal": "I am sorry, but I cannot compare these.",
    "both sides": "Seen so, [[A>B]]. Then again, [[B>A]].",
    "no text": "",
}  # fmt: skip
RATED = re.compile(r"<(?:second_)?answer>\n(.*?)\n</", re.DOTALL)
ANSWERS = re.compile(r"<answer_([AB])>\n(.*?)\n</answer_\1>", re.DOTALL)


class Judge(Handler):
    """Answers in the form that the prompt asks for, told by words of it."""

    def _completion(self, how: str, body: dict[str, Any]) -> dict[str, Any]:
        said = body["messages"][-1]["content"]
        text = how.removeprefix("say ") if how.startswith("say ") else MISBEHAVIOURS.get(how)
        text = self.verdict(said, body["messages"][0]["content"]) if text is None else text
        choice: dict[str, Any] = {"finish_reason": "stop", "message": {"content": text}}
        if body.get("logprobs") and how not in ("no logprobs", *MISBEHAVIOURS):
            place = {"token": text, "logprob": 0.0, "top_logprobs": self.alternatives(said)}
            choice |= {"logprobs": {"content": [place]}, "finish_reason": "length"}
        if how == "content_filter":
            choice["finish_reason"] = how
        choices = [] if how == "empty choices" else [choice]
        return {"model": "judge-1", "choices": choices, "usage": {"prompt_tokens": 100, "completion_tokens": 10}}

    def verdict(self, said: str, system: str) -> str:
        gap = self.gap(said)
        if "double brackets" in system:
            return f"Fine. Rating: [[{min(10, 1 + answer_of(said))}]]"
        if "[[A>>B]]" in system:
            sign = "=" if not gap else (">" if gap > 0 else "<") * (2 if abs(gap) > 3 else 1)
            return f"Let me see. [[{'A' + sign + 'B'}]]".replace("A<<B", "B>>A").replace("A<B", "B>A")
        if '"choice"' in said:
            side = "A=B" if not gap else ("A" if gap > 0 else "B") + "+" * (2 if abs(gap) > 3 else 1)
            return json.dumps({"answer A": "...", "choice": side})
        if '"score"' in said:
            return json.dumps({"strengths": "it has x", "score": str(min(10, 1 + answer_of(said)))})
        return "A" if gap > 0 else "B"

    def gap(self, said: str) -> int:
        found = dict(ANSWERS.findall(said))
        return found["A"].count("x") - found["B"].count("x") if len(found) == 2 else 0

    def alternatives(self, said: str) -> list[dict[str, Any]]:
        share = 1 / (1 + math.exp(-self.gap(said)))
        return [{"token": t, "logprob": math.log(0.9 * s)} for t, s in (("A", share), ("B", 1 - share))] + [
            {"token": "Both", "logprob": math.log(0.1)}
        ]


def answer_of(said: str) -> int:
    """How many x the rated answer has: the last one."""
    return RATED.findall(said)[-1].count("x")


class JudgeServer(ThreadingHTTPServer):
    """A running judge; `seen` holds what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Judge)
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.seen: list[Any] = []
        self.now = self.most = 0
        self.behave: Callable[[dict[str, Any]], str] = lambda body: "well"

    @property
    def engine(self) -> dict[str, Any]:
        """The settings of an engine that asks here."""
        endpoint = {"base_url": f"http://127.0.0.1:{self.server_port}/v1", "mode": "chat", "model": "judge"}
        return {"kind": "openai", "endpoint": endpoint | {"max_retries": 0, "timeout": 20}}


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A judge that is stopped at the end."""
    server = JudgeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
