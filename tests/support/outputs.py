"""What a study declares to make, and whether a file of it is whole: equal to an undisturbed run's.

Times differ from run to run. They are left out here and nowhere else:
  run.json            the keys in TIMED_KEYS
  training_log.csv    the column tokens_per_second
  tables/resources.*  the numbers
  plots/cost.*        the drawing (it must still end as an SVG or PNG ends)
  report.html         the lines that hold one of those
"""

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from workflow_project import Project

TIMED_KEYS = {
    *("created", "wall_seconds", "generation_seconds", "tokens_per_second", "peak_memory_gb"),
    *("resumed_from_step", "seconds"),
}
TIMED_LINE = re.compile(
    r'data-cell="resources/|aria-label="Quality against the wall time|<dt>(Made|Compared)</dt>'
    rf"|&#34;({'|'.join(sorted(TIMED_KEYS))})&#34;"
)
SNAKEMAKES_OWN = ".snakemake_timestamp"


def declared_outputs(finished: Project) -> dict[str, str]:
    """Rule of every declared output (a file, or a folder declared whole), by its path."""
    shown = finished.run("--summary")
    lines = [line.split("\t") for line in shown.splitlines()]
    return {line[0]: line[2] for line in lines if len(line) == 6 and line[0] != "output_file"}


def content(path: Path) -> object:
    """A file's content without times; a folder's by name of each file. ValueError if malformed."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(f.relative_to(path)): content(f) for f in inside if f.name != SNAKEMAKES_OWN}
    data = path.read_bytes()
    if path.name == "run.json":
        return _untimed(json.loads(data))
    if path.name == "training_log.csv":
        return [
            {name: cell for name, cell in row.items() if name != "tokens_per_second"}
            for row in csv.DictReader(data.decode("utf-8").splitlines())
        ]
    if path.stem == "resources":
        return re.sub(rb"\d+(\.\d+)?", b"0", data), data.endswith(b"\n")
    if path.stem == "cost":
        return data[:8], data.rstrip()[-8:]
    if path.name == "report.html":
        lines = data.decode("utf-8").splitlines()
        return [line for line in lines if not TIMED_LINE.search(line)]
    return data


def _untimed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _untimed(part) for key, part in value.items() if key not in TIMED_KEYS}
    return [_untimed(part) for part in value] if isinstance(value, list) else value


def kept_aside(file: Path) -> bool:
    """Whether a training's results lie in its work folder, from which a restart takes them.

    Snakemake deletes the outputs of a job that ended unseen, beside the one that was killed.
    """
    return any(any((place / ".work").glob("*/finished.json")) for place in file.parents)


class Reference:
    """The undisturbed run.

    Attributes:
        rules: rule of every declared output, by its path below the project.
    """

    def __init__(self, finished: Project):
        self.folder = finished.folder
        self.rules = declared_outputs(finished)
        self._content = {path: content(finished.path(path)) for path in self.rules}
        self.seconds = _seconds_of_rules(finished.results / "benchmarks")

    def present(self, project: Project) -> set[str]:
        return {path for path in self.rules if os.path.lexists(project.path(path))}

    def faults(self, project: Project, paths: set[str]) -> Iterator[str]:
        """Those outputs that exist and are not what the undisturbed run made, with the reason."""
        for path in sorted(paths):
            try:
                if content(project.path(path)) != self._content[path]:
                    yield f"{path}: differs from the undisturbed run"
            except FileNotFoundError:
                continue  # an orphan or Snakemake took it away while we looked: absent, not partial
            except (OSError, ValueError) as error:
                yield f"{path}: {type(error).__name__}: {error}"

    def of_rule(self, rule: str) -> list[str]:
        return [path for path, its_rule in self.rules.items() if its_rule == rule]


def _seconds_of_rules(benchmarks: Path) -> dict[str, float]:
    """Mean wall seconds of each rule's jobs, from Snakemake's benchmark files."""
    found: dict[str, list[float]] = {}
    for file in benchmarks.rglob("*.tsv"):
        rule = file.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        if rule == "generate" and "zero_shot" in file.relative_to(benchmarks).parts:
            rule = "generate_zero_shot"
        _, row = file.read_text().splitlines()[:2]
        found.setdefault(rule, []).append(float(row.split("\t")[0]))
    return {rule: sum(times) / len(times) for rule, times in found.items()}
