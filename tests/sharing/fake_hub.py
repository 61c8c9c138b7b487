"""A hub on this machine, as far as models are pushed to it and models and data loaded from it."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

TOKEN = "hf_of_a_test"


@dataclass
class FakeHub:
    """`repositories`: OWNER/NAME, of data datasets/OWNER/NAME, of another branch than main
    datasets/OWNER/NAME@BRANCH -> file -> content. `private`: of those made, whether they are so;
    `gated`: those whose files only some may have; `sent`: the files that were.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    url: str = ""

    def sha(self, name: str) -> str:
        files = sorted(self.repositories[name].items())
        return hashlib.sha1(repr(files).encode()).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serves while the block lasts."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def hub_of(home: Path, patch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Serves while the block lasts as the hub that huggingface_hub speaks to, with a token that may
    write; what it downloads is below `home`.
    """
    with fake_hub() as served:
        # As HF_ENDPOINT would have it in a new process.
        patch.setattr(constants, "ENDPOINT", served.url)
        files = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
        patch.setenv("HF_TOKEN", TOKEN)
        yield served


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *words: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            self.hub.repositories.setdefault(name, {})
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.hub.private[name] = private
            self._json({"url": f"{self.hub.url}/{name}", "name": name})
        elif "/preupload/" in path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._json({"files": files})
        else:
            name = "/".join(path.split("/")[3:5])
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.hub.repositories[name][line["value"]["path"]] = content
            sha = self.hub.sha(name)
            self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def do_HEAD(self) -> None:
        self.do_GET(head=True)

    def do_GET(self, head: bool = False) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        api = parts[0] == "api"
        kind = "datasets/" if parts[int(api)] == "datasets" else ""
        named = parts[2:] if api else parts[1:] if kind else parts
        name, rest = kind + "/".join(named[:2]), [unquote(part) for part in named[2:]]
        # tree/BRANCH, revision/BRANCH, resolve/BRANCH/FILE; or a commit's hash in its place
        branch = rest[1] if len(rest) > 1 else "main"
        branches = [name, *(one for one in self.hub.repositories if one.startswith(f"{name}@"))]
        known = [one for one in branches if one in self.hub.repositories]
        found = next(
            (b for b in known if branch in (b.partition("@")[2] or "main", self.hub.sha(b))), None
        )
        if not known:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif found is None:
            self._json({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif not api and name in self.hub.gated:
            self._json({"error": "Access is restricted"}, 403, {"X-Error-Code": "GatedRepo"})
        elif api and rest[:1] == ["tree"]:
            tree = [
                {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                for path, content in self.hub.repositories[found].items()
            ]
            self._json(tree)
        elif api:
            siblings = [{"rfilename": path} for path in self.hub.repositories[found]]
            self._json({"id": name, "sha": self.hub.sha(found), "siblings": siblings})
        else:
            content = self.hub.repositories[found]["/".join(rest[2:])]
            if not head:
                self.hub.sent.append("/".join(rest[2:]))
            sent = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": self.hub.sha(found)}
            self._send(content, 200, {**sent, "Content-Type": "application/octet-stream"}, head)

    def _json(self, value: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self._send(content, code, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, code: int, headers: dict[str, str], head: bool = False) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
