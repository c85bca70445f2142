"""Take the picture of a page: ``python tools/screenshot.py PAGE PICTURE``.

Needs Playwright and a Chromium on the machine.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1200, 1745


def main(page_file: str, picture: str) -> None:
    with sync_playwright() as engine:
        chromium = shutil.which("chromium")
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(Path(page_file).resolve().as_uri())
        page.locator(".plot .main-svg").first.wait_for()
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
