"""The frozen cases of sealed rooms in real browsers, by WebCrypto alone.

What browsers compute and read is what we do: the page is a second implementation.
"""

from pathlib import Path

import pytest

from tests.attack import _browser as browser
from tests.parler.sealed.test_vectors import CASES, FROZEN

PAGE = Path(__file__).with_name("sealed.html")


@pytest.mark.attack
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", browser.BROWSERS)
async def test_a_browser_agrees_on_the_frozen_cases(name: str, tmp_path: Path) -> None:
    async with browser.attackers_site("127.0.0.1:1") as site:
        site.page, site.plan = PAGE, {"frozen": FROZEN}
        home = site.url("localhost")  # a secure context, or there is no WebCrypto
        report = await browser.open_page(name, site, home, tmp_path)
    expected = {case.name: (case.refuse or "ok").split(" or ") for case in CASES}
    assert report.keys() == expected.keys()
    assert {c: got for c, got in report.items() if got not in expected[c]} == {}
