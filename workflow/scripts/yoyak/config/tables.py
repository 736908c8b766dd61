"""Write the JSON schemas and the tables of keys in config/README.md from the typed settings."""

import json
import re
from typing import Any

from pydantic.fields import FieldInfo

from yoyak.config.model_config import ModelConfig
from yoyak.config.peft_keys import peft_names, peft_section
from yoyak.config.section import Section
from yoyak.config.study_settings import RunSettings, StudySettings
from yoyak.errors import PROJECT_ROOT

README = PROJECT_ROOT / "config" / "README.md"
SCHEMAS = PROJECT_ROOT / "workflow" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
LORA_CONFIG = "https://huggingface.co/docs/peft/package_reference/lora#peft.LoraConfig"
TABLE = r"\| key \| meaning \| default \|\n(?:\|.*\n)+"
# Name, class, title of the schema, and the heading in the README that a table follows.
SETTINGS: tuple[tuple[str, type[Section], str, str], ...] = (
    ("config", RunSettings, "What `snakemake --config` may say", "## config/config.yaml"),
    ("study", StudySettings, "A study: config/studies/*.yaml", "## config/studies/NAME.yaml"),
    ("model", ModelConfig, "A model: config/models/*.yaml", "## config/models/NAME.yaml"),
)


def schema_text(section: type[Section], title: str) -> str:
    """JSON schema of a whole settings file, `_base_` apart."""
    schema = {"$schema": DIALECT, **_renamed(section.model_json_schema()), "title": title}
    if "LoraSettings" in schema.get("$defs", {}):
        schema["$defs"]["LoraSettings"] = _renamed(peft_section().model_json_schema())
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _renamed(part: Any) -> Any:
    """Rename limits: pydantic has names of its own where a number may also be null or a word."""
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {LIMITS.get(key, key): _renamed(value) for key, value in part.items()}


def key_table(section: type[Section]) -> str:
    """The Markdown table of a settings file: one row a key."""
    rows = ["| key | meaning | default |", "|---|---|---|"]
    for key, field in leaves(section).items():
        default = "–" if field.is_required() else f"`{_written(field.default)}`"
        rows.append(f"| `{key}` | {field.description} | {default} |")
        if key == "lora.target_modules":
            rows.append(f"| `lora.*` | {_peft_row()} | – |")
    return "\n".join(rows) + "\n"


def _peft_row() -> str:
    names = ", ".join(f"`{name}`" for name in peft_names())
    return f"keys of [PEFT's LoraConfig]({LORA_CONFIG}), as PEFT has them: {names}"


def leaves(section: type[Section], prefix: str = "") -> dict[str, FieldInfo]:
    """Dotted key → field of every key that holds a value, not a section of further keys."""
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            found |= leaves(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def readme_text(text: str) -> str:
    """config/README.md with its tables of keys updated."""
    for _, section, _, heading in SETTINGS:
        before, after = text.split(f"{heading}\n", 1)
        table = key_table(section).replace("\\", r"\\")  # a template of `re`
        text = f"{before}{heading}\n" + re.sub(TABLE, table, after, count=1)
    return text


def write_all() -> None:
    """Update workflow/schemas/ and config/README.md."""
    for name, section, title, _ in SETTINGS:
        file = SCHEMAS / f"{name}.schema.json"
        file.write_text(schema_text(section, title), encoding="utf-8")
    README.write_text(readme_text(README.read_text(encoding="utf-8")), encoding="utf-8")


def _written(value: object) -> str:
    """A value as YAML has it: `2.0e-05` as 2.0e-5, a list in brackets, a text without quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, str) and value:
        return value
    return re.sub(r"^(\d+)e-0?(\d+)$", r"\1.0e-\2", json.dumps(value))
