"""GGUF checkpoints: dequantised once into an ordinary checkpoint folder in the user's cache."""

import fcntl
import os
import shutil
from pathlib import Path

from yoyak.config.model_config import ModelSettings
from yoyak.errors import UserError, one_line
from yoyak.models.checkpoints import Checkpoint, hub_error
from yoyak.run.workspace import hash_file

LARGEST_HALF = 65504.0  # the largest float16
WORDS = 200  # tokens that a converted tokenizer is tried on


def plain_checkpoint(checkpoint: Checkpoint, model: ModelSettings) -> Checkpoint:
    """The checkpoint itself, or for a GGUF file the folder converted from it.

    The folder lies below XDG_CACHE_HOME (or ~/.cache), is named after the file's hash and is made
    only once, even if several jobs ask for it at once. It takes 2 bytes per weight.

    Raises UserError: the package gguf is missing, or the file cannot be read.
    """
    if "gguf_file" not in checkpoint.kwargs:
        return checkpoint
    file = Path(checkpoint.name) / checkpoint.kwargs["gguf_file"]
    digest = hash_file(file)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yoyak" / "gguf"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = home / f"{file.stem[:80]}-{digest[:16]}"
    with open(home / f"{folder.name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second job waits for the first one's folder
        if not folder.is_dir():
            _convert(checkpoint, model, folder)
    return Checkpoint(name=str(folder), kwargs={}, local=True)


def _convert(checkpoint: Checkpoint, model: ModelSettings, folder: Path) -> None:
    """Write dequantised weights, config and tokenizer to a temporary folder, then rename it to
    `folder`."""
    import torch
    import transformers

    if not transformers.utils.is_gguf_available():
        raise UserError(
            f"model.checkpoint '{model.checkpoint}': reading a GGUF file needs the package gguf;"
            " `pip install gguf` into the same environment"
        )
    options = {"gguf_file": checkpoint.kwargs["gguf_file"]}
    _check(Path(checkpoint.name) / options["gguf_file"], model)
    # transformers 5.24 keeps the blocks packed unless told otherwise; 5.17 always unpacked them.
    packed = getattr(transformers, "GgufConfig", None)
    unpacked = {"quantization_config": packed(dequantize=True)} if packed else {}
    staging = folder.with_name(f".{folder.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            checkpoint.name, trust_remote_code=False, **options
        )
        weights, info = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint.name,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
            **unpacked,
        )
    except Exception as error:
        raise hub_error(model, error) from error
    if not _reads_words(tokenizer):
        raise UserError(
            f"model.checkpoint '{model.checkpoint}': transformers {transformers.__version__} "
            "does not read the tokenizer of this GGUF file (it spells words that are one token); "
            "update transformers, or name the checkpoint in safetensors"
        )
    if info["missing_keys"]:
        raise UserError(
            f"model.checkpoint '{model.checkpoint}': the GGUF file lacks the weights "
            f"{sorted(info['missing_keys'])[0]}; download it again"
        )
    if hasattr(weights.config, "quantization_config"):
        del weights.config.quantization_config
    weights.hf_quantizer = None
    if all(part.abs().max() < LARGEST_HALF for part in weights.parameters()):
        weights = weights.half()
    weights.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    os.replace(staging, folder)


def _check(file: Path, model: ModelSettings) -> None:
    """Refuse a file that the package gguf cannot read to its end."""
    from gguf import GGUFReader

    try:
        GGUFReader(file)
    except Exception as error:  # of its own, of numpy, or of the system
        said = one_line(f"{type(error).__name__}: {error}")[:120]
        raise UserError(
            f"model.checkpoint '{model.checkpoint}': the GGUF file is cut short or damaged "
            f"({said}); download it again"
        ) from None


def _reads_words(tokenizer) -> bool:
    """Whether the tokenizer reads most common long tokens as one token each.

    A tokenizer that lost its merges splits words into letters, without an error.
    """
    known = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    words = [(number, token) for number, token in known if len(token) > 3 and token.isalpha()]
    texts = [tokenizer.convert_tokens_to_string([token]) for _, token in words[:WORDS]]
    read = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    right = sum(ids == [number] for ids, (number, _) in zip(read, words, strict=False))
    return right >= len(texts) / 2
