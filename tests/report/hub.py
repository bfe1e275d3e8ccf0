"""A hub that keeps what is pushed to it: as much of the real one's interface as uploading a data set folder needs."""

import base64
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Hub:
    """Repositories by name with whether they are private, and the files of the last push."""

    repos: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    refuse: bool = False

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.refuse:
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            known = name in self.repos
            self.repos.setdefault(name, wanted["visibility"] == "private")
            return (409 if known else 200), {"url": f"https://huggingface.co/datasets/{name}", "error": "exists"}
        if path.endswith("/preupload/main"):
            named = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": named}
        if path.endswith("/commit/main"):
            entries = [json.loads(line) for line in body.splitlines()]
            self.files = {
                e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in entries if e["key"] == "file"
            }
            return 200, {
                "commitUrl": "https://huggingface.co/datasets/org/name/commit/1111",
                "commitOid": "1" * 40,
                "success": True,
            }
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name = path.removeprefix("/api/datasets/").removeprefix("/api/models/").partition("?")[0]
        if method == "GET" and name in self.repos:
            return 200, {"id": name, "private": self.repos[name], "sha": "1" * 40, "siblings": [], "tags": []}
        return 404, {"error": f"{method} {path} is not known here"}


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Serve it on a free port of this machine until `shutdown`."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            hub.tokens.add(self.headers.get("authorization", ""))
            status, answer = hub.answer(
                self.command, self.path, self.rfile.read(int(self.headers.get("content-length") or 0))
            )
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
