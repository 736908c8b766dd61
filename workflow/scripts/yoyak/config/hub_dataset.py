"""`hf:owner/name`: a dataset on the Hugging Face Hub, named where else a file would be."""

import re
from dataclasses import dataclass
from pathlib import Path

PREFIX = "hf:"
OPTIONS = ("split", "config", "revision")
FORM = f"{PREFIX}owner/name, behind it where needed ?split=…&config=…&revision=…"
USUAL_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_SPLIT = re.compile(r"\w+(\.\w+)*(\[(-?\d{1,9}%?)?:(-?\d{1,9}%?)?\])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class HubDataset:
    """One split of a dataset; `None`: its only split, its only configuration, its main branch."""

    name: str
    split: str | None = None
    config: str | None = None
    revision: str | None = None

    @property
    def whole_split(self) -> str | None:
        """The split without its slice."""
        return self.split and self.split.partition("[")[0]

    def __str__(self) -> str:
        given = [f"{key}={value}" for key in OPTIONS if (value := getattr(self, key))]
        return PREFIX + self.name + ("?" if given else "") + "&".join(given)


def hub_dataset(text: str, key: str = "") -> HubDataset | None:
    """The dataset that a text names; None for a path.

    key: of the study's data; by it a dataset without a split gets the usual one.

    Raises ValueError with the form where it begins with `hf:` and names none.
    """
    if not text.startswith(PREFIX):
        return None
    name, mark, options = text.removeprefix(PREFIX).partition("?")
    pairs = [part.partition("=") for part in options.split("&")] if mark else []
    given = {key: value for key, _, value in pairs if key in OPTIONS and value}
    split = given.get("split", "train")
    if not _NAME.fullmatch(name) or len(given) != len(pairs) or not _SPLIT.fullmatch(split):
        raise ValueError(FORM)
    return HubDataset(name, **{"split": USUAL_SPLITS.get(key), **given})


def checked_source(text: str) -> str:
    """The text itself; ValueError if it begins with `hf:` and names no dataset."""
    hub_dataset(text)
    return text


def short_name(text: str) -> str:
    """A file's name without its folders, or the whole name of a dataset."""
    return text if text.startswith(PREFIX) else Path(text).name
