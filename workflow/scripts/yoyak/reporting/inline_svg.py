"""Prepare a plot's SVG for the report: unique ids, and the page's colours."""

import re
from pathlib import Path

from yoyak.errors import UserError, display
from yoyak.reporting import style

# Plot colour → the page's variable, which has a value for light, dark and print.
PAGE_COLOURS = {
    style.INK: "--ink",
    style.MUTED: "--muted",
    style.GRID: "--grid",
    style.PAPER: "--paper",
    style.FLOOR: "--floor",
    style.HUMAN: "--human",
    style.CONDITION_COLOURS["zero_shot"]: "--zero-shot",
    style.CONDITION_COLOURS["few_shot"]: "--few-shot",
    style.CONDITION_COLOURS["fine_tuned"]: "--fine-tuned",
    style.CONDITION_COLOURS["fine_tuned_templates"]: "--templates",
}


def inline_svg(path: Path, prefix: str, label: str) -> str:
    """The <svg> element of a plot that `style.save` wrote.

    Args:
        prefix: put before every id, so that two plots on a page do not share one.
        label: read to those who don't see the picture; plain text.

    Raises UserError when the plot is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{display(path)}: cannot be read ({error.strerror}); run plot.py first"
        ) from None
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would style the page
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"\s*\n\s*", " ", text)  # matplotlib puts every stroke of a path on its own line
    width = re.findall(r'viewBox="0 0 ([\d.]+)', text)[0]
    name = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = re.sub(r' (width|height)="[\d.]+pt"', "", text[: text.index(">")])
    return (
        f'{opening} role="img" aria-label="{name}" style="--width: {width}px"'
        + text[text.index(">") :].rstrip()
    )
