"""`doctor --wake`: a real message, and the agent's own records of what showed it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parler.client.client import Client, connect
from parler.errors import UsageError
from parler.identity.identity import Identity
from parler.ops.context import OpContext
from parler.ops.doctor.wake import Dial, live_homes, probe_wake
from parler.wake.spool import Item, Spool, consumer
from parler.wire.records import AgentCard
from parler.wire.replies import Delivery, Registered
from parler.wire.requests import Register
from tests._support.actors import HUB, Stage, _Pipe, stage
from tests._support.polling import in_time


def dial_on(on: Stage) -> Dial:
    @asynccontextmanager
    async def dial(hub: str, who: Identity) -> AsyncIterator[Client]:
        async def pipe(url: str) -> _Pipe:
            return _Pipe(on.hub.dial().transport)

        async with connect(HUB, who.keypair, name=who.name, dial=pipe) as client:
            yield client

    return dial


async def enter(on: Stage) -> OpContext:
    """An agent that anybody may write to."""
    me = await on.enter("ann")
    card = AgentCard.of(me.client.agent_id, "ann")
    await me.client.request(Register(card=card), Registered)
    await me.client.subscribe()
    return me


async def read(me: OpContext, *, show: bool) -> None:
    """The agent's server and a hook, in short: what comes is offered and shown."""
    spool = Spool(me.identity.home)
    async for note in me.client.notifications():
        if isinstance(note, Delivery):
            one = note.message
            spool.offer([Item(one.room, one.seq, "text", True, one.id)])
            if show:
                with spool.take(via="claude-code hook idle"):
                    return
            return


async def test_path_that_showed_the_message_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, asyncio.TaskGroup() as tasks:
        me = await enter(on)
        tasks.create_task(read(me, show=True))
        result = await probe_wake([me.identity.home], dial=dial_on(on), nonce="n1")
    (probe,) = result.probes
    assert result.ok
    assert (probe.agent, probe.path) == ("ann", "claude-code hook idle")
    assert probe.after_ms is not None


async def test_message_that_nobody_showed_is_found_waiting(tmp_path: Path) -> None:
    async def story(secs: float) -> None:
        async with stage(tmp_path / f"{secs}") as on, asyncio.TaskGroup() as tasks:
            me = await enter(on)
            tasks.create_task(read(me, show=False))
            result = await probe_wake(
                [me.identity.home], dial=dial_on(on), nonce="n1", wait_secs=secs
            )
        (probe,) = result.probes
        assert not result.ok
        assert probe.waiting
        assert probe.wake == "next"

    await in_time(story, 0.5)


async def test_home_without_an_identity_is_a_finding(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        result = await probe_wake([tmp_path / "none"], dial=dial_on(on), nonce="n1")
    assert not result.ok
    assert result.probes[0].problem


def test_folder_without_an_agent_is_said(home: Path) -> None:
    with pytest.raises(UsageError, match="no agent app"):
        live_homes([home, home / "missing"])
    with consumer(home):
        assert live_homes([home, home / "missing", home]) == [home]
