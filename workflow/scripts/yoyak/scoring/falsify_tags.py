"""Swap speaker tags, for Korean and English falsification."""

import re
from collections.abc import Sequence

from yoyak.scoring.tokenizers import SPEAKER_TAG

Edit = tuple[int, int, str]  # start, end, what stands there instead


def swapped_tags(text: str, left_alone: Sequence[tuple[int, int]]) -> list[Edit]:
    """The two speakers first named outside of some spans exchanged.

    Where one speaker is named there, he changes with another of the text; without any, with
    number 1 or 2.
    """
    found = [
        match
        for match in SPEAKER_TAG.finditer(text)
        if not any(start <= match.start() < end for start, end in left_alone)
    ]
    if not found:
        return []
    named = list(dict.fromkeys(match.group() for match in found))
    everywhere = dict.fromkeys([*named, *SPEAKER_TAG.findall(text)])
    first, *others = everywhere
    if others:
        second = others[0]
    else:
        number = re.findall(r"\d+", first)[0]
        second = re.sub(r"\d+", "2" if number == "1" else "1", first)
    swap = {first: second, second: first}
    return [(m.start(), m.end(), swap[m.group()]) for m in found if m.group() in swap]
