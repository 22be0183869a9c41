"""A Hugging Face Hub on 127.0.0.1, in memory, that the real client and ``datasets`` talk to.

The client reads its settings when it is imported, so what talks to this server runs in a process
of its own, which ``run_client`` starts with the right environment::

    with LoopbackHub() as hub:
        code = "from llmrec.hub import push_folder; print(push_folder(sys.argv[1], 'me/name'))"
        done = run_client(code, hub, tmp_path / "home", str(folder))
        assert done.returncode == 0, done.stderr
        assert hub.tree("me/name")["README.md"] == (folder / "README.md").read_bytes()

Faults are asked for by route (see ``ROUTES``), and used up in the order they were asked for::

    hub.fault("blob", status=500)                  # the next upload of a blob fails once
    hub.fault("commit", status=403, times=9)       # and so on
    hub.fault("blob", drop=True, skip=1)           # the second one loses its connection half way
    hub.fault("create", status=400, echo=True)     # the error repeats the Authorization header
    hub.fault("blob", delay=30.0)                  # the answer takes half a minute
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "hf_test_token"

_REPO = r"(?P<kind>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)"
_FILES = r"/(?P<kind>datasets/|spaces/)?(?P<id>[^/]+/[^/]+)"
# Name of a route, which faults and the log go by: its method and path.
ROUTES: Mapping[str, tuple[str, str]] = {
    "whoami": ("GET", r"/api/whoami-v2"),
    "create": ("POST", r"/api/repos/create"),
    "validate": ("POST", r"/api/validate-yaml"),
    "branch": ("POST", rf"/api/{_REPO}/branch/(?P<rev>[^/]+)"),
    "preupload": ("POST", rf"/api/{_REPO}/preupload/(?P<rev>[^/]+)"),
    "commit": ("POST", rf"/api/{_REPO}/commit/(?P<rev>[^/]+)"),
    "paths": ("POST", rf"/api/{_REPO}/paths-info/(?P<rev>[^/]+)"),
    "tree": ("GET", rf"/api/{_REPO}/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?"),
    "info": ("GET", rf"/api/{_REPO}(?:/revision/(?P<rev>[^/]+))?"),
    "batch": ("POST", rf"{_FILES}\.git/info/lfs/objects/batch"),
    "resolve": ("GET", rf"{_FILES}/resolve/(?P<rev>[^/]+)/(?P<path>.+)"),
    "blob": ("PUT", r"/blobs/(?P<oid>[0-9a-f]{64})(?:/(?P<part>\d+))?"),
    "complete": ("POST", r"/blobs/(?P<oid>[0-9a-f]{64})/complete"),
    "verify": ("POST", r"/blobs/verify"),
}
_WRITES = ("create", "validate", "branch", "preupload", "commit", "batch", "whoami", "verify")
_LFS = (".safetensors", ".parquet", ".arrow", ".gguf", ".bin")
_LFS_BYTES = 10_000_000
_ATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in _LFS)
_WHEN = "2024-01-01T00:00:00.000Z"


def git_oid(data: bytes) -> str:
    """The name that git gives to a file with this content."""
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class _File:
    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        return sha256(self.data).hexdigest() if self.lfs else git_oid(self.data)

    def listed(self, path: str) -> dict[str, Any]:
        """The entry of a tree, as the Hub sends it."""
        entry = {"type": "file", "path": path, "size": len(self.data), "oid": git_oid(self.data)}
        if self.lfs:
            entry["lfs"] = {"oid": self.oid, "size": len(self.data), "pointerSize": 130}
        return entry


@dataclass
class _Repo:
    private: bool
    sdk: str | None
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, _File]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, _File], message: str) -> str:
        parent = self.branches.get(branch, "")
        listing = "".join(f"{p} {f.oid}\n" for p, f in sorted(tree.items()))
        sha = sha1(f"{parent} {message}\n{listing}".encode()).hexdigest()
        self.commits[sha], self.messages[sha] = tree, message
        self.branches[branch] = sha
        return sha


@dataclass
class _Fault:
    route: str
    status: int
    skip: int
    times: int
    drop: bool
    lose: bool
    echo: bool
    delay: float
    headers: Mapping[str, str]


class _Refusal(Exception):  # noqa: N818
    """An answer that is no success."""

    def __init__(self, status: int, error: str, url: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status, self.body = status, {"error": error} | ({"url": url} if url else {})
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}


class LoopbackHub:
    """The server; a context manager.

    Parameters
    ----------
    user: whose the token is; repositories of other owners cannot be made.
    part_bytes: LFS files larger than this are asked for in parts.

    Attributes
    ----------
    url: what HF_ENDPOINT must be. token: what HF_TOKEN must be.
    log: (route, status) of every request so far; status 0: the connection was cut.
    stored: the SHA-256 of each blob that was received whole, as often as it was received.
    held: how many requests have met a ``delay`` so far.
    """

    def __init__(self, *, user: str = "me", part_bytes: int = 50_000_000) -> None:
        self.user, self.token, self.part_bytes = user, TOKEN, part_bytes
        self.log: list[tuple[str, int]] = []
        self.stored: list[str] = []
        self.lock = threading.RLock()
        self.repos: dict[tuple[str, str], _Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.closing = threading.Event()
        self.held = 0
        self._faults: list[_Fault] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> LoopbackHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(
        self,
        route: str,
        *,
        status: int = 0,
        times: int = 1,
        skip: int = 0,
        drop: bool = False,
        lose: bool = False,
        echo: bool = False,
        delay: float = 0.0,
        **headers: str,
    ) -> None:
        """Let ``times`` requests of a route go wrong, after ``skip`` that do not.

        Parameters
        ----------
        status: the answer; 0: what it would have been (for ``delay`` alone).
        drop: read half of what is sent, then cut the connection.
        lose: do what is asked, then cut the connection instead of answering.
        echo: the error repeats the Authorization header.
        delay: seconds to wait before that.
        headers: more headers of the answer, ``_`` for ``-``.
        """
        assert route in ROUTES, f"{route} is no route"
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        self._faults.append(_Fault(route, status, skip, times, drop, lose, echo, delay, named))

    def heal(self) -> None:
        """Forget the faults that are left, the log, and which blobs were received."""
        self._faults.clear()
        self.log.clear()
        self.stored.clear()

    def tree(self, repo_id: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """What a repository holds, beside ``.gitattributes``."""
        repo = self.repos[kind, repo_id]
        files = repo.commits[repo.branches[revision]]
        return {p: f.data for p, f in sorted(files.items()) if p != ".gitattributes"}

    def put(self, repo_id: str, files: Mapping[str, bytes], kind: str = "model") -> str:
        """A commit of small files by somebody else; its name."""
        repo = self.repos[kind, repo_id]
        tree = repo.commits[repo.branches["main"]]
        added = {path: _File(data, False) for path, data in files.items()}
        return repo.commit("main", {**tree, **added}, "by somebody else")

    def lfs_paths(self, repo_id: str, kind: str = "model") -> set[str]:
        """Which files of a repository are stored as LFS."""
        repo = self.repos[kind, repo_id]
        return {p for p, f in repo.commits[repo.branches["main"]].items() if f.lfs}

    def commits(self, repo_id: str, kind: str = "model") -> list[str]:
        """The messages of the commits, the oldest first; the first one is the Hub's own."""
        return list(self.repos[kind, repo_id].messages.values())

    def next_fault(self, route: str) -> _Fault | None:
        """The fault that a request meets; used by the handler."""
        with self.lock:
            for fault in self._faults:
                if fault.route != route or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """Reads one request, meets the faults, and finds the method ``on_<route>``."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # the client was killed, or cut on purpose
            super().handle()

    def _handle(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        self.query = {k: v[0] for k, v in parse_qs(query).items()}
        method = "GET" if self.command == "HEAD" else self.command
        for route, (verb, pattern) in ROUTES.items():
            found = re.fullmatch(pattern, path) if verb == method else None
            if found:
                parts = {k: unquote(v) for k, v in found.groupdict().items() if v}
                return self._routed(route, parts)
        self._body()
        self._send(404, {"error": f"there is no {self.command} {self.path}"}, "unknown")

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

    def _routed(self, route: str, parts: dict[str, str]) -> None:
        fault = self.hub.next_fault(route)
        if fault and fault.delay:
            self.hub.held += 1
            if self.hub.closing.wait(fault.delay):
                return self._cut(route)
        if fault and fault.drop:
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            return self._cut(route)
        body = self._body()
        try:
            if fault and fault.status:
                sent = f" to {self.headers['Authorization']}" if fault.echo else ""
                raise _Refusal(fault.status, f"a fault{sent}", **fault.headers)
            self._authorise(route)
            with self.hub.lock:
                answer = getattr(self, f"_on_{route}")(body, **parts)
        except _Refusal as e:
            return self._send(e.status, e.body, route, e.headers)
        if fault and fault.lose:
            return self._cut(route)
        if answer is not None:
            self._send(200, answer, route)

    def _cut(self, route: str) -> None:
        self.hub.log.append((route, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(
        self, status: int, answer: Any, route: str, headers: Mapping[str, str] | None = None
    ) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.hub.log.append((route, status))
        self.send_response(status)
        named = {"Content-Type": "application/json", **(headers or {})}
        for name, value in {"Content-Length": str(len(data)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who may do what.

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _authorise(self, route: str) -> None:
        if "Authorization" in self.headers and not self._known():
            wrong = "Invalid credentials in Authorization header"
            raise _Refusal(401, "Invalid username or password.", X_Error_Message=wrong)
        if route in _WRITES and not self._known():
            raise _Refusal(401, "Invalid username or password.")

    def _repo(self, kind: str | None, repo_id: str) -> _Repo:
        repo = self.hub.repos.get(((kind or "models").rstrip("s/"), repo_id))
        if repo is None or (repo.private and not self._known()):
            raise _Refusal(
                404 if self._known() else 401, "Repository not found", X_Error_Code="RepoNotFound"
            )
        return repo

    @staticmethod
    def _sha(repo: _Repo, rev: str) -> str:
        sha = repo.branches.get(rev, rev)
        if sha not in repo.commits:
            raise _Refusal(404, f"Invalid rev id: {rev}", X_Error_Code="RevisionNotFound")
        return sha

    # Writing.

    def _on_whoami(self, body: bytes) -> Any:
        return {"type": "user", "name": self.hub.user, "fullname": "Me", "orgs": [], "auth": {}}

    def _on_create(self, body: bytes) -> Any:
        asked = json.loads(body)
        kind, owner = asked.get("type", "model"), asked["organization"] or self.hub.user
        name = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if owner != self.hub.user:
            raise _Refusal(403, f'You have no right to create a {kind} under "{owner}"')
        if (kind, name) in self.hub.repos:
            raise _Refusal(409, f"You already created this {kind} repo", url)
        repo = _Repo(asked.get("visibility") == "private", asked.get("sdk"))
        repo.commit("main", {".gitattributes": _File(_ATTRIBUTES.encode(), False)}, "initial")
        self.hub.repos[kind, name] = repo
        return {"url": url, "name": name, "id": name}

    def _on_validate(self, body: bytes) -> Any:
        import yaml

        content = json.loads(body)["content"].replace("\r\n", "\n")
        head = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            data = yaml.safe_load(head[1]) if head else {}
        except yaml.YAMLError as e:
            data = str(e)
        if not isinstance(data, dict):
            self._send(400, {"errors": [{"message": f"no metadata: {data}"}]}, "validate")
            return None
        return {"errors": [], "warnings": []}

    def _on_branch(self, body: bytes, kind: str, id: str, rev: str) -> Any:
        repo = self._repo(kind, id)
        if rev in repo.branches:
            raise _Refusal(409, f"Reference already exists: {rev}")
        repo.branches[rev] = repo.branches["main"]
        return {}

    def _on_preupload(self, body: bytes, kind: str, id: str, rev: str) -> Any:
        repo = self._repo(kind, id)
        held = repo.commits[self._sha(repo, rev)]
        files = []
        for asked in json.loads(body)["files"]:
            path = asked["path"]
            lfs = path.endswith(_LFS) or asked["size"] > _LFS_BYTES
            entry = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if path in held:
                entry["oid"] = held[path].oid
            files.append(entry)
        return {"files": files}

    def _on_batch(self, body: bytes, id: str, kind: str | None = None) -> Any:
        self._repo(kind, id)
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            entry = {"oid": oid, "size": size, "authenticated": True}
            if oid not in self.hub.blobs:
                url = f"{self.hub.url}/blobs/{oid}"
                upload: dict[str, Any] = {"href": url, "header": {}}
                if size > self.hub.part_bytes:
                    count = -(-size // self.hub.part_bytes)
                    parts = {str(n): f"{url}/{n}" for n in range(1, count + 1)}
                    header = {"chunk_size": str(self.hub.part_bytes), **parts}
                    upload = {"href": f"{url}/complete", "header": header}
                verify = {"href": f"{self.hub.url}/blobs/verify", "header": {}}
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def _store(self, oid: str, data: bytes) -> None:
        if sha256(data).hexdigest() != oid:
            raise _Refusal(400, "what was sent is not what was announced")
        self.hub.blobs[oid] = data
        self.hub.stored.append(oid)

    def _on_blob(self, body: bytes, oid: str, part: str | None = None) -> Any:
        if part is None:
            self._store(oid, body)
            return {}
        self.hub.parts.setdefault(oid, {})[int(part)] = body
        self._send(200, {}, "blob", {"ETag": f'"{sha256(body).hexdigest()}"'})
        return None

    def _on_complete(self, body: bytes, oid: str) -> Any:
        held = self.hub.parts.pop(oid)
        wanted = [p["partNumber"] for p in json.loads(body)["parts"]]
        self._store(oid, b"".join(held[n] for n in wanted))
        return {}

    def _on_verify(self, body: bytes) -> Any:
        asked = json.loads(body)
        if len(self.hub.blobs.get(asked["oid"], b"")) != asked["size"]:
            raise _Refusal(404, "the blob is not here, or not whole")
        return {}

    def _on_commit(self, body: bytes, kind: str, id: str, rev: str) -> Any:
        repo = self._repo(kind, id)
        tree, message = dict(repo.commits[self._sha(repo, rev)]), ""
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
            elif operation["key"] == "file":
                tree[value["path"]] = _File(base64.b64decode(value["content"]), False)
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    raise _Refusal(400, f"the content of {value['path']} was not uploaded")
                tree[value["path"]] = _File(self.hub.blobs[value["oid"]], True)
            elif operation["key"] == "deletedFile":
                if tree.pop(value["path"], None) is None:
                    gone = f"{value['path']} is not there to be deleted"
                    raise _Refusal(404, gone, X_Error_Code="EntryNotFound")
            else:
                raise _Refusal(400, f"{operation['key']} is not known here")
        sha = repo.commit(rev, tree, message)
        return {"commitUrl": f"{self.hub.url}/{id}/commit/{sha}", "commitOid": sha}

    # Reading.

    def _on_info(self, body: bytes, kind: str, id: str, rev: str = "main") -> Any:
        repo = self._repo(kind, id)
        sha = self._sha(repo, rev)
        return {
            "_id": "0" * 24,
            "id": id,
            "author": id.split("/")[0],
            "sha": sha,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "createdAt": _WHEN,
            "lastModified": _WHEN,
            "siblings": [{"rfilename": p} for p in sorted(repo.commits[sha])],
            **({"sdk": repo.sdk} if repo.sdk else {}),
        }

    @staticmethod
    def _listing(tree: dict[str, _File]) -> dict[str, dict[str, Any]]:
        """Every file and every folder, by path."""
        listed = {}
        for path, file in sorted(tree.items()):
            listed[path] = file.listed(path)
            pieces = path.split("/")[:-1]
            for n in range(1, len(pieces) + 1):
                folder = "/".join(pieces[:n])
                oid = git_oid(folder.encode())
                listed[folder] = {"type": "directory", "path": folder, "size": 0, "oid": oid}
        return listed

    def _on_tree(self, body: bytes, kind: str, id: str, rev: str, path: str = "") -> Any:
        repo = self._repo(kind, id)
        listed = self._listing(repo.commits[self._sha(repo, rev)])
        under = f"{path}/" if path else ""
        inside = [e for p, e in listed.items() if p.startswith(under) and p != path]
        if path and not inside:
            raise _Refusal(404, f"{path} does not exist on {rev}", X_Error_Code="EntryNotFound")
        if self.query.get("recursive", "").lower() != "true":
            inside = [e for e in inside if "/" not in e["path"][len(under) :]]
        return inside

    def _on_paths(self, body: bytes, kind: str, id: str, rev: str) -> Any:
        repo = self._repo(kind, id)
        listed = self._listing(repo.commits[self._sha(repo, rev)])
        if self.headers.get("Content-Type", "").startswith("application/json"):
            wanted = json.loads(body)["paths"]
        else:
            wanted = parse_qs(body.decode()).get("paths", [])
        return [listed[p] for p in wanted if p in listed]

    def _on_resolve(
        self, body: bytes, id: str, rev: str, path: str, kind: str | None = None
    ) -> Any:
        repo = self._repo(kind, id)
        sha = self._sha(repo, rev)
        file = repo.commits[sha].get(path)
        if file is None:
            raise _Refusal(404, "Entry not found", X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Repo-Commit": sha,
            "ETag": f'"{file.oid}"',
            "Accept-Ranges": "bytes",
        }
        if file.lfs:
            headers |= {"X-Linked-ETag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, file.data, "resolve", headers)
            return None
        first, last = int(asked[1]), min(int(asked[2] or 1 << 62), len(file.data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(file.data)}"
        self._send(206, file.data[first : last + 1], "resolve", headers)
        return None


def client_env(hub: LoopbackHub, home: Path, **more: str) -> dict[str, str]:
    """The environment of a process whose Hub is ``hub``; ``more`` adds to it or overrides."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    for name in list(kept):
        if name.lower().endswith("_proxy"):
            del kept[name]
    return kept | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        **more,
    }


def run_client(
    code: str, hub: LoopbackHub, home: Path, *argv: str, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code (``json``, ``sys`` and ``Path`` are imported) whose Hub is ``hub``.

    Parameters
    ----------
    home: what HF_HOME is; a folder of the test's own, made when needed.
    argv: becomes ``sys.argv[1:]``.
    env: more environment, overriding what ``client_env`` sets.
    """
    return subprocess.run(
        client_command(code, *argv),
        env=client_env(hub, home, **env),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def client_command(code: str, *argv: str) -> list[str]:
    """What ``run_client`` runs, for a test that must kill it (``subprocess.Popen``)."""
    head = "import json, sys\nfrom pathlib import Path\n"
    return [sys.executable, "-c", head + code, *argv]
