"""Turn the predictions of the unlabelled test split into a submission: CSV with fname,summary.

Examples:
  python workflow/scripts/submission.py \\
      --predictions results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/predictions \\
      --output results/embedded/submission/tiny_llama-chat-fine_tuned-seed42.csv

Where a study numbers its speakers (data.speakers), their own names stand in the summaries again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from yoyak.config.arguments import script_parser
from yoyak.data.dialogues import load_split
from yoyak.data.turns import with_own_names
from yoyak.errors import display, run_script
from yoyak.run.workspace import atomic_write_text, read_json
from yoyak.scoring.predictions import Prediction, match_predictions, read_predictions


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--predictions", type=Path, required=True, help="folder of test.jsonl")
    parser.add_argument(
        "--data", type=Path, help="folder of test.csv and data_card.json, to check against"
    )
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    write_submission(options.predictions, options.data, options.output)


def write_submission(folder: Path, data: Path | None, output: Path) -> None:
    """Write the test split's predictions as a submission, checked against `data` if given."""
    path = folder / "test.jsonl"
    predictions = read_predictions(path)
    if data is not None:
        test = data / "test.csv"
        fnames = [dialogue.fname for dialogue in load_split(test, labelled=False)]
        predictions = match_predictions(predictions, fnames, path, test)
        names = read_json(data / "data_card.json", "run prepare_data.py first").get("speakers", {})
        predictions = [
            replace(row, prediction=with_own_names(row.prediction, names.get(row.fname, [])))
            for row in predictions
        ]
    atomic_write_text(output, submission_csv(predictions))
    print(f"{display(output)}: {len(predictions)} summaries")


def submission_csv(predictions: list[Prediction]) -> str:
    """CSV text, one line per summary; line breaks inside a prediction become blanks."""
    rows = [(_harmless(row.fname), _harmless(row.prediction)) for row in predictions]
    table = pd.DataFrame(rows, columns=["fname", "summary"])
    return table.to_csv(index=False, lineterminator="\n")


def _harmless(text: str) -> str:
    """One line, with a blank before what a spreadsheet would take for a formula: no tokenizer of
    ROUGE sees the blank."""
    text = " ".join(text.split())
    return " " + text if text[:1] in ("=", "+", "-", "@") else text


if __name__ == "__main__":
    run_script(main)
