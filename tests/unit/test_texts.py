"""The report in two languages: one file of texts, complete in both, and nothing else is said."""

import itertools
import json
import re
from string import Formatter
from typing import get_args

import pytest
from fixture_report import in_korean

from yoyak.config.frozen import STEPS, freeze
from yoyak.config.study import CONDITIONS, Run
from yoyak.config.study_settings import StudySettings, Tokenizer
from yoyak.reporting import tables
from yoyak.reporting.html import TEMPLATES
from yoyak.reporting.model_card import model_card
from yoyak.reporting.opening import render_opening
from yoyak.reporting.style import drawable
from yoyak.reporting.texts import FILE, Texts, _read, texts_digest
from yoyak.run.provenance import hardware
from yoyak.scoring.comparison import QUESTIONS

TEXTS = {
    f"{section}.{key}": text
    for section, content in _read().items()
    for key, text in (content.items() if isinstance(content, dict) else enumerate(content))
}
COLUMNS = set(itertools.chain(*tables.COLUMNS.values())) - set(tables.UNREAD)
# Sections taken by the names of what is in tables and settings.
BY_KEY = {
    "titles": tables.COLUMNS,
    "notes": tables.COLUMNS,
    "headings": COLUMNS,
    "tokenizers": get_args(Tokenizer),
    "languages": get_args(StudySettings.model_fields["language"].annotation),
    "conditions": ["zero_shot", "few_shot", *CONDITIONS.values(), "people", "floor", "falsified"],
    "verdicts": ["up", "down", "undecided", "not tested", "no claim"],
    "comparisons": [*QUESTIONS, "fine_tuned-few_shot", "few_shot-zero_shot"],
    "levels": [f"falsified_{kind}" for kind in ("all", "speakers", "numbers", "negated")]
    + [f"floor_{kind}" for kind in ("constant", "nearest", "other_reference")]
    + ["score", "score-floor", "human_agreement"],
}
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
    used = set(re.findall(rf"""["']((?:{"|".join(_read())})\.\w[\w-]*)["']""", code))
    assert used <= set(TEXTS)
    for section, keys in BY_KEY.items():
        assert {f"{section}.{key}" for key in keys} <= set(TEXTS), section
        used |= {f"{section}.{key}" for key in keys}
    # Taken by f"section.{key}", with a key that the code names.
    used |= {key for key in TEXTS if f'"{key.partition(".")[2]}"' in code}
    assert [key for key in TEXTS if key not in used and not key.startswith("recorded.")] == []


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


def test_no_english_sentence_is_in_the_korean_report(korean_study):
    study, results = korean_study
    html = (results / "report.html").read_text(encoding="utf-8")
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
    cpu = hardware()["cpu"]  # a name, such as "AMD EPYC"
    said = [text.replace(cpu, "·") for text in said]
    assert {text: found for text in said if (found := english_of(text))} == {}


def test_the_model_card_is_in_korean(korean_study):
    card = model_card(*korean_study, Run("tiny_llama", "chat", "fine_tuned", 42))
    text = re.sub(r"```.*?```|^# .*?$|^---.*?^---", "", card, flags=re.S | re.M)
    assert "## 점수" in text and "| 형태소 | **이 모델** |" in text
    assert [line for line in text.splitlines() if english_of(line)] == []
