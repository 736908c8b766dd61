"""The table: ways to hand Yoyak something wrong, and what it must say about it."""

from mistakes_data import DATA
from mistakes_results import RESULTS
from mistakes_settings import SETTINGS
from mistakes_tokenizers import TOKENIZERS
from mistakes_weights import CHECKPOINTS

TABLE = {
    f"{group}: {name}": mistake
    for group, part in (
        ("settings", SETTINGS),
        ("data", DATA),
        ("checkpoint", CHECKPOINTS),
        ("tokenizer", TOKENIZERS),
        ("results", RESULTS),
    )
    for name, mistake in part.items()
}
