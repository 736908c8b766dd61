"""Cut the plots' Hangul out of NanumBarunGothic: the syllables and the jamo of KS X 1001.

Needs fontTools (matplotlib brings it) and the font (Debian: apt-get install fonts-nanum).

  python workflow/report/vendor/hangul/make_font.py
"""

from pathlib import Path

from fontTools import subset

SOURCES = Path("/usr/share/fonts/truetype/nanum")
WEIGHTS = {"Regular": "NanumBarunGothic.ttf", "Bold": "NanumBarunGothicBold.ttf"}
FAMILY = "Yoyak Hangul"  # the licence reserves the name Nanum for the original


def main() -> None:
    for weight, source in WEIGHTS.items():
        cut(SOURCES / source, weight)


def cut(source: Path, weight: str) -> None:
    """Write YoyakHangul-{weight}.ttf."""
    whole, file = f"{FAMILY} {weight}", f"YoyakHangul-{weight}"
    names = {1: FAMILY, 2: weight, 3: whole, 4: whole, 6: file}
    rows = [bytes([row, cell]) for row in (0xA4, *range(0xB0, 0xC9)) for cell in range(0xA1, 0xFF)]
    letters = "".join(row.decode("euc-kr", "ignore") for row in rows)
    options = subset.Options(hinting=False, layout_features=[], glyph_names=False)
    options.name_IDs = [0, *names, 13, 14]  # 0, 13, 14: copyright and licence
    options.drop_tables += ["TSI0", "TSI1", "TSI2", "TSI3", "TSI5", "FFTM"]
    font = subset.load_font(str(source), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    font["name"].names = [name for name in font["name"].names if name.langID == 0x409]
    for number, text in names.items():
        font["name"].setName(text, number, 3, 1, 0x409)
    font["OS/2"].usWeightClass = {"Regular": 400, "Bold": 700}[weight]
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    font.save(Path(__file__).with_name(f"{file}.ttf"))


if __name__ == "__main__":
    main()
