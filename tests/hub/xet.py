"""Xet's protocol for downloads, as far as a file takes that is one object: chunks without compression, version 1.

After its published specification (github.com/huggingface/xet-core, spec/). The client does not check hashes of content
when it downloads, so any 64 hex digits name a file.
"""

import hashlib
import json
from typing import Any

TOKEN = "xet-token"  # which the Hub gives to who may read: for Xet's host alone
CHUNK_BYTES = 64 * 1024


def file_hash(content: bytes) -> str:
    """By which the file is asked for; not Xet's own hash, which is a tree of keyed BLAKE3."""
    return hashlib.sha256(b"xet" + content).hexdigest()


def xorb(content: bytes) -> bytes:
    """The object that holds the file: each chunk after 8 bytes (version, length, no compression, length)."""
    return b"".join(b"\0" + _length(chunk) + b"\0" + _length(chunk) + chunk for chunk in _chunks(content))


def reconstruction(content: bytes, url: str) -> bytes:
    """How the file is put together, and where the object lies (`QueryReconstructionResponse`)."""
    name, chunks = file_hash(content), {"start": 0, "end": len(_chunks(content))}
    term: dict[str, Any] = {"hash": name, "unpacked_length": len(content), "range": chunks}
    source = {"range": chunks, "url": url, "url_range": {"start": 0, "end": len(xorb(content)) - 1}}
    answer = {"offset_into_first_range": 0, "terms": [term], "fetch_info": {name: [source]}}
    return json.dumps(answer).encode()


def _chunks(content: bytes) -> list[bytes]:
    return [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]


def _length(chunk: bytes) -> bytes:
    return len(chunk).to_bytes(3, "little")
