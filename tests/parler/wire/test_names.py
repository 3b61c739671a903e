"""How names become room names (protocol 4.1, 4.2)."""

import pytest

from parler.wire.names import service_room, token


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("team", "team"),
        ("Team-1_x", "Team-1_x"),
        ("  team ", "team"),
        ("room.abc", "room_abc"),
        ("a b/c", "a_b_c"),
        ("../../etc", "______etc"),
        ("é", "_"),
        ("😀", "_"),
        ("٣", "_"),
        ("a\nb\x00", "a_b_"),
        ("", "_"),
        ("   ", "_"),
    ],
)
def test_a_name_keeps_letters_digits_dash_and_underscore(text: str, made: str) -> None:
    assert token(text) == made
    assert token(made) == made


def test_a_service_has_a_room_of_its_own() -> None:
    assert service_room("review") == "svc.review"
    assert service_room(" Re View ") == "svc.Re_View"
    assert service_room("svc.review") == "svc.svc_review"
