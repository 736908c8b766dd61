"""The settings of a model file, typed, section by section.

The fields below define every key's meaning, limits and default; the table in config/README.md and
workflow/schemas/ are generated from them (`python -m yoyak.config`).
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from yoyak.config.fields import (
    DISTINCT,
    FileName,
    Form,
    Label,
    Number,
    PathText,
    Revision,
    Seed,
    Whole,
)
from yoyak.config.lora_settings import LoraSettings
from yoyak.config.prompts import Prompts
from yoyak.config.section import Section
from yoyak.config.training_settings import TrainingSettings

# Sections and keys that only say how a step is run or what it is called; changing them reruns
# nothing.
NO_SCIENCE = (
    *("execution", "tracking", "experiment", "model.type", "model.size", "dataset.format_type"),
    *("training.gradient_checkpointing", "training.optim"),
)


class ModelSettings(Section):
    """Which weights, and in which number format."""

    type: Literal["causal_lm"] = Field("causal_lm", description="`causal_lm`: no other is trained")
    checkpoint: PathText = Field(
        description="`owner/name` on the Hub, a local folder, a `.gguf` file, or "
        "`package:NAME/PATH` inside an installed Python package; safetensors or GGUF only; of a "
        "multimodal one the text model is used"
    )
    revision: Revision | None = Field(
        None,
        description="commit of a Hub checkpoint; pin it, so that a rerun next year loads the same "
        "weights; `null` is the newest",
    )
    size: Label | None = Field(None, description="a label for readers, such as `3B`")
    dtype: Literal["bf16", "fp16", "fp32"] = Field(
        "bf16", description="number format of the computation: `bf16`, `fp16`, `fp32`"
    )
    chat_template: Literal["llama", "qwen", "gemma", None] = Field(
        None,
        description="`llama`, `qwen` or `gemma`: template and tokens for a tokenizer that has no "
        "template of its own",
    )

    @property
    def compute_dtype(self) -> str:
        """torch's name of `dtype`."""
        return {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[self.dtype]


class TokenizerSettings(Section):
    """How long a prompt and a summary may be."""

    encoder_max_len: Whole = Field(
        1024,
        ge=32,
        le=1_000_000,
        description="longest prompt, in tokens; only the dialogue in it is ever shortened",
    )
    decoder_max_len: Whole = Field(
        200, ge=4, le=100_000, description="longest generated summary, in tokens"
    )


class DatasetSettings(Section):
    """How a dialogue becomes a prompt."""

    format_type: Literal["instruction", "chat"] = Field(
        "chat",
        description="prompt format of a command by hand that names none: `instruction`, `chat`; "
        "a study says its own",
    )
    truncate_dialogue: Literal["start", "end"] = Field(
        "start",
        description="the end at which a dialogue that is too long loses turns: `start` or `end`",
    )


class GenerationSettings(Section):
    """How a summary is decoded."""

    num_beams: Whole = Field(1, ge=1, le=64, description="beams of the search; 1 is greedy")
    length_penalty: Number = Field(
        1.0,
        ge=-10,
        le=10,
        description="of beams: a summary's log probability is divided by its tokens to this power, "
        "so that more favours longer ones",
    )
    no_repeat_ngram_size: Whole = Field(
        0,
        ge=0,
        le=1000,
        description="so many tokens in a row come once at most in a summary, whatever stands in "
        "its prompt; 0: as often as they like",
    )
    repetition_penalty: Number = Field(
        1.0,
        gt=0,
        le=10,
        description="more than 1 makes tokens that the summary already has less likely "
        "(Keskar et al. 2019); those of the prompt do not count, since a summary takes them up",
    )
    do_sample: bool = Field(False, description="draw tokens instead of taking the likeliest")
    temperature: Number = Field(1.0, gt=0, le=100, description="of the draw")
    top_p: Number = Field(
        1.0,
        gt=0,
        le=1,
        description="likeliest tokens with this total probability are drawn from, 0–1",
    )
    seed: Seed = Field(42, description="seed of the draw")
    max_new_tokens: Whole | None = Field(
        None,
        ge=1,
        le=100_000,
        description="longest summary, in tokens; `null` is `tokenizer.decoder_max_len`",
    )


class ExecutionSettings(Section):
    """How steps are run; a change retrains nothing."""

    engine: Literal["auto", "packed", "plain"] = Field(
        "auto",
        description="how losses and summaries are computed: `packed` (no padding, own attention; "
        "fast), `plain` (padded batches, the model's own forward and `generate`). Every start "
        "compares the engine with transformers' own forward on some real examples; `auto` takes "
        "`plain` where `packed` differs, `packed` stops there",
    )
    device: Annotated[str, Form(r"^(auto|cpu|cuda(:[0-9]+)?)$", "auto, cpu, cuda or cuda:N")] = (
        Field(
            "auto",
            description="`auto` (the emptiest free GPU, else the CPU), `cpu`, `cuda`, `cuda:N`",
        )
    )
    devices: Whole = Field(
        1,
        ge=1,
        le=64,
        description="devices of one training, on one host; every batch is split over them and "
        "what is learned stays the same. Its Snakemake job asks for as many `gpu`",
    )
    threads: Literal["auto"] | Annotated[Whole, Field(ge=1, le=1024)] = Field(
        "auto",
        description="CPU threads of each process; `auto` is those that Snakemake gives the job, by "
        "hand all, shared by `execution.devices`. Another number adds in another order: equal "
        "within rounding, not to the last bit",
    )
    token_budget: Literal["auto"] | Annotated[Whole, Field(ge=1, le=10_000_000)] = Field(
        "auto", description="tokens of a micro-batch; `auto` goes by the free memory"
    )
    base_weights: Literal["auto", "nf4", "dequantized"] = Field(
        "auto",
        description="frozen weights in memory: `nf4`, or `dequantized` once from NF4: faster, "
        "larger, the same values",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="run the decoder layers as fused Triton kernels (Llama, Mistral, Qwen2, Qwen3 "
        "with LoRA), those of any other architecture through torch.compile: `true`, `false`; "
        "`auto`: on a GPU, where that saves more time than compiling takes",
    )
    checkpoint_minutes: Number = Field(
        15, gt=0, le=100_000, description="minutes between checkpoints within an epoch"
    )
    generation_batch: Literal["auto"] | Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        "auto", description="dialogues summarised at once; `auto` goes by the free memory"
    )
    batch_invariant: bool = Field(
        True,
        description="on a GPU, summaries are the same in 16 bits, too, however many are written at "
        "once (models of experts, and what `generate` writes, left out); `false` is about 15 % "
        "faster",
    )


class TrackingSettings(Section):
    """Experiment trackers."""

    report_to: Annotated[list[Literal["wandb", "tensorboard", "mlflow", "trackio"]], *DISTINCT] = (
        Field(
            [],
            description="trackers that each training is reported to: `wandb` (Weights & Biases), "
            "`tensorboard`, `mlflow`, `trackio`; see [Trackers](#trackers)",
        )
    )
    project: FileName | None = Field(
        None, description="project (in MLflow: experiment) there; `null` is the study's name"
    )


class ExperimentSettings(Section):
    """What a training is called."""

    name: FileName | None = Field(
        None,
        description="folder of a training by hand, below `results/manual/`; flags add to its name. "
        "`null` is the name of the model file",
    )
    tags: list[Label] = Field([], description="labels, which the model card has too")


class ResourceSettings(Section):
    """Expected resources, shown beside the measured ones."""

    expected_gpu_memory_gb: Number | None = Field(
        None,
        gt=0,
        le=100_000,
        description="expected peak GPU memory, shown beside the measured one",
    )


class ModelConfig(Section):
    """What a model file says, every default filled in."""

    renamed: ClassVar[dict[str, str]] = {
        "model.use_lora": "lora.use_lora",
        "model.use_qlora": "lora.use_qlora",
        "model.double_quant": "lora.double_quant",
        "model.compute_dtype": "model.dtype (bf16, fp16 or fp32)",
        "dataset.encoder_max_len": "tokenizer.encoder_max_len",
        "dataset.decoder_max_len": "tokenizer.decoder_max_len",
        "training.lr_scheduler": "training.lr_scheduler_type",
        "execution.gradient_checkpointing": "training.gradient_checkpointing",
        "execution.optim": "training.optim",
        "tracking.wandb": "tracking.report_to (a list, such as [wandb])",
    }

    model: ModelSettings
    lora: LoraSettings = LoraSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    dataset: DatasetSettings = DatasetSettings()
    prompts: Prompts | PathText | None = Field(
        None,
        description="a file of `config/prompts/`, without `.yaml`, or the path of one; `null`: "
        "that of the study. A study's `overrides` go before it",
    )
    training: TrainingSettings = TrainingSettings()
    generation: GenerationSettings = GenerationSettings()
    execution: ExecutionSettings = ExecutionSettings()
    tracking: TrackingSettings = TrackingSettings()
    experiment: ExperimentSettings = ExperimentSettings()
    resources: ResourceSettings = ResourceSettings()

    @property
    def texts(self) -> Prompts:
        """The prompts: loading a study or a record puts them in the place of their name."""
        assert isinstance(self.prompts, Prompts)
        return self.prompts

    def prompted(self, prompt_format: str, augmentation: str = "none", few_shot: int = 0) -> Self:
        """A copy with no other texts than such a step uses; UserError where one is missing."""
        used = self.texts.used(prompt_format, augmentation, few_shot)
        return self.model_copy(update={"prompts": used})

    @property
    def lora_rank(self) -> int:
        """Of the adapters, the largest; 0 where all weights are trained."""
        return self.lora.largest_rank if self.lora.use_lora else 0
