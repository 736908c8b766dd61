"""DoRA, PiSSA, LoRA+ and their like: trained, resumed, saved, merged and generated with."""

import json

import pytest
import torch
from generations import one_at_a_time
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from tiny_models import (
    PROJECTIONS,
    VOCABULARY,
    changed,
    distance,
    examples,
    logits,
    tiny_config,
    write_checkpoint,
    write_other,
)
from tiny_trainings import FailAfter, Fault, llm_trainer
from transformers import AutoModelForCausalLM, AutoTokenizer

from yoyak.errors import UserError
from yoyak.generation.engines import DecodingSettings, choose_generator
from yoyak.kernels.decoder_layers import fuse_decoder_layers
from yoyak.models.lora_loader import LoRALoader
from yoyak.run.memory import ModelShape, predict_bytes
from yoyak.run.planning import training_plans

IDS = torch.tensor([[3, 14, 15, 92, 65, 35, 89, 79]])
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
PISSA = {"init_lora_weights": "pissa", "use_qlora": False}
METHODS: dict[str, tuple[dict, dict]] = {
    "rslora": ({"use_rslora": True}, {}),
    "dora": ({"use_dora": True}, {}),
    "pissa": (PISSA, {}),
    "pissa, drawn": ({**PISSA, "init_lora_weights": "pissa_niter_2", "use_rslora": True}, {}),
    "olora, patterns": (
        {**PISSA, "init_lora_weights": "olora", "rank_pattern": {"q_proj": 2}},
        {},
    ),
    "dora on pissa": ({**PISSA, "use_dora": True}, {}),
    "mica": ({**PISSA, "init_lora_weights": "mica"}, {}),
    "patterns": ({"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"k_proj": 32}}, {}),
    "one layer": ({"layers_to_transform": [1]}, {}),
    "lora+": ({}, {"loraplus_lr_ratio": 16}),
    "neftune": ({}, {"neftune_noise_alpha": 5}),
}
# Of other architectures, by the kind of checkpoint.
ELSEWHERE: dict[str, dict] = {
    "qwen2": {"bias": "all", "use_dora": True},
    "mixtral": {
        "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
        **{"target_modules": ["q_proj"], "dropout": 0.0, "use_qlora": False},
    },
    "gpt2": {**PISSA, "target_modules": ["c_attn"]},  # its weights lie the other way round
}
METHODS |= {kind: ({"chat_template": None, **lora}, {}) for kind, lora in ELSEWHERE.items()}


@pytest.fixture(scope="module")
def checkpoint(checkpoints):
    return checkpoints["llama"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoints")
    made = {"llama": write_checkpoint(place / "llama", "llama")}
    own = {"mixtral": {"num_local_experts": 4}}
    for kind in ("qwen2", "mixtral"):
        made[kind] = write_other(place / kind, kind, **SMALL, **own.get(kind, {}))
    return made | {"gpt2": write_other(place / "gpt2", "gpt2", n_embd=64, n_layer=2, n_head=4)}


def fresh(checkpoint, base_weights="dequantized", **lora):
    """The model before any training."""
    config = tiny_config(checkpoint, **lora)
    return LoRALoader(config, base_weights=base_weights).load_model_and_tokenizer(seed=7)[0]


def adapter_layers(model) -> dict[str, LoraLayer]:
    return {name: part for name, part in model.named_modules() if isinstance(part, LoraLayer)}


@pytest.fixture(scope="module")
def trained(checkpoints, tmp_path_factory):
    """By method, once: the trainer after its training and its output folder."""
    made: dict = {}

    def train(method: str):
        if method not in made:
            lora, training = METHODS[method]
            folder = tmp_path_factory.mktemp("trained")
            base = checkpoints[method if method in ELSEWHERE else "llama"]
            trainer = llm_trainer(base, folder, minutes=1000, lora=lora, **training)
            trainer.train()
            made[method] = trainer, folder
        return made[method]

    return train


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_undisturbed(checkpoints, trained, tmp_path, method):
    lora, training = METHODS[method]
    base = checkpoints[method if method in ELSEWHERE else "llama"]
    broken = llm_trainer(base, tmp_path, lora=lora, **training)
    create = broken._create_trainer

    def failing():
        made = create()
        made.add_callback(FailAfter(5))
        return made

    broken._create_trainer = failing
    with pytest.raises(Fault):
        broken.train()
    resumed = llm_trainer(base, tmp_path, lora=lora, **training)
    resumed.train()
    assert resumed.resumed_from == 4
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        files = [folder / "final_model" / name for folder in (trained(method)[1], tmp_path)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_saved_beside_the_checkpoint_it_is_the_model_that_was_trained(trained, method):
    """Read again by Yoyak, which merges it, and beside the untouched weights by PEFT alone."""
    trainer, folder = trained(method)
    expected = logits(trainer.model, IDS)
    merged, _ = LoRALoader(
        trainer.config, base_weights="dequantized"
    ).load_for_generation(folder / "final_model")  # fmt: skip
    assert distance(logits(merged, IDS), expected) < 1e-4
    start, _ = LoRALoader(trainer.config, base_weights="dequantized").load_model_and_tokenizer()
    assert distance(expected, logits(start, IDS)) > 1e-3
    if not trainer.config.lora.use_qlora:
        base = AutoModelForCausalLM.from_pretrained(trainer.config.model.checkpoint)
        base.resize_token_embeddings(expected.shape[-1], mean_resizing=False)  # the chat tokens
        beside = PeftModel.from_pretrained(base, folder / "final_model")
        assert distance(logits(beside, IDS), expected) < 1e-4


@pytest.mark.parametrize("base_weights", ["nf4", "dequantized"])
@pytest.mark.parametrize("method", ["dora", "pissa", "lora+"])
def test_the_slots_generate_what_transformers_does(trained, method, base_weights):
    trainer, folder = trained(method)
    config = trainer.config
    loader = LoRALoader(config, base_weights=base_weights)
    model, _ = loader.load_for_generation(folder / "final_model")
    prompts = [row["input_ids"].tolist() for row in examples((9, 30, 17))]
    decoding = DecodingSettings(max_new_tokens=12)
    generator, record = choose_generator(model, prompts, {VOCABULARY - 1}, decoding)
    found = [row.tokens for row in generator.run(prompts)]
    assert record["engine"] == "slots"
    trained_model = trainer.model.get_base_model()
    trained_model.set_attn_implementation("eager")
    expected = one_at_a_time(trained_model, prompts, 12, {VOCABULARY - 1})
    assert found == [[token for token in row if token != VOCABULARY - 1] for row in expected]


# ---- what each method does to the parameters ----


def test_rslora_scales_by_the_root_of_the_rank(checkpoint):
    layers = adapter_layers(fresh(checkpoint, use_rslora=True)).values()
    assert {part.scaling["default"] for part in layers} == {8 / 4**0.5}
    assert {p.scaling["default"] for p in adapter_layers(fresh(checkpoint)).values()} == {8 / 4}


def test_dora_trains_a_magnitude_for_each_output(checkpoint, trained):
    start, end = fresh(checkpoint, use_dora=True), trained("dora")[0].model
    for name, part in adapter_layers(end).items():
        before = start.get_submodule(name)
        weight = before.get_base_layer().weight
        magnitude = before.lora_magnitude_vector["default"].weight
        assert torch.allclose(magnitude, weight.norm(dim=1), rtol=1e-5)
        assert not torch.allclose(part.lora_magnitude_vector["default"].weight, magnitude)
        assert torch.equal(part.get_base_layer().weight, weight)
    assert distance(logits(start, IDS), logits(fresh(checkpoint), IDS)) < 1e-5


def test_pissa_starts_with_the_principal_part_and_freezes_the_rest(checkpoint, trained):
    plain, start = fresh(checkpoint, use_qlora=False), fresh(checkpoint, **PISSA)
    for name, part in adapter_layers(start).items():
        weight = plain.get_submodule(name).get_base_layer().weight
        u, s, v = torch.linalg.svd(weight)
        principal = u[:, :4] @ torch.diag(s[:4]) @ v[:4]
        assert distance(part.get_delta_weight("default"), principal) < 1e-4
        assert distance(part.get_base_layer().weight, weight - principal) < 1e-4
    assert distance(logits(start, IDS), logits(plain, IDS)) < 1e-4
    trainer, folder = trained("pissa")
    saved = json.loads((folder / "final_model/adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"], saved["init_lora_weights"]) == (8, 16, True)
    for name, part in adapter_layers(trainer.model).items():
        kept = start.get_submodule(name).get_base_layer().weight
        assert torch.equal(part.get_base_layer().weight, kept)


def test_pissa_keeps_the_rows_of_added_tokens(checkpoint, tmp_path):
    """PEFT's own conversion would lose them."""
    folder = write_checkpoint(tmp_path / "longer", "llama", tie_word_embeddings=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["#Person1#"])
    tokenizer.save_pretrained(folder)
    trainer = llm_trainer(folder, tmp_path / "out", minutes=1000, lora=PISSA)
    trainer.train()
    saved = load_file(tmp_path / "out/final_model/adapter_model.safetensors")
    assert sum("trainable_tokens" in name or "token_adapter" in name for name in saved) == 2
    merged, _ = LoRALoader(trainer.config).load_for_generation(tmp_path / "out/final_model")
    ids = torch.tensor([[3, VOCABULARY, 15, 92]])
    assert distance(logits(merged, ids), logits(trainer.model, ids)) < 1e-4


def test_lora_plus_gives_b_its_own_rate_and_all_the_weight_decay(checkpoint, tmp_path):
    values = {"loraplus_lr_ratio": 16, "warmup_ratio": 0.5, "weight_decay": 0.1}
    made = llm_trainer(checkpoint, lora={"chat_template": None}, minutes=1000, **values)
    made.work = tmp_path
    packed = made._create_trainer()
    rates: list[tuple] = []
    optimizer = packed.create_optimizer()
    step = optimizer.step

    def watched(*args, **kwargs):
        rates.append(tuple(group["lr"] for group in optimizer.param_groups if group["params"]))
        return step(*args, **kwargs)

    optimizer.step = watched
    packed.fit()
    assert len(rates) == 8 and all(b == pytest.approx(16 * a) for a, b in rates)
    assert max(a for a, _ in rates) == pytest.approx(1e-2)
    by_rate = [group for group in optimizer.param_groups if group["params"]]
    assert {group["weight_decay"] for group in by_rate} == {0.1}
    names = {id(part): name for name, part in made.model.named_parameters()}
    for group, letter in zip(by_rate, "AB", strict=True):
        assert all(f"lora_{letter}" in names[id(part)] for part in group["params"])
        assert len(group["params"]) == 2 * len(PROJECTIONS)
    assert [row["learning_rate"] for row in packed.state.log_history if "loss" in row] == [
        rate for rate, _ in rates
    ]


def test_layers_and_ranks_are_those_that_were_named(checkpoint):
    layers = adapter_layers(fresh(checkpoint, layers_to_transform=[1], rank_pattern={"q_proj": 2}))
    assert all(".layers.1." in name for name in layers) and len(layers) == len(PROJECTIONS)
    ranks = {name.rpartition(".")[2]: part.r["default"] for name, part in layers.items()}
    assert ranks == dict.fromkeys(PROJECTIONS, 4) | {"q_proj": 2}


@pytest.mark.parametrize("method", ["dora", "mica", "patterns"])
def test_fused_layers_refuse_what_they_would_compute_wrongly(checkpoint, method):
    model = fresh(checkpoint, **METHODS[method][0])
    with pytest.raises(
        UserError, match="fused layers do not cover it: .*(plain LoRA|differ in rank)"
    ):
        fuse_decoder_layers(model, recompute=False)


def test_fused_layers_compute_any_start_and_scale_of_plain_lora(checkpoint):
    model = fresh(checkpoint, **PISSA, use_rslora=True, layers_to_transform=[0])
    assert fuse_decoder_layers(model, recompute=False) == 2


def test_the_plan_takes_other_paths_and_counts_more_memory(checkpoint):
    shape = ModelShape(28, 3072, 8192, 24, 8, 128, 128_256, tied=True, fusable=True)
    facts = {"supports_bf16": True, "longest": 400, "batch_tokens": 20_000, "steps": 500}
    facts |= {"largest_batch": 25_000}

    def layers(**lora):
        config = changed(tiny_config(checkpoint, **lora), model={"dtype": "bf16"})
        plans = training_plans(config, shape, device="cuda:0", free_bytes=2**40, **facts)
        return {plan.layers for plan in plans}

    assert layers() == layers(use_rslora=True) == {"fused", "own"}
    assert layers(use_dora=True) == layers(rank_pattern={"q_proj": 64}) == {"compiled", "own"}
    given = {"lora_rank": 16, "use_qlora": True, "base_weights": "nf4", "token_budget": 8192}
    given |= {"gradient_checkpointing": False, "layers": "own"}
    assert predict_bytes(shape, dora=True, **given) > 1.2 * predict_bytes(shape, **given)
    assert tiny_config(checkpoint, rank_pattern={"q_proj": 64}).lora_rank == 64
