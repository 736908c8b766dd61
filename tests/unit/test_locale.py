"""Korean goes in and out of a script under any locale, in what it prints and in names of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "workflow" / "scripts" / "prepare_data.py"
OLD = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # Python without its own cures
LOCALES = {
    "POSIX, ASCII asked for": {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
    "C alone": {"LC_ALL": "C", **OLD},
    "EUC-KR": {"LANG": "ko_KR.eucKR", "PYTHONIOENCODING": "euc-kr", **OLD},
}


@pytest.mark.parametrize("name", LOCALES)
def test_korean_under_any_locale(tmp_path, name):
    kept = {key: value for key, value in os.environ.items() if key[:3] not in ("LC_", "LAN", "PYT")}

    def run(*arguments):
        command = [sys.executable, str(SCRIPT), *arguments]
        environment = {**kept, **LOCALES[name]}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)

    done = run("--output-dir", "결과/자료")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").endswith("wrote 결과/자료\n")
    assert "과제 주제가 뭐야?" in (tmp_path / "결과/자료/dev.csv").read_text(encoding="utf-8")
    done = run("--study", "없음")
    assert done.returncode == 2 and "error: study '없음': no such" in done.stderr.decode("utf-8")
