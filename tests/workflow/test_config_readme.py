"""config/README.md and workflow/schemas/ are those of the typed settings."""

import pytest

from yoyak.config.tables import README, SCHEMAS, SETTINGS, readme_text, schema_text


@pytest.mark.parametrize("name, section, title", [each[:3] for each in SETTINGS])
def test_schemas_are_in_step(name, section, title):
    text = (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(section, title), "run `make settings`"


def test_every_key_is_explained_in_the_readme_with_its_default():
    text = README.read_text(encoding="utf-8")
    assert text == readme_text(text), "run `make settings`"
    assert text.count("| key | meaning | default |") == len(SETTINGS)
