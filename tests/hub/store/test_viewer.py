"""The estimate of tokens."""

import pytest

from hub.store.viewer import estimated_tokens


@pytest.mark.parametrize(
    ("parts", "tokens"),
    [
        ([], 0),
        ([{"kind": "text", "text": ""}], 0),
        ([{"kind": "text", "text": "abcd"}], 1),
        ([{"kind": "text", "text": "abcde"}], 2),
        ([{"kind": "text", "text": "ab"}, {"kind": "text", "text": "cd"}], 1),
        ([{"kind": "text", "text": "éé日本"}], 1),
        ([{"kind": "data", "data": {"key not counted": ["ab", {"x": "cd"}, 5]}}], 1),
        ([{"kind": "org.example.x", "a": "abcd", "n": None}], 1),
        ([{"kind": "com.parler.sig", "sig": "x" * 88}], 0),
    ],
)
def test_estimate_is_a_quarter_of_all_characters_said(
    parts: list[dict[str, object]], tokens: int
) -> None:
    assert estimated_tokens(parts) == tokens
