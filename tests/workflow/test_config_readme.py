"""config/README.md and workflow/schemas/ are those of the typed settings."""

import pytest

from yoyak.config.loading import load_yaml
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.tables import README, SCHEMAS, SETTINGS, readme_text, schema_text
from yoyak.errors import PROJECT_ROOT


@pytest.mark.parametrize("name, section, title", [each[:3] for each in SETTINGS])
def test_schemas_are_in_step(name, section, title):
    text = (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(section, title), "run `make settings`"


def test_every_key_is_explained_in_the_readme_with_its_default():
    text = README.read_text(encoding="utf-8")
    assert text == readme_text(text), "run `make settings`"
    assert text.count("| key | meaning | default |") == len(SETTINGS)


def test_the_base_file_has_every_key_and_the_defaults_of_the_fields():
    """So that a file without `_base_` means the same."""
    base = load_yaml(PROJECT_ROOT / "config" / "base" / "causal_lm.yaml")
    assert base["model"].pop("checkpoint") is None  # the model file's to say
    fields = ModelConfig(model={"checkpoint": "a/b"}).model_dump()
    del fields["model"]["checkpoint"]
    assert base == fields
    assert canonical(base) == canonical(fields)
