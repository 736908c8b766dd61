"""Nested documents as the Korean language institute and AI Hub give them: from file to example."""

import json
import re
import shutil
from pathlib import Path

import pytest
import submission
import yaml
from prompt_files import KOREAN

from yoyak.config.loading import CONFIG, load_config
from yoyak.config.study import Study, load_study
from yoyak.config.study_settings import Data
from yoyak.data.dialogues import read_dialogues, to_csv
from yoyak.data.prepare import prepare_data
from yoyak.data.preview import preview
from yoyak.errors import UserError
from yoyak.models.lora_loader import LoRALoader
from yoyak.training.examples import build_dataset

EVERYDAY = Path(__file__).parents[1] / "support" / "everyday"
STUDY = "korean_everyday"


def settings_of(corpus: str) -> Data:
    """`data` of the study; for the hub with the lines that its comments hold."""
    settings = load_study(STUDY).settings.data
    if corpus == "institute":
        return settings
    text = (CONFIG / "studies" / f"{STUDY}.yaml").read_text(encoding="utf-8")
    lines = re.findall(r"^  # (\w+: .*)$", text, flags=re.MULTILINE)
    assert len(lines) == 4
    return Data.model_validate(settings.model_dump() | yaml.safe_load("\n".join(lines)))


def raw(folder: Path, corpus: str) -> dict[str, str]:
    """train and dev of a corpus in its own shape, as paths."""
    if corpus == "institute":
        rows = json.loads((EVERYDAY / "institute.json").read_text(encoding="utf-8"))
        for name, part in (("train", rows[:2]), ("dev", rows[2:])):
            (folder / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
        return {name: str(folder / f"{name}.json") for name in ("train", "dev")}
    (folder / "dev").mkdir()
    last = EVERYDAY / "hub" / "여가생활.json"
    text = last.read_text(encoding="utf-8").replace("made-", "dev-").replace("등산", "낚시")
    (folder / "dev" / last.name).write_text(text, encoding="utf-8")
    return {"train": str(EVERYDAY / "hub"), "dev": str(folder / "dev")}


EXPECTED = {
    "institute": (
        "made-everyday-000001",
        "#Person1#: 저는 요즘 베란다에서 상추를 키우는데요. 아침마다 물 주는 게 일이에요.",
        "#Person2#: 네, 창가로 옮겼더니 벌써 꽃이 폈어요. 다음 달에는 따 먹을 수 있대요.",
        "#Person1#은 베란다에서 상추를 키운다고 말했습니다. #Person2#은 작년에",
        "식물, 취미",
    ),
    "hub": (
        "made-0001",
        "#Person1#: 점심 뭐 먹을까?",
        "#Person2#: 어제 국밥 먹었으니까 오늘은 가볍게 김밥 어때?",
        "점심으로 역 앞에 새로 생긴 가게에서 김밥을 먹기로 한다.",
        "식음료",
    ),
}


@pytest.mark.parametrize("corpus", ["institute", "hub"])
def test_from_the_files_to_what_a_model_sees(tmp_path, corpus):
    whole = load_study(STUDY)
    data = settings_of(corpus).model_copy(update=raw(tmp_path, corpus))
    study = Study("made", False, whole.settings.model_copy(update={"data": data}), {})
    card = prepare_data(study, tmp_path / "data")
    assert card["splits"]["train"]["rows_without_speaker_tag"] == 0
    rows = {
        row.fname: row
        for name in ("train", "selection")
        for row in read_dialogues(tmp_path / "data" / f"{name}.csv")
    }
    assert len(rows) == {"institute": 2, "hub": 3}[corpus]
    fname, first, later, summary, topic = EXPECTED[corpus]
    assert rows[fname].turns[0] == first and later in rows[fname].turns
    assert summary in rows[fname].summary and rows[fname].topic == topic

    config = load_config("tiny_llama").model_copy(update={"prompts": KOREAN})
    config.tokenizer = whole.model("llama_3.2_3b").tokenizer
    assert (config.tokenizer.encoder_max_len, config.tokenizer.decoder_max_len) == (2560, 512)
    counts = build_dataset(study, config, "chat", "none", tmp_path / "data", tmp_path / "examples")
    assert counts["train"]["examples"] == len(rows) - 1
    tokenizer = LoRALoader(config).load_tokenizer()
    shown = preview(rows[fname], tokenizer, config, "chat", KOREAN)
    assert f"dialogue {fname} " in shown and first in shown


def test_speakers_as_given_leave_every_text_alone():
    columns = settings_of("institute").columns.model_dump()
    row = read_dialogues(EVERYDAY / "institute.json", columns)[1]
    assert row.speakers == [] and row.turns[0].startswith("SD2900012: 지난주에")
    assert "SD2900015는 사진을" in row.summary
    numbered = read_dialogues(EVERYDAY / "institute.json", columns, numbered=True)[1]
    assert numbered.turns[3] == "#Person2#: 저도 다음에는 SD카드 들고 사진이나 찍으러 가 볼까요."


def test_a_submission_has_the_speakers_own_names_again(tmp_path):
    columns = settings_of("institute").columns.model_dump()
    text = (EVERYDAY / "institute.json").read_text(encoding="utf-8")
    text = text.replace("made-", "test-").replace('"utterance": "', '"utterance": "음, ')
    (tmp_path / "test.json").write_text(text, encoding="utf-8")
    read = tmp_path / "test.json", columns
    rows = read_dialogues(*read, numbered=True)
    (tmp_path / "test.csv").write_text(to_csv(rows), encoding="utf-8", newline="")
    study = load_study(STUDY)
    files = raw(tmp_path, "institute")
    data = settings_of("institute").model_copy(update={**files, "test": str(read[0])})
    made = Study("made", False, study.settings.model_copy(update={"data": data}), {})
    card = prepare_data(made, tmp_path / "prepared")
    assert card["speakers"] == {row.fname: row.names for row in rows}
    shutil.copy(tmp_path / "prepared" / "data_card.json", tmp_path)
    counts = {"prompt_tokens": 9, "new_tokens": 9, "finish": "stop", "dialogue_shortened": False}
    lines = [{"fname": row.fname, "prediction": row.summary, **counts} for row in rows]
    lines[1]["prediction"] += " #Person9#도 #Person1도"  # nobody's, and no tag
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "test.jsonl").write_text(text, encoding="utf-8")
    submission.write_submission(tmp_path, tmp_path, tmp_path / "mine.csv")
    written = [line.split(",", 1)[1] for line in (tmp_path / "mine.csv").read_text().splitlines()]
    as_given = [row.summary for row in read_dialogues(*read)]
    as_given[1] += " #Person9#도 #Person1도"
    assert [text.strip('"') for text in written[1:]] == as_given


@pytest.mark.parametrize(
    "summary, renamed",
    [
        ("P1은 P2에게, P10은 P1에게", "#Person1#은 #Person2#에게, #Person3#은 #Person1#에게"),
        ("P1P2, XP1, P1x 그리고 P3", "P1P2, XP1, P1x 그리고 P3"),
        ("민수는 김민수와 다르다", "#Person4#는 김민수와 다르다"),
    ],
)
def test_a_name_is_a_name_whatever_particle_follows(tmp_path, summary, renamed):
    turns = [{"speaker": name, "utterance": "네"} for name in ("P1", "P2", "P1", "P10", "민수")]
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"fname": "a", "dialogue": turns, "summary": summary}]))
    assert read_dialogues(file, numbered=True)[0].summary == renamed


def test_a_name_of_one_sign_or_of_digits_is_one_where_no_other_word_begins_with_it(tmp_path):
    turns = [{"speaker": name, "utterance": "네"} for name in ("갑", 1, 12)]
    summary = "갑에게는 갑자기 1이 12와 1시에 1.5 kg을 0.1 kg과 12개로"
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"fname": "a", "dialogue": turns, "summary": summary}]))
    told = "#Person1#에게는 갑자기 #Person2#이 #Person3#와 1시에 1.5 kg을 0.1 kg과 12개로"
    assert read_dialogues(file, numbered=True)[0].summary == told


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"dialogue": "input.conversations"}, ("column missing: input.conversations", "data.col")),
        ({"summaries": ["outputs"]}, ("column missing: outputs", "input.conversation, input.subj")),
    ],
)
def test_a_key_that_no_document_has_is_told_with_those_that_they_have(wrong, words):
    columns = settings_of("institute").columns.model_dump() | wrong
    with pytest.raises(UserError) as error:
        read_dialogues(EVERYDAY / "institute.json", columns)
    told = ("institute.json", "the file has: id, input.conversation", *words)
    assert [word for word in told if word not in str(error.value)] == []


def test_a_document_that_lacks_a_key_is_told_by_number_name_and_what_it_has(tmp_path):
    rows = json.loads((EVERYDAY / "institute.json").read_text(encoding="utf-8"))
    rows[0]["input"]["utterances"] = rows[0]["input"].pop("conversation")
    del rows[1]["output"]
    rows[2]["input"]["conversation"][1] = {"speaker": "SD1", "text": "네"}
    file = tmp_path / "train.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_dialogues(file, settings_of("institute").columns.model_dump())
    assert "3 bad rows" in str(error.value)
    for told in (
        "row 1: (fname 'made-everyday-000001') no input.conversation (it has: 'id, input.subj",
        "row 2: (fname 'made-everyday-000002') no output (it has: 'id, input.conversation, ",
        "row 3: (fname 'made-everyday-000003') turn 2 needs speaker and utterance, role",
        "it has 'speaker, text'",
    ):
        assert told in str(error.value)


def test_a_name_in_two_files_of_a_folder_is_told_with_both(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('[{"fname": "x", "dialogue": "#A#: 네", "summary": "네"}]')
    with pytest.raises(UserError, match="b.json: fname 'x' stands in .*a.json already"):
        read_dialogues(tmp_path)
