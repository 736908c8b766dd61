"""docs/architectures.md says what a study does with each architecture, and that it is right.

Other releases of transformers than the page's take some another way: it must be right all the same.
"""

import pytest
import transformers
from against_eager import REFUSED, compare
from architectures import read_zoo
from make_architectures import PAGE, read_table

ZOO, SIZES = read_zoo()
TABLE = read_table(PAGE.read_text(encoding="utf-8"))
AS_WRITTEN = f"transformers {transformers.__version__} " in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("architecture", ZOO, ids=lambda row: row.name)
def test_as_the_table_says_and_as_eager_computes(architecture, tmp_path):
    if not architecture.is_known:
        pytest.skip(f"this release of transformers has no {architecture.type}")
    found = compare(
        architecture.write(tmp_path / "model", SIZES), tmp_path, architecture.auto_class
    )
    if AS_WRITTEN:
        written = TABLE[architecture.name]
        assert (found.training, found.generation) == (written["Training"], written["Generation"])
    assert found.training == REFUSED or found.loss_difference <= 1e-5
    assert found.equal + found.ties == found.compared
    assert (found.compared > 0) == (found.generation != REFUSED)


def test_the_table_has_the_whole_zoo():
    assert list(TABLE) == [row.name for row in ZOO]
    assert len({row.type for row in ZOO}) >= 30
