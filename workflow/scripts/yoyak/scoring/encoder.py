"""The encoder of BERTScore: from a folder of one's own, safetensors alone, no code of the folder's.

What it says of a text are unit embeddings of one layer, float32 on the CPU, whatever else runs on a
GPU: the same numbers on every machine, but for rounding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoyak.config.study_settings import BertScore, Metric
from yoyak.errors import PROJECT_ROOT, UserError, one_line
from yoyak.run.hashes import remembered_hash
from yoyak.run.workspace import hash_text

KEY = "metric.bertscore.checkpoint"


class Encoder:
    """Raises UserError: no such folder, no safetensors, torch or transformers missing, no layer."""

    def __init__(self, settings: BertScore) -> None:
        self.layer = settings.layer
        self.folder = find_encoder(settings.checkpoint)
        self._model, self._tokenizer = load_encoder(self.folder)
        layers = self._model.config.get_text_config().num_hidden_layers
        if not -layers - 1 <= self.layer <= layers:
            raise UserError(
                f"metric.bertscore.layer: found {self.layer}, but the encoder has {layers} layers"
            )

    def embed(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each text: embeddings (tokens, dimensions), and which of the tokens are its own."""
        import torch

        given = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        special = given.pop("special_tokens_mask").bool().numpy()
        with torch.inference_mode():
            states = self._model(**given, output_hidden_states=True).hidden_states[self.layer]
            states = torch.nn.functional.normalize(states, dim=-1).numpy()
        there = given["attention_mask"].bool().numpy()
        return [
            (vectors[kept], ~around[kept])
            for vectors, kept, around in zip(states, there, special, strict=True)
        ]


def encoder_hash(folder: Path) -> str:
    """Hash of all files of the folder that are read."""
    ends = ("safetensors", "json", "txt", "model")
    files = [file for end in ends for file in sorted(folder.glob(f"*.{end}"))]
    return hash_text(" ".join(f"{file.name} {remembered_hash(file)}" for file in files))[:12]


def encoder_identity(metric: Metric) -> str | None:
    """What Snakemake replans by: equal for equal files alone; None where no metric asks for one."""
    if "bertscore" not in metric.metrics:
        return None
    try:
        return encoder_hash(find_encoder(metric.bertscore.checkpoint))
    except UserError:
        return "missing"  # the script says in full what is wrong


def find_encoder(checkpoint: str | None) -> Path:
    """Its folder, from the working directory or the project's root."""
    found = [root / Path(checkpoint or "").expanduser() for root in (Path.cwd(), PROJECT_ROOT)]
    folder = next((path for path in found if path.is_dir()), None) if checkpoint else None
    if folder is None:
        raise UserError(f"{KEY}: no such folder: {one_line(checkpoint or '(none)')[:200]}")
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise UserError(
            f"{KEY}: {one_line(checkpoint)[:200]}: must hold config.json and *.safetensors; "
            "pickled weights can run code when read and are refused"
        )
    return folder


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer, from this folder alone and without code from it."""
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer, logging
    except ImportError as error:
        raise UserError(
            f"the metric 'bertscore' needs torch and transformers ({error.name} is not installed): "
            "install envs/requirements.lock, or take it out of metric.metrics"
        ) from None
    logging.set_verbosity_error()  # a checkpoint without a pooler, which nothing here needs
    logging.disable_progress_bar()  # lines of it in the log
    own: dict = {"local_files_only": True}
    safe: dict = {"use_safetensors": True, "dtype": torch.float32, **own}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **own)
        model = AutoModel.from_pretrained(folder, trust_remote_code=False, **safe)
    except Exception as error:  # of any class: what a folder can hold is anyone's
        raise UserError(
            f"{KEY}: {folder}: cannot be loaded as an encoder ({one_line(error)[:200]})"
        ) from None
    limit = model.config.get_text_config().max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return model.eval(), tokenizer
