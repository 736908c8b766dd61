"""Merge an adapter into its base: a standalone model folder for transformers, vLLM and Ollama.

Examples:
  python workflow/scripts/merge_adapter.py --output-dir merged/tiny_llama \\
      --adapter results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/final_model
  python workflow/scripts/merge_adapter.py --experiment llama_3.2_3b --adapter final_model \\
      --output-dir merged/llama_3.2_3b
Then one of:
  python workflow/scripts/summarize.py --checkpoint merged/tiny_llama dialogue.txt
  vllm serve merged/tiny_llama --override-generation-config '{"temperature": 0}'
  ollama create summariser -f merged/tiny_llama/Modelfile
  ollama run summariser "$(cat dialogue.txt)"

The adapter is merged into the dequantised base that it was trained on, so that the merged model
gives the summaries of generate.py. Its generation settings are greedy with all stop tokens:
`AutoModelForCausalLM.from_pretrained(folder).generate(...)` needs no further arguments.

All of them get the prompt that the adapter was trained with. For Ollama the Modelfile writes it
around what the user says: the dialogue. For vLLM's chat the chat template does: in instruction
format around the user's message, the dialogue; in chat format the messages are those of training,
as `messages` in its run.json shows. Neither shortens a long dialogue to tokenizer.encoder_max_len,
and in both a dialogue that holds control tokens can end its own turn.
"""

import argparse
import json
from pathlib import Path

from yoyak.config.arguments import (
    add_model_arguments,
    add_prompt_arguments,
    find_config,
    script_parser,
    with_prompts,
)
from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError, imports_are_done, run_script
from yoyak.run.devices import claim_device
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_model_arguments(parser)
    add_prompt_arguments(parser)
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
    prompt_format = args.format or prompt_format
    config = with_prompts(config, args).prompted(prompt_format)
    with claim_device(config.execution.device) as device:
        merge(config, prompt_format, args.adapter, device, args.output_dir)
    print(f"wrote {args.output_dir}")


def merge(
    config: ModelConfig, prompt_format: str, adapter: Path, device: str, output: Path
) -> None:
    """Write the merged model, its tokenizer, what servers need and its provenance."""
    from transformers import GenerationConfig

    from yoyak.data.prompts import prompt_frames, stop_token_ids
    from yoyak.generation import serving
    from yoyak.generation.decoding import DecodingSettings
    from yoyak.models.lora_loader import LoRALoader
    from yoyak.models.quiet import silence_libraries

    silence_libraries()
    loader = LoRALoader(config, device=device, base_weights="dequantized")
    model, tokenizer = loader.load_for_generation(adapter)
    imports_are_done()
    stops = stop_token_ids(tokenizer, prompt_format)
    new_tokens = DecodingSettings.from_config(config).max_new_tokens
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=new_tokens,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    chat = config.texts.chat
    frame = prompt_frames(tokenizer, prompt_format, config.texts)[0]
    tokenizer.chat_template = serving.chat_template(tokenizer, frame, chat)
    if not serving.renders_as_trained(tokenizer, frame, chat):
        print("note: its chat template does not write the training prompt by itself: send a text")
    with atomic_directory(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        saved = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        context = config.tokenizer.encoder_max_len + new_tokens
        adds_bos = bool(saved.get("add_bos_token"))
        if adds_bos and not serving.opening(tokenizer, frame).startswith(tokenizer.bos_token):
            print(
                "note: Ollama puts a BOS first (add_bos_token in tokenizer_config.json); set it to"
            )
            print("false there before `ollama create`: training had none")
        text = serving.modelfile(tokenizer, frame, stops, new_tokens, context, adds_bos)
        (folder / "Modelfile").write_text(text, encoding="utf-8", newline="\n")
        write_run_record(
            folder / "run.json",
            step="merge_adapter",
            settings=config.model_dump(),
            inputs=[adapter],
            format=prompt_format,
            messages=serving.messages_of("{dialogue}", frame, chat),
        )


if __name__ == "__main__":
    run_script(main)
