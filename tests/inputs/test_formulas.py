"""What a spreadsheet takes for a formula stays text in every CSV that strangers' texts get into."""

import csv
import json
import re

import score
import submission

from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue, to_csv

FORMULAS = (
    *("=HYPERLINK(A1)", "+1+1", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1+1", "<script>x"),
)
METRIC = Metric(primary="words", tokenizers=["words"], resamples=100)


def test_formulas_stay_text_in_every_csv(tmp_path):
    """fname, group and prediction, in the scores and the submission."""
    names = [f"{formula} {number}".strip() for number, formula in enumerate(FORMULAS)]
    data, predictions, scores = (tmp_path / name for name in ("data", "predictions", "scores"))
    data.mkdir()
    predictions.mkdir()
    rows = [Dialogue(name, f"#Person1#: {name}", (name,), "", name) for name in names]
    lines = [
        {"fname": name, "prediction": name, "prompt_tokens": 1, "new_tokens": 1, "finish": "stop",
         "dialogue_shortened": False}
        for name in names
    ]  # fmt: skip
    (data / "data_card.json").write_text("{}")
    for split in ("train", "dev", "test"):
        (data / f"{split}.csv").write_text(to_csv(rows), encoding="utf-8")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (predictions / f"{split}.jsonl").write_text(text, encoding="utf-8")
    run = {"model": "tiny_llama", "variant": None, "format": "chat"}
    run |= {"condition": "zero_shot", "seed": None}
    (predictions / "run.json").write_text(json.dumps({"run": run}))

    score.score(METRIC, "ko", predictions, data, scores)
    folders = ("--predictions", str(predictions), "--data", str(data))
    submission.main([*folders, "--output", str(tmp_path / "submission.csv")])

    files = [*scores.glob("*.csv"), tmp_path / "submission.csv"]
    assert len(files) == 3
    for file in files:
        with open(file, encoding="utf-8", newline="") as opened:
            cells = [cell for row in csv.reader(opened) for cell in row]
        bad = [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
        assert [cell for cell in bad if not re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell)] == []
