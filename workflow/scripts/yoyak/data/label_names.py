"""Columns that `datasets` calls ClassLabel: numbers in the rows, whose names stand beside them.

Where: in the card of a dataset on the Hub, or in what `datasets` wrote into an Arrow table.
"""

from typing import Any

from yoyak.data.rows import column_name

LISTS = ("List", "LargeList", "Sequence")
NO_LABEL = -1  # of `datasets`


def label_names(features: dict[str, Any], inside: str = "") -> dict[str, list[str]]:
    """The labels' names by column, a cell inside an object as `rows.flat` calls it.

    features: as `datasets.Features.to_dict` has them.
    """
    found: dict[str, list[str]] = {}
    for key, feature in features.items():
        column = inside + column_name(key)
        feature = feature[0] if isinstance(feature, list) else feature  # as it once was written
        feature = feature["feature"] if feature.get("_type") in LISTS else feature
        if feature.get("_type") == "ClassLabel":
            found[column] = feature["names"]
        elif "_type" not in feature:
            found |= label_names(feature, f"{column}.")
    return found


def name_labels(cells: dict, labels: dict[str, list[str]]) -> None:
    """Put the labels' names into a row's cells; what is no label's number stays as it is."""
    for column in labels.keys() & cells.keys():
        cells[column] = _named(cells[column], labels[column])


def _named(value: object, names: list[str]) -> object:
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    if value in names:
        return value
    try:
        number = int(value) if isinstance(value, str | int) else None
    except ValueError:
        return value
    if number == NO_LABEL:
        return None
    return value if number is None or not 0 <= number < len(names) else names[number]
