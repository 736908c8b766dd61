"""The tokenizers of the tiny models: special tokens, chat templates, training on their text."""

from __future__ import annotations

import itertools

from pretraining_text import documents
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import trainers as tokenizer_trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 3072
TOKENIZER_DOCUMENTS = 40_000
# Speaker tags and masks stay in one piece, digits come one by one, words with their leading space.
SPLIT = (
    r" ?#[A-Za-z]+\d*#|[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|"
    r"[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
KINDS = {
    "tiny_llama": {
        "special": [
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|finetune_right_pad_id|>",
        ],
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
        "template": LLAMA_TEMPLATE,
        "end_of_text": "<|end_of_text|>",
    },
    "tiny_qwen3": {
        "special": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "template": QWEN_TEMPLATE,
        "end_of_text": "<|endoftext|>",
    },
}


def as_text(document: str | list[dict]) -> str:
    if isinstance(document, str):
        return document
    return "\n\n".join(f"{m['role']}\n{m['content']}" for m in document)


def train_tokenizer(kind: dict, max_length: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE on TOKENIZER_DOCUMENTS pretraining documents; special tokens come first."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = tokenizer_trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True) for token in kind["special"]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = itertools.islice(documents("tokenizer"), TOKENIZER_DOCUMENTS)
    bpe.train_from_iterator((as_text(document) for document in texts), trainer)
    if kind["bos_token"]:
        bos = kind["bos_token"]
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, bpe.token_to_id(bos))],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=kind["bos_token"],
        eos_token=kind["eos_token"],
        pad_token=kind["pad_token"],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        truncation_side="left",
    )
    tokenizer.chat_template = kind["template"]
    return tokenizer
