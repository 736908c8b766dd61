"""Datasets on the Hugging Face Hub: which files make up a split, at which commit, downloaded.

`datasets` says which files (the repository's card, or their names); they are then read as the same
files would be that lie here, so that 007 stays a text and an error names file and row.
"""

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from yoyak.config.hub_dataset import HubDataset
from yoyak.data.label_names import label_names
from yoyak.data.rows import RawData, shown
from yoyak.errors import UserError, disk_fault, one_line, told_by

Row = TypeVar("Row")


@dataclass(frozen=True)
class Fetched:
    """A split's files in the Hub's cache by their names in the repository, and their commit."""

    files: dict[str, Path]
    commit: str
    labels: dict[str, list[str]]  # of columns that hold their numbers


@contextlib.contextmanager
def needed(package: str, source: RawData) -> Iterator[None]:
    """Around an import: UserError that says how to install the package where it is missing."""
    try:
        yield
    except ImportError:
        raise UserError(
            f"{shown(source)}: reading it needs the package {package}: "
            "pip install -r envs/data.txt, or save the data as .jsonl or .csv"
        ) from None


@functools.cache
def fetch(source: HubDataset) -> Fetched:
    """Find out what a dataset's split is today, and download its files unless they are here.

    Raises UserError: no such dataset, revision, configuration or split, gated, or no network; what
    an earlier day left in the cache is not taken for it.
    """
    with needed("datasets", source):
        import datasets
    from huggingface_hub import HfApi, constants, hf_hub_download

    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # ask nobody but the Hub
    try:
        limit = constants.HF_HUB_ETAG_TIMEOUT
        info = HfApi().dataset_info(source.name, revision=source.revision, timeout=limit)
        commit = str(info.sha)
        address = f"hf://datasets/{source.name}"  # never a local folder of this name
        builder = datasets.load_dataset_builder(address, source.config, revision=commit)
        files = {
            name: Path(hf_hub_download(source.name, name, repo_type="dataset", revision=commit))
            for name in _files_of_split(source, builder.config.data_files, commit)
        }
        labels = label_names((builder.info.features or datasets.Features()).to_dict())
    except UserError:
        raise
    except Exception as error:
        if disk_fault(error):
            raise  # not the Hub's fault: run_script says what to do
        raise _in_words(source, error) from error
    return Fetched(files, commit, labels)


def sliced(rows: Sequence[Row], source: HubDataset) -> list[Row]:
    """The rows that the split's slice leaves: of `train[:90%]` the first nine tenths."""
    if source.split is None or "[" not in source.split:
        return list(rows)
    import datasets

    instruction = datasets.ReadInstruction.from_spec(source.split)
    (part,) = instruction.to_absolute({source.whole_split: len(rows)})
    if part.from_ >= part.to:
        raise UserError(f"{source}: no row of the {len(rows):,} is in this slice")
    return list(rows[part.from_ : part.to])


def _files_of_split(source: HubDataset, splits: dict[str, Any], commit: str) -> list[str]:
    """Names in the repository of the split's files."""
    split = source.whole_split
    if split is None and len(splits) == 1:
        (split,) = splits
    if split not in splits:
        has = ", ".join(map(str, splits))
        found = f"has no split '{split}'" if split else "has several splits"
        raise UserError(f"{source}: {found}: {has}; name one with ?split=NAME")
    names = [str(address).partition(f"@{commit}/")[2] for address in splits[split]]
    if not all(names) or any("::" in str(address) for address in splits[split]):
        raise UserError(f"{source}: its files lie in an archive: unpack it and name files here")
    return names


def _in_words(source: HubDataset, error: Exception) -> UserError:
    said, text = told_by(error), one_line(error)[:300]
    cure = next((cure for marks, cure in _CURES.items() if re.search(marks, said)), "{text}")
    named = re.search(r"\[[^\]]*\]", text)  # in messages about configurations
    words = {"revision": source.revision, "text": text, "named": named[0] if named else text}
    return UserError(f"{source}: {cure.format(**words)}")


# Names of exceptions or phrases of their messages, in lower case, and what the first match means.
_CURES = {
    "gatedrepoerror": "it is gated: accept its terms on its page and run `hf auth login` (or set "
    "HF_TOKEN)",
    "revisionnotfounderror": "it has no revision '{revision}'",
    "repositorynotfounderror|datasetnotfounderror": "no such dataset, or it is private: check the "
    "name, or set HF_TOKEN",
    "scripts are no longer supported": "it is made by a script, which is not run: name the Hub's "
    "own copy of it as Parquet with revision=refs/convert/parquet",
    "config name is missing|builderconfig '": "it has the configurations {named}: name one with "
    "?config=NAME",
    "emptydataseterror|datafilesnotfounderror": "it holds no file that can be read (.csv, .jsonl, "
    ".json or .parquet)",
    "localentrynotfound|transporterror|connectionerror|connecterror|timeout|offlinemode": "the Hub "
    "cannot be reached: connect and run the same command again, or name files that lie here",
}
