"""Keep the libraries' progress bars and notes out of the logs."""

import warnings

import transformers

from yoyak.errors import silence_imports


def silence_libraries() -> None:
    """Silence progress bars, notes and deprecation warnings; errors are still shown."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    silence_imports()
