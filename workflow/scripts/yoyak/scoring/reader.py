"""Find where a summary's words come from: a speaker's turns, the training summaries, or nowhere.

Words are the nouns of a Korean text. There is no tagger for English: there they are all words
except function words.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

from yoyak.scoring.falsify import sentences
from yoyak.scoring.tokenizers import SPEAKER_TAG, TAG, korean_tokens, make_tokenizer, normalise

NOUNS = ("NNG", "NNP", "SL")
_TURN = re.compile(r"(#[^#\s]{1,40}#)\s*[:：]")
# The speaker of whom a sentence tells: its topic or subject.
_SUBJECT = {
    "ko": re.compile(rf"({SPEAKER_TAG.pattern})[은는이가]\s"),
    "en": re.compile(rf"^({SPEAKER_TAG.pattern}) (?!and\b|or\b)"),
}
_GRAMMAR = """
    a about after all also an and any are as at be because been before but by can could did do does
    doing for from get go had has have he her him his how i if in into is it its just like may me
    might more must my no not of on one or other our out over she should so some than that the their
    them then there they thing think this to too up us very was we were what when where which who
    why will with would yes you your s t re ve ll d m"""
GRAMMAR = frozenset(_GRAMMAR.split())


class Reader:
    """Reads texts in a study's language.

    Args:
        language: "ko" or "en".
        tokenize: the primary metric's, so that n-grams are alike.
        training: the training summaries.
    """

    def __init__(
        self, language: str, tokenize: Callable[[str], list[str]], training: Iterable[str]
    ) -> None:
        self.language = language
        self.tokenize = tokenize
        self._training = training
        self._words = lru_cache(maxsize=4096)(_korean if language == "ko" else _english)

    @cached_property
    def known(self) -> str | frozenset[str]:
        """What a word may come from besides its dialogue. Korean nouns are looked up as letters,
        since the analyser cuts compounds now here, now there."""
        text = normalise("\n".join(self._training))
        return _letters(text) if self.language == "ko" else frozenset(_english(text))

    def own_words(self, text: str, dialogue: str) -> float | None:
        """Share of the sentences about one speaker whose words are more that speaker's than the
        others'. One whose words nobody said is not the speaker's; one that favours nobody by words
        that were said is left out. None if there is none."""
        of_speakers = self._of_speakers(dialogue)
        verdicts = []
        text = normalise(text)
        for start, end in sentences(text):
            subject = _SUBJECT[self.language].search(text[start:end])
            if subject is None or subject[1] not in of_speakers:
                continue
            words, own = self._words(text[start:end]), of_speakers[subject[1]]
            others = set().union(*(of for who, of in of_speakers.items() if who != subject[1]))
            more = len(words & own) - len(words & others)
            if more or (words and not words & (own | others)):
                verdicts.append(more > 0)
        return sum(verdicts) / len(verdicts) if verdicts else None

    def unknown_words(self, text: str, dialogue: str) -> float | None:
        """Share of the distinct words found neither in the dialogue nor in a training summary."""
        words = set(self._words(text))
        if not words:
            return None
        near = _letters(normalise(dialogue)) if self.language == "ko" else self._words(dialogue)
        return sum(word not in near and word not in self.known for word in words) / len(words)

    def _of_speakers(self, dialogue: str) -> dict[str, set[str]]:
        turns: dict[str, list[str]] = defaultdict(list)
        speaker = ""
        for line in normalise(dialogue).split("\n"):
            named = _TURN.match(line)
            speaker = named[1] if named else speaker
            turns[speaker].append(line[named.end() :] if named else line)
        return {who: set(self._words("\n".join(said))) for who, said in turns.items()}


def _korean(text: str) -> frozenset[str]:
    return frozenset(
        token.form
        for token in korean_tokens(normalise(text))
        if token.tag in NOUNS and not TAG.fullmatch(token.form)
    )


def _english(text: str) -> frozenset[str]:
    words = re.findall("[a-z]+", TAG.sub(" ", normalise(text)).lower())
    stem = make_tokenizer("english").tokenize
    return frozenset(stem(word)[0] for word in set(words) if word not in GRAMMAR)


def _letters(text: str) -> str:
    return "".join(text.split())
