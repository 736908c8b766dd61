"""Where a Korean summary can be made false: edits (start, end, new) of a text in NFC.

An edit is the smallest stretch that has to change; particles belong to it where the new word's
last sound asks for another one.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from yoyak.scoring.falsify_tags import Edit, swapped_tags
from yoyak.scoring.tokenizers import TAG, korean_tokens, load_kiwi

if TYPE_CHECKING:
    from kiwipiepy import Token

Morpheme = tuple[str, str]  # form, tag

# After a sound: consonant, vowel. What may follow the particle is left as it is.
PARTICLES: tuple[tuple[str, str], ...] = (
    *(("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"), ("으로", "로"), ("이랑", "랑")),
    *(("이나", "나"), ("이라고", "라고"), ("이라는", "라는"), ("이라며", "라며")),
)
_FORMS = sorted((form for pair in PARTICLES for form in pair), key=len, reverse=True)
_PARTICLE = re.compile(f"({'|'.join(_FORMS)})(?=(?:의|는|도|만|부터|서|써|커녕)?(?![가-힣]))")
_CODA = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}  # 영, 일, 삼, 육, 칠, 팔
_TAG_CODA = {"0": "ㅇ", "1": "ㄴ", "6": "ㅅ", "7": "ㄴ", "8": "ㅅ", "9": "ㄴ"}  # 원, 투, 쓰리, …

# "A과 B", "A는 B와 이야기한다": true of both, whichever is named first.
PAIR = re.compile(rf"({TAG.pattern})(?:와|과|랑|이랑|은|는|이|가|,)?\s+({TAG.pattern})(와|과)?")
_EQUAL = re.compile(r"(?:와|과|랑|이랑|,)\s")

WEEKDAYS = "월화수목금토일"
DIGITS = "일이삼사오육칠팔구"
WORDS = {
    **{"내일": "오늘", "모레": "글피", "어제": "그저께", "그저께": "어제", "올해": "내년"},
    **{"내년": "올해", "작년": "재작년", "오전": "오후", "오후": "오전"},
    **{"아침": "저녁", "저녁": "아침", "새벽": "오후", "점심": "저녁", "주말": "평일"},
    **{"평일": "주말", "하루": "이틀", "이틀": "사흘", "사흘": "나흘", "나흘": "닷새"},
    **{"닷새": "엿새", "열흘": "보름", "보름": "열흘", "일주일": "열흘", "봄": "여름"},
    **{"여름": "겨울", "가을": "봄", "겨울": "여름", "매일": "매주", "매주": "매일"},
}
NATIVE = {
    **{"한": "두", "두": "세", "세": "네", "네": "다섯", "다섯": "여섯", "여섯": "일곱"},
    **{
        "일곱": "여덟",
        "여덟": "아홉",
        "아홉": "여덟",
        "열": "아홉",
        "열한": "열두",
        "열두": "열한",
    },
    **{"스무": "서른", "스물": "서른", "서른": "마흔", "마흔": "쉰", "쉰": "예순"},
}
WEEK = re.compile(r"(?<![가-힣])(다음|이번|지난) ?(?=주|달|학기|해(?!결|외|석))")
WEEK_SWAPS = {"다음": "이번", "이번": "다음", "지난": "지지난"}
NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])\d+")  # of 3.5 and 1,200 the front

OPPOSITES = {"있": "없", "없": "있", "알": "모르", "모르": "알"}
STEMS = ("VV", "VA", "VX", "XSV", "XSA")
NOT: list[Morpheme] = [("지", "EC"), ("않", "VX")]


def speakers(text: str) -> list[Edit]:
    """Two speakers in each other's places, with the particles that their tags are read with."""
    edits = []
    for start, end, new in swapped_tags(text, symmetric_spans(text)):
        edits.append(_with_particle(text, start, end, new))
    return edits


def symmetric_spans(text: str) -> list[tuple[int, int]]:
    """Places of tags that name two speakers of whom the same is said."""
    spans = []
    for match in PAIR.finditer(text):
        middle = text[match.end(1) : match.start(2)]
        if _EQUAL.match(middle) or (match[3] and middle.strip()):
            spans.append((match.start(1), match.end(2)))
    return spans


def numbers(text: str) -> list[Edit]:
    """Every number, day and time made another one of its kind."""
    tags = [match.span() for match in TAG.finditer(text)]
    edits = [(m.start(), m.end(), _next_number(text, m)) for m in NUMBER.finditer(text)]
    edits += [(m.start(1), m.end(1), WEEK_SWAPS[m[1]]) for m in WEEK.finditer(text)]
    tokens = tokens_of(text)
    for index, token in enumerate(tokens):
        new = _another_word(text, tokens, index)
        if new is not None:
            edits.append((token.start, token.end, new))
    return [
        _with_particle(text, start, end, new)
        for start, end, new in sorted(edits)
        if new != text[start:end] and not any(a <= start < b for a, b in tags)
    ]


def negation(text: str, start: int, end: int) -> Edit | None:
    """The last predicate of the sentence text[start:end] negated, or affirmed if it was negated.

    None where no predicate is found that can be spliced in without touching its surroundings.
    """
    tokens = [token for token in tokens_of(text) if start <= token.start < end]
    last = next((i for i in reversed(range(len(tokens))) if tokens[i].tag in ("EF", "ETN")), None)
    if last is None:
        return None
    stem = _stem_before(tokens, last)
    if stem is None:
        return None
    before = tokens[max(0, stem - 2) : stem]
    forms = [token.form for token in before]
    if tokens[stem].form == "하" and forms == ["기", "로"]:  # 가기로 하다: 가지 않기로
        return _negated(text, tokens, stem - 2)
    if tokens[stem].form == "되" and forms[1:] == ["게"]:  # 가게 되다: 가지 않게
        return _negated(text, tokens, stem - 1)
    if tokens[stem].form in ("하", "되") and forms[1:] == ["어야"]:  # 가야 하다: 가지 않아도 되다
        return _modal(text, tokens, stem, last, [*NOT, ("어도", "EC"), ("되", "VV")])
    if tokens[stem].form == "되" and forms[1:] == ["어도"]:  # 가도 되다: 가면 안 되다
        return _modal(text, tokens, stem, last, [("으면", "EC"), ("안", "MAG"), ("되", "VV")])
    if tokens[stem].form == "하" and tokens[stem - 1].form.endswith("다고"):  # 간다고 하다
        return _negated(text, tokens, stem - 1)
    if tokens[stem].form == "하" and tokens[stem - 1].form.endswith(("라고", "자고")):
        return _forbidden(text, tokens, stem - 1) or _negated(text, tokens, last)
    return _negated(text, tokens, last)


@lru_cache(maxsize=64)
def tokens_of(text: str) -> "tuple[Token, ...]":
    return tuple(korean_tokens(text))


def _stem_before(tokens: "Sequence[Token]", ending: int) -> int | None:
    """Index of the stem that an ending belongs to; tense and politeness may stand between."""
    index = ending - 1
    while index >= 0 and tokens[index].tag == "EP":
        index -= 1
    kinds = (*STEMS, "VCP")
    return index if index >= 0 and _kind(tokens[index]) in kinds else None


def _negated(text: str, tokens: "Sequence[Token]", ending: int) -> Edit | None:
    """The predicate that ends in tokens[ending] negated, whatever follows it."""
    at = _stem_before(tokens, ending)
    if at is None:
        return None
    stem, endings = tokens[at], _morphemes(tokens[at + 1 : ending + 1])
    until = tokens[ending].end
    if not _is_whole(text, tokens[at : ending + 1]):
        return None
    if _kind(stem) == "VCP":
        particle = "이" if _coda(text[: stem.start]) else "가"
        return stem.start, until, f"{particle} {_join([('아니', 'VCN'), *endings])}"
    if _kind(stem) == "VX" and stem.form in ("않", "못하"):
        back = at - 2 if tokens[at - 1].tag.startswith("J") else at - 1
        if back < 1 or tokens[back].form != "지" or _kind(tokens[back - 1]) not in STEMS:
            return None
        first = tokens[back - 1]
        return first.start, until, _join([*_morphemes([first]), *endings])
    if _kind(stem) == "VX" and stem.form == "말":
        return None
    root = at - 1 if _kind(stem) in ("XSV", "XSA") else at
    adverb = tokens[root - 1] if root > 0 else None
    if adverb is not None and adverb.form in ("안", "못") and adverb.tag == "MAG":
        return adverb.start, tokens[root].start, ""
    if stem.form in OPPOSITES and _kind(stem) in ("VV", "VA"):
        return stem.start, until, _join([(OPPOSITES[stem.form], "VA"), *endings])
    return stem.start, until, _join([*_morphemes([stem]), *NOT, *endings])


def _modal(
    text: str, tokens: "Sequence[Token]", modal: int, last: int, instead: list[Morpheme]
) -> Edit | None:
    """What must be done need not be, what may be done must not be."""
    stem = tokens[modal - 2]
    if _kind(stem) not in STEMS or stem.form in ("않", "말"):
        return None
    new = _join([*_morphemes([stem]), *instead, *_morphemes(tokens[modal + 1 : last + 1])])
    return stem.start, tokens[last].end, new


def _forbidden(text: str, tokens: "Sequence[Token]", ending: int) -> Edit | None:
    """What one is told, or proposed, to do is what not to do: 가라고, 가지 말라고."""
    stem = tokens[ending - 1] if ending else None
    if stem is None or _kind(stem) not in STEMS or stem.form in ("달", "말", "않"):
        return None
    if not _is_whole(text, tokens[ending - 1 : ending + 1]):
        return None
    order = "자고" if tokens[ending].form.endswith("자고") else "라고"
    new = _join([*_morphemes([stem]), ("지", "EC"), ("말", "VX"), (order, "EC")])
    return stem.start, tokens[ending].end, new


def _is_whole(text: str, tokens: "Sequence[Token]") -> bool:
    """Whether Kiwi writes these morphemes as the text does: if not, it has misread them."""
    written, joined = text[tokens[0].start : tokens[-1].end], _join(_morphemes(tokens))
    if tokens[0].tag == "VCP":
        return True
    # 되었다 and 됐다, 주었다 and 줬다 are one word.
    return joined[-1:] == written[-1:] and abs(len(joined) - len(written)) <= 1


def _morphemes(tokens: "Sequence[Token]") -> list[Morpheme]:
    # A suffix that makes a verb of a noun is joined without its noun: as the verb that it is.
    suffixes = {"XSV": "VV", "XSA": "VA"}
    return [(token.form, suffixes.get(token.tag, token.tag)) for token in tokens]


def _join(morphemes: Sequence[Morpheme]) -> str:
    return load_kiwi().join(morphemes)


def _kind(token: "Token") -> str:
    return token.tag.partition("-")[0]  # VV-I and VV-R: irregular and regular verbs


def _another_word(text: str, tokens: "Sequence[Token]", index: int) -> str | None:
    """The word to stand for a day, a time or a number in words; None if the token is none."""
    token = tokens[index]
    form, tag = token.form, token.tag
    if text[token.start : token.end] != form:
        return None
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    if re.fullmatch(f"[{WEEKDAYS}]요일", form):
        return WEEKDAYS[(WEEKDAYS.index(form[0]) + 1) % 7] + "요일"
    if form == "오늘" and tag.startswith("N"):
        return "어제" if any(other.form == "었" for other in tokens[index:]) else "내일"
    if form in WORDS and tag[0] in "NM":
        a_day = form == "하루" and after is not None and after.tag in ("MM", "SN")
        return None if a_day else WORDS[form]  # 하루 두 번: twice a day
    if tag in ("NR", "MM", "NNG") and form in NATIVE and after is not None:
        counted = text[token.end : token.end + 1] == " " and (
            after.tag == "NNB" or after.form in ("시간", "사람", "주", "달", "해", "가지")
        )
        # "두 사람" are the speakers themselves, "한 번" is no count.
        spared = after.form == "사람" or (form == "한" and after.form in ("번", "편"))
        return NATIVE[form] if counted and not spared else None
    before = tokens[index - 1] if index else None
    if before is not None and before.end == token.start and before.tag in ("SN", "NR", "MM"):
        return None  # the rest of 7만 or 이천오백
    if tag == "MM" and not (after is not None and after.tag == "NR" and after.start == token.end):
        return None  # 이 사람: this person
    if tag in ("NR", "MM") and re.fullmatch(f"[{DIGITS}십백천만억]+", form):
        if form[0] not in DIGITS:
            return "이" + form
        return DIGITS[(DIGITS.index(form[0]) + 1) % 8] + form[1:]
    return None


def _next_number(text: str, match: re.Match[str]) -> str:
    """Another number of the same length as far as hours, minutes, days and months allow it."""
    digits, value = match.group(), int(match.group())
    after = text[match.end() :].lstrip(" ")
    if re.search(r"\d:$", text[: match.start()]):
        return digits  # minutes of a time whose hour changes
    if after.startswith("시") and not after.startswith("시간") or re.match(r":\d\d", after):
        new = value % 12 + 1 if value <= 12 else value - 1
    elif after.startswith("월"):
        new = value % 12 + 1
    elif after.startswith("일") and value <= 31:
        new = value + 1 if value < 28 else value - 1
    elif after.startswith("분") and 10 <= value < 60:
        new = value + 10 if value < 50 else value - 10
    elif digits[0] == "0":
        return digits[:-1] + str((int(digits[-1]) + 1) % 10)
    else:
        return ("8" if digits[0] == "9" else str(int(digits[0]) + 1)) + digits[1:]
    return f"0{new}" if digits[0] == "0" and new < 10 else str(new)


def _with_particle(text: str, start: int, end: int, new: str) -> Edit:
    """The edit, longer by the particle behind it where the new word needs another."""
    match = _PARTICLE.match(text, end)
    if match is None:
        return start, end, new
    pair = next(pair for pair in PARTICLES if match[1] in pair)
    coda = _coda(new)
    consonant = bool(coda) and not (pair == ("으로", "로") and coda == "ㄹ")
    wanted = pair[0] if consonant else pair[1]
    if wanted == match[1] or (text[start:end][-1] == "#") != (new[-1] == "#"):
        return start, end, new
    return start, match.end(), new + wanted


def _coda(text: str) -> str:
    """Last consonant of a text as it is read ("ㄹ", or another), "" after a vowel."""
    tag = re.search(r"(\d)#$", text)
    if tag:
        return _TAG_CODA.get(tag[1], "")
    last = text[-1:]
    if "가" <= last <= "힣":
        coda = (ord(last) - ord("가")) % 28
        return "" if coda == 0 else "ㄹ" if coda == 8 else "ㄱ"
    return _CODA.get(last, "")
