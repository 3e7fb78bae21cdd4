"""Sending to the Hub: to a loopback server that speaks as much of its protocol as an upload of small files takes.

What is not shown here: the upload of weights by LFS or Xet, and the real Hub's own checks.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.launch.publish.finished_stage import finish
from tests.launch.workspace import Workspace

TOKEN = "hf_not_a_token_of_anybody"


@dataclass
class Hub:
    """What was asked of the server. `refuses`: the status that it answers everything with."""

    endpoint: str = ""
    refuses: int | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)


def _answer(hub: Hub, path: str, body: bytes) -> Any:
    if path == "/api/repos/create":
        return {"url": f"{hub.endpoint}/somebody/encoder", "name": "somebody/encoder"}
    if path.startswith("/api/models/somebody/encoder/preupload/"):
        names = [file["path"] for file in json.loads(body)["files"]]
        return {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
    if path.startswith("/api/models/somebody/encoder/commit/"):
        return {"commitUrl": f"{hub.endpoint}/somebody/encoder/commit/{'0' * 40}", "commitOid": "0" * 40}
    return {"errors": [], "warnings": []}  # validate-yaml


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.requests.append(("POST", self.path))
            hub.bodies[self.path] = body
            hub.tokens.add(self.headers.get("Authorization"))
            content = b"{}" if hub.refuses else json.dumps(_answer(hub, self.path, body)).encode()
            self.send_response(hub.refuses or 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with served(Hub()) as server:
        yield server


def _publish(workspace: Workspace, hub: Hub, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    finish(workspace.plan(seeds=["1"]), workspace.root / "model")
    without_token = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = without_token | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(workspace.root / "hf")} | more
    script = Path(sys.executable).with_name("stepstone")
    return subprocess.run(
        [script, "publish", "experiment.yaml", "squad-s1", "out", *arguments],
        cwd=workspace.root, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_nothing_is_sent_unless_it_is_asked_for(workspace: Workspace, hub: Hub) -> None:
    process = _publish(workspace, hub, HF_TOKEN=TOKEN)
    assert process.returncode == 0 and (workspace.root / "out/README.md").exists()
    assert hub.requests == []


def test_without_a_token_nothing_is_written_or_sent(workspace: Workspace, hub: Hub) -> None:
    process = _publish(workspace, hub, "--push", "somebody/encoder")
    assert process.returncode == 1 and "hf auth login" in process.stderr and process.stderr.count("\n") == 1
    assert hub.requests == [] and not (workspace.root / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--public"]], ids=["private", "public"])
def test_a_folder_is_sent_whole(workspace: Workspace, hub: Hub, options: list[str]) -> None:
    process = _publish(workspace, hub, "--push", "somebody/encoder", *options, HF_TOKEN=TOKEN)
    assert process.returncode == 0, process.stderr
    assert f"sent: {hub.endpoint}/somebody/encoder" in process.stderr
    assert json.loads(hub.bodies["/api/repos/create"])["visibility"] == ("public" if options else "private")
    (commit,) = (body for path, body in hub.bodies.items() if "/commit/" in path)
    sent_files = {line["value"]["path"] for line in map(json.loads, commit.splitlines()) if line["key"] == "file"}
    out = workspace.root / "out"
    assert sent_files == {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert hub.tokens - {None} == {f"Bearer {TOKEN}"} and TOKEN not in process.stderr + process.stdout


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_one_line_and_the_folder_stays(workspace: Workspace, hub: Hub, status: int) -> None:
    hub.refuses = status
    process = _publish(workspace, hub, "--push", "somebody/encoder", HF_TOKEN=TOKEN)
    (line,) = (line for line in process.stderr.splitlines() if line.startswith("error: "))
    assert process.returncode == 1 and "hf upload somebody/encoder out . --private" in line
    assert TOKEN not in process.stderr and "Traceback" not in process.stderr
    assert (workspace.root / "out/model.safetensors").exists()


@pytest.mark.slow
def test_without_a_network_it_is_one_line(workspace: Workspace, hub: Hub) -> None:
    hub.endpoint = "http://127.0.0.1:9"  # nobody listens
    process = _publish(workspace, hub, "--push", "somebody/encoder", HF_TOKEN=TOKEN)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].startswith("error: somebody/encoder was not sent (")
    assert (workspace.root / "out/README.md").exists()
