"""The hub's road, through a local server with the hub's layout: what arrives, and what does not, each one sentence."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
NAME = "owner/tiny"
# Each line of its input is a case: the server's trouble, and the words of load_checkpoint. It answers each in one line.
LOAD = """
import json, shutil, sys, urllib.request
from huggingface_hub import constants
from isonum_core.errors import IsonumError
from isonum_core.networks.models import load_checkpoint
for trouble, words, fresh in json.load(sys.stdin):
    if trouble is not None:
        urllib.request.urlopen(f"{constants.ENDPOINT}/trouble/{trouble.replace(' ', '/')}")
    if fresh:
        shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    try:
        found = load_checkpoint(*words)
        print(found.provenance["source"], type(found.model).__name__, found.provenance["sha256"])
    except IsonumError as error:
        print("REFUSED", error)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The files of a checkpoint, by name."""
    folder = tmp_path_factory.mktemp("repository")
    shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=20, **shape)).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class _Hub(http.server.BaseHTTPRequestHandler):
    """/api/models/ID/tree/COMMIT lists, /ID/resolve/COMMIT/FILE gives; `server.trouble` says what goes wrong."""

    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, files, trouble = self.path.split("?")[0], self.server.files, self.server.trouble
        if path.startswith("/trouble/"):
            self.server.trouble = path.removeprefix("/trouble/").replace("/", " ")
            return self._answer(200, b"")
        self.server.seen.append(path)
        if trouble == "gated":
            return self._answer(403, b'{"error": "Access is restricted"}', {"X-Error-Code": "GatedRepo"})
        if not path.startswith((f"/api/models/{NAME}/", f"/{NAME}/")):
            return self._answer(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        if f"/{COMMIT}" not in path:
            return self._answer(404, b'{"error": "Revision not found"}', {"X-Error-Code": "RevisionNotFound"})
        if path.startswith("/api/"):
            listed = [dict(type="file", path=k, size=len(v), oid=_sha1(v)) for k, v in files.items()]
            return self._answer(200, json.dumps(listed).encode())
        name = path.rpartition("/")[2]
        if trouble == f"missing {name}":
            return self._answer(404, b'{"error": "Entry not found"}', {"X-Error-Code": "EntryNotFound"})
        content = files[name]
        facts = {"ETag": f'"{_sha1(content)}"', "X-Repo-Commit": COMMIT}
        begin = int(self.headers["Range"].split("=")[1].split("-")[0]) if "Range" in self.headers else 0
        if begin:
            facts["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        drop = trouble == f"dropped {name}" and self.command == "GET"
        self._answer(206 if begin else 200, content[begin:], facts, drop)

    def _answer(self, status, content, facts=(), drop=False):
        self.send_response(status)
        for key, value in {"Content-Length": len(content), **dict(facts)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if drop else content)
        self.close_connection = True


def _sha1(content):
    return hashlib.sha1(content).hexdigest()


@pytest.fixture(scope="module")
def hub(repository):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.files, server.trouble, server.seen = dict(repository), "", []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def said(hub, repository, tmp_path_factory):
    """Case -> what a process says whose hub is the server: first online, then offline with what had arrived."""
    folder, sha256 = tmp_path_factory.mktemp("cache"), hashlib.sha256(repository["model.safetensors"]).hexdigest()
    online = {
        "dropped": ("dropped model.safetensors", [NAME, COMMIT]),
        "missing": ("missing model.safetensors", [NAME, COMMIT]),
        "gated": ("gated", [NAME, COMMIT]),
        "another name": ("none", ["owner/other", COMMIT]),
        "another commit": ("none", [NAME, "0" * 40]),
        "wrong hash": ("none", [NAME, COMMIT, "0" * 64]),
        "arrives": ("none", [NAME, COMMIT, sha256]),
    }
    offline = {"cached": (None, [NAME, COMMIT]), "not cached": (None, ["owner/other", COMMIT])}

    def answers(cases, **variables):
        own = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(folder), **variables}
        own |= {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
        given = json.dumps([(trouble, words, trouble is not None) for trouble, words in cases.values()])
        line = [sys.executable, "-c", LOAD]
        done = subprocess.run(line, input=given, capture_output=True, text=True, env=kept | own, timeout=500)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
        return dict(zip(cases, done.stdout.splitlines(), strict=True))

    first = answers(online, HF_HUB_OFFLINE="0")
    asked = len(hub.seen)
    first |= answers(offline)  # which is what isonum_core sets where nothing is said
    assert len(hub.seen) == asked
    return first | {"loaded": f"hub BertModel {{'model.safetensors': '{sha256}'}}"}


def test_a_checkpoint_arrives_and_is_read_offline_from_then_on(said, hub):
    assert said["arrives"] == said["cached"] == said["loaded"]
    assert not any(path.endswith((".bin", ".py")) for path in hub.seen)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("dropped", "from the hub, got RemoteProtocolError: peer closed connection .* Check id, commit and connection"),
        ("missing", "got RemoteEntryNotFoundError: .*model.safetensors. Check id, commit"),
        ("gated", "got GatedRepoError: .* Cannot access gated repo"),
        ("another name", "got RepositoryNotFoundError: .* Check id, commit"),
        ("another commit", "got RevisionNotFoundError: .* Check id, commit"),
        ("wrong hash", f"model.safetensors was expected to have sha256 {'0' * 64}, got "),
        (
            "not cached",
            f"owner/other at {COMMIT} was expected in the hub's cache .* got nothing. .* with HF_HUB_OFFLINE=0",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence(said, case, words):
    assert re.match(f"REFUSED .*{words}", said[case]), said[case]
