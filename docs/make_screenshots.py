"""Photograph a report, wide and as on a phone, for the README.

Needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver) and the
packages of envs/requirements-dev.txt. From the repository's root, after `make run`:

  python docs/make_screenshots.py --report results/embedded/report.html --output-dir docs

README.ko.md shows a report in Korean: --report … --suffix=-ko
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

MAX_BYTES = 300_000
SHOTS = {  # width, height, device pixels per pixel
    "report-wide": (1440, 900, 1),
    "report-phone": (390, 844, 2),
}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path, default=Path("results/embedded/report.html"))
    parser.add_argument("--output-dir", type=Path, default=Path("docs"))
    parser.add_argument("--suffix", default="", help="of the files' names")
    args = parser.parse_args()
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        sys.exit("error: no chromium and chromedriver; apt-get install chromium chromium-driver")
    if not args.report.is_file():
        sys.exit(f"error: {args.report}: no such file; make the report first: make run")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            for name, shot in SHOTS.items():
                image = photograph(browser, args.report, *shot)
                save_small(image, args.output_dir / f"{name}{args.suffix}.png")
        finally:
            browser.quit()


def photograph(browser, report: Path, width: int, height: int, scale: int) -> Image.Image:
    """The first screen of the report on a device of this size, in CSS pixels."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600},
    )
    browser.get(report.absolute().as_uri())
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def save_small(image: Image.Image, path: Path) -> None:
    """Write a PNG of at most MAX_BYTES, with a palette if it would be larger."""
    for picture in (image, image.quantize(256), image.quantize(64)):
        picture.save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            print(f"wrote {path} ({path.stat().st_size // 1000} kB)")
            return
    sys.exit(f"error: {path}: still {path.stat().st_size:,} bytes with 64 colours")


if __name__ == "__main__":
    main()
