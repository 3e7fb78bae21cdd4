"""The pictures of docs/report.md and docs/small-study.md: the top of a report, as Chromium shows it.

stepstone demo FOLDER && python docs/pictures/report.py FOLDER/experiment.yaml report.png
examples/small-study.sh && python docs/pictures/report.py examples/small-study.yaml small-study.png
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from launch import experiment, plan
from launch.report import write

_WIDTH, _HEIGHT = 1000, 1060  # pixels
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page = write(plan.make(experiment.load(Path(sys.argv[1]))), Path(folder) / "report.html")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        view = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        view.goto(page.as_uri())
        view.wait_for_selector("html[data-ready]", state="attached")
        view.screenshot(path=Path(__file__).with_name(sys.argv[2]))
        browser.close()


if __name__ == "__main__":
    main()
