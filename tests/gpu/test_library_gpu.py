"""The library on a GPU: the model is transformers' own again after a training with fused layers."""

import csv
import shutil

import pytest
import torch
from tiny_models import changed
from transformers import AutoModelForCausalLM, LlamaConfig

from yoyak import (
    create_llm_dataset,
    create_llm_trainer,
    load_config,
    load_lora_model_and_tokenizer,
)
from yoyak.errors import PROJECT_ROOT
from yoyak.models.attention import PACKED
from yoyak.run import planning
from yoyak.training.outputs import merge_by_step
from yoyak.training.packed_trainer import PackedTrainer

RESOURCES = PROJECT_ROOT / "workflow" / "resources"
FEW = {"max_steps": 8, "batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 5e-3}
TOKENS = {"vocab_size": 3072, "bos_token_id": 0, "eos_token_id": 4, "pad_token_id": 5}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A small Llama of random weights that reads Korean, in 4 bits, its layers to be fused."""
    folder = tmp_path_factory.mktemp("checkpoint")
    shape = LlamaConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=2048, **TOKENS,
    )  # fmt: skip
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(RESOURCES / "models/tiny_llama" / name, folder)
    return changed(
        load_config("tiny_llama"),
        model={"checkpoint": str(folder), "dtype": "bf16"},
        training=FEW,
        execution={"compile": True, "base_weights": "nf4"},
    )


def make_trainer(config, folder):
    """A trainer that has not trained, and the attention that its model came with."""
    model, tokenizer = load_lora_model_and_tokenizer(config)
    own = model.config._attn_implementation
    with (RESOURCES / "dialogues/train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sets = [
        create_llm_dataset(
            [row["dialogue"] for row in part], [row["summary"] for row in part], tokenizer
        )
        for part in (rows[:32], rows[32:40])
    ]
    return create_llm_trainer(config, model, tokenizer, *sets, output_dir=folder), own


@pytest.fixture
def trained(config, tmp_path):
    """A trainer that has trained, and the attention that its model came with."""
    trainer, own = make_trainer(config, tmp_path)
    before = trainer.evaluate()["eval_loss"]
    assert trainer.train()["eval_loss"] < before
    return trainer, own


def assert_own(trainer, own: str) -> None:
    """The layers and the attention are transformers', and forward and `generate` work."""
    model, data = trainer.model, trainer.eval_dataset
    assert model.config._attn_implementation == own != PACKED
    assert not any("forward" in vars(layer) for layer in model.get_base_model().model.layers)
    batch = {key: value[None].to(model.device) for key, value in data[0].items()}
    with torch.no_grad():
        assert model(**batch).loss.isfinite()
    prompt = batch["input_ids"][:, : int(data.prompt_lengths[0])]
    made = model.generate(input_ids=prompt, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert made.shape[1] == prompt.shape[1] + 3


def test_after_a_training_with_fused_layers_the_model_is_transformers_own(trained):
    trainer, own = trained
    assert trainer.plan.layers == "fused" and trainer.plan.engine == "packed"
    assert_own(trainer, own)


def test_rouge_leaves_the_model_as_it_was(trained):
    for package in ("rouge_score", "kiwipiepy"):
        pytest.importorskip(package)
    trainer, own = trained
    state = {name: part.clone() for name, part in trainer.model.state_dict().items()}
    found = trainer.evaluate(rouge=True)
    assert set(found) == {"eval_loss", "rouge1", "rouge2", "rougeL"}
    assert all(torch.equal(part, state[name]) for name, part in trainer.model.state_dict().items())
    assert_own(trainer, own)


def test_of_several_gpus_the_emptiest_is_taken(config, request):
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("one GPU: nothing to choose from")
    here = torch.cuda.current_device()
    taken = [torch.empty(2**31, dtype=torch.uint8, device=n) for n in range(count - 1)]
    try:
        trainer, own = request.getfixturevalue("trained")
        places = {part.device for part in trainer.model.parameters()}
        assert places == {torch.device(trainer.plan.device)} == {torch.device("cuda", count - 1)}
        assert_own(trainer, own)
    finally:
        del taken
        torch.cuda.set_device(here)


def test_adapters_of_own_layers_multiply_in_16_bits(config, tmp_path):
    """Their weights are float32: without autocast their products would run on no tensor core."""
    trainer, _ = make_trainer(changed(config, execution={"compile": False}), tmp_path)
    seen = set()
    for name, part in trainer.model.named_modules():
        if name.endswith("lora_A.default"):
            part.register_forward_hook(lambda _, inputs, output: seen.add(output.dtype))
    trainer.train()
    assert trainer.plan.layers == "own" and seen == {torch.bfloat16}


@pytest.mark.parametrize("compile", [True, False])
def test_python_never_waits_for_the_gpu_in_a_step(config, tmp_path, monkeypatch, compile):
    """Nothing that a step computes is read before the next one is at work."""
    step, watched = PackedTrainer.training_step, []

    def training_step(self, *arguments):
        torch.cuda.set_sync_debug_mode("error" if self.state.global_step > 1 else "default")
        try:
            watched.append(self.state.global_step)
            return step(self, *arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(PackedTrainer, "training_step", training_step)
    trainer, _ = make_trainer(changed(config, execution={"compile": compile}), tmp_path)
    trainer.train()
    logged = [row["step"] for row in trainer.packed.state.log_history if "loss" in row]
    assert watched == list(range(8)) and logged == list(range(1, 9))


def test_packs_in_cuda_graphs_learn_the_same(config, tmp_path, monkeypatch, caplog):
    """The same dropout, too: seeds are drawn on the GPU, in a graph as outside."""
    caplog.set_level("INFO")
    losses = []
    for graphs in (False, True):
        monkeypatch.setattr(planning, "RECORDED", 1 if graphs else 10**9)
        sized = changed(
            config, training={"max_steps": 24}, execution={"base_weights": "dequantized"}
        )
        trainer, _ = make_trainer(sized, tmp_path / str(graphs))
        assert trainer.plan.graphs == graphs
        trainer.train()
        logged = merge_by_step(trainer.packed.state.log_history)
        losses.append([row["loss"] for row in logged if "loss" in row])
    assert "CUDA graphs beside single launches" in caplog.text
    assert "packs run without them" not in caplog.text
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1][-1] < losses[1][0]
