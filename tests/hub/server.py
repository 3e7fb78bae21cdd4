"""A small Hub on loopback: what huggingface_hub and datasets ask the real one for, and its ways to fail.

It speaks what a download takes: `/api/{models,datasets}/REPO/{revision,tree,paths-info}`, `/REPO/resolve/REVISION/PATH`
by HEAD and GET, with ETags, commits, byte ranges, redirects to another host for large files (their address is signed,
and no token may go there) and to a new name for moved repositories; large files also by Xet's protocol, as the real Hub
offers most of its own. Not here: uploads, pages of a tree's listing, and TLS.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import xet

Kind = Literal["models", "datasets"]
_LARGE = (".parquet", ".safetensors", ".model", "tokenizer.json", ".bin")  # as .gitattributes of real repositories say


@dataclass(frozen=True)
class Fault:
    """What goes wrong with answers about a repository: a status, a connection cut after so many bytes of the body, a
    body with flipped bits or another one, nothing in the head. `times`: for so many requests; None: always."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    damaged: bool = False
    body: bytes | None = None
    bare: bool = False
    times: int | None = None
    method: str = "GET"  # of the answers that it is about
    ending: str = ""  # of their paths


@dataclass
class Repository:
    """`files` by commit. `access`: who may read it, as the Hub has it; `moved_to`: its new name; `answers_newest`: to
    whatever commit is asked for, as a poor mirror does; `xet`: its large files are offered by Xet, too."""

    kind: Kind
    name: str
    files: dict[str, dict[str, bytes]]
    access: Literal["public", "gated", "private"] = "public"
    moved_to: str = ""
    answers_newest: bool = False
    xet: bool = False
    faults: list[Fault] = field(default_factory=list)

    @property
    def newest(self) -> str:
        return next(reversed(self.files))


@dataclass(frozen=True)
class Request:
    """`host`: which of the two servers was asked."""

    host: Literal["hub", "storage"]
    method: str
    path: str
    token: str
    range: str


@dataclass
class Hub:
    """The repositories, and what was asked about them. `member`, `stranger`: the tokens that there are; the first may
    read what is not public."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    member: str = "hf_member"
    stranger: str = "hf_stranger"
    endpoint: str = ""
    storage: str = ""
    requests: list[Request] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)  # by a fault's identity: how often it struck
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, repository: Repository) -> None:
        self.repositories[repository.kind, repository.name] = repository

    def asked(self, text: str, method: str = "") -> list[Request]:
        """The requests whose path holds a text."""
        return [request for request in self.requests if text in request.path and method in ("", request.method)]

    def fault(self, repository: Repository, method: str, path: str) -> Fault:
        """The fault that strikes now; one of no consequence where there is none."""
        with self.lock:
            for fault in repository.faults:
                strikes = self.failures.get(id(fault), 0)
                if fault.method == method and path.endswith(fault.ending) and strikes != fault.times:
                    self.failures[id(fault)] = strikes + 1
                    return fault
        return Fault()


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """Serve it, large files from another host: `localhost` where the Hub itself is 127.0.0.1."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, host)) for host in ("hub", "storage")]
    hub.endpoint, hub.storage = (
        f"http://{name}:{server.server_address[1]}"
        for name, server in zip(("127.0.0.1", "localhost"), servers, strict=True)
    )
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def git_oid(content: bytes) -> str:
    """What Git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str) -> bool:
    """Whether a file lies in the large-file storage."""
    return path.endswith(_LARGE)


def etag(path: str, content: bytes) -> str:
    """By which a client knows a file's content, and names it in its cache."""
    return hashlib.sha256(content).hexdigest() if is_large(path) else git_oid(content)


def _handler(hub: Hub, host: Literal["hub", "storage"]) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub, Handler.host = hub, host
    return Handler


class _Refusal(Exception):
    """`code`: by which the Hub's client tells refusals of one status apart."""

    def __init__(self, status: int, code: str = "", message: str = "", headers: Mapping[str, str] = {}) -> None:
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message} | dict(headers)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    host: Literal["hub", "storage"]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.host, self.command, unquote(self.path), self._token(), self.headers.get("Range", ""))
        with self.hub.lock:
            self.hub.requests.append(request)
        try:
            address = urlsplit(self.path)
            parts = unquote(address.path).strip("/").split("/")
            if parts[0] == "xet":
                self._xet(*parts[1:])
            elif self.host == "storage" and parts[0] in ("models", "datasets"):
                self._stored(*parts)
            elif parts[0] == "api":
                self._api(parts[1:], parse_qs(address.query))
            elif self.host == "hub" and len(parts) > 4:
                self._resolve(parts)
            else:
                raise _Refusal(404)  # what clients tell about themselves
        except _Refusal as refusal:
            self._send(refusal.status, b"", refusal.headers)

    do_HEAD = do_POST = do_GET

    def log_message(self, *arguments: Any) -> None:
        pass

    def _token(self) -> str:
        return str(self.headers.get("Authorization", "")).removeprefix("Bearer ")

    # --- what there is

    def _repository(self, kind: str, name: str) -> Repository:
        """The repository; a refusal as the Hub's where there is none for who asks."""
        repository = self.hub.repositories.get((kind, name))
        token = self._token()
        if token not in ("", self.hub.member, self.hub.stranger):
            raise _Refusal(401, "", "Invalid credentials in Authorization header")
        if repository is None or (repository.access == "private" and token != self.hub.member):
            raise _Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if repository.moved_to:
            raise _Refusal(307, headers={"Location": self.path.replace(name, repository.moved_to, 1)})
        self._strike(repository)
        return repository

    def _commit(self, repository: Repository, revision: str) -> str:
        commit = repository.newest if revision == "main" or repository.answers_newest else revision
        if commit not in repository.files:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # --- /api

    def _api(self, parts: list[str], query: Mapping[str, list[str]]) -> None:
        kind, name, (verb, *rest) = parts[0], "/".join(parts[1:3]), parts[3:] or ["revision", "main"]
        repository = self._repository(kind, name)
        commit = self._commit(repository, rest[0])
        files = repository.files[commit]
        if verb == "revision":
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []})
        elif verb == "tree":
            folder = "/".join(rest[1:])
            entries = list(_entries(files, folder, recursive=query.get("recursive", [""])[0].lower() == "true"))
            if folder and not entries:
                raise _Refusal(404, "EntryNotFound", f"{folder} does not exist")
            self._json(entries)
        elif verb == "paths-info":
            form = parse_qs(self.body.decode()) if self.body[:1] != b"{" else json.loads(self.body)
            self._json([entry for path in form["paths"] for entry in _entry_of(files, path)])
        elif verb == "xet-read-token":
            access = {"X-Xet-Cas-Url": f"{self.hub.storage}/xet", "X-Xet-Access-Token": xet.TOKEN}
            self._send(200, b"{}", access | {"X-Xet-Token-Expiration": str(int(time.time()) + 3600)})
        else:
            raise _Refusal(404, "", f"no such verb here: {verb}")

    # --- files

    def _resolve(self, parts: list[str]) -> None:
        kind = "datasets" if parts[0] == "datasets" else "models"
        parts = parts[1:] if kind == "datasets" else parts
        name, _, revision, path = "/".join(parts[:2]), *parts[2:4], "/".join(parts[4:])
        repository = self._repository(kind, name)
        commit = self._commit(repository, revision)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if repository.access == "gated" and self._token() != self.hub.member:
            raise _Refusal(403 if self._token() else 401, "GatedRepo", f"Access to {name} is restricted")
        content = repository.files[commit].get(path)
        if content is None:
            raise _Refusal(404, "EntryNotFound", f"{path} does not exist", {"X-Repo-Commit": commit})
        if self.fault.bare:
            self._send(200, b"", {})
            return
        if is_large(path):
            address = f"{self.hub.storage}/{kind}/{name}/{commit}/{path}?X-Amz-Signature=signed"
            linked = {"X-Linked-ETag": f'"{etag(path, content)}"', "X-Linked-Size": str(len(content))}
            if repository.xet:
                refresh = f"{self.hub.endpoint}/api/{kind}/{name}/xet-read-token/{commit}"
                linked |= {"X-Xet-Hash": xet.file_hash(content), "Link": f'<{refresh}>; rel="xet-auth"'}
            self._send(302, b"", headers | linked | {"Location": address})
            return
        self._content(content, headers | {"ETag": f'"{etag(path, content)}"'})

    def _stored(self, kind: str, owner: str, name: str, commit: str, *path: str) -> None:
        repository = self.hub.repositories[kind, f"{owner}/{name}"]
        self._strike(repository)
        content = repository.files[commit]["/".join(path)]
        named = {"Content-Disposition": f'inline; filename="{path[-1]}";'}  # for the client's bar
        self._content(content, named | {"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    def _xet(self, version: str, verb: str, file_hash: str) -> None:
        """A file by Xet: how it is put together, and the object that it is put together from."""
        if version != "v1":
            raise _Refusal(404)  # then the client asks in version 1
        repository, path, content = next(
            (repository, path, content)
            for repository in self.hub.repositories.values()
            for files in repository.files.values()
            for path, content in files.items()
            if repository.xet and is_large(path) and xet.file_hash(content) == file_hash
        )
        if verb == "reconstructions":
            url = f"{self.hub.storage}/xet/v1/xorbs/{file_hash}?X-Amz-Signature=signed"
            self._send(200, xet.reconstruction(content, url), {"Content-Type": "application/json"})
            return
        self.fault = self.hub.fault(repository, self.command, path)
        if self.fault.status:
            raise _Refusal(self.fault.status, headers=self.fault.headers)
        self._content(xet.xorb(content), {})

    def _content(self, content: bytes, headers: Mapping[str, str]) -> None:
        """The file or the range of it that is asked for, or what a fault makes of it."""
        fault = self.fault
        if fault.body is not None:
            content = fault.body
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        body = content[start:-1] + bytes([content[-1] ^ 1]) if fault.damaged else content[start:]
        if start:
            headers = dict(headers) | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self._send(206 if start else 200, body, headers, fault.cut_after)

    def _strike(self, repository: Repository) -> None:
        """See which fault is the answer's; a refusal where it is a status."""
        self.fault = self.hub.fault(repository, self.command, urlsplit(self.path).path)
        if self.fault.status:
            raise _Refusal(self.fault.status, headers=self.fault.headers)

    # --- answers

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut_after: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.close_connection = True


def _entries(files: Mapping[str, bytes], folder: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    """A tree's listing, as the Hub gives it."""
    prefix = f"{folder}/" if folder else ""
    folders: set[str] = set()
    for path, content in files.items():
        if not path.startswith(prefix):
            continue
        inner = path.removeprefix(prefix).split("/")[:-1]
        parents = {prefix + "/".join(inner[:depth]) for depth in range(1, len(inner) + 1 if recursive else 2) if inner}
        for parent in sorted(parents - folders):
            yield {"type": "directory", "oid": git_oid(parent.encode()), "size": 0, "path": parent}
        folders |= parents
        if recursive or not inner:
            yield _file(path, content)


def _entry_of(files: Mapping[str, bytes], path: str) -> Iterator[dict[str, Any]]:
    """A file or a folder; nothing where there is none."""
    if path in files:
        yield _file(path, files[path])
    elif any(name.startswith(f"{path}/") for name in files):
        yield {"type": "directory", "oid": git_oid(path.encode()), "size": 0, "path": path}


def _file(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": git_oid(content), "size": len(content), "path": path}
    if is_large(path):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry
