"""Metrics beside ROUGE by Kiwi: each is what its package or its definition says, in one table."""

import json
import math
import subprocess
import sys

import pytest
import score
import transformers
from fixture_results import build_results, fixture_dialogues, fixture_study
from tiny_encoder import save_encoder

from yoyak.config.study_settings import BertScore as BertScoreSettings
from yoyak.config.study_settings import Metric
from yoyak.errors import UserError
from yoyak.reporting.agreement import conclusions
from yoyak.reporting.metric_rows import of_rouge
from yoyak.reporting.study_tables import StudyTables
from yoyak.scoring.bertscore import BertScore
from yoyak.scoring.chrf import Chrf
from yoyak.scoring.metrics import open_metrics
from yoyak.scoring.tokenizers import make_tokenizer

ROWS = fixture_dialogues()
TEXTS = [text for row in ROWS for text in row.summaries]
TOKENIZERS = ("morphemes", "content_morphemes", "mecab", "characters", "words")
WORDS = {"primary": "words", "tokenizers": ["words"]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"), TEXTS)


def test_chrf_is_sacrebleus_command_line(tmp_path):
    predictions, references = [row.summary for row in ROWS[1:]], [row.summary for row in ROWS[:-1]]
    predictions += ["", "#Person1#은 간다.", "짧다"]
    references += ["#Person1#은 간다.", "#Person1#은 간다.", "아주  다른 문장이다!"]
    for name, lines in (("predictions", predictions), ("references", references)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "references", "-i", "predictions", "-m", "chrf"]
    command += ["--sentence-level", "--width", "9"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = [float(line.split(" = ")[1].split()[0]) for line in done.stdout.splitlines() if line]
    found = Chrf().score_all([[text] for text in references], predictions)[:, 0]
    assert list(100 * found) == pytest.approx(expected, abs=1e-8)
    assert found[-2] == 1 and found[-3] == 0


def test_chrf_takes_references_together_as_rouge_does():
    references, text = ROWS[0].summaries, ROWS[1].summary
    each = [Chrf().score_pair(one, text)[0] for one in references]
    assert Chrf().score(references, text)[0] == pytest.approx(sum(each) / len(each))
    assert Chrf("max").score(references, text)[0] == max(each)


def test_mecab_is_the_packages_own():
    from mecab import MeCab

    tokenizer, own = make_tokenizer("mecab"), MeCab()
    for text in [*TEXTS, "", "#Person1#은 여행을 예약했다고 말했다."]:
        assert tokenizer.tokenize(text) == own.morphs(text)


def by_hand(folder, reference, prediction, layer):
    """Precision, recall and F1 from the definition, a text at a time and in whole loops."""
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder)

    def vectors(text):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        return states.hidden_states[layer][0].tolist()

    def cosine(one, other):
        dot = sum(a * b for a, b in zip(one, other, strict=True))
        return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))

    theirs, ours = vectors(reference), vectors(prediction)
    # The first and the last are [CLS] and [SEP]: to be met, not to be counted.
    precision = [max(cosine(one, other) for other in theirs) for one in ours[1:-1]]
    recall = [max(cosine(one, other) for other in ours) for one in theirs[1:-1]]
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return p, r, 2 * p * r / (p + r)


@pytest.mark.parametrize("layer", [-1, 1])
def test_bertscore_is_its_definition(encoder, layer, capfd):
    transformers.logging.enable_progress_bar()
    metric = BertScore(BertScoreSettings(checkpoint=str(encoder), layer=layer))
    assert capfd.readouterr() == ("", "")
    pairs = [("나는 간다", "너는 온다"), (TEXTS[0][:40], TEXTS[5][:20])]
    metric.prepare([text for pair in pairs for text in pair])  # in one batch, padded
    for reference, prediction in pairs:
        expected = by_hand(encoder, reference, prediction, layer)
        assert metric.precision_recall_f1(reference, prediction) == pytest.approx(
            expected, abs=1e-5
        )
    assert metric.score_pair(TEXTS[0], TEXTS[0])[0] == pytest.approx(1, abs=1e-6)
    assert metric.score_pair(TEXTS[0], " ") == metric.score_pair("", TEXTS[0]) == (0,)
    long = metric.score_pair(" ".join(TEXTS[:9]), TEXTS[0])  # cut to what the encoder can read
    assert 0 < long[0] < 1


def test_a_signature_names_encoder_weights_and_layer(encoder, tmp_path):
    def signature(folder, layer=-1):
        settings = BertScoreSettings(checkpoint=str(folder), layer=layer)
        return BertScore(settings).signature([["가", "나"]])

    own = signature(encoder)
    assert f"encoder:{encoder.name}|weights:" in own and "layer:-1|idf:no" in own
    assert signature(encoder, 1) != own
    other = save_encoder(tmp_path / encoder.name, TEXTS[:9])
    assert signature(other).split("|")[4] != own.split("|")[4]


def no_encoder(folder, monkeypatch):
    return {"checkpoint": str(folder / "nowhere")}, "no such folder: .*nowhere"


def pickled(folder, monkeypatch):
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"")
    return {"checkpoint": str(folder)}, "must hold config.json and .*safetensors; pickled"


def no_such_layer(folder, monkeypatch):
    return {"checkpoint": str(save_encoder(folder, TEXTS)), "layer": 3}, "the encoder has 2 layers"


def asks_for_code(folder, monkeypatch):
    save_encoder(folder, TEXTS)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "stranger", "auto_map": {"AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "code.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    return {"checkpoint": str(folder)}, "cannot be loaded as an encoder"


def no_torch(folder, monkeypatch):
    save_encoder(folder, TEXTS)
    monkeypatch.setitem(sys.modules, "torch", None)
    return {"checkpoint": str(folder)}, "torch is not installed"


def no_sacrebleu(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    return None, "'chrf' needs sacrebleu"


def no_mecab(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mecab", None)
    return None, "'mecab' needs"


@pytest.mark.parametrize(
    "spoil",
    [no_encoder, pickled, no_such_layer, asks_for_code, no_torch, no_sacrebleu, no_mecab],
)
def test_what_is_missing_is_said_before_anything_is_scored(
    spoil, tmp_path, monkeypatch, scored_results
):
    of_bertscore, words = spoil(tmp_path, monkeypatch)
    metrics = ["rouge", "bertscore" if of_bertscore else "chrf"]
    tokenizers = ["words", "mecab"] if spoil is no_mecab else ["words"]
    settings = {"metrics": metrics, "primary": "words", "tokenizers": tokenizers}
    metric = Metric(**settings, **({"bertscore": of_bertscore} if of_bertscore else {}))
    monkeypatch.setattr("yoyak.scoring.pairs.PairMetric.score_with_peers", pytest.fail)
    run = scored_results / "runs/tiny_llama/default/chat/fine_tuned/seed42"
    with pytest.raises(UserError, match=words) as caught:
        score.score(metric, "ko", run / "predictions", scored_results / "data", tmp_path / "scores")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "scores").exists()


@pytest.fixture(scope="module")
def scored(tmp_path_factory, encoder):
    study = fixture_study(
        models=("tiny_llama",),
        formats=("chat",),
        tokenizers=TOKENIZERS,
        metrics=("rouge", "chrf", "bertscore"),
        encoder=encoder,
        resamples=200,
    )
    return study, StudyTables(build_results(tmp_path_factory.mktemp("metrics") / "fixture", study))


@pytest.fixture
def tables(scored):
    return scored[1]


SCORES = [*(("rouge", name) for name in TOKENIZERS), ("chrf", None), ("bertscore", None)]


@pytest.mark.parametrize(("metric", "tokenizer"), SCORES)
def test_every_metric_has_runs_floors_falsehoods_and_people_in_one_table(tables, metric, tokenizer):
    rows = tables.rows("metrics", metric=metric, tokenizer=tokenizer)
    scores = {row["condition"]: row for row in rows if row["name"] == "score"}
    assert list(scores) == ["zero_shot", "fine_tuned", "fine_tuned_templates"]
    for row in rows:
        assert row["ci_low"] < row["mean"] < row["ci_high"]
        assert row["signature"].startswith("metric:")
    around = {row["name"]: row["mean"] for row in rows if row["condition"] is None}
    assert {"floor_constant", "floor_nearest", "floor_other_reference", "floor_first_turn_1"} < {
        *around
    }
    assert around["human_agreement"] > around["falsified_all"] * 0.8 > 0
    gains = {row["condition"]: row for row in rows if row["name"] == "fine_tuned-zero_shot"}
    trained = scores["fine_tuned"]["mean"] - scores["zero_shot"]["mean"]
    assert gains["fine_tuned"]["mean"] == pytest.approx(trained, abs=2e-4)
    levels = {row["condition"]: row for row in rows if row["name"] == "score-floor"}
    low = levels["fine_tuned"]
    reached = scores["fine_tuned"]["mean"] - around[low["floor"]]
    assert low["mean"] == pytest.approx(reached, abs=2e-4)


def test_only_the_primary_score_has_a_confirmatory_test(tables):
    tested = [row for row in tables.rows("metrics") if row["p_value"] is not None]
    assert [(row["metric"], row["tokenizer"]) for row in tested] == SCORES
    assert [row["test"] for row in tested] == ["confirmatory"] + ["sensitivity"] * 6
    (question,) = tables.rows("questions", comparison="fine_tuned-zero_shot")
    for key, other in (("mean", "difference"), ("p_value", "p_value"), ("ci_low", "ci_low")):
        assert tested[0][key] == question[other]


def test_tables_of_rouge_hold_rouge_alone(tables):
    for name in ("rouge", "differences", "context", "levels"):
        assert {row["tokenizer"] for row in tables.rows(name)} == set(TOKENIZERS)
    assert of_rouge([{"tokenizer": "chrf"}], Metric(**WORDS)) == []


def test_the_report_says_what_metrics_share_and_where_they_differ(scored):
    study, tables = scored
    change, level = conclusions(study, tables)
    assert change.startswith("Under all 7 scores the mean of the trainings is higher than")
    frame = tables._tables["metrics"]
    other = StudyTables(tables._results)
    of_chrf = (frame["metric"] == "chrf") & frame["test"].notna()
    other._tables["metrics"] = frame.assign(
        mean=frame["mean"].mask(of_chrf, -1.0),
        ci_low=frame["ci_low"].mask(of_chrf, -3.0),
        ci_high=frame["ci_high"].mask(of_chrf, 1.0),
    )
    change = conclusions(study, other)[0]
    assert change.startswith("The scores differ: the mean of the trainings is higher than")
    assert "the mean of the trainings is lower than zero-shot under chrF." in change
    assert change.endswith("No interval leaves out 0 under chrF.")
    assert level == conclusions(study, other)[1]


def test_metrics_of_the_settings_are_those_that_can_be_opened(encoder):
    names = ["rouge", "chrf", "bertscore"]
    metric = Metric(metrics=names, bertscore={"checkpoint": str(encoder)}, **WORDS)
    assert list(open_metrics(metric)) == metric.scores == ["words", "chrf", "bertscore"]
