"""Known noise in dialogue data, one counted rule each.

The rules change how a text is written, never what it says. Applying them twice changes nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

_WINDOWS_OR_MAC_NEWLINE = re.compile(r"\r\n?")
_LITERAL_NEWLINE = re.compile(r"(?:\\r)?\\n")
_BREAK_TAG = re.compile(r"</?br\s*/?>", re.IGNORECASE)
_OTHER_LINE_END = re.compile("[\u000b\u000c\u0085\u2028\u2029]")
_ODD_SPACE = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_INVISIBLE = re.compile("[\ufeff\u200b\u2060\u00ad]")  # joiners stay: emoji and Persian need them
_CONTROL = re.compile("[\u0001-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]")
_BLANK_LINES = re.compile(r"\n{2,}|^\n+|\n+\Z")

_Rule = Callable[[str], str]


def _strip_lines(text: str) -> str:
    r"""Not by a pattern: `[ \t]+$` takes a million blanks within a line for hours."""
    return "\n".join(line.strip(" \t") for line in text.split("\n"))


# Order matters, or a second pass would find more: what goes without trace comes first (it may hide
# inside a `<br>`), then what becomes a newline, last what tidies lines.
RULES: dict[str, tuple[str, _Rule]] = {
    "invisible": (
        "byte-order marks, zero-width blanks and soft hyphens go",
        lambda text: _INVISIBLE.sub("", text),
    ),
    "control": ("control characters go", lambda text: _CONTROL.sub("", text)),
    "crlf": (
        "Windows or old Mac line ends become a newline",
        lambda text: _WINDOWS_OR_MAC_NEWLINE.sub("\n", text),
    ),
    "literal_newline": (
        "a backslash and an n, as in the real data, become a newline",
        lambda text: _LITERAL_NEWLINE.sub("\n", text),
    ),
    "br_tag": ("<br> becomes a newline", lambda text: _BREAK_TAG.sub("\n", text)),
    "other_line_end": (
        "form feeds, U+2028 and their like become a newline",
        lambda text: _OTHER_LINE_END.sub("\n", text),
    ),
    "odd_space": (
        "no-break, ideographic and other wide or thin blanks become a blank",
        lambda text: _ODD_SPACE.sub(" ", text),
    ),
    "composed": (
        "decomposed Hangul and accents are composed (Unicode NFC)",
        lambda text: unicodedata.normalize("NFC", text),
    ),
    "line_edge_blanks": (
        "blanks at the beginning or end of a line go",
        _strip_lines,
    ),
    "blank_lines": ("blank lines go", lambda text: _BLANK_LINES.sub(_tidy_newlines, text)),
}


def clean_text(text: str, counts: Counter | None = None) -> str:
    """Apply every rule; `counts` gains one for each rule that changed this text."""
    for name, (_, rule) in RULES.items():
        cleaned = rule(text)
        if cleaned != text:
            text = cleaned
            if counts is not None:
                counts[name] += 1
    return text


def _tidy_newlines(match: re.Match) -> str:
    inside = match.start() > 0 and match.end() < len(match.string)
    return "\n" if inside else ""
