"""The endpoint engine against a server on loopback that misbehaves in nearly a third of its answers."""

import json
import random
import threading
import time
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice

import pytest

from magpie_align.engines import EndpointSettings, EngineSettings, Request, Sampling, open_engine
from magpie_align.errors import StageError
from magpie_align.records import Message

ODDITIES = ["429", "500", "hang", "truncated", "garbage", "empty choices", "hang up"]
SHORT = 0.4
"""Seconds after which tests of hanging servers give a try up; the others must not fail on a busy machine."""


class Handler(BaseHTTPRequestHandler):
    """Completes with the sum of the prompt's ids, or the last message upper-cased, unless it misbehaves."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.seen.append((time.monotonic(), self.path, dict(self.headers), body))
            server.now += 1
            server.most = max(server.most, server.now)
            how = server.behave(body)
        try:
            self._answer(how, body)
        finally:
            with server.lock:
                server.now -= 1

    def _answer(self, how, body):
        if how == "hang":
            self.server.stopped.wait(2.5 * SHORT)
            return self._hang_up()
        if how == "hang up":
            return self._hang_up()
        if how.isdigit():
            wait = {"Retry-After": "0"} if how == "429" else {}
            return self._send(int(how), json.dumps({"error": {"message": f"you get\na {how}"}}), **wait)
        text = json.dumps(self._completion(how, body))
        if how == "truncated":
            self._send(200, text[: len(text) // 2], length=len(text))
            return self._hang_up()
        self._send(200, text[:20] if how == "garbage" else text)

    def _completion(self, how, body):
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        choice = {
            "finish_reason": "stop",
            "stop_reason": 7,
            "token_ids": [5, 7],
            "text": str(sum(body.get("prompt", []))),
        }
        if "messages" in body:
            choice = {"finish_reason": "stop", "message": {"content": body["messages"][-1]["content"].upper()}}
        if how in ("length", "content_filter"):
            choice |= {"finish_reason": how, "stop_reason": None}
        return {"model": "tiny-0613", "choices": [] if how == "empty choices" else [choice], "usage": usage}

    def _send(self, status, text, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length or len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _hang_up(self):
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("magpie_align.engines.openai.FIRST_PAUSE_S", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.lock, server.stopped, server.seen, server.now, server.most = threading.Lock(), threading.Event(), [], 0, 0
    server.behave = lambda body: "well"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connect(server):
    opened = []

    def open_with(**endpoint):
        given = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "timeout": 20} | endpoint
        opened.append(open_engine(EngineSettings(kind="openai", endpoint=EndpointSettings(**given)), "tiny"))
        return opened[-1]

    yield open_with
    for engine in opened:
        engine.close()


def ask(key, **sampling):
    return Request(key, (1, key), sampling=Sampling(**sampling))


def chat(key, text):
    return Request(key, messages=(Message("system", "Shout."), Message("user", text)))


def test_every_request_arrives_once_through_a_hostile_server(server, connect):
    chance = random.Random(1)
    server.behave = lambda body: chance.choice(ODDITIES) if chance.random() < 0.3 else "well"
    engine = connect(concurrency=16, max_retries=12, timeout=SHORT)
    done = list(engine.generate(ask(n) for n in range(120)))
    assert Counter(c.key for c in done) == Counter(range(120))
    assert all((c.finish, c.text) == ("stop", str(1 + c.key)) for c in done)
    assert engine.usage.retries >= len(server.seen) - 120 > 20
    assert server.most <= 16


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("429", "the server answered 429"),
        ("500", "the server answered 500"),
        ("hang", f"no answer within {SHORT:g} s"),
        ("truncated", "the connection failed"),
        ("hang up", "the connection failed"),
        ("garbage", "the server's answer is not readable"),
        ("empty choices", "the server's answer is not readable"),
    ],
)
def test_what_never_passes_comes_back_as_an_error(server, connect, how, reason):
    server.behave = lambda body: how if body["prompt"][1] == 0 else "well"
    engine = connect(max_retries=1, timeout=SHORT if how == "hang" else 20)
    done = {c.key: c for c in engine.generate(ask(n) for n in range(3))}
    assert (done[0].finish, done[0].text) == ("error", "")
    assert done[0].error.startswith(reason)
    assert done[0].error.endswith("gave up after 2 tries")
    assert "\n" not in done[0].error
    assert done[1].finish == done[2].finish == "stop"
    assert (engine.usage.requests, engine.usage.retries, engine.usage.failed) == (3, 1, 1)


def test_a_refused_request_is_not_tried_again(server, connect):
    server.behave = lambda body: "400"
    (done,) = connect().generate([ask(1)])
    assert "refused the request with 400" in done.error
    assert len(server.seen) == 1


@pytest.mark.parametrize(("status", "reason"), [("401", "the key in MY_KEY is not accepted"), ("404", "no such model")])
def test_what_no_request_can_pass_stops_the_stage(server, connect, status, reason):
    server.behave = lambda body: status
    engine = connect(api_key_env="MY_KEY")
    with pytest.raises(StageError, match=f"answers {status} for 'tiny': .*{reason}"):
        list(engine.generate(ask(n) for n in range(500)))
    assert len(server.seen) < 500


def test_token_ids_go_out_and_come_back_without_the_stop_id(server, connect):
    engine = connect()
    sampling = Sampling(0.7, 0.9, 33, stop_ids=(7,), stop=("###",), seed=4, repetition_penalty=1.2)
    (done,) = engine.generate([Request("k", (1, 2, 3), sampling=sampling)])
    assert (done.key, done.text, done.token_ids, done.stop_reason) == ("k", "6", (5,), 7)
    _, path, _, body = server.seen[0]
    assert path == "/v1/completions"
    assert body == {
        "model": "tiny",
        "prompt": [1, 2, 3],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 33,
        "seed": 4,
        "stop": ["###"],
        "stop_token_ids": [7],
        "repetition_penalty": 1.2,
        "return_token_ids": True,
        "top_k": -1,
    }
    assert engine.provenance["served_model"] == "tiny-0613"


def test_chat_sends_messages_the_key_and_the_extra_body(server, connect, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    engine = connect(
        mode="chat",
        model="big",
        api_key_env="MY_KEY",
        max_tokens_field="max_completion_tokens",
        extra_body={"reasoning_effort": "low"},
    )
    (done,) = engine.generate([chat(1, "hello")])
    assert (done.text, done.finish) == ("HELLO", "stop")
    _, path, headers, body = server.seen[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert body["messages"][0] == {"role": "system", "content": "Shout."}
    assert (body["model"], body["max_completion_tokens"], body["reasoning_effort"]) == ("big", 256, "low")
    assert "secret" not in json.dumps(engine.provenance)
    assert engine.capabilities == {"chat", "seed", "structured", "logprobs"}


def test_the_form_of_an_answer_goes_out_in_the_servers_words(server, connect):
    schema = {
        "type": "object",
        "properties": {"why": {"type": "string", "maxLength": 9}, "label": {"enum": ["a", "b"]}},
    }
    forms = [{"schema": json.dumps(schema)}, {"choice": ("a", "b")}, {"regex": "a|b"}]
    list(connect(concurrency=1).generate(ask(n, **form) for n, form in enumerate(forms)))
    sent = [body["structured_outputs"] for *_, body in server.seen]
    assert sent == [{"json": schema}, {"choice": ["a", "b"]}, {"regex": "a|b"}]
    hello = (Message("user", "hello"),)
    talk = [Request(n, messages=hello, sampling=Sampling(**form)) for n, form in enumerate(forms)]
    done = {c.key: c for c in connect(mode="chat").generate(talk)}
    assert len(server.seen) == 4  # a chat endpoint is not asked for what it cannot do
    assert all("holds answers to a JSON schema alone" in done[n].error for n in (1, 2))
    (*_, body) = server.seen[-1]
    asked = body["response_format"]["json_schema"]
    assert (asked["strict"], asked["schema"]["properties"]["why"]) == (True, {"type": "string"})


def test_log_probabilities_come_back_from_both_kinds_of_endpoint(server, connect):
    place = [("m", -0.1), ("M", -2.5)]
    content = [{"token": "m", "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": p} for t, p in place]}]
    shapes = {"chat": {"content": content}, "completions": {"top_logprobs": [dict(place), None]}}
    server.behave = lambda body: "well"
    plain = Handler._completion

    def with_logprobs(self, how, body):
        done = plain(self, how, body)
        done["choices"][0]["logprobs"] = shapes["chat" if "messages" in body else "completions"]
        return done

    server.RequestHandlerClass = type("Logged", (Handler,), {"_completion": with_logprobs})
    said = Request(0, messages=(Message("user", "hello"),), sampling=Sampling(logprobs=2))
    (done,) = connect(mode="chat").generate([said])
    assert done.logprobs == ({"m": -0.1, "M": -2.5},)
    (done,) = connect().generate([ask(1, logprobs=2)])
    assert done.logprobs == ({"m": -0.1, "M": -2.5}, {})
    (unasked,) = connect().generate([ask(1)])
    assert unasked.logprobs == ()
    bodies = [body for *_, body in server.seen]
    assert (bodies[0]["logprobs"], bodies[0]["top_logprobs"], bodies[1]["logprobs"]) == (True, 2, 2)
    assert "logprobs" not in bodies[2]
    shapes["chat"] = {"content": [{"token": "m"}]}
    (broken,) = connect(mode="chat", max_retries=0).generate([said])
    assert broken.error.startswith("the server's answer is not readable (KeyError: 'top_logprobs')")


def test_length_and_other_ends(server, connect):
    server.behave = lambda body: {0: "length", 1: "content_filter"}[body["prompt"][1]]
    done = {c.key: c for c in connect().generate([ask(0), ask(1)])}
    assert (done[0].finish, done[0].token_ids) == ("length", (5, 7))
    assert done[1].error == "the server ended the completion with 'content_filter'"


def test_the_wrong_kind_of_request_is_refused_unsent(server, connect):
    (ids,) = connect(mode="chat").generate([ask(1)])
    (messages,) = connect().generate([chat(1, "hello")])
    assert "no messages; this endpoint is in chat mode" in ids.error
    assert "no prompt ids; this endpoint is in completions mode" in messages.error
    assert not server.seen


def test_tokens_and_money_are_counted(connect):
    engine = connect(price_in=2.0, price_out=50.0)
    list(engine.generate(ask(n) for n in range(5)))
    assert (engine.usage.prompt_tokens, engine.usage.completion_tokens) == (50, 10)
    assert engine.usage.cost == pytest.approx((50 * 2 + 10 * 50) / 1e6)


@pytest.mark.parametrize("limit", [{"requests_per_minute": 300}, {"tokens_per_minute": 300 * 66}])
def test_requests_are_paced(server, connect, limit):
    """300 a minute is one in 200 ms; each request here counts 2 + 64 tokens. Unpaced, all six would start together."""
    list(connect(**limit).generate(ask(n, max_tokens=64) for n in range(6)))
    starts = sorted(moment for moment, *_ in server.seen)
    assert starts[-1] - starts[0] > 0.5


def test_an_endless_source_is_pulled_lazily_and_left_early(server, connect):
    pulled = []

    def source():
        for n in count():
            pulled.append(n)
            yield ask(n)

    engine = connect(concurrency=3)
    assert len(list(islice(engine.generate(source()), 20))) == 20
    assert len(pulled) <= 23
    assert [c.text for c in engine.generate([ask(4)])] == ["5"]


def test_completions_feed_requests(connect):
    queue, answers = deque([ask(0)]), []

    def source():
        while len(answers) < 4:
            yield queue.popleft() if queue else None

    for done in connect().generate(source()):
        answers.append(int(done.text))
        queue.append(ask(answers[-1]))
    assert answers == [1, 2, 3, 4]


def test_a_server_that_is_not_there_is_an_error_of_each_request(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    endpoint = EndpointSettings(base_url="http://127.0.0.1:9/v1", max_retries=0)
    engine = open_engine(EngineSettings(kind="openai", endpoint=endpoint), "tiny")
    (done,) = engine.generate([ask(1)])
    assert done.error.startswith("the connection failed (ConnectError")
    engine.close()
    engine.close()
    with pytest.raises(StageError, match="closed"):
        next(engine.generate([ask(1)]))
