"""Who gets a place, and who gives way."""

import pytest

from hub.quotas.seats import SHORTEST_SECS, Seat, Seats

EVE, ANN = "192.0.2.66", "192.0.2.1"


class Time:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hall:
    """Seats, and who was asked to leave."""

    def __init__(self, total: int, **options: float) -> None:
        self.time = Time()
        self.gone: list[str] = []
        self.seats = Seats(total, clock=self.time, **options)  # type: ignore[arg-type]

    def take(self, address: str, name: str = "") -> Seat | None:
        return self.seats.take(address, lambda: self.gone.append(name))


def test_an_attacker_with_all_places_gives_way_to_whoever_else_comes() -> None:
    hall = Hall(4)
    for number in range(4):
        assert hall.take(EVE, f"eve{number}")
    assert hall.take(ANN, "ann")
    assert hall.gone == ["eve0"]
    assert hall.seats.taken == 4


def test_the_address_with_the_most_strangers_gives_way_not_the_longest_of_all() -> None:
    hall = Hall(4)
    hall.take(ANN, "ann")
    for number in range(4):
        hall.take(EVE, f"eve{number}")
    assert hall.gone == ["eve0"]


def test_who_has_signed_in_never_gives_way() -> None:
    hall = Hall(2)
    for _ in range(2):
        seat = hall.take(EVE, "eve")
        assert seat is not None
        seat.settle()
    assert hall.take(ANN) is None
    assert hall.gone == []
    assert hall.seats.refused == 1


def test_an_address_has_no_more_than_its_share() -> None:
    hall = Hall(100, per_address=2)
    first, second = hall.take(EVE, "first"), hall.take(EVE, "second")
    assert first is not None
    first.settle()
    assert hall.take(EVE, "third")
    assert hall.gone == ["second"]
    assert second is not None
    assert hall.seats.taken == 2
    assert hall.take(ANN)


def test_one_address_never_takes_the_last_places() -> None:
    hall = Hall(1024)
    for _ in range(1024):
        if (seat := hall.take(EVE)) is not None:
            seat.settle()
    assert hall.seats.taken == 1008
    assert hall.take(ANN)


def test_strangers_have_less_time_the_fuller_it_is() -> None:
    hall = Hall(10, patience_secs=15)
    for number in range(8):
        hall.take(f"192.0.2.{number}", str(number))
    hall.time.now += 15 * 2 * 0.2 + 0.1
    hall.take(ANN)
    assert hall.gone == [str(number) for number in range(8)]


def test_strangers_have_their_time_while_half_is_free() -> None:
    hall = Hall(10, patience_secs=15)
    for _ in range(4):
        hall.take(EVE)
    hall.time.now += 1000
    hall.take(ANN)
    assert hall.gone == []


def test_even_in_a_full_hub_there_is_time_to_sign_in() -> None:
    hall = Hall(10, patience_secs=15)
    for number in range(9):
        hall.take(f"192.0.2.{number}")
    hall.time.now += SHORTEST_SECS
    hall.take(ANN)
    assert hall.gone == []


def test_a_place_that_is_free_can_be_taken_again() -> None:
    hall = Hall(1)
    for _ in range(3):
        seat = hall.take(EVE)
        assert seat is not None
        seat.settle()
        seat.free()
        seat.free()
    assert hall.seats.taken == hall.seats.strangers == 0


@pytest.mark.parametrize("total", [0, 1])
def test_a_hub_of_no_places_lets_nobody_in(total: int) -> None:
    hall = Hall(total)
    seats = [hall.take(EVE) for _ in range(total)]
    for seat in seats:
        assert seat is not None
        seat.settle()
    assert hall.take(EVE) is None


def test_whoever_asks_for_something_waits_anew() -> None:
    hall = Hall(2)
    first = hall.take(EVE, "first")
    hall.take(EVE, "second")
    assert first is not None
    first.renew()
    hall.take(ANN)
    assert hall.gone == ["second"]
