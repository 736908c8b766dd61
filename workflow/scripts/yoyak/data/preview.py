"""Show what a model sees: token by token, with the supervised part marked."""

from collections.abc import Sequence
from functools import cache

from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import Prompts
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts
from yoyak.data.llm_dataset import IGNORED, LLMSummarizationDataset
from yoyak.data.prompts import stop_token_ids


def preview(
    row: Dialogue,
    tokenizer,
    config: ModelConfig,
    prompt_format: str,
    texts: Prompts,
    examples: Sequence[Dialogue] = (),
) -> str:
    """One dialogue's generation prompt and, if it has a summary, the tokens of its example.

    examples: stand solved in the generation prompt (few-shot); a training example has none.

    Raises UserError as `build_prompts` and LLMSummarizationDataset do.
    """
    prompts, shortened = build_prompts([row], tokenizer, config, prompt_format, texts, examples)
    stops = stop_token_ids(tokenizer, prompt_format)
    solved = " · examples " + ", ".join(each.fname for each in examples) if examples else ""
    lines = [
        f"dialogue {row.fname} · format {prompt_format} · prompts {texts.file}{solved}",
        f"dialogue shortened to fit encoder_max_len: {'yes' if shortened[0] else 'no'}",
        "generation stops at: "
        + ", ".join(f"{tokenizer.convert_ids_to_tokens(stop)} ({stop})" for stop in stops),
        "",
        f"===== generation prompt, {len(prompts[0])} tokens =====",
        tokenizer.decode(prompts[0]),
        "===== end of the prompt =====",
        "",
    ]
    if not row.summaries:
        lines.append("no summary in this split: tokens of the prompt, none supervised")
        return "\n".join([*lines, *_token_lines(tokenizer, prompts[0], len(prompts[0]))])
    dataset = LLMSummarizationDataset(
        [row.dialogue], [row.summary], tokenizer,
        config.tokenizer.encoder_max_len, config.tokenizer.decoder_max_len, prompt_format,
        prompts=texts, truncate_dialogue=config.dataset.truncate_dialogue,
    )  # fmt: skip
    input_ids = dataset[0]["input_ids"].tolist()
    labels = dataset[0]["labels"].tolist()
    supervised = sum(label != IGNORED for label in labels)
    lines.append(
        f"training example: {len(input_ids)} tokens, {supervised} supervised (*); "
        "position, token id, text"
    )
    return "\n".join([*lines, *_token_lines(tokenizer, input_ids, len(input_ids) - supervised)])


def show_example(
    dataset: LLMSummarizationDataset, index: int, rows: Sequence[Dialogue], tokenizer
) -> dict:
    """One example for JSON: fname, prompt and supervised answer as text, token counts."""
    item = dataset[index]
    length = int(dataset.prompt_lengths[index])
    ids = item["input_ids"].tolist()
    return {
        "fname": rows[int(dataset.dialogue_index[index])].fname,
        "prompt": tokenizer.decode(ids[:length]),
        "answer": tokenizer.decode(ids[length:]),
        "prompt_tokens": length,
        "answer_tokens": len(ids) - length,
    }


def token_text(tokenizer, token_id: int) -> str:
    """A token as readable text; the bytes (\\xec…) where it holds only part of a character."""
    text = tokenizer.decode([token_id])
    if "\ufffd" in text:
        token = tokenizer.convert_ids_to_tokens(token_id)
        table = _byte_values()
        if all(char in table for char in token):
            return "".join(f"\\x{table[char]:02x}" for char in token)
    return repr(text)[1:-1]


def _token_lines(tokenizer, ids: list[int], prompt_length: int) -> list[str]:
    return [
        f"{'*' if position >= prompt_length else ' '} {position:5d} {token_id:7d}  "
        + token_text(tokenizer, token_id)
        for position, token_id in enumerate(ids)
    ]


@cache
def _byte_values() -> dict[str, int]:
    """The printable stand-in of each byte in byte-level BPE vocabularies, back to the byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    return {**table, **{chr(256 + number): byte for number, byte in enumerate(others)}}
