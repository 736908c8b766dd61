"""Read predictions and check them against the data: exactly one per dialogue."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.errors import UserError, display

FINISHES = ("stop", "length")


@dataclass(frozen=True)
class Prediction:
    """One line of predictions/*.jsonl. `finish` is "length" where the model hit its token limit."""

    fname: str
    prediction: str
    prompt_tokens: int
    new_tokens: int
    finish: str
    dialogue_shortened: bool


FIELDS: dict[str, Any] = {
    "fname": str,
    "prediction": str,
    "prompt_tokens": int,
    "new_tokens": int,
    "finish": str,
    "dialogue_shortened": bool,
}


def read_predictions(path: Path) -> list[Prediction]:
    """All predictions of a file, in file order.

    Raises UserError, naming the line, for a file that is missing, cut short or malformed, or that
    names a dialogue twice.
    """
    predictions: list[Prediction] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        prediction = _parse(path, number, line)
        if prediction.fname in lines:
            raise UserError(
                f"{display(path)}: line {number}: fname '{prediction.fname}' is already "
                f"on line {lines[prediction.fname]}; generate the predictions again"
            )
        lines[prediction.fname] = number
        predictions.append(prediction)
    if not predictions:
        raise UserError(f"{display(path)}: contains no predictions; generate the predictions again")
    return predictions


def match_predictions(
    predictions: Sequence[Prediction], fnames: Sequence[str], path: Path, data: Path
) -> list[Prediction]:
    """The predictions in the data's order.

    Raises UserError unless there is exactly one for each dialogue of `data`: scores over a subset
    would not be comparable.
    """
    by_name = {prediction.fname: prediction for prediction in predictions}
    known = set(fnames)
    missing = [fname for fname in fnames if fname not in by_name]
    extra = [fname for fname in by_name if fname not in known]
    if missing or extra:
        problems = [
            f"{len(names)} {fault} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for names, fault in (
                (missing, "dialogues have none"),
                (extra, "are of other dialogues"),
            )
            if names
        ]
        raise UserError(
            f"{display(path)}: the predictions do not match {display(data)}: "
            f"{'; '.join(problems)}; generate the predictions again from this data"
        )
    return [by_name[fname] for fname in fnames]


def read_run(path: Path) -> dict:
    """The run that made the predictions: model, variant, format, condition and seed.

    Read from the run.json beside them; UserError if it is missing or does not say.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
        seed, variant = run["seed"], run["variant"]
        names = {key: run[key] for key in ("model", "variant", "format", "condition")}
        named = all(isinstance(names[key], str) for key in names if key != "variant")
        if (named and (variant is None or isinstance(variant, str))) and (
            seed is None or (isinstance(seed, int) and 0 <= seed < 2**32)
        ):
            return {**names, "seed": seed}
        fault = "has a 'run' that is none: names and a seed are needed"
    except OSError:
        fault = "no such file"
    except (ValueError, KeyError, TypeError, RecursionError):
        fault = "does not say under 'run' which model, variant, format, condition and seed it is of"
    raise UserError(f"{display(path)}: {fault}; generate the predictions again")


def _read_lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): U+2028 and its like may stand inside a prediction.
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{display(path)}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{display(path)}: cannot be read ({error.strerror})") from None


def _parse(path: Path, number: int, line: str) -> Prediction:
    where = f"{display(path)}: line {number}"
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); generate the predictions again") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: must be a JSON object with {', '.join(FIELDS)}")
    for key, kind in FIELDS.items():
        if key not in content:
            raise UserError(f"{where}: key '{key}' is missing; generate the predictions again")
        value = content[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(f"{where}: {key} must be {kind.__name__}, found {str(value)[:40]!r}")
        if kind is int and value < 0:
            raise UserError(f"{where}: {key} must be at least 0, found {value}")
        if kind is str and not _is_text(value):
            raise UserError(f"{where}: {key} holds half a surrogate pair; generate it again")
    if content["finish"] not in FINISHES:
        raise UserError(f"{where}: finish must be stop or length, found {content['finish'][:40]!r}")
    return Prediction(**{key: content[key] for key in FIELDS})


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
