"""Merge an adapter into its base: a standalone model folder that plain transformers loads.

Examples:
  python workflow/scripts/merge_adapter.py --output-dir merged/tiny_llama \\
      --adapter results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/final_model
  python workflow/scripts/merge_adapter.py --experiment llama_3.2_3b --adapter final_model \\
      --output-dir merged/llama_3.2_3b

The adapter is merged into the dequantised base that it was trained on, so that the merged model
gives the summaries of generate.py. Its generation settings are greedy with all stop tokens:
`AutoModelForCausalLM.from_pretrained(folder).generate(...)` needs no further arguments. To
summarise with it here: summarize.py --checkpoint FOLDER.
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_model_arguments, find_config, script_parser
from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError, run_script
from yoyak.run.devices import claim_device
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_model_arguments(parser)
    parser.add_argument("--format", choices=["instruction", "chat"], help="whose stop tokens")
    parser.add_argument("--output-dir", type=Path, required=True, help="the new model folder")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    if args.adapter is None:
        raise UserError("--adapter is missing: name the final_model/ folder to merge")
    config, prompt_format = find_config(args)
    if args.checkpoint and args.use_qlora is None and config.lora.use_lora:
        raise UserError(
            "--checkpoint with --adapter: say --use_qlora if the adapter was trained on NF4 "
            "weights, else --no-use_qlora; merging into the wrong base changes the summaries"
        )
    if args.output_dir.exists() and not (args.output_dir / "config.json").is_file():
        raise UserError(f"{args.output_dir}: exists and is not a model folder; name a new one")
    with claim_device(config.execution.device) as device:
        merge(config, args.format or prompt_format, args.adapter, device, args.output_dir)
    print(f"wrote {args.output_dir}")


def merge(
    config: ModelConfig, prompt_format: str, adapter: Path, device: str, output: Path
) -> None:
    """Write the merged model, its tokenizer and its provenance."""
    from transformers import GenerationConfig

    from yoyak.data.prompts import stop_token_ids
    from yoyak.generation.decoding import DecodingSettings
    from yoyak.models.lora_loader import LoRALoader

    loader = LoRALoader(config, device=device, base_weights="dequantized")
    model, tokenizer = loader.load_for_generation(adapter)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=DecodingSettings.from_config(config).max_new_tokens,
        eos_token_id=stop_token_ids(tokenizer, prompt_format),
        pad_token_id=tokenizer.pad_token_id,
    )
    with atomic_directory(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_run_record(
            folder / "run.json",
            step="merge_adapter",
            settings=config.model_dump(),
            inputs=[adapter],
        )


if __name__ == "__main__":
    run_script(main)
