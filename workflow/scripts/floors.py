"""Score a study's floors (texts that need no understanding), human agreement and falsified
references.

Reads  {data}/train.csv and {data}/dev.csv
Writes {output-dir}/texts.jsonl, dialogues.csv and run.json

Examples:
  python workflow/scripts/floors.py --study embedded --data results/embedded/data \\
      --output-dir results/embedded/floors
"""

import argparse
import time
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue, load_split
from yoyak.errors import display, run_script
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory
from yoyak.scoring.diagnostics import diagnose_all, diagnose_people
from yoyak.scoring.floors import Texts, floor_texts, score_levels, write_levels
from yoyak.scoring.metrics import open_metrics
from yoyak.scoring.reader import Reader
from yoyak.scoring.scores import tidy
from yoyak.scoring.tokenizers import make_tokenizer

# Shown in tables/diagnostics.csv beside human summaries. First turns only copy the dialogue.
DIAGNOSED = (
    *("floor_constant", "floor_nearest"),
    *("falsified_speakers", "falsified_numbers", "falsified_negated", "falsified_all"),
)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.csv and dev.csv")
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    settings = open_study(options).settings
    score_floors(settings.metric, settings.language, options.data, options.output_dir)


def score_floors(metric: Metric, language: str, data: Path, output: Path) -> None:
    """Score the floors of the dialogues in a folder with a study's metric settings."""
    started = time.perf_counter()
    train, dev = data / "train.csv", data / "dev.csv"
    dialogues = load_split(dev)
    training = load_split(train)
    metrics = open_metrics(metric)
    texts = floor_texts(training, dialogues, metric, language)
    scores = score_levels(dialogues, texts, metrics, metric.seed)
    references = [dialogue.summaries for dialogue in dialogues]
    with atomic_directory(output) as folder:
        write_levels(folder, dialogues, texts, scores)
        write_run_record(
            folder / "run.json",
            step="floors",
            settings={"language": language, "metric": metric.model_dump()},
            inputs=[train, dev],
            seed=metric.seed,
            signatures={name: one.signature(references) for name, one in metrics.items()},
            diagnostics=context_diagnostics(training, dialogues, texts, metric, language),
            wall_seconds=round(time.perf_counter() - started, 2),
        )
    print(f"{display(output)}: {len(dialogues)} dialogues")
    for name, of_name in scores.items():
        mean = 100 * of_name[metric.primary]["mean"].mean()
        print(f"  {name:24} {metric.primary} mean {mean:6.2f}")


def context_diagnostics(
    training: list[Dialogue], dialogues: list[Dialogue], texts: Texts, metric: Metric, language: str
) -> dict[str, dict]:
    """Diagnostics of human summaries, floors and falsified references, by name."""
    tokenize = make_tokenizer(metric.primary).tokenize
    reader = Reader(language, tokenize, [dialogue.summary for dialogue in training])
    found = {"people": diagnose_people(dialogues, reader)}
    found |= {name: diagnose_all(texts[name], dialogues, reader) for name in DIAGNOSED}
    return {
        name: {key: tidy(value) for key, value in figures.items()}
        for name, figures in found.items()
    }


if __name__ == "__main__":
    run_script(main)
