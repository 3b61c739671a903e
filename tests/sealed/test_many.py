"""Many of everything: processes of one identity, admins at once, and members."""

import random  # noqa: TID251 (races that are the same for everybody)
import subprocess
import sys
from pathlib import Path

import pytest

from parler.identity.signing import Keypair
from parler.sealed import state
from parler.sealed.changes import Admit, Change, Rekey, Remove, SetAdmin
from parler.sealed.formats import Member, Refused
from parler.sealed.member import NotReading
from parler.sealed.store import open_store
from tests._support.sealed_rooms import OneRoom, Person

PROCESSES = 8
WORDS = 25
RACES = 200
MEMBERS = 1_000

PROCESS = """
import sys, time
from pathlib import Path
from parler.sealed.store import open_store
from tests._support import sealed_rooms as rooms
from parler.machine.files import locked

folder, number, words = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = open_store(folder / "sealed.sqlite")
log = folder / "log"

def read(person):
    person.hub.messages = [
        rooms.said(person.id, bytes.fromhex(line), seq=100 + at, name=str(at))
        for at, line in enumerate(log.read_text().splitlines())]
    person.sync()

person = rooms.Person(1, rooms.OneRoom(), store)
for word in range(words):
    with locked(folder / "turn", wait_secs=120):
        read(person)
        said = person.member.say([{"kind": "text", "text": f"{number} {word}"}])
        with log.open("a") as file:
            file.write(said.parts.hex() + "\\n")
        read(person)
print(len(person.texts))
store.close()
"""


def test_eight_processes_of_one_identity_are_one_author(tmp_path: Path) -> None:
    store = open_store(tmp_path / "sealed.sqlite")
    ann = Person(1, OneRoom(), store)
    opened = ann.member.open()
    (tmp_path / "log").write_text(opened.parts.hex() + "\n", encoding="utf-8")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, tmp_path, str(number), str(WORDS)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + PROCESSES * WORDS
    with ann.room() as room:
        numbers = [entry.n for entry in room.entries()]
    assert numbers == list(range(1, len(lines) + 1)), (
        "no number twice, and none left out"
    )
    assert ann.alarms == []
    assert len(ann.texts) == len(set(ann.texts)) == PROCESSES * WORDS


def test_of_two_hundred_changes_at_once_all_come_to_one_state() -> None:
    chance, hub = random.Random(7), OneRoom()
    people = [Person(number + 1, hub) for number in range(6)]
    owner, *others = people
    owner.open()
    for person in others:
        owner.change(Admit(agent=person.id))
        owner.change(SetAdmin(agent=person.id, admin=True))
        assert person.enter()
    for _ in range(RACES):
        for person in chance.sample(people, 2):
            whom = chance.choice(others).id
            change: Change = chance.choice(
                [Rekey(), Remove(agent=whom), Admit(agent=whom)]
            )
            try:
                person.member.intend(change)
            except (NotReading, Refused):
                continue
        for person in chance.sample(people, len(people)):  # on what each has read
            if (outgoing := person.member.outgoing()) is not None:
                person.send(outgoing)
        for person in people:
            person.sync()
    for _ in range(4):
        for person in people:
            person.sync()
            with person.room() as room:
                current = room.current()
            assert current is not None
            if current.state.member(person.id) is not None:
                person.finish()
    for person in others:
        owner.change(Admit(agent=person.id))
    owner.say("we are all here")
    for person in people:
        person.sync()
        person.finish()
        person.sync()
    with owner.room() as room:
        current, head = room.current(), room.position.head
        assert room.changes() == {}
    for person in people:
        with person.room() as room:
            assert (room.current(), room.position.head) == (current, head)
        assert person.alarms == []
        assert person.texts[-1] == "we are all here"


def test_a_thousand_members_are_let_in_put_out_and_read() -> None:
    hub = OneRoom()
    ann, bob = Person(1, hub), Person(2, hub)
    ann.open()
    ann.change(Admit(agent=bob.id))
    assert bob.enter()
    with ann.room() as room:
        current = room.current()
    assert current is not None
    agents = [Keypair.generate().agent_id for _ in range(MEMBERS - 2)]
    fill(ann, agents)
    bob.sync()
    ann.change(Remove(agent=agents[0]))
    assert len(hub.messages[-1].parts) < 400_000
    ann.say("one is gone")
    bob.sync()
    assert bob.texts == ["one is gone"]
    with bob.room() as room:
        current = room.current()
    assert current is not None
    assert len(current.state.members) == MEMBERS - 1
    ann.change(Admit(agent=agents[0]))
    with pytest.raises(Refused, match="members"):
        ann.change(Admit(agent=Keypair.generate().agent_id))


def fill(ann: Person, agents: list[str]) -> None:
    """One state with all of them, as an admin's program could make it."""

    with ann.room() as room:
        current = room.current()
        assert current is not None
        members = [
            *current.state.members,
            *(Member(id=one, since=1, admin=False) for one in agents),
        ]
        made = state.make_next(
            ann.keypair, current, members, epoch_key=None, ts=ann.now_ms
        )
        body = ann.member._post(room, made, [], chain=[room.states()[0].link])
        outgoing = ann.member._prepare(room, body)
    ann.send(outgoing)
    ann.sync()
