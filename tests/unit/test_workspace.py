"""Writing: whole or absent under exceptions and SIGKILL, one holder of a task, few leftovers."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run import workspace
from yoyak.run.workspace import (
    atomic_directory,
    atomic_write_json,
    atomic_write_text,
    hash_file,
    work_folder,
)

SCRIPTS = PROJECT_ROOT / "workflow" / "scripts"


def start(code: str, *arguments) -> subprocess.Popen:
    """A child process with the library on its path; it prints one line when it is ready."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
    )


def kill_when_ready(child: subprocess.Popen) -> None:
    assert child.stdout.readline().strip() == "ready", child.stderr.read()
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    child.stderr.close()


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.txt")}


def fill(folder: Path, text: str) -> None:
    (folder / "deep").mkdir()
    (folder / "a.txt").write_text(text)
    (folder / "deep" / "b.txt").write_text(text)


# ---- whole or absent ----


def test_a_directory_is_replaced_whole(tmp_path):
    target = tmp_path / "new" / "result"
    for text in ("one", "two"):
        with atomic_directory(target) as folder:
            fill(folder, text)
        assert content(target) == {"a.txt": text, "deep/b.txt": text}
    assert [path.name for path in target.parent.iterdir()] == ["result"]


def test_an_exception_leaves_everything_as_it_was(tmp_path):
    target = tmp_path / "result"
    with atomic_directory(target) as folder:
        fill(folder, "one")
    with pytest.raises(RuntimeError), atomic_directory(target) as folder:
        fill(folder, "two")
        raise RuntimeError
    with pytest.raises(UnicodeEncodeError):
        atomic_write_text(target / "a.txt", "two \udc80")
    with pytest.raises(TypeError):
        atomic_write_json(target / "a.txt", {"x": object()})
    assert content(tmp_path) == {"result/a.txt": "one", "result/deep/b.txt": "one"}
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


def test_a_link_is_replaced_and_what_it_leads_to_is_not(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fill(elsewhere, "theirs")
    (tmp_path / "result").symlink_to(elsewhere)
    with atomic_directory(tmp_path / "result") as folder:
        fill(folder, "ours")
    assert content(elsewhere)["a.txt"] == "theirs"
    assert not (tmp_path / "result").is_symlink()


KILLED_DIRECTORY = """
    import sys, time
    from pathlib import Path
    from yoyak.run import workspace
    with workspace.atomic_directory(Path(sys.argv[1])) as folder:
        (folder / "a.txt").write_text("two")
        print("ready", flush=True)
        time.sleep(60)
"""
# Stops between the removal of the old folder and the arrival of the new one.
KILLED_BETWEEN = """
    import os, sys, time
    from pathlib import Path
    from yoyak.run import workspace
    rename, calls = os.rename, []
    def slow(source, target):
        calls.append(target)
        if len(calls) == 2:
            print("ready", flush=True)
            time.sleep(60)
        rename(source, target)
    os.rename = slow
    with workspace.atomic_directory(Path(sys.argv[1])) as folder:
        (folder / "a.txt").write_text("two")
"""


def test_killed_while_writing_the_old_folder_stands(tmp_path):
    target = tmp_path / "result"
    with atomic_directory(target) as folder:
        fill(folder, "one")
    kill_when_ready(start(KILLED_DIRECTORY, target))
    assert content(target) == {"a.txt": "one", "deep/b.txt": "one"}
    assert len(list(tmp_path.iterdir())) == 2  # and what the dead process left
    with atomic_directory(target) as folder:
        fill(folder, "three")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_killed_between_old_and_new_nothing_partial_is_there(tmp_path):
    target = tmp_path / "result"
    with atomic_directory(target) as folder:
        fill(folder, "one")
    kill_when_ready(start(KILLED_BETWEEN, target))
    assert not target.exists()
    with atomic_directory(target) as folder:
        fill(folder, "three")
    assert content(tmp_path) == {"result/a.txt": "three", "result/deep/b.txt": "three"}


SWAPPER = """
    import sys
    from pathlib import Path
    from yoyak.run.workspace import atomic_directory
    for _ in range(60):
        with atomic_directory(Path(sys.argv[1])) as folder:
            for name in "abc":
                (folder / f"{name}.txt").write_text(sys.argv[2])
"""


def test_two_writers_of_one_folder_do_not_disturb_each_other(tmp_path):
    """As when an orphan still writes what a new run makes again: the last one wins, whole."""
    target = tmp_path / "result"
    writers = [start(SWAPPER, target, text) for text in "12"]
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    assert set(content(target)) == {"a.txt", "b.txt", "c.txt"}
    assert len(set(content(target).values())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_task_is_discarded_unless_it_is_at_work(tmp_path):
    workspace.discard(tmp_path)  # nothing there: nothing happens
    assert list(tmp_path.iterdir()) == []
    with work_folder(tmp_path, "aaaa") as folder:
        (folder / "checkpoint-9").mkdir()
        workspace.discard(tmp_path)
        assert (folder / "checkpoint-9").is_dir()
    assert (folder / "checkpoint-9").is_dir()  # a rerun would go on from it
    workspace.discard(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_published_outlives_its_output_and_takes_no_room_twice(tmp_path):
    finished, output = tmp_path / "finished", tmp_path / "output"
    (finished / "final_model").mkdir(parents=True)
    for name in ("final_model/adapter", "run.json"):
        (finished / name).write_text(name)
    workspace.publish(finished, output)
    shutil.rmtree(output)
    workspace.publish(finished, output)
    workspace.publish(finished, output)  # over what is there
    for name in ("final_model/adapter", "run.json"):
        assert (output / name).samefile(finished / name)
    assert sorted(path.name for path in output.iterdir()) == ["final_model", "run.json"]


def test_the_leftover_of_a_living_process_stays(tmp_path):
    target = tmp_path / "result"
    child = start(KILLED_DIRECTORY, target)
    assert child.stdout.readline().strip() == "ready"
    with atomic_directory(target) as folder:
        fill(folder, "mine")
    assert len(list(tmp_path.iterdir())) == 2
    child.kill()
    child.communicate()


@pytest.mark.parametrize("attempt", range(4))
def test_text_is_never_seen_half_written(tmp_path, attempt):
    target = tmp_path / "x.txt"
    atomic_write_text(target, "0" * 100_000)
    child = start(
        """
        import sys
        from pathlib import Path
        from yoyak.run.workspace import atomic_write_text
        print("ready", flush=True)
        for number in range(1, 10**6):
            atomic_write_text(Path(sys.argv[1]), str(number % 10) * 100_000)
        """,
        target,
    )
    assert child.stdout.readline().strip() == "ready"
    time.sleep(0.05 + 0.03 * attempt)
    child.kill()
    child.communicate()
    text = target.read_text()
    assert len(text) == 100_000 and len(set(text)) == 1


# ---- one holder, bounded leftovers ----


HOLDER = """
    import sys, time
    from pathlib import Path
    from yoyak.run.workspace import work_folder
    with work_folder(Path(sys.argv[1]) / "x", "aaaa"):
        print("ready", flush=True)
        time.sleep(60)
"""


def test_a_held_task_is_one_clear_line(tmp_path):
    child = start(HOLDER, tmp_path)
    assert child.stdout.readline().strip() == "ready"
    with (
        pytest.raises(UserError, match=f"process {child.pid} .*kill {child.pid}") as caught,
        work_folder(tmp_path / "x", "aaaa"),
    ):
        pass
    assert str(caught.value).isprintable() and "x/.work" in str(caught.value)
    with work_folder(tmp_path / "y", "aaaa"):  # another task is free
        pass
    child.kill()
    child.communicate()
    with work_folder(tmp_path / "x", "aaaa") as folder:  # and the kernel gave it back
        assert folder == tmp_path / "x" / ".work" / "aaaa"


def test_abandoned_fingerprints_are_bounded(tmp_path):
    for number in range(6):
        with work_folder(tmp_path, f"print{number}") as folder:
            (folder / "checkpoint").mkdir()
            os.utime(folder, (number, number))
    left = sorted(path.name for path in (tmp_path / ".work").iterdir() if path.is_dir())
    assert left == ["print4", "print5"]
    with work_folder(tmp_path, "print5") as folder:
        assert (folder / "checkpoint").is_dir()


def test_json_is_readable_and_byte_stable(tmp_path):
    atomic_write_json(tmp_path / "a.json", {"b": 1, "a": "요약"})
    atomic_write_json(tmp_path / "b.json", {"a": "요약", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "요약" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["b"] == 1


def test_a_changed_file_has_another_hash(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"one")
    before = hash_file(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert hash_file(file) != before
    assert workspace.hash_text("one") == before


@pytest.mark.parametrize("umask, refused", [(0, 0o022), (0o077, 0o077)])
def test_nothing_is_world_writable(tmp_path, umask, refused):
    results, before = tmp_path / "results", os.umask(umask)
    try:
        with work_folder(results, "aaaa"):
            pass
        with atomic_directory(results / "data"):
            pass
        atomic_write_text(results / "run.json", "{}")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in results.rglob("*")}
    assert len(modes) > 3 and [name for name in modes if modes[name] & refused] == []
