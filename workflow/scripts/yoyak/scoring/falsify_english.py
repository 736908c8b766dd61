"""Where an English summary can be made false: edits (start, end, new) of a text.

There is no tagger here. A verb is found behind a subject that opens a sentence, or because it is
one of the verbs that summaries of dialogues live on; where neither helps, no edit is made.
"""

import re

from yoyak.scoring.english_verbs import PAST, VERBS, base_of, with_s
from yoyak.scoring.falsify_tags import Edit, swapped_tags
from yoyak.scoring.tokenizers import SPEAKER_TAG


def _words(text: str) -> list[str]:
    return text.split()


AUXILIARIES = _words("is are was were will would can could should must may might")
CONTRACTED = {"ca": "can", "wo": "will", "sha": "shall"}

_TAG = SPEAKER_TAG.pattern
_NAME = r"(?:(?:Mr|Mrs|Ms|Dr)\.? ?|Miss )?[A-Z][a-z]+(?: [A-Z][a-z]+)?"
_ONE = rf"(?:{_TAG}|{_NAME}|[Tt]he (?:man|woman|boy|girl|customer|teacher|student|doctor))"
_ADVERB = r"(?:\w+ly|also|both|then|still|just|always|soon|first|later|all|even)"
_SUBJECT = re.compile(rf"(?P<one>{_ONE})(?P<more>(?:, {_ONE})*,? and {_ONE})?(?: {_ADVERB})* ")
_WORD = re.compile(r"[A-Za-z]+(?:['’]t\b)?")
_NO_VERB = frozenset({"to", "that", "who", "which", "a", "an", "the", "of", "for", "with", "and"})
_NEGATIVE = re.compile(r"\b(?:no|nobody|nothing|never|neither|nor|hardly|none)\b")
_ANY = re.compile(r"\b(?:any\w*|yet|either|at all|until|ever|much|only)\b")

_UNITS = re.compile(rf"{_TAG}|(?:(?:Mr|Mrs|Ms|Dr)\.? ?|Miss )[A-Z][a-z]+|\b[A-Z][a-z]+\b")
_TO_PERSONS = (
    r"(?:tells?|asks?|helps?|calls?|invites?|thanks|advises|meets?|informs|interviews|and)"
)
_MUTUAL = r"(?:and|or|(?:talks|chats|is talking|agrees|meets|is chatting)(?: with)?)"

WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words("January February April June July August September October November December")
COUNTS = _words("""
    two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    sixty seventy eighty ninety""")
TIMES = {
    **{"tomorrow": "today", "yesterday": "today", "tonight": "tomorrow", "morning": "afternoon"},
    **{"afternoon": "morning", "evening": "morning", "a.m": "p.m"},
    **{"p.m": "a.m", "am": "pm", "pm": "am", "AM": "PM", "PM": "AM", "noon": "midnight"},
    **{"midnight": "noon", "hundred": "thousand", "thousand": "million", "million": "thousand"},
    **{"hours": "days", "minutes": "hours", "days": "weeks", "weeks": "months"},
    **{"months": "weeks", "years": "months", "twice": "three times", "daily": "weekly"},
    **{"half": "a third", "spring": "autumn", "summer": "winter", "winter": "summer"},
}
_WHEN = re.compile(r"\b(next|last|this|a|one|every|per) (day|week|month|year|hour)\b")
_LONGER = {"day": "week", "week": "month", "month": "week", "year": "month", "hour": "day"}
_NUMBER = re.compile(r"(?<![\w#.])(?<!\d,)\d+(?:st|nd|rd|th)?(?!#)")


def speakers(text: str) -> list[Edit]:
    """Two speakers, by tag or by name, in each other's places."""
    edits = swapped_tags(text, _symmetric_spans(text, _TAG))
    names = _names(text)
    if edits and len(set(SPEAKER_TAG.findall(text))) > 1 or not names:
        return edits
    # A tag and a name, or two names.
    units = sorted([m.span() for m in SPEAKER_TAG.finditer(text)] + names)
    one = "|".join(re.escape(unit) for unit in {text[start:end] for start, end in units})
    alone = _symmetric_spans(text, f"(?:{one})")
    units = [u for u in units if not any(start <= u[0] < end for start, end in alone)]
    distinct = list(dict.fromkeys(text[start:end] for start, end in units))
    if len(distinct) < 2:
        return edits
    swap = dict(zip(distinct[:2], reversed(distinct[:2]), strict=True))
    return [(s, e, swap[text[s:e]]) for s, e in units if text[s:e] in swap]


def _symmetric_spans(text: str, unit: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(rf"{unit} {_MUTUAL} {unit}", text)]


def _names(text: str) -> list[tuple[int, int]]:
    """Places of the names of persons: those that do, or are told, what only persons do."""
    known = set()
    for match in _UNITS.finditer(text):
        name = match.group()
        if name.startswith("#") or name in (*WEEKDAYS, *MONTHS, "May", "March", "They", "The"):
            continue
        before, after = text[: match.start()], text[match.end() :]
        word = re.match(rf" (?:{_ADVERB} )?([a-z]+)", after)
        subject = word is not None and (
            base_of(word[1]) is not None and word[1] not in VERBS and _opens(before)
        )
        told = re.search(rf"\b{_TO_PERSONS} $", before) and not name.isupper()
        if (subject and name not in _PRONOUNS) or " " in name or "." in name or told:
            known.add(name)
    return [m.span() for m in _UNITS.finditer(text) if m.group() in known]


_PRONOUNS = ("He", "She", "It", "This", "That", "There", "Everyone", "Everybody", "Someone", "What")


def _opens(before: str) -> bool:
    return not before or before.endswith((". ", "? ", "! ", "\n"))


def numbers(text: str) -> list[Edit]:
    """Every number, day and time made another one of its kind."""
    edits = [(m.start(), m.end(), _next_number(text, m)) for m in _NUMBER.finditer(text)]
    edits += [(m.start(2), m.end(2), _LONGER[m[2]]) for m in _WHEN.finditer(text)]
    for match in re.finditer(r"(?<![#\w])(?:[ap]\.m|[A-Za-z]+)(?![\w#])", text):
        new = _another_word(match.group(), text[: match.start()])
        if new is not None:
            edits.append((*match.span(), new))
    return [
        _with_article(text, start, end, new)
        for start, end, new in sorted(edits)
        if new != text[start:end]
    ]


def _another_word(word: str, before: str) -> str | None:
    capital = word[:1].isupper()
    for cycle in (WEEKDAYS, MONTHS):
        for ending in ("", "s"):
            if capital and word.removesuffix(ending) in cycle and word.endswith(ending):
                place = cycle.index(word.removesuffix(ending))
                return cycle[(place + 1) % len(cycle)] + ending
    if word in ("am", "pm", "AM", "PM", "a.m", "p.m") and not re.search(r"\d ?$", before):
        return None
    if word == "half" and not before.endswith(("for ", "than ")):
        return None
    if word.lower() in COUNTS:
        if re.search(r"\b[Tt]he $", before):
            return None  # the two: the speakers themselves
        new = COUNTS[(COUNTS.index(word.lower()) + 1) % len(COUNTS)]
    elif word.lower() == "first" or word not in TIMES:
        new = TIMES.get(word.lower(), "") if capital else ""
    else:
        new = TIMES[word]
    return (new.capitalize() if capital and len(word) > 2 else new) or None


def _next_number(text: str, match: re.Match[str]) -> str:
    word = match.group()
    digits = word.rstrip("stndrh")
    value, before, after = int(digits), text[: match.start()], text[match.end() :]
    if before.endswith(":"):
        return word  # minutes of a time whose hour changes
    if len(word) > len(digits):
        new = value + 1 if value % 100 not in (28, 29, 30, 31) else value - 1
        return f"{new}{_ordinal(new)}"
    timed = re.search(r"\b(?:at|by|around|until|before|after|from|to) $", before)
    if re.match(r" ?(?:[ap]\.?m|o['’]clock|:\d\d)", after, re.IGNORECASE) or (
        timed and value <= 12 and not re.match(r"[\d,.% -]*[\w%]", after)
    ):
        return str(value % 12 + 1 if value <= 12 else value - 1)
    if value == 1 and not after.startswith((",", ".")):
        return word  # what follows stands in the singular
    if digits[0] == "0":
        return digits[:-1] + str((int(digits[-1]) + 1) % 10)
    return ("8" if digits[0] == "9" else str(int(digits[0]) + 1)) + digits[1:]


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _with_article(text: str, start: int, end: int, new: str) -> Edit:
    """The edit, longer by "a" or "an" before it where the new word needs the other one."""
    article = re.search(r"\b([Aa])(n?) (\$?)$", text[:start])
    if article is None:
        return start, end, new
    wanted = "n" if re.match(r"[aeiou]|8|1[18](?!\d)", new, re.IGNORECASE) else ""
    if wanted == article[2]:
        return start, end, new
    return article.start(), end, f"{article[1]}{wanted} {article[3]}{new}"


def negation(text: str, start: int, end: int) -> Edit | None:
    """The main verb of the sentence text[start:end] negated, or affirmed if it was negated."""
    sentence = text[start:end]
    subject = _SUBJECT.match(sentence)
    if subject:
        plural = bool(subject["more"]) or subject["one"] in ("They", "We", "Both", "All")
        edit = _verb_at(sentence, subject.end(), plural, subject["one"][0] == "#")
        if edit:
            return start + edit[0], start + edit[1], edit[2]
    before = "and"
    for match in _WORD.finditer(sentence):
        word = match.group()
        if match.start() and before not in _NO_VERB and not sentence[match.end() :].startswith("#"):
            plural = before.lower() in ("they", "we", "both") or before.endswith("s")
            edit = _verb_at(sentence, match.start(), plural, False)
            if edit:
                return start + edit[0], start + edit[1], edit[2]
        before = word.lower()
    return None


def _verb_at(sentence: str, at: int, plural: bool, certain: bool) -> Edit | None:
    """The verb at a place of the sentence negated; None if none is there.

    Args:
        plural: the subject is: its verb has no -s.
        certain: the word follows a speaker's tag: any with -s is a verb.
    """
    match = _WORD.match(sentence, at)
    if match is None or sentence[match.end() : match.end() + 1] in ("'", "’"):
        return None
    word, end = match.group(), match.end()
    rest = sentence[end:]
    base = base_of(word, certain)
    negative = word.endswith(("n't", "n’t")) or word == "cannot" or rest.startswith(" not ")
    if negative:
        return None if _ANY.search(rest) or "not only" in rest else _affirmed(sentence, at, end)
    if (word in VERBS and not plural) or (base is None and word not in AUXILIARIES):
        return None
    if re.match(r" (?:no|never) (?!longer|matter|one)", rest):
        gone = end + 1 + (3 if rest.startswith(" no ") else 6)
        return end + 1, gone, ""
    if _NEGATIVE.search(rest):
        return None
    if word in AUXILIARIES or _is_perfect(word, rest):
        return at, end, f"{word} not"
    if word in VERBS:
        return at, end, f"do not {word}"
    past = word in PAST or not word.endswith("s")
    return at, end, f"{'did' if past else 'does'} not {base}"


def _affirmed(sentence: str, at: int, end: int) -> Edit | None:
    word, rest = sentence[at:end], sentence[end:]
    if word == "cannot":
        return at, end, "can"
    if rest.startswith(" not "):
        if word in ("do", "does", "did"):
            return _without_do(sentence, at, end + 4, word)
        return end, end + 4, ""
    stem = word[:-3]
    if stem in ("do", "does", "did"):
        return _without_do(sentence, at, end, stem)
    return at, end, CONTRACTED.get(stem, stem)


def _without_do(sentence: str, at: int, end: int, auxiliary: str) -> Edit | None:
    verb = re.match(r" ([a-z]+)\b", sentence[end:])
    if verb is None or verb[1].endswith("ly"):
        return at, end, auxiliary
    base = verb[1]
    if auxiliary == "did":
        past = next((form for form, of in PAST.items() if of == base), None)
        return (at, end + verb.end(), past) if past else (at, end, "did")
    return at, end + verb.end(), with_s(base) if auxiliary == "does" else base


def _is_perfect(word: str, rest: str) -> bool:
    """Whether has, have or had is an auxiliary here: "has been", "have just arrived"."""
    done = rf"(?: {_ADVERB}| already)* (?:been|done|gone|got|gotten|had|lost|made|seen|\w+ed)\b"
    return word in ("has", "have", "had") and bool(re.match(done, rest))
