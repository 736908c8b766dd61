"""Numbers, days and times that a text names, in one spelling: 세 시, 3시 and 15:00 are one hour.

A quantity is a number as text ("3", "2.5") or a word for a day or a time ("화", "tomorrow").
Quantities that say little are ignored: one, "두 사람" or "the two" for the speakers themselves.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yoyak.scoring.tokenizers import TAG, korean_tokens, normalise

if TYPE_CHECKING:
    from kiwipiepy import Token

_DIGITS = re.compile(r"\d+(?:,\d{3})+|\d+(?:\.\d+)?")
_CLOCK = re.compile(r"\b([01]?\d|2[0-4])(?::[0-5]\d| ?시(?!간))")

_SINO = dict(zip("영일이삼사오육칠팔구", range(10), strict=True)) | {"공": 0}
_UNITS = {"십": 10, "백": 100, "천": 1000}
_MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
_NATIVE = {
    **{"하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "넷": 4, "네": 4, "넉": 4},
    **{"다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10, "스물": 20, "스무": 20},
    **{"서른": 30, "마흔": 40, "쉰": 50, "예순": 60, "일흔": 70, "여든": 80, "아흔": 90},
}
_DAYS = {
    **{"하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "이레": 7, "여드레": 8},
    **{"아흐레": 9, "열흘": 10, "보름": 15},
}
_KOREAN_TIMES = {word: word for word in ("오늘", "내일", "모레", "글피", "어제", "주말", "평일")}
_KOREAN_TIMES |= {word: word for word in ("봄", "여름", "가을", "겨울", "올해", "내년", "작년")}
_KOREAN_TIMES |= {"그저께": "그제", "그제": "그제", "지난해": "작년"}
# 오후 (p.m.) covers the evening: "저녁 7시" may be told as 오후, and the other way round.
_HALVES = {"오전": "오전", "아침": "오전", "새벽": "오전", "오후": "오후", "저녁": "오후"}
_HALVES |= {"낮": "오후", "점심": "오후", "밤": "오후", "정오": "오후"}

_ENGLISH = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_ENGLISH += " fifteen sixteen seventeen eighteen nineteen"
_ONES = {word: number for number, word in enumerate(_ENGLISH.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES |= {word: 10 * number for number, word in enumerate(_TENS.split(), start=2)}
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9}
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ONES |= {word: number for number, word in enumerate(_ORDINALS.split(), start=3)}
_PARTS = {"half": 30, "quarter": 15, "dozen": 12}
_ENGLISH_TIMES = re.compile(
    r"\b(mon|tues|wednes|thurs|fri|satur|sun)day|\b(tomorrow|yesterday|tonight|today|weekend|"
    r"midnight|noon|january|february|april|june|july|august|september|october|november|december)"
)


def unfounded(text: str, dialogue: str, language: str) -> bool | None:
    """Whether a summary names a number, day or time that the dialogue lacks; None if it names none.

    Args:
        language: "ko" or "en".
    """
    named = set(quantities(text, language))
    if not named:
        return None
    return not named <= set(quantities(dialogue, language, generous=True))


def quantities(text: str, language: str, generous: bool = False) -> list[str]:
    """Numbers, days and times of a text.

    Args:
        generous: what may also be said of this text: 3 of 15:00, 1 of "only one".
    """
    text = normalise(text)
    found = list(_korean(text, generous) if language == "ko" else _english(text, generous))
    if generous:
        hours = [int(match[1]) for match in _CLOCK.finditer(text)]
        found += [_written(hour - 12 if hour > 12 else hour + 12) for hour in hours]
    return found


def _written(number: float) -> str:
    return f"{number:g}" if number < 10**6 else str(int(number))


def _korean(text: str, generous: bool) -> Iterator[str]:
    tokens = korean_tokens(text)
    for token in tokens:
        if token.tag == "W_SERIAL":  # 15:00, 010-1234
            numbers = map(int, re.findall(r"\d+", token.form))
            yield from (_written(number) for number in numbers if number)
        elif re.fullmatch("[월화수목금토일]요일", token.form):
            yield token.form[0]
        elif token.tag[0] in "NM" and token.form in _KOREAN_TIMES:
            yield _KOREAN_TIMES[token.form]
        elif token.tag[0] in "NM" and token.form in _HALVES:
            yield _HALVES[token.form]
        elif token.form in _DAYS and token.tag[0] in "NM":
            if generous or token.form != "하루":
                yield _written(_DAYS[token.form])
        elif generous and token.form in ("반", "일주일"):
            yield "30" if token.form == "반" else "7"
    for run, following in _number_runs(tokens):
        value = _value([token.form for token in run])
        if value is not None:
            alone = len(run) == 1 and run[0].form in ("둘", "셋") or following == "사람"
            spared = value == 1 and run[0].tag != "SN" or (alone and value < 5)
            if generous or not spared:
                yield _written(value)
        if generous:  # 2만 5천 원 may be told in its parts
            yield from (_written(part) for token in run if (part := _value([token.form])))


def _number_runs(tokens: "list[Token]") -> "Iterator[tuple[list[Token], str]]":
    """Stretches of number words, each with the form behind it: 2만 5천, 열두, 만이천."""
    run: list[Token] = []
    for place, token in enumerate([*tokens, None]):
        numeral = token is not None and (
            token.tag in ("SN", "NR")
            or (token.tag in ("MM", "NNG") and token.form in _NATIVE)
            or (token.tag == "MM" and token.form in _SINO and _before_numeral(tokens, place))
            or (token.form in _MYRIADS and _before_digits(tokens, place))
        )
        # Digits begin a number, unless they go on with one: 2만 5천, but not 10 30.
        if run and (not numeral or (token.tag == "SN" and run[-1].form[-1:] not in _MYRIADS)):
            yield run, token.form if token is not None else ""
            run = []
        if numeral:
            run.append(token)


def _before_numeral(tokens: "list[Token]", place: int) -> bool:
    after = tokens[place + 1] if place + 1 < len(tokens) else None
    return after is not None and after.tag == "NR" and after.start == tokens[place].end


def _before_digits(tokens: "list[Token]", place: int) -> bool:
    """Whether 만 opens a number, as in 만 5천, and is no particle."""
    opens = place == 0 or tokens[place - 1].end < tokens[place].start
    return opens and place + 1 < len(tokens) and tokens[place + 1].tag == "SN"


def _value(forms: list[str]) -> float | None:
    """The number that digits, number words and myriads make: 2, 만, 5, 천 → 25,000."""
    total = myriad = digit = 0.0
    seen = False
    for part in re.findall(r"\d[\d,.]*|[가-힣]", "".join(forms)):
        seen = True
        if part[0].isdigit():
            digit = float(part.replace(",", "").rstrip(".")) if part.count(".") < 2 else 0
        elif part in _SINO:
            digit = 10 * digit + _SINO[part] if digit else _SINO[part]
        elif part in _UNITS:
            myriad, digit = myriad + (digit or 1) * _UNITS[part], 0
        elif part in _MYRIADS:
            total, myriad, digit = total + (myriad + digit or 1) * _MYRIADS[part], 0, 0
        else:
            return _native_value(forms)
    return total + myriad + digit if seen else None


def _native_value(forms: list[str]) -> float | None:
    text, value = "".join(forms), 0
    for word in sorted(_NATIVE, key=len, reverse=True):
        if word in text:
            text, value = text.replace(word, "", 1), value + _NATIVE[word]
    return float(value) if value and not text else None


def _english(text: str, generous: bool) -> Iterator[str]:
    text = TAG.sub(" ", text).lower()
    text = re.sub(r"(?<=\d)[ ,]+(?=000\b)", ",", text)  # 20, 000
    for match in _ENGLISH_TIMES.finditer(text):
        yield (match[1] or match[2]).replace("tonight", "today")
    for half, pattern in (("am", r"a\.?m\b|morning"), ("pm", r"p\.?m\b|afternoon|evening|night")):
        if re.search(rf"(?:\b|\d)(?:{pattern})", text):
            yield half
    words = re.findall(r"\d[\d,.]*|[a-z]+", text)
    total: float | None = None
    current: float | None = None  # of two thousand five hundred: 2,000 and 500
    for place, word in enumerate([*words, ""]):
        number = _number_in(word)
        if generous:
            yield from (_written(each) for each in (number, _PARTS.get(word)) if each is not None)
        if number is not None and current is not None and _goes_on(current, number):
            current += number
            continue
        if word == "hundred":
            current = (current or 1) * 100
            continue
        if word in _SCALES:
            total, current = (total or 0) + (current or 1) * _SCALES[word], 0
            continue
        if word == "and" and current and current >= 100:
            continue
        if current is not None:
            value = (total or 0) + current
            if generous or _says(value, words, place):
                yield _written(value)
        total, current = None, number


def _number_in(word: str) -> float | None:
    digits = _DIGITS.match(word)
    return float(digits[0].replace(",", "")) if digits else _ONES.get(word)


def _goes_on(current: float, number: float) -> bool:
    """Whether a number goes on with another word: twenty five, two hundred thirty."""
    tens = current % 100
    return (tens == 0 and number < 1000) or (tens >= 20 and tens % 10 == 0 and number < 10)


def _says(value: float, words: list[str], place: int) -> bool:
    """Whether the number before a place says something: not one, not "the two", "two people"."""
    digits = words[place - 1][0].isdigit()
    return value > 2 or (digits and (place < 2 or words[place - 2] not in ("the", "these")))
