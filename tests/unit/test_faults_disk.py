"""A disk that is full or read-only, on a real tmpfs: one line, nothing partial, and it goes on."""

from small_disk import ended, on_small_disk

PREPARE = "run prepare_data --study embedded --debug --output-dir results/embedded-debug/data"
GENERATE = "run generate --study embedded --debug --experiment tiny_llama --format chat"


def test_preparing_data_on_a_full_disk_leaves_nothing_and_then_goes_on(tmp_path):
    full, after_full, _ = on_small_disk(
        tmp_path,
        "64k",
        f"""
        {PREPARE}
        find . -type f > "$KEEP/after_full"
        remount size=4m
        {PREPARE}
        find . -name '.*' -not -name . > "$KEEP/left_over"
        cp -r results "$KEEP"
        """,
    )
    code, errors = ended(full, after_full)
    assert code == "2" and len(errors) == 1
    assert "the disk is full; free some space and run the same command again" in errors[0]
    assert (tmp_path / "keep/after_full").read_text() == ""
    assert (tmp_path / "keep/left_over").read_text() == ""
    assert len(list((tmp_path / "keep/results/embedded-debug/data").iterdir())) == 6


def test_a_full_disk_leaves_the_results_of_before_as_they_were(tmp_path):
    *_, full, after = on_small_disk(
        tmp_path,
        "4m",
        f"""
        {PREPARE}
        cp -r results "$KEEP/before"
        head -c 100m /dev/zero > filler || true
        {PREPARE}
        rm filler
        diff -r results "$KEEP/before"
        """,
    )
    code, errors = ended(full, after)
    assert code == "2" and "the disk is full" in errors[0]


def test_a_read_only_disk_is_one_line_with_its_cure(tmp_path):
    *_, prepared, after_prepared, _ = on_small_disk(
        tmp_path,
        "4m",
        f"""
        {PREPARE}
        cp -r results "$KEEP/before"
        remount ro
        {PREPARE}
        diff -r results "$KEEP/before"
        remount rw
        {PREPARE}
        """,
    )
    code, errors = ended(prepared, after_prepared)
    assert code == "2" and len(errors) == 1
    assert "Read-only file system; make it writable and run the same command again" in errors[0]


def test_generating_on_a_full_disk_leaves_nothing_and_is_run_again(tmp_path):
    full, after_full, _ = on_small_disk(
        tmp_path,
        "4m",
        f"""
        {PREPARE} > /dev/null
        head -c 100m /dev/zero > filler || true
        {GENERATE} --output-dir z
        test ! -e z
        rm filler
        {GENERATE} --output-dir z
        cp -r z "$KEEP"
        """,
    )[-3:]
    code, errors = ended(full, after_full)
    assert code == "2" and "the disk is full" in errors[0] and "Traceback" not in full
    assert {path.name for path in (tmp_path / "keep/z").iterdir()} == {
        *("dev.jsonl", "test.jsonl", "run.json")
    }
