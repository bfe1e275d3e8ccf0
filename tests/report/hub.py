"""A hub that keeps what is pushed to it and gives it back: as much of the real one's interface as huggingface_hub, datasets and
transformers use of it. Tables and weights go by Git LFS, as on the real one, the rest inside the commit."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "1" * 40
_LARGE = (".safetensors", ".parquet")
_OF_A_REPO = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/([^/]+)(?:/(.*))?)?")


@dataclass
class Repo:
    """One repository: what it holds now."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Hub:
    """Repositories as `datasets/org/name` and `models/org/name`, what was uploaded to its LFS, and the tokens it saw."""

    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    refuse: bool = False
    address: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """(status, body, headers) of a request."""
        if self.refuse:
            return 401, {"error": "Invalid username or password."}, {}
        if path == "/api/repos/create":
            return *self._create(json.loads(body)), {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path.startswith("/lfs/"):
            self.stored[path.removeprefix("/lfs/")] = body
            return 200, {}, {}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, self._upload(json.loads(body)), {}
        if asked := _OF_A_REPO.fullmatch(path):
            kind, name, what, rest = asked.groups()
            repo = self.repos.get(f"{kind}/{name}")
            if repo:
                return *self._api(repo, name, what or "revision", rest or "", body), {}
        elif "/resolve/" in path:
            where, _, rest = path.strip("/").partition("/resolve/")
            repo = self.repos.get(where if where.startswith("datasets/") else f"models/{where}")
            file = rest.partition("/")[2]
            if repo and file in repo.files:
                content = repo.files[file]
                headers = {"etag": f'"{hashlib.sha256(content).hexdigest()}"', "x-repo-commit": COMMIT}
                return 200, content, headers
            if repo:
                return 404, {"error": "Entry not found"}, {"x-error-code": "EntryNotFound", "x-repo-commit": COMMIT}
        self.unknown.append(f"{method} {path}")
        return 404, {"error": f"{method} {path} is not known here"}, {"x-error-code": "RepoNotFound"}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        kind, name = wanted.get("type") or "model", f"{wanted['organization']}/{wanted['name']}"
        known = f"{kind}s/{name}" in self.repos
        self.repos.setdefault(f"{kind}s/{name}", Repo(wanted["visibility"] == "private"))
        address = f"{self.address}/{'datasets/' if kind == 'dataset' else ''}{name}"
        return (409 if known else 200), {"url": address, "error": "exists"}

    def _upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
        def place(one: dict[str, Any]) -> dict[str, Any]:
            return {**one, "actions": {"upload": {"href": f"{self.address}/lfs/{one['oid']}", "header": {}}}}

        return {"transfer": "basic", "objects": [place(one) for one in wanted["objects"]]}

    def _api(self, repo: Repo, name: str, what: str, rest: str, body: bytes) -> tuple[int, Any]:
        if what == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(_LARGE) else "regular" for path in asked}
            return 200, {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]}
        if what == "commit":
            for one in map(json.loads, body.splitlines()):
                value = one["value"]
                if one["key"] == "file":
                    repo.files[value["path"]] = base64.b64decode(value["content"])
                elif one["key"] == "lfsFile":
                    repo.files[value["path"]] = self.stored[value["oid"]]
            return 200, {"commitUrl": f"{self.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        if what == "revision":
            named = [{"rfilename": path} for path in sorted(repo.files)]
            return 200, {"id": name, "private": repo.private, "sha": COMMIT, "siblings": named, "tags": []}
        if what == "tree":
            under = rest.partition("/")[2]
            return 200, [entry for entry in _entries(repo) if not under or entry["path"].startswith(f"{under}/")]
        if what == "paths-info":
            asked = _asked(body)
            return 200, [entry for entry in _entries(repo) if entry["path"] in asked]
        return 404, {"error": f"{what} is not known here"}


def _entries(repo: Repo) -> list[dict[str, Any]]:
    """The files, and the folders that they are in."""
    folders = sorted({path[:end] for path in repo.files for end, letter in enumerate(path) if letter == "/"})
    made = [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
    for path, content in sorted(repo.files.items()):
        oid = hashlib.sha1(content).hexdigest()
        made.append({"type": "file", "path": path, "oid": oid, "size": len(content)})
    return made


def _asked(body: bytes) -> list[str]:
    """The paths of a question for some, which comes as JSON or as a form."""
    try:
        return list(json.loads(body)["paths"])
    except ValueError:
        from urllib.parse import parse_qs

        return parse_qs(body.decode())["paths"]


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Serve it on a free port of this machine until `shutdown`; `hub.address` is where."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            hub.tokens.add(self.headers.get("authorization", ""))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer, headers = hub.answer(self.command, unquote(urlsplit(self.path).path), body)
            plain = isinstance(answer, bytes)
            sent = answer if plain else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/octet-stream" if plain else "application/json",
                "content-length": str(len(sent)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    return server
