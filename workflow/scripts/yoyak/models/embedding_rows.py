"""Embedding rows for tokens that the checkpoint lacks, whether added here or earlier.

A tokenizer that is longer than the embedding is what `add_tokens` without `resize_token_embeddings`
leaves behind. The rows are made here and trained with the adapters. Rows beyond the tokenizer's
last token (Qwen pads its embedding) need nothing.
"""

import re

import torch

# Names of a tokenizer's image and audio tokens, which no text contains.
_OTHER_SENSES = re.compile("image|video|vision|audio|[be]o[iva]_")


def add_missing_rows(model, tokenizer) -> dict[int, str]:
    """Add the missing rows, close to the mean of all rows and the same in every run.

    So a zero-shot generation, which never trains them, gives the same result twice.

    Returns:
        The tokens that had none, by their ids.
    """
    old = model.get_input_embeddings().num_embeddings
    rowless = _tokens_beyond(tokenizer, old)
    if not rowless:
        return {}
    tokens = max(rowless) + 1
    model.resize_token_embeddings(tokens, mean_resizing=False)
    parts = (model.get_input_embeddings(), model.get_output_embeddings())
    for weight in {id(part.weight): part.weight for part in parts}.values():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(tokens - old, weight.shape[1], generator=generator)
        known = weight.data[:old].float()
        rows = known.mean(0) + 0.1 * known.std(0) * noise.to(weight.device)
        weight.data[old:] = rows.to(weight.dtype)
    if getattr(parts[1], "bias", None) is not None:
        parts[1].bias.data[old:] = parts[1].bias.data[:old].mean()
    return rowless


def trained_rows(model, ids: list[int]) -> dict[str, list[int]] | None:
    """PEFT's trainable_token_indices: the rows of the embedding and of a head that is not tied.

    PEFT looks after a tied head itself. None without ids.
    """
    if not ids:
        return None
    parts = [model.get_input_embeddings()]
    if not model.config.tie_word_embeddings:
        parts.append(model.get_output_embeddings())
    names = {part: name.rpartition(".")[2] for name, part in model.named_modules()}
    return {names[part]: ids for part in parts}


def keep_head_bias(model) -> None:
    """PEFT computes a head whose rows are trained by its weight alone: add the bias (Phi, GPT-J).

    A merged model has it, so without this it would not be the model that was trained.
    """
    layer = getattr(model.get_base_model().get_output_embeddings(), "token_adapter", None)
    if layer is not None and getattr(layer.base_layer, "bias", None) is not None:
        layer.register_forward_hook(_add_bias)


def _add_bias(layer, inputs, output: torch.Tensor) -> torch.Tensor:
    return output + layer.base_layer.bias.to(output.dtype)


def trained_tokens(model, tokenizer) -> list[str]:
    """The tokens whose embedding rows are trained with a model's adapters."""
    ids: set[int] = set()
    for adapter in getattr(model, "peft_config", {}).values():
        ids.update(*(adapter.trainable_token_indices or {}).values())
    return tokenizer.convert_ids_to_tokens(sorted(ids))


def rowless_text(rowless: dict[int, str]) -> str:
    """One line that names the tokens without a row."""
    few = ", ".join(list(rowless.values())[:8]) + (", …" if len(rowless) > 8 else "")
    return f"{len(rowless)} tokens have no row in the checkpoint's embedding ({few})"


def _tokens_beyond(tokenizer, rows: int) -> dict[int, str]:
    """Tokens that a text can contain and whose ids lie beyond this many rows.

    Gemma 3 names an image token for which its small text models have no row: it needs none.
    """
    names = tokenizer.special_tokens_map.items()
    unheard = {str(token) for name, token in names if _OTHER_SENSES.match(name)}
    vocabulary = tokenizer.get_vocab().items()
    beyond = {number: token for token, number in vocabulary if number >= rows}
    return {number: beyond[number] for number in sorted(beyond) if beyond[number] not in unheard}
