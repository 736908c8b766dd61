"""Show exactly what a model sees: the generation prompt, then every token of a training example.

Examples:
  python workflow/scripts/preview.py --experiment tiny_llama
  python workflow/scripts/preview.py --experiment qwen3_4b --study korean_dialogsum \\
      --format instruction --row train_17

  python workflow/scripts/preview.py --experiment tiny_llama --few-shot 2

Tokens that carry a loss are marked with *. The row is read from the raw files, cleaned: those of
the study, else those that train_llm.py would train on (data/raw; for an embedded model the
embedded dialogues). The examples of --few-shot are the study's own once its data is prepared.
"""

import argparse
import os
import sys

from yoyak.config.arguments import add_few_shot_argument, add_prompts_argument, script_parser
from yoyak.config.loading import load_config
from yoyak.config.prompts import FORMATS
from yoyak.config.study import Study, load_study, with_prompts
from yoyak.data.dialogues import Dialogue, load_split, read_dialogues
from yoyak.data.own_data import check_own_data, own_study
from yoyak.data.splits import raw_data
from yoyak.errors import UserError, run_script


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--experiment", required=True, help="a file of config/models/")
    parser.add_argument("--format", choices=FORMATS, help="default: the model file's format_type")
    parser.add_argument("--study", help="whose data: a file of config/studies/; default: its own")
    add_prompts_argument(parser, "those of the study or the model file")
    parser.add_argument("--row", help="fname of the dialogue; default: the first train row")
    add_few_shot_argument(parser)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    if args.study:
        study = load_study(args.study)
    else:
        study = own_study(args.experiment, load_config(args.experiment))
        check_own_data(study)
    known = args.experiment in study.models
    config = study.model(args.experiment) if known else load_config(args.experiment)
    config = config.model_copy(update={"prompts": args.prompts or config.prompts})
    config = with_prompts(config, study.settings)
    row = find_row(study, args.row)

    from yoyak.data.few_shot import choose_examples
    from yoyak.data.preview import preview
    from yoyak.models.lora_loader import LoRALoader

    tokenizer = LoRALoader(config).load_tokenizer()
    try:
        prompt_format = args.format or config.dataset.format_type
        shown = tokenizer, config, prompt_format, config.texts
        examples = []
        if args.few_shot:
            examples = choose_examples(train_rows(study), args.few_shot, *shown)
        print(preview(row, *shown, examples), flush=True)
    except BrokenPipeError:  # the reader (`head`, a pager) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def train_rows(study: Study) -> list[Dialogue]:
    """The prepared train split, which examples are drawn from; without it the raw one."""
    prepared = study.results / "data" / "train.csv"
    if prepared.is_file():
        return load_split(prepared)
    print(
        f"{prepared} is not there: examples of {study.settings.data.train}, which may be other ones"
    )
    return raw_rows(study, "train")


def raw_rows(study: Study, split: str) -> list[Dialogue]:
    settings = study.settings.data
    return read_dialogues(
        raw_data(study.source, settings, split),
        settings.columns.model_dump(),
        labelled=split != "test",
        numbered=settings.speakers == "numbered",
    )


def find_row(study: Study, fname: str | None) -> Dialogue:
    """The named row of the study's train, dev or test file (default: train's first)."""
    settings = study.settings.data
    for split in ("train", "dev", "test"):
        if not getattr(settings, split):
            continue
        for row in raw_rows(study, split):
            if fname in (None, row.fname):
                return row
    files = ", ".join(filter(None, (settings.train, settings.dev, settings.test)))
    raise UserError(f"--row {fname}: no dialogue of {files} has this fname")


if __name__ == "__main__":
    run_script(main)
