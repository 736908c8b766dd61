"""The report in two languages: one file of texts, complete in both, and nothing else is said."""

import dataclasses
import json
import re
import warnings
from string import Formatter

import pytest

from yoyak.config.frozen import STEPS, freeze
from yoyak.config.study import Run
from yoyak.reporting.html import TEMPLATES, render_report
from yoyak.reporting.model_card import model_card
from yoyak.reporting.opening import render_opening
from yoyak.reporting.plots import write_plots
from yoyak.reporting.style import drawable
from yoyak.reporting.texts import FILE, Texts, _read, texts_digest

TEXTS = {
    f"{section}.{key}": text
    for section, content in _read().items()
    for key, text in (content.items() if isinstance(content, dict) else enumerate(content))
}
# Sections whose keys are those of the tables, settings and outcomes: taken by f"section.{key}".
BY_KEY = ("conditions", "tokenizers", "comparisons", "levels", "languages", "recorded", "level")
BY_KEY += ("headline", "answer", "verdicts", "conclusions", "titles", "headings", "note_parts")
BY_KEY += ("notes", "card", "plots")
PARTICLES = "은|는|이|가|을|를|와|과|로|으로|이다|이며|이고|라|이라|나|이나"
# Names, which stay as they are in Korean.
NAMES = r"DataTables|SpryMedia|Ltd|Fixture|MIT|ROUGE|LoRA|QLoRA|Report|run\.json|report\.html"
NAMES += r"|instruction|chat|SHA|floor|docs/validity\.md|transformers|forward|gram|dev|GPU|BM25"


def in_language(text, language):
    found = text[language]
    return found if isinstance(found, list) else [found]


def fields_of(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def english_of(text):
    """Two English words in a row that are no names."""
    text = re.sub(r"\{\w*\}|`[^`]*`|\b\w+_\w+\b", " · ", text)
    text = re.sub(rf"(?<![A-Za-z])({NAMES})(?![A-Za-z])", "·", text)
    return re.findall(r"[A-Za-z’]{2,}[ ,]+[A-Za-z’]{2,}", text)


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_is_in_both_languages_with_the_same_fields(key):
    english, korean = (in_language(TEXTS[key], language) for language in ("en", "ko"))
    assert set(TEXTS[key]) == {"en", "ko"} and all([*english, *korean])
    found = [set.union(*map(fields_of, texts)) - {"n"} for texts in (english, korean)]
    assert found[0] == found[1]
    if len(english) == len(korean) == 1:
        assert fields_of(english[0]) == fields_of(korean[0])
    for text in korean:
        assert not re.search(rf"\}}({PARTICLES})(?![가-힣])", text), "a particle follows a field"
        assert not english_of(text)
        assert drawable(re.sub("[^가-힣]", "", text)), "letters that the plots' font lacks"


def test_every_text_that_is_used_exists_and_every_text_is_used():
    files = [*TEMPLATES.glob("*.j2"), *FILE.parents[1].glob("scripts/yoyak/reporting/*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    sections = "|".join(_read())
    used = set(re.findall(rf'"((?:{sections})\.\w[\w-]*)"', code))
    assert used <= set(TEXTS)
    taken = set(re.findall(rf'f?"((?:{sections}))\.(?:\{{|" ~)', code))
    assert taken | {"recorded"} >= set(BY_KEY)
    assert [key for key in TEXTS if key not in used and not key.startswith(BY_KEY)] == []


def test_a_text_for_one_and_for_several():
    texts = Texts("en")
    assert texts("levels.first_turns", n=1) == "the dialogue’s first turn"
    assert texts("levels.first_turns", n=3) == "the dialogue’s first 3 turns"
    assert texts("level.many", n=2) == "Both fine-tuned scores lie"
    assert texts("level.many", n=7) == "All 7 fine-tuned scores lie"


def test_what_files_hold_in_english_is_said_in_korean_and_a_stranger_stays():
    korean = Texts("ko")
    method = "these trainings alone; t over 46 clusters"
    assert korean.recorded(method) == "이 학습들만 대상, 군집 46개에 대한 t"
    assert Texts("en").recorded(method) == method
    assert korean.recorded("NVIDIA H200") == "NVIDIA H200"


def test_another_language_touches_plots_report_and_cards_alone(reported_study):
    study, _ = reported_study
    changed = {step for step in STEPS if freeze(study, step) != freeze(in_korean(study), step)}
    assert changed == {"plot", "report", "model_card"}
    assert texts_digest("en") != texts_digest("ko")


def in_korean(study):
    settings = study.settings.model_copy(deep=True)
    settings.report.language = "ko"
    settings.report.note = "지은 예측이다."
    settings.description = "미세조정은 얼마나 도움이 되는가?"
    return dataclasses.replace(study, settings=settings)


@pytest.fixture(scope="module")
def korean(reported_study, tmp_path_factory):
    """The same results with plots and report in Korean; a letter that no font has is an error."""
    study, results = in_korean(reported_study[0]), tmp_path_factory.mktemp("korean")
    for folder in reported_study[1].iterdir():
        if folder.is_dir() and folder.name != "plots":
            (results / folder.name).symlink_to(folder)
    (results / "plots").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_plots(study, results, results / "plots")
    return study, results


def test_no_english_sentence_is_in_the_korean_report(korean):
    study, results = korean
    html = render_report(study, results)
    assert '<html lang="ko"' in html
    # Commands, records, signatures and drawings; the data's own dialogues and summaries.
    quoted = r"<(script|style|pre|code|svg)\b.*?</\1>|<p [^>]*class=\"text\">.*?</p>"
    page = re.sub(r"<wbr>", "", re.sub(quoted, "", html, flags=re.S))
    said = re.findall(r">([^<]*[A-Za-z가-힣][^<]*)<", page)
    said += re.findall(
        r'(?:aria-label|data-label|data-search|data-every|data-rows)="([^"]*)"', html
    )
    said += json.loads((results / "plots/captions.json").read_text(encoding="utf-8")).values()
    said.append(render_opening(study, results).replace("\\", ""))
    assert len(said) > 2000
    assert {text: found for text in said if (found := english_of(text))} == {}


def test_the_model_card_is_in_korean(korean):
    card = model_card(*korean, Run("tiny_llama", "chat", "fine_tuned", 42))
    text = re.sub(r"```.*?```|^# .*?$|^---.*?^---", "", card, flags=re.S | re.M)
    assert "## 점수" in text and "| 형태소 | **이 모델** |" in text
    assert [line for line in text.splitlines() if english_of(line)] == []
