"""Notices and mentions are bounded, whoever causes them."""

from parler.runtime.notices import MAX_MENTIONS, MAX_NOTICES, Notices
from parler.wake.spool import Item


def notice(number: int) -> Item:
    return Item("", 0, f"text {number}", True, str(number))


def test_of_too_many_notices_the_oldest_go() -> None:
    notices = Notices()
    for number in range(MAX_NOTICES + 2):
        notices.add(notice(number))
    assert len(notices.own) == MAX_NOTICES
    assert next(one.key for one in notices.own.values()) == "2"


def test_mentions_are_full_at_their_bound_until_some_were_shown() -> None:
    notices = Notices()
    marks = [notice(number).mark for number in range(MAX_MENTIONS)]
    for mark in marks:
        assert not notices.full
        notices.mentions[mark] = notice(0)
    assert notices.full
    notices.drop(marks[:1])
    assert not notices.full
