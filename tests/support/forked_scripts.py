"""Runs the real scripts quickly: one process imports the libraries, a fork of it runs each script.

A fork is a process of its own: the script is run as `__main__` by its path, its exit code, stdout
and stderr are real. Only the start of the interpreter and the imports are shared.
"""

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HANG = 120  # seconds after which a script is killed: exit code -14
LIGHT = ("yaml", "yoyak.config.study", "yoyak.data.dialogues", "numpy")
HEAVY = (*LIGHT, "torch", "transformers", "safetensors", "yoyak.models.lora_loader")


class ScriptServer:
    """Runs scripts of a project in its folder; close it in the end."""

    def __init__(self, project: Path, preload: tuple[str, ...] = LIGHT) -> None:
        from workflow_project import environment

        self.project = Path(project)
        self.process = subprocess.Popen(
            [sys.executable, __file__, *preload],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), "PYTHONPATH": str(self.project / "workflow" / "scripts")},
        )

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess:
        """`python workflow/scripts/{script} {arguments}` in the project's folder."""
        with tempfile.TemporaryDirectory() as folder:
            argv = [f"workflow/scripts/{script}", *map(str, arguments)]
            print(json.dumps({"argv": argv, "folder": folder}), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
            assert answer, "the server has died"
            stdout, stderr = (
                Path(folder, name).read_text(encoding="utf-8", errors="replace")
                for name in ("stdout", "stderr")
            )
        return subprocess.CompletedProcess(argv, json.loads(answer), stdout, stderr)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def serve(preload: list[str]) -> None:
    for name in preload:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        _, status = os.waitpid(child, 0)  # the child's own alarm ends it where it hangs
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict) -> None:
    """In the fork: the script itself, from its first line to its exit code."""
    names = (os.devnull, *(os.path.join(request["folder"], name) for name in ("stdout", "stderr")))
    for number, name in enumerate(names):
        flags = os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY
        os.dup2(os.open(name, flags, 0o600), number)
    sys.argv = request["argv"]
    signal.alarm(HANG)
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1:])
