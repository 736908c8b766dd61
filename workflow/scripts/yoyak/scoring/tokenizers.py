"""Tokenizers for ROUGE: Korean morphemes, characters, words, or rouge-score's own for English.

A tokenizer is an object with `tokenize(text) -> list[str]`, which is what rouge-score's
`tokenizer=` asks for, and `parts`, its share of a result's signature. Each remembers the texts it
has seen, since the same references are met again by every prediction and floor; the Korean ones
share one analysis.
"""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from yoyak.errors import UserError
from yoyak.scoring.fixed_sentences import FIXED_SENTENCES

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

# #Person1# names a speaker, #PhoneNumber# stands for what was masked. A tag's letters are Latin,
# or Hangul with a number: `#은#` between two broken tags is no tag.
TAG = re.compile(r"#(?:[A-Za-z][A-Za-z0-9_]*|[가-힣]+[0-9]+)#")
SPEAKER_TAG = re.compile(r"#[A-Za-z가-힣]+[0-9]+#")

KIWI_MODEL = "cong"  # named, because kiwipiepy's default has changed before
TOKENIZERS = (
    *("morphemes", "content_morphemes", "morphemes_no_tags"),
    *("mecab", "characters", "words", "english"),
)
CONTENT = {"ko": "content_morphemes", "en": "english"}  # by language: what a text is about

# Kiwi's tags of what a sentence says; docs/validity.md has the reasons.
CONTENT_TAGS = frozenset({"NNG", "NNP", "NR", "VV", "VA", "XR", "MAG", "SL", "SH", "SN"})
CONTENT_TAGS |= {"W_URL", "W_EMAIL", "W_SERIAL"}
LIGHT_VERBS = frozenset({"하", "되", "시키", "있", "같", "그러", "이러", "저러", "어떠하"})
LIGHT_VERBS |= {"대하", "위하", "관하", "의하", "통하"}  # 에 대해, 을 위해: particles in effect
NUMERALS = frozenset({"한", "두", "세", "네"})  # determiners to Kiwi: 두 명, 세 시

Morpheme = tuple[str, str]  # form, tag


class RougeTokenizer:
    """A cached tokenizing function and its part of a signature."""

    def __init__(
        self, name: str, function: Callable[[str], list[str]], parts: dict[str, str]
    ) -> None:
        self.name = name
        self.parts = parts
        self._function = function
        self._seen: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a text; the list is cached, so don't change it."""
        tokens = self._seen.get(text)
        if tokens is None:
            tokens = self._seen[text] = self.tokenize_once(text)
        return tokens

    def tokenize_once(self, text: str) -> list[str]:
        """Tokens of a text that will hardly recur; they are not cached."""
        return self._function(normalise(text))

    def fingerprint(self) -> str:
        """Hash of the tokens of twenty sentences: an analyser that reads them otherwise, under the
        same version even (Kiwi has one kernel for each kind of processor), has another."""
        tokens = [self.tokenize(sentence) for sentence in FIXED_SENTENCES]
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:12]


def make_tokenizer(name: str) -> RougeTokenizer:
    """A tokenizer by its name in a study's metric.tokenizers.

    Raises UserError for an unknown name, or if the Korean analyser is not installed: falling back
    to characters would give scores twice as high under the same name.
    """
    if name not in TOKENIZERS:
        raise UserError(f"metric tokenizer '{name}' is unknown; there are: {', '.join(TOKENIZERS)}")
    if name == "english":
        return _english()
    if name == "mecab":
        return _mecab()
    if name in _KOREAN:
        analyse, parts = _kiwi()
        keep, tags = _KOREAN[name]
        return RougeTokenizer(
            name,
            lambda text: [form for form, tag in analyse(text) if keep(form, tag)],
            {**parts, "tags": tags},
        )
    split = str.split if name == "words" else _characters
    return RougeTokenizer(name, split, {"analyser": "none", "tags": "as-text", "case": "mixed"})


def is_content(form: str, tag: str) -> bool:
    """Whether a morpheme carries content, not grammar or style."""
    if TAG.fullmatch(form):
        return False
    tag = tag.partition("-")[0]  # VV-I, VA-R: irregular ones
    if tag in ("VV", "VA"):
        return form not in LIGHT_VERBS
    return tag in CONTENT_TAGS or (tag == "MM" and form in NUMERALS)


def normalise(text: str) -> str:
    """NFC, so that Hangul written in parts equals Hangul written whole; half a surrogate pair,
    which a byte-level model can leave behind and no analyser accepts, becomes a question mark."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


_KOREAN: dict[str, tuple[Callable[[str, str], bool], str]] = {  # which morphemes, speaker tags
    "morphemes": (lambda form, tag: True, "one-token"),
    "content_morphemes": (is_content, "dropped"),
    "morphemes_no_tags": (lambda form, tag: not TAG.fullmatch(form), "dropped"),
}


@cache
def load_kiwi() -> "Kiwi":
    """The Korean analyser, loaded once a process (1–2 s); UserError if it is not installed."""
    try:
        from kiwipiepy import Kiwi

        return Kiwi(num_workers=1, model_type=KIWI_MODEL)
    except ImportError:
        raise UserError(
            "the Korean analyser is not installed, which the tokenizer 'morphemes' needs: "
            "pip install kiwipiepy (the version is pinned in envs/requirements.txt)"
        ) from None
    except OSError as error:
        raise UserError(
            f"the Korean analyser's model '{KIWI_MODEL}' cannot be loaded ({error}): "
            "pip install --force-reinstall kiwipiepy kiwipiepy_model"
        ) from None


def korean_tokens(text: str) -> "list[Token]":
    """Kiwi's tokens of a text in NFC, with their places in it (`start`, `end`).

    Left alone, Kiwi reads `#Person1#은` as `#Person1` and `#은`. As a proper noun given in advance
    the tag stays whole and the particle after it is read as a particle.
    """
    tags = [(match.start(), match.end(), "NNP") for match in TAG.finditer(text)]
    return load_kiwi().tokenize(text, pretokenized=tags or None)


@cache
def _kiwi() -> tuple[Callable[[str], list[Morpheme]], dict[str, str]]:
    """Kiwi's analysis of a text, with a memory, and its parts of a signature."""
    load_kiwi()

    @lru_cache(maxsize=4096)  # all texts of a run of 500 dialogues, not a whole training set
    def analyse(text: str) -> list[Morpheme]:
        return [(sys.intern(token.form), sys.intern(token.tag)) for token in korean_tokens(text)]

    parts = {
        "analyser": f"kiwipiepy-{metadata.version('kiwipiepy')}",
        "dictionary": f"kiwipiepy_model-{metadata.version('kiwipiepy_model')}-{KIWI_MODEL}",
        "case": "mixed",
    }
    return analyse, parts


def _mecab() -> RougeTokenizer:
    """mecab-ko's morphemes as its package gives them, which Korean competitions count: a speaker
    tag is five tokens."""
    try:
        from mecab import MeCab
    except ImportError:
        raise UserError(
            "Mecab is not installed, which the tokenizer 'mecab' needs: pip install "
            "python-mecab-ko (the version is pinned in envs/requirements.txt)"
        ) from None
    parts = {
        "analyser": f"python-mecab-ko-{metadata.version('python-mecab-ko')}",
        "dictionary": f"python-mecab-ko-dic-{metadata.version('python-mecab-ko-dic')}",
        "tags": "as-text",
        "case": "mixed",
    }
    return RougeTokenizer("mecab", MeCab().morphs, parts)


def _english() -> RougeTokenizer:
    from rouge_score.tokenizers import DefaultTokenizer

    own = DefaultTokenizer(use_stemmer=True)
    parts = {
        "analyser": f"rouge-score-{metadata.version('rouge-score')}",
        "stemmer": f"porter-nltk-{metadata.version('nltk')}",
        "tags": "as-text",
        "case": "lower",
    }
    return RougeTokenizer("english", own.tokenize, parts)
