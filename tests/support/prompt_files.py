"""The prompts of config/prompts/ for tests, and files with one thing changed."""

import yaml

from yoyak.config.prompt_files import find_prompts
from yoyak.errors import PROJECT_ROOT

KOREAN, ENGLISH = find_prompts(None, "ko"), find_prompts(None, "en")


def prompt_file(folder, name="mine", **changes):
    """A copy of korean.yaml in folder/config/prompts/; changes: `{"chat.system": …}`."""
    file = PROJECT_ROOT / "config" / "prompts" / "korean.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    target = folder / "config" / "prompts" / f"{name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return target
