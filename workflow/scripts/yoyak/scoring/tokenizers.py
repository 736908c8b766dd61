"""What ROUGE counts as a token: Korean morphemes, characters, words, or rouge-score's own English.

A tokenizer is an object with `tokenize(text) -> list[str]`, which is what rouge-score's
`tokenizer=` asks for, and `parts`, its share of a result's signature. Each remembers the texts it
has seen, since the same references are met again by every prediction, floor and tokenizer.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from yoyak.errors import UserError

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

# #Person1# names a speaker, #PhoneNumber# stands for what was masked. A tag's letters are Latin,
# or Hangul with a number: `#은#` between two broken tags is no tag.
TAG = re.compile(r"#(?:[A-Za-z][A-Za-z0-9_]*|[가-힣]+[0-9]+)#")
SPEAKER_TAG = re.compile(r"#[A-Za-z가-힣]+[0-9]+#")

KIWI_MODEL = "cong"  # named, because kiwipiepy's default has changed before
TOKENIZERS = ("morphemes", "morphemes_no_tags", "characters", "words", "english")


class RougeTokenizer:
    """A tokenizing function with a memory and with what a signature says of it."""

    def __init__(
        self, name: str, function: Callable[[str], list[str]], parts: dict[str, str]
    ) -> None:
        self.name = name
        self.parts = parts
        self._function = function
        self._seen: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a text; the list is kept, so don't change it."""
        tokens = self._seen.get(text)
        if tokens is None:
            tokens = self._seen[text] = self._function(normalise(text))
        return tokens


def make_tokenizer(name: str) -> RougeTokenizer:
    """A tokenizer by its name in a study's metric.tokenizers.

    Raises UserError for an unknown name, or if the Korean analyser is not installed: falling back
    to characters would give scores twice as high under the same name.
    """
    if name not in TOKENIZERS:
        raise UserError(f"metric tokenizer '{name}' is unknown; there are: {', '.join(TOKENIZERS)}")
    if name in ("morphemes", "morphemes_no_tags"):
        with_tags = name == "morphemes"
        analyse = _kiwi_morphemes()
        function = (
            analyse.tokenize if with_tags else lambda text: _without_tags(analyse.tokenize(text))
        )
        parts = {**analyse.parts, "tags": "one-token" if with_tags else "dropped"}
        return RougeTokenizer(name, function, parts)
    if name == "english":
        return _english()
    split = {"characters": _characters, "words": str.split}[name]
    return RougeTokenizer(name, split, {"analyser": "none", "tags": "as-text", "case": "mixed"})


def normalise(text: str) -> str:
    """NFC, so that Hangul written in parts equals Hangul written whole; half a surrogate pair,
    which a byte-level model can leave behind and no analyser accepts, becomes a question mark."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))


def _characters(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


def _without_tags(tokens: list[str]) -> list[str]:
    return [token for token in tokens if not TAG.fullmatch(token)]


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
def _kiwi_morphemes() -> RougeTokenizer:
    """Kiwi's morphemes."""
    load_kiwi()

    def analyse(text: str) -> list[str]:
        return [token.form for token in korean_tokens(text)]

    parts = {
        "analyser": f"kiwipiepy-{metadata.version('kiwipiepy')}",
        "dictionary": f"kiwipiepy_model-{metadata.version('kiwipiepy_model')}-{KIWI_MODEL}",
        "case": "mixed",
    }
    return RougeTokenizer("kiwi", analyse, parts)


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
