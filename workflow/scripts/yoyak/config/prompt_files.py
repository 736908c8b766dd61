"""Find a file of prompts."""

from pathlib import Path

from yoyak.config.loading import settings_file
from yoyak.config.prompts import BY_LANGUAGE, Prompts
from yoyak.config.yaml_reader import load_yaml
from yoyak.errors import PROJECT_ROOT, UserError


def find_prompts(named: Prompts | str | None, language: str) -> Prompts:
    """The prompts of this name in config/prompts/, or of this path; of the language without one.

    Raises UserError for a missing file, an unknown key or placeholder, or a bad text.
    """
    if isinstance(named, Prompts):
        return named
    name = named or BY_LANGUAGE[language]
    if "/" in name or name.endswith(".yaml"):
        places = [root / name for root in (Path(), PROJECT_ROOT)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise UserError(
                f"prompts: {name[:200]}: no such file; correct the path, or name a file of "
                "config/prompts/ without .yaml"
            )
    else:
        path = settings_file("prompts", name)
    return Prompts.checked(load_yaml(path), path)
