"""No call that could run a checkpoint's own Python code, unpickle it, or hand text to a shell.

Left out, `trust_remote_code` makes transformers ask on the terminal: a yes would run the code.
"""

import ast
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
FILES = sorted(SCRIPTS.rglob("*.py"))
FORBIDDEN = (
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "yaml.load_all",
)
FORBIDDEN += (
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "yaml.unsafe_load",
    "joblib.load",
)


def calls(file: Path) -> list[tuple[str, dict]]:
    """Every call of a file: its dotted name and its keyword arguments."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {part.arg: ast.unparse(part.value) for part in node.keywords}
            found.append((ast.unparse(node.func), keywords))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SCRIPTS)))
def test_no_code_of_a_stranger(file):
    for name, keywords in calls(file):
        if name.split(".")[-1] == "from_pretrained" and "Auto" in name:
            assert keywords.get("trust_remote_code") == "False", name
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", name
        assert keywords.get("shell", "False") == "False", name
        assert name not in FORBIDDEN
