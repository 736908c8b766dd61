"""End tokens that a checkpoint names in its generation_config.json and config.json."""

import functools
import json
import logging
from pathlib import Path

from yoyak.errors import UserError, display, one_line
from yoyak.models.checkpoints import Checkpoint

log = logging.getLogger(__name__)


def named_end_ids(checkpoint: Checkpoint, tokenizer) -> list[int]:
    """Ids of the end tokens that a local checkpoint names; no weights are read.

    A single id that transformers copied out of a model class (LlamaConfig has 2 unless told
    otherwise) may be any word of this vocabulary: it counts only if it is a token of its own kind,
    one that the tokenizer added. So does no id that the tokenizer lacks.

    Raises UserError: unreadable JSON, or an eos_token_id that is no token id.
    """
    added = set(tokenizer.added_tokens_decoder)
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        settings = _read(Path(checkpoint.name) / name)
        where = display(Path(checkpoint.name) / name)
        may_be_copied = name == "config.json" or settings.get("_from_model_config", False)
        for section in (settings, settings.get("text_config")):
            value = section.get("eos_token_id") if isinstance(section, dict) else None
            named, good = _ids(value, where), added
            if isinstance(value, list) or not may_be_copied:
                good = added if added.issuperset(named) else {*tokenizer.get_vocab().values()}
            found += [number for number in named if number in good]
            if not good.issuperset(named):
                _warn_left_out(where, str(value))
    return list(dict.fromkeys(found))


def _read(file: Path) -> dict:
    """A JSON file of the checkpoint; {} where it has none."""
    if not file.is_file():
        return {}
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise UserError(f"{display(file)}: is not a readable JSON object; download it again")
    return settings


def _ids(value, where: str) -> list[int]:
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    if all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return numbers
    raise UserError(
        f"{where}: eos_token_id: found {one_line(repr(value))[:80]}, allowed are a token id or a "
        "list of them; correct it or download the file again"
    )


@functools.cache
def _warn_left_out(where: str, value: str) -> None:
    log.warning(
        "%s: eos_token_id %s names a token that the tokenizer lacks or knows as an ordinary word: "
        "left out of the end tokens", where, value,
    )  # fmt: skip
