"""Staying to answer questions to a project: on this machine, or for a whole hub."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from parler.ask import answerer
from parler.ask.hops import check_not_asked
from parler.ask.projects import Project
from parler.errors import ParlerError, UsageError
from parler.identity.own_agents import own_ids
from parler.machine.runner import GRACE_SECS
from parler.ops.ask import SKILL, bench_of
from parler.ops.capability import Capability, Param, Shown
from parler.ops.context import OpContext
from parler.ops.directory import DiscoverParams, RegisterParams, discover, register
from parler.ops.identity import GOODBYE_SECS, presence, stay_present
from parler.ops.machine_context import Here
from parler.ops.peers import with_wake
from parler.peers.activity import keep_fresh
from parler.peers.presence import Kind, announce, record_here
from parler.wire.base import AgentId, RoomName
from parler.wire.records import OFFLINE
from parler.workers.ledger import Ledger
from parler.workers.lock import worker_lock


async def serve_answers(
    here: Here,
    ctx: OpContext,
    project: Project,
    *,
    on_hub: bool,
    watcher: "Watcher",
    grace_secs: float = GRACE_SECS,
) -> None:
    """Answer questions to a project until cancelled.

    Args:
        on_hub: Whether others on the hub find it by its name. Who of them may ask is
            said by the project's grants in any case.

    Raises:
        UsageError: An agent was asked to do it, or another answerer is at it already.
        ExceptionGroup: With the error that ended it.
    """
    check_not_asked(here.depth, "answer others")
    home, me = ctx.identity.home, ctx.client.agent_id
    with _alone(home, me, project):
        skills = [f"{SKILL}{project.alias}"]
        await register(
            ctx,
            RegisterParams(
                skills=skills if on_hub else [],
                remove_skills=[] if on_hub else await _listed_skills(ctx, skills),
                description=project.describe if on_hub else "",
            ),
        )
        with suppress(ParlerError):
            # What a project is called stays here unless it is offered by its name.
            which = f" to {project.alias}" if on_hub else ""
            words = with_wake(f"answers questions{which}", "push")
            await stay_present(ctx, "waiting", activity=words)
        desk = answerer.Desk(
            client=ctx.client,
            ledger=Ledger(home, me, now=here.now),
            bench=replace(bench_of(here), grace_secs=grace_secs),
            projects=lambda: [here.projects.get(project.alias)],
            own_agents=lambda: own_ids(here.home),
            dealt=watcher.dealt,
            reached=watcher.reached,
        )
        record = record_here(
            me,
            ctx.identity.name,
            folder=Path(project.folder),
            kind=Kind.ANSWERER,
            app=project.app,
            wake="push",
            hub=ctx.hub,
            serves=[project.alias],
        )
        handle = announce(here.home, record)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_fresh(handle))
                tasks.create_task(answerer.Answerer(desk).stay())
                watcher.ready()
        finally:
            handle.close()
            # Else a hub shows us for minutes, and somebody waits for our answer.
            with suppress(ParlerError, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECS):
                    await presence(ctx, OFFLINE)


@contextmanager
def _alone(home: Path, agent: AgentId, project: Project) -> Iterator[None]:
    room = RoomName(f"answers {project.alias}")
    with ExitStack() as stack:
        try:
            stack.enter_context(worker_lock(home, agent, room))
        except UsageError:
            raise UsageError(
                f"another `parler answer` is at {project.alias} already",
                next_step="end that one",
            ) from None
        yield


class Watcher:
    """Who watches an answerer; does nothing unless told otherwise."""

    def ready(self) -> None:
        """It answers from now on."""

    def dealt(self, asked: answerer.Asked) -> None:
        """A question was dealt with."""

    def reached(self, step: answerer.Step) -> None:
        """A question came so far."""


async def _listed_skills(ctx: OpContext, skills: list[str]) -> list[str]:
    """Those of the skills that our card lists now."""
    found = await discover(ctx, DiscoverParams(skill=SKILL))
    own = [one.card for one in found.agents if one.card.id == ctx.client.agent_id]
    names = {skill.name for card in own for skill in card.skills or []}
    return [skill for skill in skills if skill in names]


SERVE_PROJECT = Capability(
    run=serve_answers,
    about="Answer questions to a project, for as long as it runs.",
    more="Its agent is started for each, with what the owner permits the one who asks: "
    "by default to read. Without a name it is the project of this folder, for this "
    "machine only; with one, agents of the hub find it by that, and who of them may "
    "ask is said by `parler project allow`. The longer name is `answer --serve`.",
    command="project serve",
    example="parler project serve stagent",
    no_tool="it stays, and an agent answers by parler_answer",
    besides=[
        Shown(
            "project",
            str | None,
            None,
            Param("Let agents of the hub find it by this name.", positional=True),
        )
    ],
)
