"""What a study file and config/config.yaml may say."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from yoyak.config.fields import UNIQUE, FileName, Form, Number, PathText, Seed, Whole
from yoyak.config.hub_dataset import checked_source
from yoyak.config.section import Section

ColumnName = Annotated[
    str, Form(r"^[^\x00-\x1f\x7f]{1,200}$", "one line of at most 200 characters")
]
DataSource = Annotated[PathText, AfterValidator(checked_source)]
Tokenizer = Literal[
    "morphemes", "content_morphemes", "morphemes_no_tags", "mecab", "characters", "words", "english"
]
MetricName = Literal["rouge", "chrf", "bertscore"]
Names = Annotated[list[FileName], *UNIQUE]
Formats = Annotated[list[Literal["instruction", "chat"]], *UNIQUE]
Augmentations = Annotated[list[Literal["none", "templates"]], *UNIQUE]
Seeds = Annotated[list[Seed], *UNIQUE]


# The tokenizer whose ROUGE is shown for a language where no study says another.
PRIMARY: dict[str, Tokenizer] = {"ko": "morphemes", "en": "english"}


class Columns(Section):
    """Names of the columns of the data."""

    fname: ColumnName | None = Field(
        "fname",
        description="column with a unique name for each dialogue. `null`, or no column `fname`: "
        "names are made from the dialogues' words, the same for the same dialogue. `header.id` is "
        "the cell `id` of the object `header`, here and in the next five",
    )
    dialogue: ColumnName = Field(
        "dialogue",
        description="column with the dialogue: a text, one turn a line, or a list of turns (in a "
        'CSV as JSON text), which become lines `speaker: words`: `{"speaker": …, "utterance": …}` '
        '(or `participantID`), OpenAI\'s messages `{"role": …, "content": …}` (or `name`), '
        'ShareGPT\'s `{"from": …, "value": …}`; system messages too',
    )
    summaries: Annotated[list[ColumnName], *UNIQUE] = Field(
        ["summary", "summary2", "summary3"],
        description="columns with reference summaries, as far as a file has them; the first one is "
        "trained on",
    )
    topic: ColumnName | None = Field("topic", description="column with a topic; may be absent")
    group: ColumnName | None = Field(
        "group",
        description="column with a group; scores are also shown for each group; may be absent",
    )
    cluster: ColumnName | None = Field(
        "cluster",
        description="column that names what makes dialogues alike, such as a situation; intervals "
        "and tests count its values instead of dialogues; may be absent: then the topic does",
    )


class Data(Section):
    """Where the dialogues are."""

    train: DataSource = Field(
        description="training split: `.csv` or `.tsv` (separated by commas, semicolons, tabs or "
        "bars), `.jsonl`, `.json` (also one document with the list of rows in it), a folder of "
        "JSON files that are read as one, `.parquet`, a folder from `save_to_disk` of `datasets`, "
        "or a dataset on the Hub, `hf:owner/name` ([more](#data))"
    )
    dev: DataSource = Field(description="the split that is scored")
    test: DataSource | None = Field(None, description="a split without summaries, for a submission")
    columns: Columns = Columns()
    speakers: Literal["as_given", "numbered"] = Field(
        "as_given",
        description="names of the speakers of a list of turns: `as_given`, or `numbered`: "
        "`#Person1#`, `#Person2#`, … in the order in which they speak, in the references too; a "
        "submission has their own names again",
    )
    selection: Literal["held_out", "dev"] = Field(
        "held_out",
        description="where the best checkpoint is chosen: `held_out`, a slice of train that is not "
        "trained on, or `dev`, the set that is scored, which flatters the score",
    )
    selection_fraction: Number = Field(
        0.05, gt=0, le=0.5, description="share of train that is held out, 0–0.5"
    )
    selection_seed: Seed = Field(42, description="seed of that slice")


class DebugChanges(Section):
    """What `debug=true` changes beyond its rows, epoch and batch."""

    models: Names | None = Field(
        None,
        description="the models of `debug=true`, which takes 50 + 10 rows, one epoch and a batch "
        "of 2; `null`: the study's",
    )
    formats: Formats | None = Field(None, description="its prompt formats")
    augmentations: Augmentations | None = Field(None, description="its augmentations")
    seeds: Seeds | None = Field(None, description="its seeds")
    overrides: dict[str, Any] = Field({}, description="keys of a model file laid over all that")


class VariantSeeds(Section):
    """Of a variant's keys those that no model file has."""

    seeds: Seeds | None = None


class BertScore(Section):
    """The encoder of BERTScore."""

    checkpoint: PathText | None = Field(
        None,
        description="folder of an encoder (such as klue/roberta-base, downloaded) with safetensors "
        "weights and its tokenizer; read where `metric.metrics` has `bertscore`, on the CPU",
    )
    layer: Whole = Field(
        -1,
        ge=-1000,
        le=1000,
        description="layer whose embeddings are compared: -1 is the last, 0 comes before the first",
    )


class Metric(Section):
    """How summaries are scored."""

    metrics: Annotated[list[MetricName], *UNIQUE] = Field(
        ["rouge"],
        description="`rouge` (always: its primary tokenizer answers the question), `chrf` "
        "(sacrebleu's), `bertscore` (by an encoder of yours); each has floors, human agreement and "
        "intervals in tables/metrics.csv",
    )
    primary: Tokenizer = Field(
        description="the tokenizer whose ROUGE answers the question; one of `metric.tokenizers`"
    )
    tokenizers: Annotated[list[Tokenizer], *UNIQUE] = Field(
        description="`morphemes` (Kiwi, speaker tags whole), `content_morphemes` (nouns, stems, "
        "numbers and adverbs of them), `morphemes_no_tags`, `characters`, `words` (split at "
        "blanks), `english` (rouge-score's own, stemmed), `mecab` (mecab-ko's morphemes, tags as "
        "text, beside which Korean competitions' scores may stand)"
    )
    bertscore: BertScore = BertScore()
    references: Literal["mean", "max"] = Field(
        "mean", description="several references: `mean` or `max` of their scores"
    )
    resamples: Whole = Field(
        10_000, ge=100, le=1_000_000, description="bootstrap resamples of an interval"
    )
    seed: Seed = Field(
        42, description="seed of the bootstrap and of the floor of other dialogues' references"
    )

    @property
    def scores(self) -> list[str]:
        """Names of all scores: ROUGE's by their tokenizers, other metrics' by their own."""
        return [*self.tokenizers, *(name for name in self.metrics if name != "rouge")]


class Report(Section):
    """What the report shows besides numbers."""

    language: Literal["en", "ko"] = Field(
        "en",
        description="language of the report, its plots, answer.rst and the model cards: `en` or "
        "`ko`; CSV files and logs are in English. Another one retrains and scores nothing",
    )
    samples: Whole = Field(
        20, ge=0, le=1000, description="dialogues shown for each training in the report"
    )
    note: str = Field("", description="a sentence of yours, shown in the report")
    quoted: bool = Field(
        False,
        description="`true` shows figures that others quoted for Korean dialogue summaries, apart "
        "and marked as not comparable",
    )


class StudySettings(Section):
    """A study file, every default filled in."""

    description: str = Field(
        min_length=1, description="the question that the study answers, for the report"
    )
    language: Literal["ko", "en"] = Field(
        description="language of the dialogues: `ko` or `en`; and of the prompts, if `prompts` "
        "names no others"
    )
    prompts: PathText | None = Field(
        None,
        description="a file of `config/prompts/`, without `.yaml`, or the path of one, for all "
        "models whose files name none; `null`: `korean` or `english`, by the language",
    )
    data: Data
    models: Names = Field(description="files of `config/models/`, without `.yaml`")
    formats: Formats = Field(
        description="prompt formats: `instruction` (### headings), `chat` (the tokenizer's chat "
        "template)"
    )
    augmentations: Augmentations = Field(
        description="`none` (one instruction), `templates` (five instructions, five examples a "
        "dialogue)"
    )
    few_shot: Whole = Field(
        0,
        ge=0,
        le=64,
        description="examples from train, with their summaries, in every prompt of one more run "
        "for each model and format, `few_shot`; 0: no such run. All prompts have the same, chosen "
        "by a fixed seed among those short enough to take together half of "
        "`tokenizer.encoder_max_len`",
    )
    seeds: Seeds = Field(
        description="seeds of the trainings: order of the data, initial adapters, dropout"
    )
    overrides: dict[str, Any] = Field(
        {},
        description="keys of a model file that this study sets for all its models, such as "
        "`training: {max_steps: 160}`",
    )
    variants: dict[FileName, dict[str, Any]] = Field(
        {},
        description="variants of each training by name, with the keys of `training`, `lora` and "
        "`generation` in which they differ, and `seeds` where one has others than the study: "
        "`{tuned: {training: {learning_rate: auto}}, mission: {seeds: [42]}}`. The questions are "
        "asked of the first one. `{}` is one variant, `default`",
    )
    debug: DebugChanges = DebugChanges()
    metric: Metric
    report: Report = Report()


class RunSettings(Section):
    """config/config.yaml, and what `snakemake --config` may say."""

    study: FileName = Field(
        "embedded", description="name of a file in `config/studies/`, without `.yaml`"
    )
    debug: bool = Field(
        False,
        description="`true` shrinks the study to 50 training, 10 dev and 10 test rows, 1 epoch, "
        "batch 2 × 1, no tracking; its results lie under `results/NAME-debug`",
    )
    seeds: Seeds | None = Field(
        None,
        description="these seeds in place of the study's: `--config 'seeds=[42]'` reports after "
        "the first; without it the others are trained and added, and nothing is trained anew. They "
        "go before a variant's own",
    )
    variants: Names | None = Field(
        None,
        description="these variants of the study alone: `--config 'variants=[tuned]'`; without it "
        "the others are trained and added",
    )
