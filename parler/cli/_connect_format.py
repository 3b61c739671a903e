"""How ``connect`` reads: the lines for people. Pure functions, but for the QR code."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from parler.apps.install.health import State
from parler.identity.signing import fingerprint
from parler.ops.connect import (
    AppHealth,
    AppOutcome,
    Arrival,
    ConnectResult,
    ListResult,
    Outcome,
    VerifyResult,
)
from parler.text.terminal import visible

if TYPE_CHECKING:
    from parler.local_hub.lan import TeamHub

_OUTCOMES = {
    Outcome.WIRED: "✓",
    Outcome.UNCHANGED: "✓",
    Outcome.REMOVED: "✓",
    Outcome.NOTHING: "·",
    Outcome.PLANNED: "·",
    Outcome.FAILED: "✗",
}
_STATES = {State.WORKING: "✓", State.BROKEN: "✗", State.UNWIRED: "·", State.ABSENT: " "}


def done(result: ConnectResult) -> Iterator[str]:
    """What was done, app by app, and what the user has to do."""
    if not result.hosts:
        yield "no agent app was found on this machine; name one: parler connect APP"
        yield "or run parler mcp as an MCP server (stdio) in any other app"
        yield from _chosen(result)
        return
    quiet = [one for one in result.hosts if one.outcome is Outcome.NOTHING]
    for one in result.hosts:
        if one.outcome is not Outcome.NOTHING:
            yield from _outcome(one)
    if len(quiet) == len(result.hosts):
        yield "nothing of ours was found in any app"
    restarts = [one for one in result.hosts if one.restart]
    if restarts and all(one.outcome is not Outcome.PLANNED for one in restarts):
        yield ""
        yield "To take effect:"
        for one in restarts:
            yield f"  {visible(one.title)}: {visible(one.restart or '')}"
    yield from _chosen(result)
    if any(one.outcome is Outcome.WIRED for one in result.hosts):
        yield "then see whether it works: parler connect --list"
        yield "and tell an agent: open a Parler session and give me the key"
    if any(one.outcome is Outcome.PLANNED for one in result.hosts):
        yield "nothing was written: the same command without --print does that"


def _chosen(result: ConnectResult) -> Iterator[str]:
    if result.chosen and result.hub:
        yield ""
        yield f"hub: {visible(result.hub)}, for your shell and every wired app"
        yield "to use another one: parler use HUB"


def _outcome(one: AppOutcome) -> Iterator[str]:
    where = f" → {visible(one.hub)}" if one.hub else ""
    yield f"{_OUTCOMES[one.outcome]} {visible(one.title)}: {one.outcome}{where}"
    if one.outcome is not Outcome.PLANNED:
        for path in one.files:
            yield f"    {visible(path)}"
    for line in (one.diff or "").splitlines():
        yield f"  {visible(line)}"
    if one.detail:
        yield f"    {visible(one.detail)}"
    if one.next:
        yield f"    next: {visible(one.next)}"
    if one.snippet:
        yield "    or enter this MCP server there by hand:"
        yield from (f"      {visible(line)}" for line in one.snippet.splitlines())
    for note in one.notes:
        yield f"    note: {visible(note)}"


def listed(result: ListResult) -> Iterator[str]:
    """Which apps are here, which are wired, and what is wrong with them."""
    for one in result.hosts:
        if one.state is not State.ABSENT:
            yield from _health(one)
    absent = [one.title for one in result.hosts if one.state is State.ABSENT]
    if absent:
        yield f"not here: {', '.join(absent)}"
    unwired = [one.id for one in result.hosts if one.state is State.UNWIRED]
    if unwired:
        yield f"to wire them: parler connect {' '.join(unwired)}"


def _health(one: AppHealth) -> Iterator[str]:
    where = f" → {visible(one.hub)}" if one.hub else ""
    yield f"{_STATES[one.state]} {one.id:<16} {one.state}{where}"
    if one.state is not State.UNWIRED:
        yield f"    {visible(one.config)}"
    if one.approvals:
        yield "    its permission requests are in your inbox, too"
    for trouble in one.troubles:
        mark = "·" if trouble.note else "✗"
        yield f"    {mark} {visible(trouble.what)}"
        if trouble.mend:
            yield f"      next: {visible(trouble.mend)}"


def arrived(one: Arrival) -> str:
    """An app that came."""
    mark = fingerprint(one.agent) if one.agent else ""
    return f"✓ {visible(one.title)} came to {visible(one.hub)} as {mark}"


def verified(result: VerifyResult) -> Iterator[str]:
    """Who came, and who did not."""
    for one in result.hosts:
        if one.arrived:
            yield arrived(one)
        else:
            yield f"✗ {visible(one.title)}: {visible(one.detail or '')}"


def team(hub: "TeamHub", *, private: bool) -> Iterator[str]:
    """How teammates come to the hub; the secret only on a terminal of the user's."""
    from parler.local_hub import lan

    if not hub.lan_urls:
        yield ""
        yield "this machine is in no network now: teammates cannot reach the hub"
        yield "next: join a network, or parler connect --team --address HOST"
        return
    invite = lan.team_invite(hub)
    yield ""
    yield f"Teammates run:  {visible(invite.command)}"
    if private:
        yield f"and type the secret:  {visible(hub.secret)}"
    else:
        yield "the secret is shown only on a terminal: parler connect --team"
    if hub.fingerprint:
        yield "Or they run parler connect --team, which finds this hub, and compare the"
        yield f"fingerprint it shows before they type: {visible(hub.fingerprint)}"
    if private:
        yield ""
        yield from lan.qr_lines(invite.text)
    if invite.url.startswith("ws://"):
        yield visible(lan.PLAIN_WARNING)
