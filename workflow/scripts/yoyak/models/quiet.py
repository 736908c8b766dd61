"""The libraries' chatter, kept out of logs in which every line should mean something."""

import warnings

import transformers

from yoyak.run.logs import silence_imports


def silence_libraries() -> None:
    """Leave out bars, notes and what a library asks of its own authors; errors are said."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    silence_imports()
