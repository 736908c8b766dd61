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
