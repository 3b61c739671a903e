"""Queued work: ``serve``, ``queue``, ``claim``, ``complete``, and ``task`` receipts."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, shows
from parler.cli._own import Yes
from parler.cli._person import check_agreed, check_no_agent
from parler.cli._run import Options, Place, Run, carry_out, settings_of
from parler.cli._when import when
from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops import queue, tasks
from parler.ops.addressing import as_agent_id, is_whole_fingerprint
from parler.ops.affiliations import affiliations, introduced
from parler.ops.person_only import Deciding
from parler.ops.queue import (
    AdmitResult,
    ClaimResult,
    CompleteResult,
    QueueResult,
    ServeResult,
)
from parler.ops.tasks import TaskResult
from parler.text.terminal import sentence, shell_word, shown_name, word
from parler.text.transcript import TASK_MARKS, Transcript
from parler.wire.names import service_room


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, queue.SERVE)(serve)
    command(app, queue.QUEUE)(show_queue)
    shows(app, queue.CLAIM, _claimed)
    shows(app, queue.COMPLETE, _completed)
    shows(app, tasks.TASK, _told)


def serve(
    options: Options,
    service: str,
    admit: Annotated[
        str | None,
        typer.Option(
            "--admit", metavar="AGENT", help="Let an agent work for your service."
        ),
    ] = None,
    yes: Yes = False,
    **given: Any,
) -> None:
    """Become a worker, or let somebody be one."""
    if admit is None:
        given["service"] = service
        carry_out_declared(options, queue.SERVE, given, _served)
        return
    if any(given.values()):
        raise UsageError("--admit excludes --open and --closed")

    def deciding(whom: str, question: str = "") -> Deciding:
        # The service is this identity's, so it is named.
        words = [service, "--admit", whom, "--home", str(settings_of(options).home)]
        line = " ".join(["parler serve", *map(shell_word, words)])
        return Deciding(what="admit anybody", question=question, line=line)

    check_no_agent(deciding(admit))

    async def work(run: Run) -> None:
        chosen = await queue.worker_meant(run.ctx, service, admit)
        whom = admit
        if not (as_agent_id(admit.strip()) or is_whole_fingerprint(admit.upper())):
            known = (await affiliations(run.ctx, [chosen.agent])).get(chosen.agent)
            question = (
                f"{introduced(chosen.name, None, chosen.agent, known)}\n"
                "Compare the fingerprint: anybody can use a name.\n"
                f"Let it work for {word(service)}?"
            )
            whom = fingerprint(chosen.agent)
            check_agreed(deciding(whom, question), yes=yes)
        result = await queue.admit(run.ctx, service, whom)
        run.out.result(result, [_admitted(result)])

    carry_out(options, work, place=Place(room=service_room(service)))


def show_queue(options: Options, service: str, limit: int) -> None:
    """Show what nobody holds, and how to take it."""
    params = queue.QueueParams(service=service, limit=limit)

    async def work(run: Run) -> None:
        result = await queue.queue(run.ctx, params)
        run.out.result(result, _queued(run, result, service), foreign=True)

    carry_out(options, work, place=Place(room=service_room(service)))


def _served(result: ServeResult) -> Iterator[str]:
    if not result.admitted:
        yield f"you asked to work for {word(result.service)}"
        yield "its owner has to admit you before you are given anything"
        yield f"owner: parler serve {shell_word(result.service)} --admit FINGERPRINT"
        yield "yours: parler whoami"
        return
    yield f"you serve {word(result.service)} in {word(result.room)}"
    yield f"read:  parler recv --room {shell_word(result.room)}"
    yield f"work:  parler queue {shell_word(result.service)}"


def _admitted(result: AdmitResult) -> str:
    name = f"{shown_name(result.name)} " if result.name else ""
    return f"{name}{result.fingerprint} works for {word(result.service)}"


def _claimed(result: ClaimResult) -> Iterator[str]:
    message = word(_shown(result))
    if result.lease_until is None:
        yield f"{message} is not for you: taken, done, or no task of yours"
        return
    yield f"{message} is yours until {when(result.lease_until)}"
    where = f"--room {shell_word(result.room)} --reply-to {shell_word(_shown(result))}"
    yield f"answer:  parler send {where} TEXT"


def _completed(result: CompleteResult) -> str:
    ended = f"is {result.status.value}" if result.completed else "is not yours"
    return f"{sentence(_shown(result))} {ended}"


def _shown(result: ClaimResult | CompleteResult) -> str:
    """A task as it was named: by its number, or else by its id."""
    return result.message if result.seq is None else str(result.seq)


def _told(result: TaskResult) -> str:
    where = f"in {word(result.room)} (seq {result.seq})"
    return f"{TASK_MARKS[result.status]} task {result.status.value} {where}"


def _queued(run: Run, result: QueueResult, name: str) -> Iterator[str]:
    if not result.messages:
        yield f"nothing waits for you in {word(result.room)}"
        return
    transcript = Transcript(run.reader, now=run.ctx.now())
    for message in result.messages:
        yield from transcript.lines(message, message.signature)
        yield f"    take it:  parler claim {shell_word(name)} {message.seq}"
