"""Mistakes made for real: one clear line with its cure, and nothing written."""

import re
import subprocess
import sys

import pytest
from mistakes import TABLE
from places import PREPARE, Place

ERROR = re.compile(r"^error: (.+)$", flags=re.MULTILINE)


@pytest.mark.parametrize("name", TABLE)
def test_mistake(servers, clean_again, name):
    mistake = TABLE[name]
    server = servers[mistake.weight]
    clean_again(server.project)
    place = Place(server.project)
    mistake.make(place)
    before = place.results()

    done = server.run(*mistake.command)

    error = said(done)
    missing = [words for words in (*mistake.words, mistake.cure) if words not in error]
    assert not missing, f"{missing} not in: {error}"
    assert place.results() == before, "the results folder was touched"
    assert not list(place.folder.rglob("CANARY*"))


def said(done) -> str:
    """The one error line of a script that failed."""
    assert done.returncode == 2, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr + done.stdout
    errors = ERROR.findall(done.stderr)
    assert len(errors) == 1, done.stderr
    assert done.stderr.rstrip("\n").endswith(errors[0]), "the error is the last line"
    assert errors[0].isprintable() and len(errors[0]) < 1000
    return errors[0]


def test_the_project_is_right_without_a_mistake(servers, clean_again):
    server = servers["light"]
    clean_again(server.project)
    place = Place(server.project)
    done = server.run(*PREPARE)
    assert done.returncode == 0, done.stderr
    assert "mine/data/train.csv" in place.results()


def test_a_fork_ends_as_a_process_of_its_own_does(servers, clean_again):
    server = servers["light"]
    clean_again(server.project)
    place = Place(server.project)
    for study in ("mine", "none"):
        script, *arguments = PREPARE
        arguments[1] = study
        alone = subprocess.run(
            [sys.executable, f"workflow/scripts/{script}", *arguments],
            cwd=place.folder,
            capture_output=True,
            text=True,
        )
        forked = server.run(script, *arguments)
        assert (alone.returncode, alone.stdout, alone.stderr) == (
            forked.returncode,
            forked.stdout,
            forked.stderr,
        )
