"""config/README.md explains every key that the schemas allow, with the default that is in force."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = {
    "config": "## config/config.yaml",
    "study": "## config/studies/NAME.yaml",
    "model": "## config/models/NAME.yaml",
}


def documented(section: str) -> dict[str, str]:
    """key → text of the default column, from one section's table."""
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    part = text.split(SECTIONS[section] + "\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_0-9.]+)` \|.*\| ([^|]+) \|$", part, flags=re.M)
    assert len(rows) == len(dict(rows)), "a key stands twice"
    return dict(rows)


def leaves(schema: dict, prefix: str = "") -> dict[str, dict]:
    """Dotted key → schema of every key that holds a value, not a mapping of known keys."""
    found = {}
    for name, part in schema["properties"].items():
        if "properties" in part:
            found |= leaves(part, f"{prefix}{name}.")
        else:
            found[prefix + name] = part
    return found


def schema(name: str) -> dict[str, dict]:
    text = (ROOT / "workflow" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    return leaves(json.loads(text))


def default(cell: str) -> object:
    """The value in a default cell: `16` (a comment) → 16."""
    return yaml.safe_load(re.match(r"`([^`]*)`", cell)[1])


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_explained_and_no_other(name):
    assert set(documented(name)) == set(schema(name))


def test_defaults_of_a_model_are_those_of_the_base():
    base = yaml.safe_load((ROOT / "config" / "base" / "causal_lm.yaml").read_text(encoding="utf-8"))
    for key, cell in documented("model").items():
        section, name = key.split(".")
        assert default(cell) == base[section][name], key


@pytest.mark.parametrize("name", ["study", "config"])
def test_defaults_of_a_study_are_those_of_the_schema(name):
    keys = schema(name)
    for key, cell in documented(name).items():
        if cell == "–":
            assert "default" not in keys[key], key
        else:
            assert default(cell) == keys[key]["default"], key
