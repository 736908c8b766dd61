"""Files of prompts: the mission's words, mistakes in one line, whose prompts count, what reruns."""

import json

import pytest
from prompt_files import ENGLISH, KOREAN, prompt_file
from real_tokenizers import made_tokenizer
from study_files import PLAIN

from yoyak.config.frozen import freeze, thaw
from yoyak.config.loading import read_config
from yoyak.config.prompt_files import find_prompts
from yoyak.config.study import FEW_SHOT, load_study
from yoyak.config.trained import as_trained
from yoyak.data.dialogues import Dialogue
from yoyak.data.few_shot import few_shot_frame
from yoyak.data.llm_dataset import create_llm_dataset
from yoyak.data.prompts import prompt_frames
from yoyak.errors import UserError
from yoyak.reporting.alike import refuse_mixtures

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"


def test_the_words_of_the_description_to_the_letter():
    assert KOREAN.instruction.text.replace("{examples}", "") == (
        "### Instruction:\n{request}\n\n### Input:\n{dialogue}\n\n### Response:\n"
    )
    assert KOREAN.instruction.requests[0] == "다음 대화를 간결하게 요약해주세요."
    assert KOREAN.chat.system == "당신은 대화를 요약하는 전문가입니다."
    assert KOREAN.chat.requests[0] == "다음 대화를 요약해주세요:"
    assert KOREAN.chat.text == "{request}\n{dialogue}"
    for prompts in (KOREAN, ENGLISH):
        assert len(prompts.instruction.requests) == len(prompts.chat.requests) == 5


@pytest.mark.parametrize(
    "key, value, words",
    [
        (
            "chat.text",
            "{request}",
            'found "{request}", must be a text with {request} and {dialogue',
        ),
        ("chat.text", "{request}", "it lacks {dialogue}"),
        ("chat.text", "{request}{dialogue}{dialog}", "it has {dialog}"),
        ("chat.text", "{request}{dialogue}{dialogue}", "it has {dialogue} twice"),
        ("chat.text", "{request}{dialogue}{examples}", "it has {examples}"),
        ("chat.text", " \n", "must be not empty"),
        ("chat.text", 5, "must be a text"),
        ("chat.system", "", "must be not empty"),
        ("chat.system", "{dialogue}", "a text with no placeholder: it has {dialogue}"),
        ("chat.requests", ["a", "b"], "must be one text or five different ones; there are 2"),
        ("chat.requests", ["a", "b", "c", "d", "d"], "five different ones"),
        ("chat.requests", [], "there are 0"),
        ("chat.requests", ["{request}"], "chat.requests.0: found"),
        ("instruction.example", "{dialogue}{end}", "it lacks {summary}"),
        ("instruction.text", None, "must be a text"),
        ("instruction.texts", "x", "unknown key 'instruction.texts'; did you mean 'text'?"),
        ("poem", {}, "unknown key 'poem' (allowed here: chat, instruction)"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(write_study, tmp_path, key, value, words):
    prompt_file(tmp_path, **{key: value})
    with pytest.raises(UserError) as caught:
        write_study(prompts="mine")
    text = str(caught.value)
    assert "config/prompts/mine.yaml: " in text and key.split(".")[-1] in text
    assert words in text and "\n" not in text and len(text) < 400


@pytest.mark.parametrize(
    "changes, study, words",
    [
        ({"chat": None}, {}, "key 'chat' is missing, which format 'chat' needs"),
        ({"chat.requests": ["요약:"]}, {}, "chat.requests: found 1 text, and augmentation 'templ"),
        ({"instruction.example": None}, {"few_shot": "2"}, "instruction.example is missing, which"),
        ({"instruction.text": "{request}\n{dialogue}"}, {"few_shot": "2"}, "has no {examples}"),
    ],
)
def test_what_a_study_needs_of_its_prompts(write_study, tmp_path, changes, study, words):
    prompt_file(tmp_path, **changes)
    with pytest.raises(UserError, match="config/prompts/mine.yaml: ") as caught:
        write_study(prompts="mine", **study)
    assert words in str(caught.value) and "; add" in str(caught.value)
    fits = {"formats": "[instruction]"} if "chat" in changes else {"few_shot": "0"}
    assert write_study(prompts="mine", augmentations="[none]", **fits)


def test_an_unknown_file_is_told_with_those_that_there_are(write_study):
    with pytest.raises(UserError, match="prompts 'koraen': no such file .*did you mean 'korean'"):
        write_study(prompts="koraen")
    with pytest.raises(UserError, match="prompts: own/mine.yaml: no such file; correct the path"):
        write_study(prompts="own/mine.yaml")


def test_the_models_prompts_go_before_the_studys_and_overrides_before_both(write_study, tmp_path):
    def sentences(**study):
        models = write_study(**study).models.values()
        return [config.texts.chat.system for config in models]

    prompt_file(tmp_path, "of_study", **{"chat.system": "study"})
    prompt_file(tmp_path, "of_model", **{"chat.system": "model"})
    prompt_file(tmp_path, "over", **{"chat.system": "over"}).rename(tmp_path / "over.yaml")
    (tmp_path / "config" / "models").mkdir()
    own = tmp_path / "config" / "models" / "other.yaml"
    own.write_text("_base_: tiny_llama.yaml\nprompts: of_model\n", encoding="utf-8")
    models = "[tiny_llama, other]"
    assert sentences(models=models) == [KOREAN.chat.system, "model"]
    assert sentences(models=models, prompts="of_study") == ["study", "model"]
    both = sentences(models=models, prompts="of_study", overrides="{prompts: ./over.yaml}")
    assert both == ["over", "over"]
    assert sentences(language="en", metric="{primary: english, tokenizers: [english]}") == [
        ENGLISH.chat.system,
        ENGLISH.chat.system,
    ]


def steps_that_see(study) -> dict:
    """The frozen text of each step that has prompts."""
    found = {}
    for form in ("instruction", "chat"):
        for augmentation in ("none", "templates"):
            prompt = (form, augmentation, 0)
            found[form, augmentation] = freeze(study, "build_dataset", "tiny_llama", None, prompt)
        for few_shot in (0, 2):
            prompt = (form, "none", few_shot)
            found[form, few_shot] = freeze(study, "generate", "tiny_llama", "default", prompt)
    return found


@pytest.mark.parametrize(
    "key, value, seen",
    [
        ("chat.system", "다르다", {("chat", x) for x in ("none", "templates", 0, 2)}),
        ("chat.requests", [*KOREAN.chat.requests[:4], "다르다"], {("chat", "templates")}),
        ("instruction.example", "{dialogue}: {summary}", {("instruction", 2)}),
        ("instruction.text", "{request}\n{examples}{dialogue}\n",
         {("instruction", x) for x in ("none", "templates", 0, 2)}),
    ],
)  # fmt: skip
def test_a_changed_text_reruns_what_uses_it_alone(write_study, tmp_path, key, value, seen):
    prompt_file(tmp_path)
    before = write_study(prompts="mine", few_shot="2")
    texts = steps_that_see(before)
    # The file's name and comments are nothing to a step, whose texts are in its settings.
    assert texts == steps_that_see(write_study(few_shot="2"))
    prompt_file(tmp_path, **{key: value})
    after = write_study(prompts="mine", few_shot="2")
    changed = steps_that_see(after)
    assert {name for name in texts if texts[name] != changed[name]} == seen
    assert freeze(before, "train", "tiny_llama", "default") == freeze(
        after, "train", "tiny_llama", "default"
    )


def test_a_job_has_the_texts_of_the_plan_whatever_the_file_says_later(write_study, tmp_path):
    prompt_file(tmp_path, **{"chat.system": "그때"})
    text = freeze(
        write_study(prompts="mine"), "build_dataset", "tiny_llama", None, ("chat", "none", 0)
    )
    prompt_file(tmp_path, **{"chat.system": "지금"})
    texts = thaw(text).model("tiny_llama").texts
    assert (texts.chat.system, len(texts.chat.requests), texts.instruction) == ("그때", 1, None)


def test_an_adapter_keeps_the_prompts_that_it_was_trained_with(write_study, tmp_path):
    prompt_file(tmp_path, **{"chat.system": "그때"})
    config = write_study(prompts="mine").model("tiny_llama").prompted("chat", "templates")
    record = json.loads(json.dumps({"settings": config.model_dump()}))
    prompt_file(tmp_path, **{"chat.system": "지금"})
    now = as_trained(write_study(prompts="mine").model("tiny_llama"), tmp_path / "a", record)
    assert now.model_dump() == config.model_dump() and now.texts.chat.system == "그때"
    assert read_config(record["settings"], "run.json").model_dump() == config.model_dump()
    with pytest.raises(UserError, match="run.json: prompts: key 'instruction' is missing"):
        now.prompted("instruction")


def test_a_comparison_mixes_no_prompts_of_one_format(write_study, tmp_path):
    def record(run, config) -> None:
        few_shot = 2 if run.condition == FEW_SHOT else 0
        settings = config.prompted(run.format, few_shot=few_shot).model_dump()
        for name in ("run.json", "predictions/run.json"):
            file = tmp_path / run.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"settings": settings}), encoding="utf-8")

    study = write_study(few_shot="2")
    for run in study.runs():
        record(run, study.model(run.model))
    refuse_mixtures(study, tmp_path)  # formats differ, and so do few-shot prompts
    prompt_file(tmp_path, **{"chat.system": "다르다"})
    changed = write_study(few_shot="2", prompts="mine").model("tiny_llama")
    last = [run for run in study.trainings() if (run.model, run.format) == ("tiny_llama", "chat")][
        -1
    ]
    record(last, changed)
    with pytest.raises(UserError, match="^prompts.chat.system is 당신은.* and 다르다 in .*seed7"):
        refuse_mixtures(study, tmp_path)


def test_braces_are_text_and_examples_stand_where_the_file_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prompt_file(tmp_path, **{
        "instruction.text": '{request} {"a": 1}\n\n{examples}Q: {dialogue}\nA:',
        "instruction.example": "{summary} <- {dialogue}{end}\n",
        "instruction.requests": ["요약"],
    })  # fmt: skip
    prompts, tokenizer = find_prompts("mine", "ko"), made_tokenizer()
    frame = prompt_frames(tokenizer, "instruction", prompts)[0]
    assert frame.around("{summary}") == '요약 {"a": 1}\n\nQ: {summary}\nA:'
    rows = [Dialogue("a", "{end}", ("{dialogue}",))]
    few_shot = few_shot_frame(tokenizer, "instruction", prompts, rows)
    stop = tokenizer.eos_token
    assert few_shot.head == f'요약 {{"a": 1}}\n\n{{dialogue}} <- {{end}}{stop}\nQ: '
    made = create_llm_dataset(
        ["안녕"], ["인사"], tokenizer, format_type="instruction", prompts="mine"
    )
    assert tokenizer.decode(made[0]["input_ids"]).startswith('요약 {"a": 1}\n\nQ: 안녕')


def test_a_chat_without_a_system_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prompt_file(tmp_path, **{"chat.system": None})
    tokenizer = made_tokenizer(chat_template=TURNS, special=("</s>",), eos="</s>")
    frame = prompt_frames(tokenizer, "chat", find_prompts("mine", "ko"))[0]
    assert frame.head == f"<user>{KOREAN.chat.requests[0]}\n" and frame.system == ""


def test_every_study_of_ours_finds_its_prompts():
    assert PLAIN and load_study("embedded").model("tiny_llama").texts.file.endswith("korean.yaml")
    assert load_study("dialogsum_english").model("smollm2_135m").texts.file.endswith("english.yaml")
