"""Tokenised examples: counts, order, masks, storage, and the time for a full-size data set."""

import random
import time

import pandas
import pytest
import torch
from prompt_files import KOREAN
from real_tokenizers import load_tokenizer, made_tokenizer
from row_datasets import dataset_of

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts
from yoyak.data.llm_dataset import (
    IGNORED,
    InstructionAugmentedDataset,
    LLMSummarizationDataset,
    create_llm_dataset,
)
from yoyak.errors import UserError

CONFIG = ModelConfig(model={"checkpoint": "a/b"})
ROWS = [
    Dialogue(f"r{number}", f"#Person1#: 안녕 {number}\n#Person2#: 네", (f"요약 {number}",))
    for number in range(7)
]


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in ("input_ids", "labels"))


def test_items_are_long_tensors_with_the_prompt_masked_by_length():
    dataset = dataset_of(ROWS, made_tokenizer(), CONFIG)
    assert len(dataset) == 7
    for index in range(7):
        item = dataset[index]
        prompt = int(dataset.prompt_lengths[index])
        assert item["input_ids"].dtype == item["labels"].dtype == torch.int64
        assert (item["labels"][:prompt] == IGNORED).all()
        assert torch.equal(item["labels"][prompt:], item["input_ids"][prompt:])
    assert same(dataset[-1], dataset[6])
    with pytest.raises(IndexError):
        dataset[7]


def test_five_examples_a_dialogue_side_by_side():
    tokenizer = made_tokenizer()
    plain = dataset_of(ROWS, tokenizer, CONFIG)
    augmented = dataset_of(ROWS, tokenizer, CONFIG, augmentation="templates")
    assert isinstance(augmented, LLMSummarizationDataset) and len(augmented) == 35
    assert augmented.dialogue_index.tolist() == [index for index in range(7) for _ in range(5)]
    prompts, _ = build_prompts(ROWS, tokenizer, CONFIG, "instruction", KOREAN)
    assert plain.prompts() == augmented.prompts() == prompts  # as generation has them
    for index in range(7):
        five = [augmented[5 * index + number] for number in range(5)]
        assert same(five[0], plain[index])
        assert len({tuple(item["input_ids"].tolist()) for item in five}) == 5
        answers = {tuple(item["labels"][item["labels"] != IGNORED].tolist()) for item in five}
        assert len(answers) == 1


def test_building_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        dataset_of(ROWS, made_tokenizer(), CONFIG, "instruction", "templates").save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saved_and_loaded(tmp_path):
    dataset = dataset_of(ROWS, made_tokenizer(), CONFIG, "instruction", "templates")
    dataset.save(tmp_path / "train.safetensors")
    loaded = LLMSummarizationDataset.load(tmp_path / "train.safetensors")
    assert len(loaded) == 35 and all(same(loaded[i], dataset[i]) for i in range(35))
    assert loaded.supervised_tokens == dataset.supervised_tokens
    assert torch.equal(loaded.lengths, dataset.lengths)


def test_what_is_no_examples_file_is_refused(tmp_path):
    path = tmp_path / "train.safetensors"
    with pytest.raises(UserError, match="cannot be read"):
        LLMSummarizationDataset.load(path)
    dataset_of(ROWS, made_tokenizer(), CONFIG).save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="train.safetensors: cannot be read"):
        LLMSummarizationDataset.load(path)
    from safetensors.torch import save_file

    save_file({"input_ids": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="contains no tokenised examples"):
        LLMSummarizationDataset.load(path)


def test_statistics_count_what_is_stored():
    dataset = dataset_of(ROWS, made_tokenizer(), CONFIG, "instruction", "templates")
    counted = dataset.statistics
    labels = torch.cat([item["labels"] for item in dataset])
    assert counted["examples"] == 35 and counted["dialogues"] == 7
    assert counted["tokens"] == len(labels) == len(dataset.input_ids)
    assert counted["supervised_tokens"] == int((labels != IGNORED).sum())
    assert counted["supervised_tokens"] == dataset.supervised_tokens
    assert counted["example_tokens"]["max"] == int(dataset.lengths.max())
    assert (counted["prompts_shortened"], counted["answers_over_decoder_max_len"]) == (0, 0)
    assert len(counted["requests"]) == 5


@pytest.mark.parametrize("prompt_format", ["instruction", "chat"])
def test_lists_from_pandas_and_the_text_of_an_example(prompt_format):
    """The names, order and defaults are those of the project's description."""
    table = pandas.DataFrame(
        {"dialogue": ["#A#: 안녕", "#B#: 네\n#A#: 응"], "summary": ["가", "나"]}
    )
    texts = {key: table[key].tolist() for key in ("dialogue", "summary")}
    tokenizer = load_tokenizer("qwen3")
    arguments = (texts["dialogue"], texts["summary"], tokenizer, 1024, 200, prompt_format)
    made = LLMSummarizationDataset(*arguments)
    for row, item in zip(table.itertuples(), made, strict=True):
        write = made._format_chat if prompt_format == "chat" else made._format_instruction
        assert tokenizer.decode(item["input_ids"][:-1]) == write(row.dialogue, row.summary)
    again = create_llm_dataset(
        dialogues=texts["dialogue"], summaries=texts["summary"], tokenizer=tokenizer,
        encoder_max_len=1024, decoder_max_len=200, format_type=prompt_format,
    )  # fmt: skip
    assert torch.equal(again.input_ids, made.input_ids)
    five = InstructionAugmentedDataset(*arguments)
    assert isinstance(five, LLMSummarizationDataset) and len(five) == 10


@pytest.mark.parametrize(
    ("dialogues", "summaries", "told"),
    [
        (["가", float("nan")], ["가", "나"], "row 2: its dialogue is nan, no text"),
        (["가", "나"], ["가", None], "row 2: its summary is None, no text"),
        ([" \n"], ["가"], "row 1: its dialogue is no text"),
        (["가"], [""], "row 1: its summary is no text"),
        (["가", "나"], ["가"], "2 dialogues and 1 summaries"),
        ("가나", ["가", "나"], "dialogue: one text, where a list"),
    ],
)
def test_a_row_without_text_is_named(dialogues, summaries, told):
    with pytest.raises(UserError, match=told):
        create_llm_dataset(dialogues, summaries, made_tokenizer(), format_type="instruction")


def full_size_rows():
    """12,457 dialogues of 2–60 turns in words that hardly repeat, so that no cache helps much."""
    rng = random.Random(0)
    syllables = [chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(600)]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(40000)]

    def text(count):
        return " ".join(rng.choices(words, k=count)) + "."

    return [
        Dialogue(
            f"train_{number}",
            "\n".join(
                f"#Person{turn % 2 + 1}#: {text(rng.randint(1, 10))}"
                for turn in range(max(2, min(60, int(rng.lognormvariate(2.1, 0.5)))))
            ),
            (text(12),),
        )
        for number in range(12457)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("prompt_format", ["instruction", "chat"])
@pytest.mark.parametrize("name", ["llama3", "qwen3"])
def test_full_size_times_five_takes_less_than_a_minute(name, prompt_format):
    tokenizer, rows = load_tokenizer(name), full_size_rows()
    started, cpu_started = time.perf_counter(), time.process_time()
    dataset = dataset_of(rows, tokenizer, CONFIG, prompt_format, "templates")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    tokens = dataset.statistics["tokens"]
    print(f"{name} {prompt_format}: {tokens:,} tokens, {seconds:.1f} s, {cpu_seconds:.1f} CPU s")
    assert len(dataset) == 62285
    # CPU time of all threads: on an idle machine the wall time is less, on a busy one it says
    # nothing about this code.
    assert cpu_seconds < 60
