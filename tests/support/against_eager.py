"""What a study does with a tiny model, against transformers' eager forward row by row.

The study's side is its own: the session of a training and that of a generation, with the engines
that they choose. The reference is an independent load of the same checkpoint with eager attention:
each row alone, no padding, no cache.
"""

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_models import VOCABULARY, examples, tiny_config
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GenerationConfig

from yoyak.config.model_config import ModelConfig
from yoyak.data.llm_dataset import IGNORED, LLMSummarizationDataset
from yoyak.errors import UserError

REFUSED = "refused"
LENGTHS = (23, 66, 40, 9)  # of the rows whose losses are compared
PROMPTS = (5, 44, 30, 17)
NEW_TOKENS = 8
CLOSE = 1e-4  # logits of eager's two best tokens that no rounding need keep apart


@dataclass
class Comparison:
    """One architecture's result.

    training, generation: the engine in words, or REFUSED; why: what kept the fastest one from it.
    loss_difference: the largest of all rows, as a share of the row's loss; None where refused.
    equal, compared, ties: greedy tokens. Where two tokens differ a row is not followed further; it
    is a tie where eager's two best logits lay that close.
    """

    model_class: str = ""
    training: str = REFUSED
    generation: str = REFUSED
    why: list[str] = field(default_factory=list)
    loss_difference: float | None = None
    equal: int = 0
    compared: int = 0
    ties: int = 0


def compare(checkpoint: Path, work: Path, auto_class=AutoModelForCausalLM) -> Comparison:
    """Load, choose an engine and evaluate as a training does; then generate greedily.

    auto_class: what loads the reference.
    """
    found = Comparison()
    config = study_config(checkpoint)
    rows = examples(LENGTHS, seed=5)
    prompts = [row["input_ids"].tolist() for row in examples(PROMPTS, seed=6)]
    losses = tokens = None
    try:
        losses = training_losses(found, config, rows, work / "training")
    except UserError as error:
        found.why.append(reason("training", str(error)))
    try:
        tokens = greedy_tokens(found, config, prompts)
    except UserError as error:
        found.why.append(reason("generation", str(error)))
    if losses is None and tokens is None:
        return found
    model = auto_class.from_pretrained(checkpoint, attn_implementation="eager").eval()
    if losses is not None:
        pairs = zip(losses, eager_losses(model, rows), strict=True)
        found.loss_difference = max(abs(ours / theirs - 1) for ours, theirs in pairs)
    if tokens is not None:
        for ours, theirs in zip(tokens, eager_greedy(model, prompts), strict=True):
            count_equal(found, ours, *theirs)
    return found


# ---- the study's side ----


def study_config(checkpoint: Path) -> ModelConfig:
    """A model's config as a study hands it on; float32, as nothing else is on a CPU."""
    config = tiny_config(checkpoint, use_qlora=False, chat_template=None)
    config.lora.target_modules = "auto"
    config.generation.max_new_tokens = NEW_TOKENS
    config.execution.threads = 1
    return config


def training_losses(
    found: Comparison, config: ModelConfig, rows: list[dict], work: Path
) -> list[float]:
    """Loss of each row beside the others, by the engine that a training's session chooses.

    It is that of a batch in which only this row's tokens carry any.
    """
    from yoyak.training.session import resume_or_start

    work.mkdir()
    train_set, selection_set = as_dataset(examples(seed=4), work), as_dataset(rows, work)
    output = work / "out"
    trainer = resume_or_start(config, "cpu", train_set, selection_set, 1, work, output)
    losses = []
    with trainer._in_place(work) as packed:
        for chosen in range(len(rows)):
            alone = [row if i == chosen else _unsupervised(row) for i, row in enumerate(rows)]
            numbered = [{**row, "number": i} for i, row in enumerate(alone)]
            losses.append(packed.evaluate(numbered)["eval_loss"])
    plan = trainer.plan
    tried = sum(check["engine"].startswith("plain") for check in trainer.checks)
    special = {
        "its own head": plan.engine == "packed" and plan.head == "model",
        "one row at a time": plan.one_row,
        "eager attention": tried > 1 and not plan.one_row,  # where the class's own differs from it
    }
    found.training = in_words(plan.engine, special)
    found.model_class = type(trainer.model.get_base_model()).__name__
    problems = dict.fromkeys(check["problem"] for check in trainer.checks if check["problem"])
    if plan.engine != "packed":
        found.why.append(reason("training", "; ".join(problems)))
    return losses


def as_dataset(rows: list[dict], folder: Path) -> LLMSummarizationDataset:
    """Rows as build_dataset.py leaves them for a training."""
    lengths = torch.tensor([0, *(len(row["input_ids"]) for row in rows)])
    prompts = [int((row["labels"] == IGNORED).sum()) for row in rows]
    file = folder / "examples.safetensors"
    save_file(
        {
            "input_ids": torch.cat([row["input_ids"] for row in rows]).int(),
            "offsets": lengths.cumsum(0),
            "prompt_lengths": torch.tensor(prompts, dtype=torch.int32),
            "dialogue_index": torch.arange(len(rows), dtype=torch.int32),
        },
        file,
    )
    return LLMSummarizationDataset.load(file)


def _unsupervised(row: dict) -> dict:
    return {**row, "labels": torch.full_like(row["labels"], IGNORED)}


def greedy_tokens(
    found: Comparison, config: ModelConfig, prompts: list[list[int]]
) -> list[list[int]]:
    """New tokens of each prompt, stop token included, as generate.py makes them."""
    from yoyak.data.prompts import stop_token_ids
    from yoyak.generation.decoding import DecodingSettings
    from yoyak.generation.engines import choose_generator
    from yoyak.generation.loading import load_model, plan_loading

    model, tokenizer = load_model(config, plan_loading(config, "cpu"))
    stops = stop_token_ids(tokenizer, "instruction")
    decoding = DecodingSettings.from_config(config)
    generator, check = choose_generator(model, prompts, stops, decoding)
    rows, plan = generator.run(prompts), generator.plan
    found.generation = "packed"
    if plan.engine == "plain":
        alone = plan.slots == 1
        special = {
            "one row at a time": alone,
            "eager attention": plan.attention is not None and not alone,
            "without a cache": not plan.cache,
        }
        found.generation = in_words("plain", special)
        found.why.append(reason("generation", check["why"]))
    return [row.tokens + stops[:1] * (row.finish == "stop") for row in rows]


def in_words(engine: str, special: dict[str, bool]) -> str:
    return ", ".join([engine, *(name for name, is_so in special.items() if is_so)])


def reason(step: str, text: str) -> str:
    """What a step said, without the path of the checkpoint."""
    return f"{step}: " + re.sub(r"^model\.checkpoint '[^']*': |ValueError: |\.$", "", text)


# ---- the reference ----


@torch.no_grad()
def eager_losses(model, rows: list[dict]) -> list[float]:
    """Mean loss of each row, alone in its forward.

    Each has a model of its own: some keep the frequencies of a longer row before.
    """
    losses = []
    for row in rows:
        output = copy.deepcopy(model)(input_ids=row["input_ids"][None], use_cache=False)
        logits = output.logits[0, :-1].float()
        loss = cross_entropy(logits, row["labels"][1:], ignore_index=IGNORED)
        losses.append(loss.item())
    return losses


def eager_greedy(model, prompts: list[list[int]]) -> list[tuple[list[int], list[float]]]:
    """(new tokens, lead of the best logit over the second) of each prompt, alone, without cache."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        fresh = copy.deepcopy(model)
        fresh.generation_config = GenerationConfig()  # none of the class, as BART's forced end
        output = fresh.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=VOCABULARY - 1,
            pad_token_id=VOCABULARY - 2,
            use_cache=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = torch.cat(output.logits).float().topk(2).values
        new = output.sequences[0, len(prompt) :].tolist()
        found.append((new, (best[:, 0] - best[:, 1]).tolist()))
    return found


def count_equal(found: Comparison, ours: list[int], theirs: list[int], leads: list[float]) -> None:
    """Add one row's tokens, as far as both sides had the same before them."""
    for place, (token, lead) in enumerate(zip(theirs, leads, strict=True)):
        found.compared += 1
        if ours[place : place + 1] != [token]:
            found.ties += lead < CLOSE
            return
        found.equal += 1
