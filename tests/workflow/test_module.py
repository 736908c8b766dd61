"""The Snakefile as a module of another workflow, which has its own settings and its own place."""

import json
import subprocess
import sys

import pytest
from workflow_project import ROOT, SMALL, environment

MAIN = """
configfile: "config.yaml"

module yoyak:
    snakefile: "{root}/Snakefile"
    {more}

use rule * from yoyak as yoyak_*

rule all:
    default_target: True
    input:
        {target},
"""
OURS = "rules.yoyak_all.input"


@pytest.fixture
def place(tmp_path):
    """A workflow of somebody else's, with a study of its own on its own data."""
    folder = tmp_path / "남의 workflow"
    (folder / "config" / "studies").mkdir(parents=True)
    (folder / "config.yaml").write_text("samples: s.tsv\nyoyak: {study: mine, debug: true}\n")
    study = json.dumps({**SMALL, "augmentations": ["none"]}, ensure_ascii=False)
    (folder / "config" / "studies" / "mine.yaml").write_text(study)
    return folder


def snakemake(folder, *arguments, target=OURS, **directives):
    more = "\n    ".join(f"{key}: {value}" for key, value in directives.items())
    (folder / "Snakefile").write_text(MAIN.format(root=ROOT, more=more, target=target))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), text=True, timeout=900,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("directives", "report"),
    [
        ({}, "results/embedded/report.html"),
        ({"config": 'config["yoyak"]'}, "results/mine-debug/report.html"),
        (
            {"config": 'config["yoyak"]', "prefix": '"sub"'},
            "sub/results/mine-debug/report.html",
        ),
        (
            {
                "config": 'config["yoyak"]',
                "pathvars": '\n        results="out",\n        logs="l",',
            },
            "out/report.html",
        ),
    ],
    ids=["plain", "config", "prefix", "pathvars"],
)
def test_a_module_plans(place, directives, report):
    done = snakemake(place, "-n", **directives)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f" {report}" in done.stdout and "yoyak_train" in done.stdout


@pytest.mark.slow
def test_a_module_runs_under_a_prefix(place):
    target = '"sub/results/mine-debug/report.html"'
    done = snakemake(place, config='config["yoyak"]', prefix='"sub"', target=target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (place / "sub/results/mine-debug/report.html").is_file()
    outside = [each for each in ("results", "logs") if (place / each).exists()]
    assert not outside, "something was written outside the prefix"


def test_raw_data_that_another_rule_makes_lie_outside_the_prefix(place):
    data = {"train": "made/train.csv", "dev": "made/dev.csv"}
    study = json.dumps({**SMALL, "data": data}, ensure_ascii=False)
    (place / "config" / "studies" / "mine.yaml").write_text(study)
    target = OURS + '\n\nrule make_data:\n    output: "made/{split}.csv"'
    done = snakemake(place, "-n", config='config["yoyak"]', prefix='"sub"', target=target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " made/train.csv" in done.stdout and "sub/made" not in done.stdout


def test_only_a_key_that_is_nearly_ours_is_refused(place):
    (place / "config.yaml").write_text("yoyak: {study: mine, samples: s.tsv, colour: red}\n")
    assert snakemake(place, "-n", config='config["yoyak"]').returncode == 0
    (place / "config.yaml").write_text("yoyak: {stduy: mine}\n")
    done = snakemake(place, "-n", config='config["yoyak"]')
    assert "error: the module's config: unknown key 'stduy'; did you mean 'study'?" in done.stdout
