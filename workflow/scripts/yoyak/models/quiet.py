"""The libraries' chatter, kept out of logs in which every line should mean something."""

import logging
import warnings

import transformers


def hush_libraries() -> None:
    """Leave out bars, notes and what a library asks of its own authors; errors are said."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # It asks for a package with a product in 4 bits that no step of ours uses on a CPU.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
