"""Settings: model configs with `_base_` inheritance, studies, and errors in words."""
