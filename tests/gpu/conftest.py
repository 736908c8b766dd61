"""Every test in this folder is marked `gpu`, and skipped where torch sees no CUDA."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    import torch

    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA GPU"))
