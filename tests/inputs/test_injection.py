"""Nothing from settings, data, names or wildcards reaches a shell: canaries that nobody may create.

The keys come from the schemas, so that a key that is added tomorrow is tried too.
"""

import copy
import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from forked_scripts import LIGHT, ScriptServer
from places import TALK, resolved
from workflow_project import ROOT, SMALL

from yoyak.config.loading import load_config
from yoyak.config.study import load_study
from yoyak.errors import UserError

# Every one would leave a file whose name begins with CANARY, were it ever run.
PAYLOADS = {
    "command": "$(touch CANARY_a)",
    "backticks": "`touch CANARY_b`",
    "semicolon": "; touch CANARY_c;",
    "line break": "\ntouch CANARY_d\n",
    "single quote": "'; touch CANARY_e; '",
    "double quote": '"; touch CANARY_f; "',
    "pipe": "| touch CANARY_g",
    "and": "&& touch CANARY_h",
    "option": "--output-dir=CANARY_i",
    "braces": "{touch CANARY_j}{input}{wildcards.model}{{x}}{ ${PATH}",
    "redirection": "> CANARY_k",
    "parents": "../CANARY_l",
    "pathvar": "<results>/<logs>",
    "Jinja": "{{ cycler.__init__.__globals__.os.popen('touch CANARY_m') }}",
    "variables": "$HOME %s %(x)s ~ * ? [a-z] \\",
}
# Refused in paths: Snakemake takes braces for wildcards and <name> for a folder of its own.
NO_PATH = ("line break", "braces", "Jinja", "pathvar", "redirection")
ALL = "".join(PAYLOADS.values())
PLAIN = "".join(text for name, text in PAYLOADS.items() if name not in NO_PATH).replace("/", "∕")
SCHEMAS = {
    name: json.loads((ROOT / "workflow" / "schemas" / f"{name}.schema.json").read_text())
    for name in ("model", "study", "config")
}


def text_keys(schema: dict, path: tuple = (), root: dict | None = None) -> list[tuple]:
    """Paths of all keys of a schema that may hold a text; a 0 at the end stands for a list."""
    root = root or schema
    schema = resolved(schema, root)
    if "properties" in schema:
        return [
            found
            for key, part in schema["properties"].items()
            for found in text_keys(part, (*path, key), root)
        ]
    found = []
    for part in schema.get("anyOf", [schema]):
        kinds = part.get("type", [])
        if "string" in kinds or "enum" in part or "const" in part:
            found.append(path)
        if "array" in kinds:
            found += text_keys(part["items"], (*path, 0), root)
    return list(dict.fromkeys(found))


def put(content: dict, path: tuple, text: str) -> dict:
    """A copy of `content` with this text under a key, in a list where the key holds one."""
    content = place = copy.deepcopy(content)
    keys = [key for key in path if key != 0]
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = [text] if path[-1] == 0 else text
    return content


MODEL = {"model": {"checkpoint": "workflow/resources/models/tiny_llama"}}
MODEL_KEYS = text_keys(SCHEMAS["model"])
STUDY_KEYS = text_keys(SCHEMAS["study"])


@pytest.fixture(scope="module")
def project(bare, tmp_path_factory):
    """At a path that is hostile itself."""
    name = "$(touch CANARY_n)`touch CANARY_o`;touch CANARY_p;'\"& <results> 요약"
    return bare.copy(tmp_path_factory.mktemp("hostile") / name)


@pytest.fixture(scope="module")
def server(project):
    server = ScriptServer(project.folder, LIGHT)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_canary(project):
    yield
    found = [str(path) for path in project.folder.parent.rglob("CANARY*")]
    found += [str(path) for path in Path.cwd().glob("CANARY*")]
    assert not found


def write(project, kind: str, content: dict) -> None:
    text = json.dumps(content, ensure_ascii=False)
    project.path(f"config/{kind}/hostile.yaml").write_text(text, encoding="utf-8")


def model_with(changes: dict) -> dict:
    return {"_base_": "../base/causal_lm.yaml", **changes}


def accepted(monkeypatch, tmp_path, kind: str, content: dict, load) -> bool:
    """Whether the real reader takes these settings; a refusal is one clear line."""
    folder = tmp_path / "config" / kind
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False)
    (folder / "hostile.yaml").write_text(text, encoding="utf-8")
    with monkeypatch.context() as there:
        there.chdir(tmp_path)
        try:
            load("hostile")
        except UserError as error:
            assert str(error).isprintable()
            return False
    return True


def taken(monkeypatch, tmp_path, kind: str) -> list[tuple]:
    """(path, payload) of all that the readers take."""
    base = (
        yaml.safe_load((ROOT / "config/base/causal_lm.yaml").read_text())
        if kind == "models"
        else {}
    )
    start = {**base, "model": {**base["model"], **MODEL["model"]}} if base else SMALL
    keys, load = (MODEL_KEYS, load_config) if kind == "models" else (STUDY_KEYS, load_study)
    return [
        (path, text)
        for path in keys
        for text in [*PAYLOADS.values(), PLAIN]
        if accepted(monkeypatch, tmp_path, kind, put(start, path, text), load)
    ]


def test_most_keys_take_no_free_text_at_all(monkeypatch, tmp_path):
    """What is left are sentences, paths, patterns of module names and column names."""
    free = {".".join(map(str, path)) for path, _ in taken(monkeypatch, tmp_path, "models")}
    assert free == {
        *("model.checkpoint", "prompts", "lora.exclude_modules"),
        *("lora.exclude_modules.0", "lora.target_parameters.0"),
    }
    free = {".".join(map(str, path)) for path, _ in taken(monkeypatch, tmp_path, "studies")}
    assert free == {
        *("description", "report.note", "data.train", "data.dev", "data.test"),
        *("data.columns.fname", "data.columns.dialogue", "data.columns.summaries.0"),
        *("data.columns.topic", "data.columns.group", "data.columns.cluster"),
        "metric.bertscore.checkpoint",
    }


def hostile_study(name: str = PLAIN) -> dict:
    """Every free text of a study is hostile, and its files and columns exist all the same."""
    columns = {key: f"{key} {ALL}".replace("\n", "")[:200] for key in ("fname", "dialogue")}
    columns |= {key: f"{key} {name}"[-200:] for key in ("topic", "group", "cluster")}
    half = len(name) // 2
    return {
        **SMALL,
        "description": ALL,
        "report": {"note": ALL},
        "data": {
            **{
                split: f"data/{split} {name[:half]}/{split} {name[half:]}.csv"
                for split in ("train", "dev", "test")
            },
            "columns": {**columns, "summaries": [f"summary {name}"[:200]]},
        },
        "models": ["hostile"],
    }


def write_data(project, study: dict) -> None:
    columns = study["data"]["columns"]
    header = [columns["fname"], columns["dialogue"], columns["summaries"][0]]
    for split in ("train", "dev", "test"):
        project.path(study["data"][split]).parent.mkdir(parents=True, exist_ok=True)
        with open(project.path(study["data"][split]), "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*header, *(columns[key] for key in ("topic", "group", "cluster"))])
            for number in range(40 if split == "train" else 4):
                payload = list(PAYLOADS.values())[number % len(PAYLOADS)].replace("\n", " ")
                cells = [f"{split}{number} {payload}", f"{TALK} {payload} {split}{number}"]
                writer.writerow([*cells, f"{payload} 요약", payload, payload, payload])


def write_hostile(project, study: dict, checkpoint: str = PLAIN) -> None:
    """The study, its data, and a model whose checkpoint lies in a folder of a hostile name."""
    write(project, "studies", study)
    write_data(project, study)
    half = len(checkpoint) // 2
    folder = f"checkpoints {checkpoint[:half]}/model {checkpoint[half:]}"
    if not project.path(folder).is_dir():
        project.path(folder).parent.mkdir(parents=True, exist_ok=True)
        project.path(folder).symlink_to(project.path("workflow/resources/models/tiny_llama"))
    write(project, "models", model_with({"model": {"checkpoint": folder}}))


def snakemake(project, *arguments) -> str:
    done = project.snakemake(*arguments, "--config", "study=hostile", "debug=true")
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_a_study_of_hostile_texts_is_planned_and_its_data_prepared(project):
    """By real runs, at a hostile path: data files, columns, checkpoint, description, cells."""
    write_hostile(project, hostile_study())
    assert "train" in snakemake(project, "-n", "-p")
    snakemake(project, "results/hostile-debug/data/train.csv")
    rows = project.path("results/hostile-debug/data/train.csv").read_text(encoding="utf-8")
    assert "$(touch CANARY_a)" in rows


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAYLOADS if name not in NO_PATH])
def test_each_payload_by_itself(project, name):
    text = PAYLOADS[name].replace("/", "∕")
    write_hostile(project, hostile_study(text), checkpoint=text)
    snakemake(project, "-n")
    snakemake(project, "results/hostile-debug/data/train.csv", "--forceall")


@pytest.mark.slow
def test_a_whole_study_of_hostile_texts(project):
    """Every rule is run, down to the report and the submission."""
    write_hostile(project, hostile_study())
    snakemake(project)
    report = project.path("results/hostile-debug/report.html").read_text(encoding="utf-8")
    assert "touch CANARY_a" in report and "<results>" not in report


WILDCARDS = (
    "results/small-debug/runs/{0}/default/chat/fine_tuned/seed42/run.json",
    "results/small-debug/runs/tiny_llama/default/{0}/fine_tuned/seed42/run.json",
    "results/small-debug/runs/tiny_llama/default/chat/{0}/seed42/run.json",
    "results/small-debug/runs/tiny_llama/default/chat/fine_tuned/seed{0}/run.json",
    "results/small-debug/zero_shot/{0}/chat/scores/run.json",
    "results/small-debug/submission/{0}.csv",
    "results/small-debug/{0}/scores/run.json",
)


def refused_target(project, target: str) -> None:
    done = project.snakemake("-n", target)
    assert done.returncode != 0, done.stdout[-2000:]


def test_a_folder_with_braces_is_refused_by_name(bare, tmp_path):
    """Snakemake itself takes them for wildcards, and would end in a traceback."""
    done = bare.copy(tmp_path / "a {folder}").snakemake("-n")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert re.search(r"error: .*a {folder}: .*rename this folder", done.stdout)


def test_wildcards(project):
    for target in (WILDCARDS[0], WILDCARDS[-1]):
        refused_target(project, target.replace("{0}", PLAIN))


@pytest.mark.slow
@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("target", WILDCARDS)
def test_every_payload_in_every_wildcard(project, name, target):
    refused_target(project, target.replace("{0}", PAYLOADS[name]))


@pytest.mark.parametrize("key", ["study", "debug"])
def test_settings_of_the_command_line(project, key):
    done = project.snakemake("-n", "--config", f"{key}={PLAIN}")
    assert done.returncode != 0 and "error: " in done.stdout


@pytest.mark.parametrize("text", [ALL, PLAIN, PAYLOADS["option"], PAYLOADS["parents"]])
def test_arguments_of_scripts(server, text):
    """Names are looked up among the files that exist, and no argument is ever a command."""
    for command in (
        ("prepare_data.py", f"--study={text}"),
        ("build_dataset.py", f"--experiment={text}", "--format", "chat", "--study", "small"),
        ("train_llm.py", f"--experiment={text}", "--study", "small"),
        ("generate.py", "--experiment", "tiny_llama", "--format", "chat", "--study", "small",
         f"--adapter={text}", f"--data={text}", "--output-dir", "results/x"),
        ("score.py", "--study", "small", f"--data={text}", f"--predictions={text}",
         "--output-dir", "results/x"),
    ):  # fmt: skip
        done = server.run(*command)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
