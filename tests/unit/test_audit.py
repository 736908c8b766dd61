"""`make audit`: a hole is a failure, and an audit that did not happen is never called clean."""

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "envs" / "audit.py"
spec = importlib.util.spec_from_file_location("audit", FILE)
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
HOLE = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    "packages, words, code",
    [
        ([CLEAN, CLEAN], "no known hole in 2 of 2 packages", 0),
        ([CLEAN, SKIPPED], "no known hole in 1 of 2 packages, but 1 could not be looked up", 0),
        ([SKIPPED, SKIPPED], "NOT AUDITED: none of 2 packages", 0),
        ([CLEAN, HOLE, SKIPPED], "KNOWN HOLES: c 2: CVE-1 (mended in 3)", 1),
    ],
)
def test_the_verdict(packages, words, code):
    said, found = audit.judge(json.dumps({"dependencies": packages}), "")
    assert words in said and found == code


def test_without_a_network():
    said, code = audit.judge("", "Traceback …\nConnectionError: no route")
    assert said.startswith("NOT AUDITED") and "no route" in said and code == 0
