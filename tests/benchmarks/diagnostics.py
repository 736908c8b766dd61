"""Diagnostics of people, of their falsified summaries and of floors: what do they tell apart?

Rows: the first references, the same falsified in each way, one training summary for all (the
eighth), other dialogues' references, the first three turns. docs/validity.md has the table.

Examples:
  python tests/benchmarks/diagnostics.py ko workflow/resources/dialogues/dev.csv \\
      --training workflow/resources/dialogues/train.csv
"""

import argparse
from pathlib import Path

import pandas as pd
from falsified import read, references

from yoyak.config.study_settings import PRIMARY
from yoyak.data.dialogues import Dialogue
from yoyak.scoring.diagnostics import diagnose_all, diagnose_people
from yoyak.scoring.falsify import falsified_texts
from yoyak.scoring.reader import Reader
from yoyak.scoring.tokenizers import make_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("language", choices=("ko", "en"))
    parser.add_argument("file", type=Path, help="CSV or JSON lines with dialogue, summary…")
    parser.add_argument("--training", type=Path, nargs="+", required=True, help="files like it")
    options = parser.parse_args()
    table = read(options.file)
    names = [name for name in table.columns if str(name).startswith("summary")]
    dialogues = [
        Dialogue(str(place), row["dialogue"], tuple(row[names].dropna()))
        for place, row in table.iterrows()
    ]
    training = [text for file in options.training for text in references(file)]
    tokenize = make_tokenizer(PRIMARY[options.language]).tokenize
    reader = Reader(options.language, tokenize, training)
    first = [dialogue.summary for dialogue in dialogues]
    texts = {
        **falsified_texts([dialogue.summaries for dialogue in dialogues], options.language),
        "constant": [training[7]] * len(first),
        "other reference": first[1:] + first[:1],
        "first 3 turns": ["\n".join(dialogue.turns[:3]) for dialogue in dialogues],
    }
    rows = {name: diagnose_all(of_name, dialogues, reader) for name, of_name in texts.items()}
    found = pd.DataFrame({"people": diagnose_people(dialogues, reader), **rows})
    print(found.T.round(3).to_string())


if __name__ == "__main__":
    main()
