"""Every key of every settings file at its edges: zero, negative, huge, of another kind, no number.

Keys and limits come from the schemas, so that a key that is added tomorrow is tried too.
"""

import copy
import json

import jsonschema
import pytest
import yaml
from places import STUDY, resolved
from workflow_project import ROOT

from yoyak.config import loading
from yoyak.config.loading import load_config
from yoyak.config.study import load_study
from yoyak.errors import UserError

SCHEMAS = {
    name: json.loads((ROOT / "workflow" / "schemas" / f"{name}.schema.json").read_text())
    for name in ("model", "study")
}
VALUES = [0, -1, 0.5, 1e15, -1e15, 2**62, True, None, "text", "", "\n", [], {}, [[]], {"a": 1}]
NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]


def leaves(schema: dict, path: tuple = (), root: dict | None = None) -> dict[tuple, dict]:
    """Path → schema of each key that is no mapping of further keys."""
    root = root or schema
    schema = resolved(schema, root)
    if "properties" not in schema:
        return {path: schema}
    found = {}
    for key, part in schema["properties"].items():
        found |= leaves(part, (*path, key), root)
    return found


def edges(kind: str, path: tuple) -> list:
    """Values that this key must refuse: nearest to its limits first, then of other kinds."""
    part = {**leaves(SCHEMAS[kind])[path], "$defs": SCHEMAS[kind]["$defs"]}
    near = [part["minimum"] - 1] if "minimum" in part else []
    near += [part["maximum"] + 1] if "maximum" in part else []
    near += [part["exclusiveMinimum"]] if "exclusiveMinimum" in part else []
    near += [part["exclusiveMaximum"]] if "exclusiveMaximum" in part else []
    allowed = jsonschema.Draft202012Validator(part)
    return [value for value in near + VALUES if not allowed.is_valid(value)] + NO_NUMBERS


KEYS = [(kind, path) for kind, schema in SCHEMAS.items() for path in leaves(schema)]


def name(case) -> str:
    return ".".join(case) if isinstance(case, tuple) else case


def test_there_are_edges_for_every_key():
    assert len(KEYS) > 55
    for kind, path in KEYS:
        if path[-1] != "overrides":
            assert len(edges(kind, path)) >= 8, path


@pytest.mark.parametrize("kind, path", KEYS, ids=name)
def test_every_edge_is_refused_in_one_line(tmp_path, monkeypatch, kind, path):
    folders = {part: tmp_path / "config" / part for part in ("base", "models", "studies")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    base = ROOT / "config" / "base" / "causal_lm.yaml"
    (folders["base"] / base.name).write_bytes(base.read_bytes())
    monkeypatch.setattr(loading, "CONFIG", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    model = {"_base_": "../base/causal_lm.yaml", "model": {"checkpoint": "checkpoint"}}
    (folders["models"] / "mine.yaml").write_text(json.dumps(model))
    start, file, load = {
        "model": (model, "config/models/mine.yaml", load_config),
        "study": (STUDY, "config/studies/mine.yaml", load_study),
    }[kind]
    for value in edges(kind, path):
        content = spot = copy.deepcopy(start)
        for key in path[:-1]:
            spot = spot.setdefault(key, {})
        spot[path[-1]] = value
        (tmp_path / file).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        with pytest.raises(UserError) as caught:
            load("mine")
        error = str(caught.value)
        assert error.isprintable() and len(error) < 1000
        assert file in error and ".".join(path) in error, f"{value!r}: {error}"
        assert "must be" in error or "allowed" in error, f"{value!r}: {error}"
