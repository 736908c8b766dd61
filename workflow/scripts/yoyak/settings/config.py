"""Model configs: YAML with `_base_` inheritance, validated, in one plain dict."""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[4]


class UserError(Exception):
    """A mistake in a config, in data or in a model; its text is one line that names the cure."""
