"""What an admin wants of a room's members, and what has to be said for it.

Pure. A change is an intention, not a state: whoever loses a race repeats it on top of
the state that won, as far as it is not already so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from parler.identity.signing import fingerprint
from parler.sealed.formats import Link, Member, State, Value
from parler.sealed.state import SignedState
from parler.wire.base import AgentId, Code


class Admit(Value, frozen=True, tag_field="change", tag="admit"):
    """Somebody becomes a member."""

    agent: AgentId
    history: bool = True
    """Whether it reads what was said before."""

    code: Code | None = None
    """Of the session key it came with, which its first grant confirms to it."""


class Remove(Value, frozen=True, tag_field="change", tag="remove"):
    """A member goes, and reads nothing of what follows."""

    agent: AgentId


class SetAdmin(Value, frozen=True, tag_field="change", tag="admin"):
    """A member may, or may no longer, make states."""

    agent: AgentId
    admin: bool


class Rekey(Value, frozen=True, tag_field="change", tag="rekey"):
    """The same members, another key."""


Change: TypeAlias = Admit | Remove | SetAdmin | Rekey


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The members of the next state, who of them is new, and whether the key is."""

    members: list[Member]
    newcomers: list[AgentId]
    new_key: bool


def plan(change: Change, current: State) -> Plan | None:
    """What the next state has to be; None if it is already so."""
    members = {member.id: member for member in current.members}
    newcomers: list[AgentId] = []
    new_key = False
    match change:
        case Admit(agent=agent, history=history):
            if agent in members:
                return None
            new_key = not history
            since = 1 if history else current.epoch + 1
            members[agent] = Member(id=agent, since=since, admin=False)
            newcomers = [agent]
        case Remove(agent=agent):
            if members.pop(agent, None) is None:
                return None
            new_key = True
        case SetAdmin(agent=agent, admin=admin):
            member = members.get(agent)
            if member is None or member.admin == admin:
                return None
            members[agent] = Member(id=agent, since=member.since, admin=admin)
        case Rekey():
            new_key = True
    return Plan(
        members=sorted(members.values(), key=lambda member: member.id),
        newcomers=newcomers,
        new_key=new_key,
    )


def told(now: State, before: State | None) -> str:
    """What a state changes, to people; members by their fingerprints."""
    if before is None:
        return "opened this sealed session"
    was = {member.id: member for member in before.members}
    here = {member.id: member for member in now.members}
    said = [f"let in {fingerprint(one)}" for one in here if one not in was]
    said += [f"removed {fingerprint(one)}" for one in was if one not in here]
    for one in here.keys() & was.keys():
        if here[one].admin != was[one].admin:
            word = "an admin now" if here[one].admin else "no admin any more"
            said.append(f"{fingerprint(one)} is {word}")
    return "; ".join(said) or "made a new key for the same members"


def shortest_chain(states: Iterable[SignedState], author: str) -> list[Link]:
    """What shows a newcomer that `author` is an admin: from the genesis, link by link.

    Args:
        states: Those that were current, the genesis first.
    """
    shortest: dict[str, list[Link]] = {}
    for made in states:
        before = shortest.get(made.state.by, [])
        if shortest and not before:
            continue  # of somebody whose right we cannot show
        for member in made.state.members:
            known = shortest.get(member.id)
            if member.admin and (known is None or len(known) > len(before) + 1):
                shortest[member.id] = [*before, made.link]
    return shortest.get(author, [])


def chain(
    states: Iterable[SignedState], author: str, begins: Iterable[SignedState] = ()
) -> list[Link]:
    """What a newcomer needs to judge an admission by `author`, and what it can read.

    Args:
        states: Those that were current, the genesis first.
        begins: Those with which the log begins that the hub still has; each comes with
            what shows that its author was an admin.
    """
    known = list(states)
    links = {link.sig: link for link in shortest_chain(known, author)}
    for made in begins:
        for link in [*shortest_chain(known, made.state.by), made.link]:
            links[link.sig] = link
    return sorted(links.values(), key=lambda link: int(link.state["s"]))
