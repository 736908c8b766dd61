"""What the report says, in English or Korean: the texts of workflow/report/texts.yaml."""

import json
import re
from functools import cache
from string import Formatter
from typing import Any

from yoyak.config.study import Study
from yoyak.config.yaml_reader import load_yaml
from yoyak.errors import PROJECT_ROOT
from yoyak.run.workspace import hash_text

FILE = PROJECT_ROOT / "workflow" / "report" / "texts.yaml"


class Texts:
    """The texts of one language, by "section.key"."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str, **fields: object) -> str:
        """A text with its fields filled in; of several, the field n picks: for one, two, … more."""
        return self._template(key, fields).format(**fields)

    def sentence(self, key: str, **fields: Any) -> list:
        """The same as parts: a field that is a list is spliced in, any other value stands alone.

        Strings and numbers stand as text, so that a report can mark what comes from a table.
        """
        parts: list = []
        for text, name, _, _ in Formatter().parse(self._template(key, fields)):
            value = fields[name] if name else []
            parts += [text, *(value if isinstance(value, list) else [value])]
        return [str(part) if isinstance(part, int) else part for part in parts if part != ""]

    def recorded(self, value: object) -> str:
        """A word or sentence that a file holds in English; as it is where nobody translated it."""
        for pattern, texts in _recorded() if self.language != "en" else ():
            if found := pattern.fullmatch(str(value)):
                return texts[self.language].format(**found.groupdict())
        return str(value)

    def _template(self, key: str, fields: dict) -> str:
        section, _, name = key.partition(".")
        text = _read()[section][name][self.language]
        return text[min(fields["n"], len(text)) - 1] if isinstance(text, list) else text


def texts_of(study: Study) -> Texts:
    """The texts in the language of a study's report."""
    return Texts(study.settings.report.language)


def texts_digest(language: str) -> str:
    """Digest of all texts of a language: a step that writes them reruns when it changes."""
    content = [[one[language] for one in _entries(section)] for section in _read().values()]
    return hash_text(json.dumps(content))[:16]


@cache
def _read() -> dict:
    return load_yaml(FILE)


def _entries(section: dict | list) -> list:
    return section if isinstance(section, list) else [section[key] for key in section]


@cache
def _recorded() -> list[tuple[re.Pattern, dict]]:
    """Patterns of the recorded texts in English, a group for each field."""
    return [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(texts["en"]))), texts)
        for texts in _read()["recorded"]
    ]
