"""Summarise your own dialogues with any checkpoint, with or without an adapter.

Examples:
  python workflow/scripts/summarize.py --experiment tiny_llama dialogue.txt
  python workflow/scripts/summarize.py dialogues.csv --output summaries.csv \\
      --adapter results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/final_model
  python workflow/scripts/summarize.py 'hf:owner/name?split=test' --experiment qwen3_4b
  cat dialogue.txt | python workflow/scripts/summarize.py --checkpoint Qwen/Qwen3-4B-Instruct-2507

A text file or stdin is one dialogue, one turn a line (`#Person1#: 안녕하세요.`), and its summary is
printed. A table holds many (fname, dialogue, or the columns of --study) and gives CSV
(fname,summary): whatever data.train of a study may be, such as a .csv, .json, .jsonl or .parquet
file, a folder that `datasets` saved, or a dataset on the Hub.
With --adapter alone, model, prompts and settings are those of its training (its run.json), whatever
config/ says now.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from yoyak.config.arguments import (
    add_decoding_arguments,
    add_model_arguments,
    add_prompt_arguments,
    find_config,
    script_parser,
    with_decoding,
    with_prompts,
)
from yoyak.config.hub_dataset import PREFIX
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Study, load_study
from yoyak.data.cleaning import clean_text
from yoyak.data.dialogues import Dialogue, read_dialogues
from yoyak.data.reading import TABLE_FILES
from yoyak.errors import UserError, imports_are_done, run_script
from yoyak.run.devices import claim_device
from yoyak.run.workspace import atomic_write_text


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument(
        "input",
        nargs="?",
        default="-",
        help="a text file or a table (see above); - or nothing: stdin",
    )
    add_model_arguments(parser)
    add_prompt_arguments(parser)
    parser.add_argument("--study", help="whose prompts and data.columns the input has")
    parser.add_argument("--output", type=Path, help="write here instead of to stdout")
    add_decoding_arguments(parser)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    config, prompt_format = find_config(args)
    config = with_decoding(config, args)
    study = load_study(args.study) if args.study else None
    config = with_prompts(config, args, study.settings if study else None)
    rows, single = read_input(args.input, study)
    with claim_device(config.execution.device) as device:
        summaries = summarize(rows, config, device, args.adapter, args.format or prompt_format)
    text = summaries[0] + "\n" if single else as_csv(rows, summaries)
    if args.output is None:
        sys.stdout.write(text)
    else:
        atomic_write_text(args.output, text)


def read_input(source: str, study: Study | None = None) -> tuple[list[Dialogue], bool]:
    """The dialogues, read by a study's column names, and whether the input is one plain text.

    Raises UserError for a missing, empty or non-UTF-8 file, and for bad rows of a table.
    """
    path = Path(source)
    if source.startswith(PREFIX) or path.suffix.lower() in TABLE_FILES or path.is_dir():
        data = study.settings.data if study else None
        columns = data.columns.model_dump() if data else None
        numbered = data is not None and data.speakers == "numbered"
        return read_dialogues(source, columns, labelled=False, numbered=numbered), False
    try:
        raw = sys.stdin.buffer.read() if source == "-" else path.read_bytes()
        text = clean_text(raw.decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    if not text:
        raise UserError(f"{'stdin' if source == '-' else source}: contains no dialogues")
    return [Dialogue(source, text)], True


def summarize(
    rows: list[Dialogue],
    config: ModelConfig,
    device: str,
    adapter: Path | None,
    prompt_format: str,
) -> list[str]:
    """One summary per dialogue, exactly as generate.py would write it."""
    from yoyak.data.encoding import build_prompts
    from yoyak.generation.loading import load_model, plan_loading
    from yoyak.generation.summaries import write_summaries

    model, tokenizer = load_model(config, plan_loading(config, device), adapter)
    imports_are_done()
    prompts, shortened = build_prompts(rows, tokenizer, config, prompt_format, config.texts)
    for row, short in zip(rows, shortened, strict=True):
        if short:
            print(f"note: {row.fname}: shortened to fit tokenizer.encoder_max_len", file=sys.stderr)
    return write_summaries(model, tokenizer, prompts, config, prompt_format)


def as_csv(rows: list[Dialogue], summaries: list[str]) -> str:
    table = pd.DataFrame({"fname": [row.fname for row in rows], "summary": summaries})
    return table.to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    run_script(main)
