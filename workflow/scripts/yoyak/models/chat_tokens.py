"""Chat templates for tokenizers that have none, and the tokens that they need."""

from yoyak.errors import UserError

LLAMA_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_TEMPLATE = (  # it knows no system role: that message stands at the head of the user's
    "{{ bos_token or '' }}{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ system if loop.first }}{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
FAMILIES = {
    "llama": (LLAMA_TEMPLATE, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "qwen": (QWEN_TEMPLATE, ["<|im_start|>", "<|im_end|>"]),
    "gemma": (GEMMA_TEMPLATE, ["<start_of_turn>", "<end_of_turn>"]),
}
PAD_CANDIDATES = ("<|finetune_right_pad_id|>", "<|pad|>", "<|endoftext|>", "<pad>")


def add_chat_tokens(tokenizer, chat_template: str | None) -> list[int]:
    """Give a tokenizer without a chat template the one that `model.chat_template` names.

    A tokenizer with its own template is left alone. Only tokens that it lacks are added.

    Returns:
        Ids of the added tokens: new embedding rows, which have to be trained.

    Raises:
        UserError: an unknown name.
    """
    if tokenizer.chat_template is not None or chat_template is None:
        return []
    if chat_template not in FAMILIES:
        raise UserError(
            f"model.chat_template: found '{chat_template}', allowed are {', '.join(FAMILIES)}"
        )
    template, tokens = FAMILIES[chat_template]
    vocabulary = tokenizer.get_vocab()
    lacking = [token for token in tokens if token not in vocabulary]
    if lacking:
        tokenizer.add_tokens(lacking, special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer.convert_tokens_to_ids(lacking)


def set_padding(tokenizer) -> None:
    """Left padding, left truncation, and a pad token that is not the end token where one exists.

    The loss is masked by length and never by the pad id, so that a tokenizer whose only choice is
    pad = eos still learns its end token (transformers issue 23530).
    """
    tokenizer.padding_side = "left"
    tokenizer.truncation_side = "left"
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        vocabulary = tokenizer.get_vocab()
        known = [token for token in PAD_CANDIDATES if token in vocabulary]
        others = [token for token in known if token != tokenizer.eos_token]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
