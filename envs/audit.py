"""Are versions with known security holes pinned in envs/? `make audit` asks pip-audit, and says so.

pip-audit ends well, with "No known vulnerabilities found", even where it could look nothing up.
This tells the two apart: exit code 1 only for a known hole, 0 with a warning where the data cannot
be had (no network, a package mirror without it), so that a build is not red for being offline.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCKS = ("requirements.lock", "requirements-dev.lock")


def main() -> int:
    folder = Path(__file__).resolve().parent
    worst = 0
    for name in LOCKS:
        verdict, code = judge(*ask(folder / name))
        print(f"envs/{name}: {verdict}")
        worst = max(worst, code)
    return worst


def ask(lock: Path) -> tuple[str, str]:
    """What pip-audit says of a lock file: its JSON, and its complaints. Nothing is installed."""
    flags = (
        "--no-deps",
        "--disable-pip",
        "--progress-spinner=off",
        "--timeout=15",
        "--format=json",
    )
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "", "no answer within 600 s"
    return done.stdout, done.stderr


def judge(answer: str, complaints: str) -> tuple[str, int]:
    """The verdict in words and the exit code."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaints.strip().splitlines() or ["no answer"])[-1]
        return f"NOT AUDITED: pip-audit could not look anything up ({last[:200]})", 0
    audited = [package for package in packages if "vulns" in package]
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}"
        + (f" (mended in {', '.join(hole['fix_versions'])})" if hole.get("fix_versions") else "")
        for package in audited
        for hole in package["vulns"]
    ]
    if holes:
        return "KNOWN HOLES: " + "; ".join(holes), 1
    if not audited:
        return f"NOT AUDITED: none of {len(packages)} packages could be looked up here", 0
    skipped = len(packages) - len(audited)
    part = f", but {skipped} could not be looked up" if skipped else ""
    return f"no known hole in {len(audited)} of {len(packages)} packages{part}", 0


if __name__ == "__main__":
    sys.exit(main())
