"""Examples of `Dialogue` rows under a model config, as the workflow's own step makes them."""

from yoyak.data.llm_dataset import create_llm_dataset


def dataset_of(rows, tokenizer, config, prompt_format="instruction", augmentation="none"):
    return create_llm_dataset(
        [row.dialogue for row in rows],
        [row.summary for row in rows],
        tokenizer,
        config.tokenizer.encoder_max_len,
        config.tokenizer.decoder_max_len,
        prompt_format,
        use_instruction_augmentation=augmentation == "templates",
        truncate_dialogue=config.dataset.truncate_dialogue,
    )
