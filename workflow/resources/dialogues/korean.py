"""Korean particles that depend on the sound before them (은/는, 이/가, 을/를, 과/와, 으로/로 …)."""

from __future__ import annotations

import re

# marker -> (after a consonant, after a vowel)
PARTICLES = {
    "은": ("은", "는"),
    "이": ("이", "가"),
    "을": ("을", "를"),
    "과": ("과", "와"),
    "아": ("아", "야"),
    "으로": ("으로", "로"),
    "이나": ("이나", "나"),
    "이랑": ("이랑", "랑"),
    "이라": ("이라", "라"),
    "이에요": ("이에요", "예요"),
    "이고": ("이고", "고"),
    "이다": ("이다", "다"),
    "이야": ("이야", "야"),
}
# Digits at the end of a speaker tag are read in English (#Person1# "원", #Person2# "투"), the
# others in Sino-Korean. True: ends in a consonant.
TAG_DIGIT_HAS_FINAL = {
    "1": True,
    "2": False,
    "3": False,
    "4": False,
    "5": False,
    "6": False,
    "7": True,
}
SINO_DIGIT_HAS_FINAL = {
    "0": True,
    "1": True,
    "2": False,
    "3": True,
    "4": False,
    "5": False,
    "6": True,
    "7": True,
    "8": True,
    "9": False,
}
# Words that stand without 에 ("내일 만나요").
WITHOUT_E = ("내일", "모레")
_HANGUL_FIRST, _HANGUL_LAST = 0xAC00, 0xD7A3
_RIEUL = 8  # index of the final consonant ㄹ among the 28 finals of a Hangul syllable


def final_consonant(word: str) -> int:
    """Index of the word's final consonant (0 none, 8 ㄹ, any other non-zero number otherwise)."""
    tag = re.search(r"#Person(\d)#$", word)
    if tag:
        return int(TAG_DIGIT_HAS_FINAL[tag[1]])
    last = word.rstrip("'\")# ")[-1:]
    if last and _HANGUL_FIRST <= ord(last) <= _HANGUL_LAST:
        return (ord(last) - _HANGUL_FIRST) % 28
    # Masks such as #PhoneNumber# or #Address# end in a vowel when read aloud.
    return int(SINO_DIGIT_HAS_FINAL.get(last, False))


def with_particle(word: str, marker: str) -> str:
    """`word` followed by the form of the particle `marker` that its last sound asks for.

    Raises KeyError for a marker that is not in PARTICLES.
    """
    if marker == "에":
        return word if word in WITHOUT_E else word + "에"
    after_consonant, after_vowel = PARTICLES[marker]
    final = final_consonant(word)
    if marker == "으로" and final == _RIEUL:
        final = 0
    return word + (after_consonant if final else after_vowel)


# Predicates: the summaries of the banks are written in the formal style (…합니다); these give the
# other endings that people summarise in. Stems are few and known, so the lists are short.
INFINITIVES = {
    "돕": "도와",
    "묻": "물어",
    "듣": "들어",
    "걷": "걸어",
    "모으": "모아",
    "하": "해",
    "되": "돼",
}
ADNOMINALS = {"돕": "도울", "묻": "물을", "듣": "들을", "걷": "걸을"}
NOUNS = {"돕": "도움", "묻": "물음", "듣": "들음", "걷": "걸음"}
RIEUL_STEMS = {"거": "걸", "파": "팔", "드": "들", "만드": "만들", "여": "열"}
ADJECTIVES = ("있", "없", "많", "부족하", "필요하", "충분하")
ENDINGS = ("formal", "plain", "noun", "polite")
_A, _EO, _YEO, _O, _WA, _WAE, _OE, _U, _WO, _WI, _EU, _I = 0, 4, 6, 8, 9, 10, 11, 13, 14, 16, 18, 20
_NIEUN, _RIEUL_MIEUM, _MIEUM, _BIEUP, _SSANG_SIOT = 4, 10, 16, 17, 20


def _parts(syllable: str) -> tuple[int, int, int]:
    """Indices of a Hangul syllable's first consonant, vowel and final consonant."""
    code = ord(syllable) - _HANGUL_FIRST
    return code // 588, code // 28 % 21, code % 28


def _closed(text: str, final: int) -> str:
    """`text`, which ends in a vowel or in ㄹ, with the final consonant `final` instead."""
    first, vowel, _ = _parts(text[-1])
    return text[:-1] + chr(_HANGUL_FIRST + (first * 21 + vowel) * 28 + final)


def _by_ending(stem: str, table: dict[str, str]) -> str | None:
    return next((stem[: -len(s)] + form for s, form in table.items() if stem.endswith(s)), None)


def formal_stem(word: str) -> str:
    """The stem of a predicate in the formal style: 받습니다 → 받, 합니다 → 하, 입니다 → 이."""
    body = word.removesuffix("니다")
    if body.endswith("습"):
        return body[:-1]
    stem = _closed(body, 0)
    return RIEUL_STEMS.get(stem, stem)


def infinitive(stem: str) -> str:
    """The form before -요 and -ㅆ다: 하 → 해, 받 → 받아, 바꾸 → 바꿔."""
    known = _by_ending(stem, INFINITIVES)
    if known:
        return known
    first, vowel, final = _parts(stem[-1])
    if stem[-1] == "르":  # 고르 → 골라
        bright = _parts(stem[-2])[1] in (_A, _O)
        return _closed(stem[:-1], _RIEUL) + ("라" if bright else "러")
    if final:
        return stem + ("아" if vowel in (_A, _O) else "어")
    if vowel == _EU:
        vowel = _A if len(stem) > 1 and _parts(stem[-2])[1] in (_A, _O) else _EO
    if vowel == _WI:
        return stem + "어"
    vowel = {_O: _WA, _U: _WO, _I: _YEO, _OE: _WAE}.get(vowel, vowel)
    return stem[:-1] + chr(_HANGUL_FIRST + (first * 21 + vowel) * 28)


def is_past(stem: str) -> bool:
    return _parts(stem[-1])[2] == _SSANG_SIOT and not stem.endswith("있")


def past(stem: str) -> str:
    """The stem in the past: 하 → 했, 받 → 받았. A stem that is in the past stays."""
    return stem if is_past(stem) else _closed(infinitive(stem), _SSANG_SIOT)


def future(stem: str) -> str:
    """The adnominal future: 하 → 할, 받 → 받을, 팔 → 팔."""
    known = _by_ending(stem, ADNOMINALS)
    if known:
        return known
    final = _parts(stem[-1])[2]
    return stem if final == _RIEUL else stem + "을" if final else _closed(stem, _RIEUL)


def ended(stem: str, ending: str) -> str:
    """A stem (not the copula's) with one of ENDINGS: 하 → 합니다, 한다, 함, 해요."""
    final = _parts(stem[-1])[2]
    open_ended = final in (0, _RIEUL)
    if ending == "formal":
        return _closed(stem, _BIEUP) + "니다" if open_ended else stem + "습니다"
    if ending == "noun":
        if final == _RIEUL:
            return _closed(stem, _RIEUL_MIEUM)
        return _by_ending(stem, NOUNS) or (stem + "음" if final else _closed(stem, _MIEUM))
    if ending == "polite":
        return (stem + "어" if is_past(stem) else infinitive(stem)) + "요"
    if is_past(stem) or stem.endswith(ADJECTIVES):
        return stem + "다"
    return _closed(stem, _NIEUN) + "다" if open_ended else stem + "는다"


def background(stem: str) -> str:
    """-는데, which leads over to what comes next: 하 → 하는데, 부족하 → 부족한데, 들 → 드는데."""
    if stem.endswith(("부족하", "필요하", "충분하")):
        return _closed(stem, _NIEUN) + "데"
    return (_closed(stem, 0) if _parts(stem[-1])[2] == _RIEUL else stem) + "는데"
