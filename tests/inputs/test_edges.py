"""Every key of every settings file at its edges: zero, negative, huge, of another kind, no number.

Keys and limits come from the schemas, so that a key that is added tomorrow is tried too.
"""

import copy
import json

import jsonschema
import pytest
import yaml
from places import STUDY, Place, resolved
from test_mistakes import said
from workflow_project import ROOT

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


def edges(part: dict) -> list:
    """Values that this key must refuse: nearest to its limits first, then of other kinds."""
    near = [part["minimum"] - 1] if "minimum" in part else []
    near += [part["maximum"] + 1] if "maximum" in part else []
    near += [part["exclusiveMinimum"]] if "exclusiveMinimum" in part else []
    near += [part["exclusiveMaximum"]] if "exclusiveMaximum" in part else []
    allowed = jsonschema.Draft202012Validator(part)
    return [value for value in near + VALUES if not allowed.is_valid(value)] + NO_NUMBERS


KEYS = [(kind, path) for kind, schema in SCHEMAS.items() for path in leaves(schema)]


def refuse(servers, clean_again, kind: str, path: tuple, values: list) -> None:
    server = servers["light"]
    clean_again(server.project)
    place = Place(server.project)
    start = {"_base_": "../base/causal_lm.yaml", "model": {"checkpoint": "checkpoint"}}
    start, file = {
        "model": (start, "config/models/mine.yaml"),
        "study": (STUDY, "config/studies/mine.yaml"),
    }[kind]
    before = place.results()
    for value in values:
        content = spot = copy.deepcopy(start)
        for key in path[:-1]:
            spot = spot.setdefault(key, {})
        spot[path[-1]] = value
        place.write(file, yaml.safe_dump(content, allow_unicode=True))
        error = said(server.run("prepare_data.py", "--study", "mine"))
        assert file in error
        assert ".".join(path) in error, f"{value!r}: {error}"
        assert "must be" in error or "allowed" in error, f"{value!r}: {error}"
    assert place.results() == before


def name(case) -> str:
    return ".".join(case) if isinstance(case, tuple) else case


def test_there_are_edges_for_every_key():
    assert len(KEYS) > 55
    for kind, path in KEYS:
        if path[-1] != "overrides":
            assert len(edges(leaves(SCHEMAS[kind])[path])) >= 8, path


@pytest.mark.parametrize("kind, path", KEYS, ids=name)
def test_nearest_edge(servers, clean_again, kind, path):
    refuse(servers, clean_again, kind, path, edges(leaves(SCHEMAS[kind])[path])[:1])


@pytest.mark.slow
@pytest.mark.parametrize("kind, path", KEYS, ids=name)
def test_every_edge(servers, clean_again, kind, path):
    refuse(servers, clean_again, kind, path, edges(leaves(SCHEMAS[kind])[path]))
