"""Every command that the documents show is run as it stands, or excused here by name and reason.

A command is a line of a fenced `sh` block, or an inline span that begins with a program's name.
They run in the documents' order in one small copy of the project: the 3B and 4B model files are
the embedded models there, data/raw/ has 30 rows, the studies have few cells.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from workflow_project import ROOT, environment

from yoyak.config.hub_dataset import hub_dataset
from yoyak.config.study import load_study

DOCUMENTS = ("README.md", "config/README.md", "docs/first_study.md", "docs/usage.md")
PROGRAMS = r"snakemake|python|pip|make|hf|tail|source|git|sbatch|printf|cat"

# Begins a command: why it is not run here.
EXCUSED = {
    "make": "installs what is pinned; the CI's own commands",
    "source .venv/bin/activate": "the tests' environment is active already",
    "pip install": "installs; tests/workflow/test_environments.py checks what the files pin",
    "hf auth login": "asks for a token",
    "snakemake --workflow-profile profiles/slurm": "test_slurm.py runs it on a real SLURM",
    "snakemake --cores 16 --resources gpu=4": "needs four GPUs",
    "snakemake --cores 32 --resources gpu=4": "needs four GPUs",
    "snakemake yoyak_all": "another folder: test_the_module",
    "python tests/workflow/kill_study.py": "40 minutes; test_kills_at_random.py runs ten",
    "python tests/test_lora_loader.py": "tests/unit/test_documented_tests.py runs it",
}
# Said in a document: what it means here, where a command must end and name its cores.
SAID = {"tail -f": "tail", "snakemake --retries": "snakemake --cores 1 --retries"}
SLOW = (  # a whole study, or a training more
    "snakemake --cores all --resources gpu=1 --forcerun",
    "python workflow/scripts/train_llm.py --experiment llama_3.2_3b --use_qlora --use_instruction",
    "snakemake --config study=korean_dialogsum --cores",
    "snakemake --cores all --resources gpu=1 --config study=korean_dialogsum",
    "tail -f logs/korean_dialogsum",
    "snakemake --cores all --resources gpu=1 --config study=mine",
    "python workflow/scripts/summarize.py data/mine/",
)


def commands_of(text: str) -> list[str]:
    """Commands in a Markdown text, in order, each once; its comments left out."""
    found = []
    for block, inline in re.findall(r"^ *```sh\n(.*?)^ *```|`([^`\n]+)`", text, re.S | re.M):
        if inline and not re.match(rf"(?:{PROGRAMS}) \S", inline):
            continue
        lines = re.sub(r"\\\n", " ", block).splitlines() if block else [inline]
        for line in lines:
            command = re.sub(r"\s+#(?![\w']).*$", "", line).strip()
            command = re.sub(r"\s{2,}", " ", command)
            if command and not command.startswith("#") and command not in found:
                found.append(command)
    return found


def documented() -> list:
    parameters, seen = [], set()
    for name in DOCUMENTS:
        for command in commands_of((ROOT / name).read_text(encoding="utf-8")):
            if command in seen:
                continue
            seen.add(command)
            marks = [pytest.mark.slow] if command.startswith(SLOW) else []
            parameters.append(pytest.param(command, marks=marks, id=f"{name}: {command}"))
    return parameters


@pytest.fixture(scope="module")
def place(bare, tmp_path_factory) -> Path:
    """The project with small data and models in place of the real ones; the embedded study done."""
    project = bare.copy(tmp_path_factory.mktemp("readme") / "project")
    dialogues = project.path("workflow/resources/dialogues")
    raw, mine = project.path("data/raw"), project.path("data/mine")
    raw.mkdir(parents=True)
    mine.mkdir()
    for split in ("train", "dev", "test"):
        rows = pd.read_csv(dialogues / f"{split}.csv")
        rows[:30].to_csv(raw / f"{split}.csv", index=False)
        rows[:30].to_csv(dialogues / f"{split}.csv", index=False)
        if split != "test":
            names = {"fname": "id", "dialogue": "conversation", "summary": "gist"}
            rows = rows[list(names)].rename(columns=names)[: {"train": 48, "dev": 12}[split]]
            rows.to_json(mine / f"{split}.jsonl", orient="records", lines=True, force_ascii=False)
    for name, tiny in (("llama_3.2_3b", "tiny_llama"), ("qwen3_4b", "tiny_qwen3")):
        text = f"_base_: {tiny}.yaml\nexperiment: {{name: {name}_qlora}}\n"
        text += "training: {epochs: 1}\n"
        project.path(f"config/models/{name}.yaml").write_text(text)
    study = block("docs/first_study.md", "yaml", "description:")
    project.path("config/studies/mine.yaml").write_text(study, encoding="utf-8")
    shrink(project.path("config/studies/korean_dialogsum.yaml"), "llama_3.2_3b")
    shrink(project.path("config/studies/embedded.yaml"), "tiny_llama")
    run("snakemake --cores all --resources gpu=1", project.folder)
    return project.folder


def shrink(study: Path, model: str) -> None:
    """One cell is left of its grid, and of its trainings two steps."""
    text = study.read_text(encoding="utf-8")
    for key, value in (("models", model), ("formats", "chat"), ("augmentations", "none")):
        text, count = re.subn(rf"^{key}: .*$", f"{key}: [{value}]", text, flags=re.M)
        assert count == 1, f"{study.name}: {key}"
    text = text.replace("max_steps: 75", "max_steps: 2").replace("mission: {seeds: [42]}", "")
    study.write_text(text, encoding="utf-8")


def run(command: str, folder: Path) -> str:
    """Run a command as a shell does in a project whose .venv is active; returns what it prints."""
    for said, meant in SAID.items():
        command = command.replace(said, meant)
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment() | {"PATH": binaries}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
    for written in re.findall(r"(?:--output|--output-dir|--report|>) (\S+)", command):
        assert (folder / written).exists(), f"{command}\nwrote no {written}\n{done.stdout[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("command", documented())
def test_a_command_does_what_it_says(command, request):
    reason = next((why for begin, why in EXCUSED.items() if command.startswith(begin)), None)
    if reason:
        return
    run(command, request.getfixturevalue("place"))


def test_what_is_excused_stands_in_a_document():
    commands = [parameter.values[0] for parameter in documented()]
    for begin in (*EXCUSED, *SLOW, *SAID):
        assert any(each.startswith(begin) for each in commands), f"nothing begins with {begin!r}"


def test_the_korean_readme_has_the_same_commands_in_the_same_order():
    english, korean = (ROOT / name for name in ("README.md", "README.ko.md"))
    assert english.name in korean.read_text(encoding="utf-8")[:200]
    assert korean.name in english.read_text(encoding="utf-8")[:200]
    found = [commands_of(file.read_text(encoding="utf-8")) for file in (english, korean)]
    assert found[0] == found[1] and len(found[0]) > 8
    links = [re.findall(r"\]\((.+?)\)", file.read_text("utf-8"))[1:] for file in (english, korean)]
    assert [link.replace("-ko.png", ".png") for link in links[1]] == links[0]


def test_no_block_escapes():
    """A block that is no commands is one that a test reads: here, or in test_library.py."""
    others = {
        "README.md": [],
        "config/README.md": ["yaml", "yaml", "python"],
        "docs/first_study.md": ["json", "yaml"],
        "docs/usage.md": ["python"],
    }
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        kinds = re.findall(r"^ *```(\S*)\n.*?^ *```$", text, re.S | re.M)
        assert [kind for kind in kinds if kind != "sh"] == others[name], name


def block(document: str, language: str, beginning: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)
    (found,) = [each for each in blocks if each.startswith(beginning)]
    return found


def test_the_datasets_of_the_hub_are_ones():
    data = yaml.safe_load(block("config/README.md", "yaml", "data:"))["data"]
    assert {hub_dataset(text).name for text in data.values()} == {"owner/name"}


def test_the_variants_of_lora_are_ones(tmp_path, monkeypatch):
    study = (ROOT / "config/studies/embedded.yaml").read_text(encoding="utf-8")
    (tmp_path / "config/studies").mkdir(parents=True)
    shown = block("config/README.md", "yaml", "variants:")
    (tmp_path / "config/studies/shown.yaml").write_text(f"{study}\n{shown}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(load_study("shown").variants) == 5


def test_the_module(tmp_path):
    (tmp_path / "yoyak").symlink_to(ROOT)
    (tmp_path / "config.yaml").write_text("yoyak: {study: embedded}\n")
    (tmp_path / "Snakefile").write_text(block("config/README.md", "python", "configfile:"))
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    (command,) = [each for each in commands_of(text) if each.startswith("snakemake yoyak_all")]
    assert "summaries/results/embedded/report.html" in run(f"{command} -n", tmp_path)


def test_the_table_of_cards_is_what_plan_prints(tmp_path):
    text = (ROOT / "config/studies/korean_dialogsum.yaml").read_text(encoding="utf-8")
    for key, value in (
        ("models", "llama_3.2_3b, qwen3_4b, llama_3_8b"),
        ("formats", "chat"),
        ("augmentations", "none"),
    ):
        text = re.sub(rf"^{key}: .*$", f"{key}: [{value}]", text, flags=re.M)
    (tmp_path / "config/studies").mkdir(parents=True)
    (tmp_path / "config/studies/cards.yaml").write_text(text, encoding="utf-8")
    readme = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    (head,) = re.findall(r"^\| GPU \| 3B.*$", readme, re.M)
    smallest = re.findall(r"[\d.]+ GiB", head)
    cards = re.findall(r"^\| \d+ GB, (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", readme, re.M)
    assert len(smallest) == 3 and len(cards) == 5
    for card, *cells in cards:
        command = f"python {ROOT}/workflow/scripts/plan.py --study cards --device '{card}'"
        rows = re.findall(r"/tuned/chat/fine_tuned/seed42 +(.*)$", run(command, tmp_path), re.M)
        for cell, least, row in zip(cells, smallest, rows, strict=True):
            if cell == "does not fit":
                assert row.startswith("cannot be planned"), card
            else:
                planned = re.split(r" {2,}", row)[-2:]
                assert planned == [least, cell.split(",")[0]], card
