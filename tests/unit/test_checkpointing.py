"""Checkpoints: whole or absent, the one before a damaged one, and a bounded number of them."""

import json
import logging

import pytest

from yoyak.training.checkpointing import (
    MANIFEST,
    newest_checkpoint,
    read_facts,
    remove_old,
    seal,
)


def write(work, step, best=None):
    staging = work / f"staging-{step}"
    (staging / "deep").mkdir(parents=True)
    (staging / "adapter.safetensors").write_bytes(bytes([step]) * 1000)
    (staging / "deep" / "rng.pth").write_text(str(step))
    state = {"best_global_step": best, "global_step": step}
    (staging / "trainer_state.json").write_text(json.dumps(state))
    seal(staging, work / f"checkpoint-{step}", {"seconds": 1.5, "plan": {"threads": step}})


def names(work) -> list[str]:
    return sorted(path.name for path in work.iterdir())


def flip(file, position=10):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def relabel(file):
    """Another plan in the manifest, in valid JSON."""
    file.write_text(file.read_text().replace('"threads": 30', '"threads": 31'))


def test_the_newest_is_found_with_its_facts(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        write(tmp_path, step)
    newest = newest_checkpoint(tmp_path)
    assert newest.name == "checkpoint-100"
    assert read_facts(newest) == {"seconds": 1.5, "plan": {"threads": 100}}


def test_a_checkpoint_may_be_written_again(tmp_path):
    write(tmp_path, 5)
    write(tmp_path, 5, best=5)
    assert newest_checkpoint(tmp_path).name == "checkpoint-5"
    assert names(tmp_path) == ["checkpoint-5"]


@pytest.mark.parametrize(
    "damage, file",
    [
        (flip, "adapter.safetensors"),
        (flip, "deep/rng.pth"),
        (cut, "adapter.safetensors"),
        (cut, MANIFEST),
        (flip, MANIFEST),
        (relabel, MANIFEST),
        (lambda file: file.unlink(), "deep/rng.pth"),
        (lambda file: file.unlink(), MANIFEST),
        (lambda file: file.write_text("[]"), MANIFEST),
        (lambda file: file.write_text('{"files": {}}'), MANIFEST),
        (lambda file: file.write_bytes(b"\xff\xfe"), MANIFEST),
    ],
)
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path, caplog, damage, file):
    write(tmp_path, 20)
    write(tmp_path, 30)
    target = tmp_path / "checkpoint-30" / file
    if damage is flip and target.name == "rng.pth":
        flip(target, 0)
    else:
        damage(target)
    with caplog.at_level(logging.WARNING):
        found = newest_checkpoint(tmp_path)
    assert found.name == "checkpoint-20"
    assert "checkpoint-30 is incomplete" in caplog.text and "the one before" in caplog.text
    assert names(tmp_path) == ["checkpoint-20"]


def test_all_damaged_means_a_fresh_start(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step)
        cut(tmp_path / f"checkpoint-{step}" / "adapter.safetensors")
    assert newest_checkpoint(tmp_path) is None
    assert names(tmp_path) == []


def test_leftovers_go(tmp_path):
    write(tmp_path, 3)
    (tmp_path / "staging-4" / "deep").mkdir(parents=True)
    (tmp_path / "staging-4" / "deep" / "half").write_text("x")
    (tmp_path / "checkpoint-4").mkdir()  # renamed, as an older version would have left it
    assert newest_checkpoint(tmp_path).name == "checkpoint-3"
    assert names(tmp_path) == ["checkpoint-3"]


def test_a_damaged_best_one_is_never_loaded_at_the_end(tmp_path, caplog):
    """checkpoint-30 is whole, but the training would end by loading checkpoint-20."""
    write(tmp_path, 10, best=10)
    write(tmp_path, 20, best=20)
    write(tmp_path, 30, best=20)
    flip(tmp_path / "checkpoint-20" / "adapter.safetensors")
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path).name == "checkpoint-10"
    assert "its best one, checkpoint-20" in caplog.text


def test_the_disk_is_bounded_and_the_one_before_is_kept(tmp_path):
    best = None
    for step in range(1, 12):
        best = step if step in (1, 4, 5, 9) else best
        write(tmp_path, step, best)
        remove_old(tmp_path)
        assert len(names(tmp_path)) <= 4
        if step > 1:
            flip(tmp_path / f"checkpoint-{step}" / "adapter.safetensors")
            before = newest_checkpoint(tmp_path)
            assert before.name == f"checkpoint-{step - 1}"
            write(tmp_path, step, best)
    remove_old(tmp_path, newest=1)  # as when the training is done
    assert names(tmp_path) == ["checkpoint-11", "checkpoint-9"]
