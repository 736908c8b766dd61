"""Weight files of a local checkpoint: whole, and safetensors or GGUF, before a model loads."""

import json
import math
import mmap
import struct
from pathlib import Path

from yoyak.errors import UserError, one_line

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# Of a GGUF file: struct formats of its number types, by their numbers.
GGUF_NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
GGUF_STRING, GGUF_ARRAY = 8, 9
GGUF_VERSIONS = (2, 3)
# Elements and bytes of a block, by the type of a tensor.
GGUF_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)},
    **{24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)},
}
DEEPEST_ARRAY = 4
LONGEST_NAME = 255  # bytes of a file's name


def check_gguf(path: Path, where: str) -> None:
    """Refuse a file that is no GGUF file or is shorter than its header says.

    where: what an error begins with.
    """
    if path.suffix != ".gguf":
        raise UserError(f"{where}: is a file; name its folder, or a .gguf file")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF":
                raise UserError(f"{where}: is no GGUF file (it does not begin so); fetch it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                needed = _gguf_size(content)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{where}: its GGUF header is cut short or damaged ({one_line(error)[:100]}); "
            "fetch it again"
        ) from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from None
    if size < needed:
        raise UserError(f"{where}: is cut short: {size:,} bytes of {needed:,}; fetch it again")


def check_shards(path: Path, where: str) -> None:
    """Every weight file is there, is safetensors and is whole, before a model loads."""
    weights = sorted(path.glob("*.safetensors"))
    if not weights and any(any(path.glob(pattern)) for pattern in PICKLES):
        raise UserError(f"{where}: has only pickled weights, {_PICKLED}")
    if not weights:
        raise UserError(f"{where}: the folder has no *.safetensors weights")
    expected = _expected_tensors(path, where)
    missing = sorted(shard for shard in expected if not (path / shard).is_file())
    if missing:
        raise UserError(
            f"{where}: shard {missing[0][:80]} is missing ({len(missing)} of {len(expected)}); "
            "fetch it again"
        )
    for file in weights:
        lacking = sorted(expected.get(file.name, set()) - _tensors(file, where))
        if lacking:
            raise UserError(
                f"{where}: {file.name} lacks the weights {lacking[0][:80]}; fetch it again"
            )


_PICKLED = (
    "which can run code when read; convert them to safetensors first (save_pretrained writes it)"
)


def _expected_tensors(path: Path, where: str) -> dict[str, set[str]]:
    """Names of the tensors that the index expects in each shard; {one file: ()} without one."""
    if (path / "model.safetensors").is_file():
        return {"model.safetensors": set()}
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        raise UserError(f"{where}: has neither model.safetensors nor {index.name}; fetch it again")
    shards: dict[str, set[str]] = {}
    try:
        for tensor, shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            if Path(shard).name != shard or "\0" in shard or len(shard.encode()) > LONGEST_NAME:
                raise ValueError("no file of this folder has such a name")
            shards.setdefault(shard, set()).add(tensor)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise UserError(f"{where}: {index.name} is not a readable index of shards") from None
    foreign = sorted(shard for shard in shards if not shard.endswith(".safetensors"))
    if foreign:
        raise UserError(
            f"{where}: {index.name} names {foreign[0][:80]}, which is no safetensors file but "
            f"perhaps pickled weights, {_PICKLED}"
        )
    if not shards:
        raise UserError(f"{where}: {index.name} is not a readable index of shards: it names none")
    return shards


def _tensors(file: Path, where: str) -> set[str]:
    """Names in a safetensors file; its header tells whether the file is as long as it must be."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(file, "rb") as opened:
            start = opened.read(8)
        if start[:4] in PICKLE_STARTS or start[:2] in PICKLE_STARTS:
            raise UserError(f"{where}: {file.name} holds pickled weights, {_PICKLED}")
        with safe_open(file, framework="numpy") as opened:
            return set(opened.keys())
    except (SafetensorError, OSError, UnicodeError) as error:
        said = one_line(error)[:120]
        raise UserError(f"{where}: {file.name} is damaged ({said}); fetch it again") from None


def _gguf_size(content: mmap.mmap) -> int:
    """Bytes that the file must have, from its header; ValueError or struct.error where it ends.

    Layout: magic, version, number of tensors, number of settings; settings (name, type, value);
    tensors (name, shape, type, offset); padding; data.
    """
    version, tensors, settings = struct.unpack_from("<IQQ", content, 4)
    if version not in GGUF_VERSIONS:
        raise ValueError(f"version {version}")
    at, alignment = 24, 32
    for _ in range(settings):
        name, at = _gguf_string(content, at)
        (kind,) = struct.unpack_from("<I", content, at)
        if name == b"general.alignment" and kind == 4:
            (alignment,) = struct.unpack_from("<I", content, at + 4)
        at = _after_value(content, at + 4, kind)
    if alignment == 0 or alignment & (alignment - 1):
        raise ValueError(f"alignment {alignment}")
    end = 0
    for _ in range(tensors):
        _, at = _gguf_string(content, at)
        (dimensions,) = struct.unpack_from("<I", content, at)
        shape = struct.unpack_from(f"<{_few(dimensions)}Q", content, at + 4)
        kind, offset = struct.unpack_from("<IQ", content, at + 4 + 8 * dimensions)
        elements, size = GGUF_BLOCKS.get(kind, (1, 0))
        end = max(end, offset + math.prod(shape) // elements * size)
        at += 4 + 8 * dimensions + 12
    return at + (-at % alignment) + end if tensors else at


def _after_value(content: mmap.mmap, at: int, kind: int, depth: int = 0) -> int:
    """Where a setting's value ends."""
    if kind in GGUF_NUMBERS:
        return _inside(content, at + struct.calcsize(GGUF_NUMBERS[kind]))
    if kind == GGUF_STRING:
        return _gguf_string(content, at)[1]
    if kind != GGUF_ARRAY or depth > DEEPEST_ARRAY:
        raise ValueError(f"a setting of type {kind}")
    inner, count = struct.unpack_from("<IQ", content, at)
    at += 12
    if inner in GGUF_NUMBERS:
        return _inside(content, at + count * struct.calcsize(GGUF_NUMBERS[inner]))
    for _ in range(count):
        at = _after_value(content, at, inner, depth + 1)
    return at


def _gguf_string(content: mmap.mmap, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", content, at)
    end = _inside(content, at + 8 + length)
    return content[at + 8 : min(end, at + 108)], end


def _inside(content: mmap.mmap, end: int) -> int:
    if end > len(content):
        raise ValueError("it ends too early")
    return end


def _few(dimensions: int) -> int:
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    return dimensions
