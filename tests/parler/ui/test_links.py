"""Where an address in a peer's text leads is what is named, and what is opened."""

import pytest

from parler.ui.links import MAX_LINKS, spans


def led(text: str) -> list[tuple[str, str, str]]:
    return [(one.text, one.url, one.host) for one in spans(text) if one.url]


@pytest.mark.parametrize(
    ("text", "shown", "url", "host"),
    [
        ("see https://a.example/x(y)).", "https://a.example/x(y)", "", "a.example"),
        ("(HTTP://A.Example:81)", "HTTP://A.Example:81", "http://a.example:81", ""),
        ("http://127.0.0.1:80/x, ok", "http://127.0.0.1:80/x", "", "127.0.0.1:80"),
        ("http://[::1]/", "http://[::1]/", "", "[::1]"),
        (
            "https://p\u0430ypal.example/\xfc",
            "https://p\u0430ypal.example/\xfc",
            "https://xn--pypal-4ve.example/%C3%BC",
            "xn--pypal-4ve.example",
        ),
        ("https://a\u3002b/", "https://a\u3002b/", "https://a.b/", "a.b"),
    ],
)
def test_an_address_leads_where_is_named(
    text: str, shown: str, url: str, host: str
) -> None:
    [(said, to, named)] = led(text)
    assert (said, to) == (shown, url or shown)
    assert named == (host or to.partition("//")[2])
    assert "".join(one.text for one in spans(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "data:text/html,<script>x</script>",
        "file:///etc/passwd",
        "https://good.example@evil.example/",
        "https://good.example%2eevil.example/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://127.1/",
        "http://a.0x1/",
        "http://010.0.0.1/",
        "http://x:99999/",
        "https:///x",
        "https://-a.example/",
        "https://" + "a" * 64 + ".example",
        "https://a.example/" + "x" * 3000,
        "mailto://https://",
        "xhttps://a.example",
    ],
)
def test_what_could_be_read_in_two_ways_stays_text(text: str) -> None:
    assert led(text) == []
    assert "".join(one.text for one in spans(text)) == text


def test_a_text_is_not_all_links_and_a_cut_one_leads_nowhere() -> None:
    assert len(led("https://a.example " * (MAX_LINKS + 5))) == MAX_LINKS
    cut = spans("to https://bank.example.evil", whole=False)
    assert [one.url for one in cut] == [""]
