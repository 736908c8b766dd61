"""Shortening: only the dialogue gives way, at whole turns if possible, never inside a character."""

import random

import pytest
from prompt_files import KOREAN
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer
from row_datasets import dataset_of

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts, encode_prompts
from yoyak.data.framing import HeadSwap, encode_framed
from yoyak.data.prompts import FORMATS, prompt_frames
from yoyak.errors import UserError

WORDS = [
    "안녕하세요",
    "예약을",
    "변경하고",
    "싶은데",
    "가능할까요",
    "네",
    "3시",
    "👍",
    "OK",
    "#Phone#",
]


def settings(limit, side="start"):
    return ModelConfig(
        model={"checkpoint": "a/b"},
        tokenizer={"encoder_max_len": limit, "decoder_max_len": 64},
        dataset={"truncate_dialogue": side},
    )


def dialogue(turns, seed=0, words=(1, 15)):
    rng = random.Random(seed)
    return "\n".join(
        f"#Person{number % 2 + 1}#: " + " ".join(rng.choices(WORDS, k=rng.randint(*words)))
        for number in range(turns)
    )


def shown_dialogue(tokenizer, frame, ids):
    """The dialogue as the model sees it, cut out of the decoded prompt."""
    text = tokenizer.decode(ids[len(frame.prefix_ids) :])
    assert text.startswith(frame.head) and text.endswith(frame.tail)
    return text[len(frame.head) : len(text) - len(frame.tail)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt_format", FORMATS)
@pytest.mark.parametrize("side", ["start", "end"])
def test_dialogues_of_2_to_60_turns(name, prompt_format, side):
    tokenizer = load_tokenizer(name)
    frame = prompt_frames(tokenizer, prompt_format, KOREAN)[0]
    texts = [dialogue(turns, seed=turns) for turns in range(2, 61)]
    prompts = encode_prompts(texts, [frame], tokenizer, 300, side)[0]
    assert 0 < sum(prompt.shortened for prompt in prompts) < len(prompts)
    for text, prompt in zip(texts, prompts, strict=True):
        assert len(prompt.input_ids) <= 300
        shown = shown_dialogue(tokenizer, frame, prompt.input_ids)
        assert prompt.shortened == (shown != text)
        assert text.endswith(shown) if side == "start" else text.startswith(shown)
        rest = text.removesuffix(shown) if side == "start" else text.removeprefix(shown)
        if rest:  # whole turns gave way, and no further turn would have fitted
            assert rest.endswith("\n") if side == "start" else rest.startswith("\n")
            turns = rest.strip("\n").split("\n")
            more = f"{turns[-1]}\n{shown}" if side == "start" else f"{shown}\n{turns[0]}"
            assert len(encode_framed(tokenizer, frame, [more])[0]) > 300 - 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["start", "end"])
def test_a_turn_longer_than_the_room_is_cut_inside(name, side):
    tokenizer = load_tokenizer(name)
    frame = prompt_frames(tokenizer, "instruction", KOREAN)[0]
    for seed in range(6):
        text = dialogue(1, seed, words=(300, 400))
        prompt = encode_prompts([text], [frame], tokenizer, 150, side)[0][0]
        shown = shown_dialogue(tokenizer, frame, prompt.input_ids)
        assert prompt.shortened and 120 < len(prompt.input_ids) <= 150
        assert "\ufffd" not in shown and shown.startswith("#Person1#: ")
        kept = shown.removeprefix("#Person1#: ") if side == "start" else shown
        assert text.endswith(kept) if side == "start" else text.startswith(kept)
        position = text.index(kept) if side == "start" else len(kept)
        assert text[position - 1].isspace() or text[position].isspace()  # between words


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_long_turn_next_to_short_ones_does_not_waste_the_room(side):
    tokenizer = made_tokenizer()
    frame = prompt_frames(tokenizer, "instruction", KOREAN)[0]
    short = "#Person2#: 네."
    turns = [dialogue(1, 3, words=(300, 300)), short]
    text = "\n".join(turns if side == "start" else reversed(turns))
    prompt = encode_prompts([text], [frame], tokenizer, 400, side)[0][0]
    shown = shown_dialogue(tokenizer, frame, prompt.input_ids)
    assert 340 < len(prompt.input_ids) <= 400
    assert shown.startswith("#Person1#: ") if side == "start" else shown.startswith(short)
    assert short in shown


@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧👍🏽" * 300, "각" * 2000, "é̂" * 900, "ㅋ" * 5000, "a" * 99999]
)
def test_text_without_blanks_is_cut_between_characters(side, text):
    tokenizer = made_tokenizer()
    frame = prompt_frames(tokenizer, "instruction", KOREAN)[0]
    for limit in range(300, 312):
        prompt = encode_prompts([text], [frame], tokenizer, limit, side)[0][0]
        shown = shown_dialogue(tokenizer, frame, prompt.input_ids)
        assert len(prompt.input_ids) <= limit and shown and "\ufffd" not in shown
        if side == "start":
            assert text.endswith(shown) and shown[0] not in "\u200d\u0302🏽"
        else:
            assert text.startswith(shown) and text[len(shown)] not in "\u200d\u0302🏽"


def test_a_huge_cell_is_quick():
    tokenizer = made_tokenizer()
    row = Dialogue("a", "#Person1#: " + "가나다 " * 2_500_000)
    prompts, shortened = build_prompts([row], tokenizer, settings(1024), "instruction", KOREAN)
    assert len(prompts[0]) <= 1024 and shortened == [True]


def test_the_answer_stays_whole_and_is_counted():
    summary = " ".join(WORDS * 40)
    row = Dialogue("a", dialogue(60), (summary,))
    tokenizer = made_tokenizer()
    dataset = dataset_of([row], tokenizer, settings(200))
    ids = dataset[0]["input_ids"][int(dataset.prompt_lengths[0]) :].tolist()
    assert tokenizer.decode(ids[:-1]) == summary and ids[-1] == tokenizer.eos_token_id
    assert dataset.statistics["answers_over_decoder_max_len"] == 1
    assert dataset.statistics["prompts_shortened"] == 1


def test_a_frame_that_leaves_no_room_is_an_error():
    with pytest.raises(UserError, match="encoder_max_len: 32 tokens, of which the prompt's frame"):
        build_prompts(
            [Dialogue("a", "안녕")], made_tokenizer(), settings(32),
            "instruction", KOREAN,
        )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt_format", FORMATS)
def test_exchanging_the_head_gives_what_tokenising_gives(name, prompt_format):
    tokenizer = load_tokenizer(name)
    frames = prompt_frames(tokenizer, prompt_format, KOREAN, "templates")
    texts = [dialogue(turns, turns) for turns in (2, 9, 30)]
    texts += ["네", "\u1112\u1161", "!!", "1234", "'s", "-", "👍🏽", "…\n\n#P#:", "ㅋㅋ", "\tx"]
    first = encode_framed(tokenizer, frames[0], texts)
    for frame in frames[1:]:
        swap = HeadSwap(tokenizer, frames[0], frame)
        assert swap.apply(texts, first) == encode_framed(tokenizer, frame, texts)
        assert any(swap._cuts.values())  # else the test would compare nothing


def test_without_a_cut_between_head_and_dialogue_the_whole_prompt_is_tokenised():
    tokenizer = made_tokenizer(pre_tokenizer=False)
    frames = prompt_frames(tokenizer, "instruction", KOREAN, "templates")
    texts = [dialogue(5, 1), "### Input:\n네"]
    first = encode_framed(tokenizer, frames[0], texts)
    for frame in frames[1:]:
        swap = HeadSwap(tokenizer, frames[0], frame)
        assert swap.apply(texts, first) == encode_framed(tokenizer, frame, texts)
        assert not any(swap._cuts.values())
