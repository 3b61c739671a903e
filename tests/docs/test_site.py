"""The site of docs/ builds without a warning, and none of its links leads nowhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests._support.polling import TEST_WAIT
from tests._support.processes import CHECKOUT

pytestmark = pytest.mark.docs

PACKAGES = CHECKOUT / ".env-docs"
DOCS = CHECKOUT / "docs"


class Page(HTMLParser):
    """What a page links to, and what can be linked to on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) in {("a", "href"), ("img", "src"), ("link", "href")}:
                self.links.append(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The site, built as strictly as Sphinx can."""
    folder = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q")
    done = subprocess.run(
        [*command, "-d", folder / "trees", "-b", "html", DOCS, folder / "html"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(PACKAGES),
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TEST_WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if kept := pytestconfig.getoption("--site"):
        shutil.copytree(folder / "html", CHECKOUT / kept, dirs_exist_ok=True)
    return folder / "html"


def pages(site: Path) -> dict[Path, Page]:
    return {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }


def broken(path: Path, found: dict[Path, Page]) -> Iterator[str]:
    for link in found[path].links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield link
            continue
        there = found.get(target)
        if parts.fragment and there and unquote(parts.fragment) not in there.anchors:
            yield link


def test_every_page_is_built(site: Path) -> None:
    built = {path.relative_to(site).with_suffix("") for path in pages(site)}
    written = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    assert written <= built


def test_no_link_within_the_site_leads_nowhere(site: Path) -> None:
    found = pages(site)
    wrong = {
        str(path.relative_to(site)): lost
        for path in found
        if (lost := list(broken(path, found)))
    }
    assert not wrong


def test_no_page_of_the_site_loads_anything_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text, path
