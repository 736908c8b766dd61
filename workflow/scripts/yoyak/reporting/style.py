"""Style of all plots: colours that keep their order in grey print, reproducible files."""

from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from yoyak.errors import PROJECT_ROOT

# One blue from light to dark: lightness alone tells the conditions apart, in grey print and for
# every kind of colour vision; markers differ as well.
INK = "#1f2933"
MUTED = "#5f6b77"
GRID = "#e4e8ec"
PAPER = "#ffffff"
FLOOR = "#a8482a"
HUMAN = "#3c6e47"
CONDITION_COLOURS = {
    "zero_shot": "#e8edf1",
    "few_shot": "#a8bac8",
    "fine_tuned": "#4a8fc4",
    "fine_tuned_templates": "#15436b",
}
CONDITION_MARKERS = {"zero_shot": "o", "few_shot": "^"}
CONDITION_MARKERS |= {"fine_tuned": "s", "fine_tuned_templates": "D"}

PNG_DOTS_PER_INCH = 160
HANGUL = "Yoyak Hangul"
HANGUL_FOLDER = PROJECT_ROOT / "workflow" / "report" / "vendor" / "hangul"

RC = {
    # One is shipped with matplotlib, one with Yoyak: the same picture on every machine.
    "font.family": ["DejaVu Sans", HANGUL],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "yoyak",
    "svg.fonttype": "path",  # text as outlines: placed right whatever fonts a reader has
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches; made inside `plot_style`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_style():
    """Context in which figures are made and saved."""
    if HANGUL not in font_manager.fontManager.get_font_names():
        for weight in ("Regular", "Bold"):
            font_manager.fontManager.addfont(HANGUL_FOLDER / f"YoyakHangul-{weight}.ttf")
    return matplotlib.rc_context(RC)


def drawable(text: str) -> bool:
    """Whether the fonts of the plots have all these letters: ASCII, or common Hangul."""
    hangul = FT2Font(HANGUL_FOLDER / "YoyakHangul-Regular.ttf")
    return all(letter.isascii() or hangul.get_char_index(ord(letter)) for letter in text)


def save(figure: Figure, folder: Path, stem: str, caption: str) -> None:
    """Write {stem}.svg and {stem}.png, the caption inside; equal figures give equal bytes."""
    vector, pixels = folder / f"{stem}.svg", folder / f"{stem}.png"  # a stem may hold dots
    vector.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(vector, metadata={"Date": None, "Creator": None, "Description": caption})
    figure.savefig(
        pixels, dpi=PNG_DOTS_PER_INCH, metadata={"Software": None, "Description": caption}
    )
