"""Has a project's agent answer a question: starts its app without a window.

The app goes on with the conversation it had with the same asker, or begins a new one.

Each step is on disk before the next begins: money set aside, the question, the answer,
and then where the conversation goes on. How each app is started is in `apps`.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from parler.apps.kit.app import App
from parler.apps.kit.headless import Answer, Headless, Launch, Start
from parler.apps.kit.permission import Permission
from parler.apps.registry import headless_apps, headless_of
from parler.ask import prompt
from parler.ask.budget import AskBudget
from parler.ask.hops import VARIABLE
from parler.ask.projects import Project
from parler.ask.thread import (
    FOLDER,
    Event,
    Line,
    Thread,
    Tier,
    held,
    note_refusal,
    refused,
)
from parler.errors import ConfigError, UsageError
from parler.machine.files import write_private
from parler.machine.runner import GRACE_SECS, Ended, Program, run
from parler.text.terminal import visible
from parler.workers import runners

MAX_OUTPUT_BYTES = 2 * 2**20
MAX_ANSWER_CHARS = 48_000
MAX_NOTE_CHARS = 500
_LIST_SECS = 20.0
_EXTRA_WAIT_SECS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, by whom, and what may be done to answer it."""

    turn: str
    text: str
    proof: str
    permission: Permission
    context: str | None = None
    message: str | None = None
    live: bool = False
    """Somebody keeps this agent running for questions: that is how it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where agents are run, and with what."""

    home: Path
    environment: Mapping[str, str]
    now: Callable[[], int]
    token: Callable[[int], str]
    fresh_id: Callable[[], str]
    depth: int = 0
    grace_secs: float = GRACE_SECS


def installed(environment: Mapping[str, str]) -> list[App]:
    """The agent apps that can be started."""
    path = environment.get("PATH")
    apps = [(app, app.headless) for app in headless_apps() if app.headless]
    return [app for app, how in apps if shutil.which(how().program, path=path)]


def check_ready(project: Project, environment: Mapping[str, str]) -> None:
    """See that a project's agent could be started, before anything is written.

    Raises:
        UsageError: Its folder has gone, or its app is not installed.
    """
    if not Path(project.folder).is_dir():
        raise UsageError(
            f"the folder of {project.alias} is gone: {visible(project.folder)}",
            next_step=f"parler project remove {project.alias}, and add it anew",
        )
    if project.app not in [app.id for app in installed(environment)]:
        raise UsageError(
            f"{project.alias} is answered by {project.app}, which is not on PATH",
            next_step=f"install it, or parler project add {project.alias} FOLDER "
            "--agent APP --replace",
        )


async def answer(
    project: Project, thread: Thread, question: Question, bench: Bench
) -> Line:
    """Have a question answered; how it ended is in the transcript, and returned.

    Raises:
        UsageError: The agent cannot be started, or answers another question of this
            pair for too long.
        ConfigError: It cannot be written down.
    """
    check_ready(project, bench.environment)
    async with thread.turn(wait_secs=project.timeout_secs + _EXTRA_WAIT_SECS):
        writing = project.timeout_secs + _EXTRA_WAIT_SECS
        if not question.permission.changes:
            return await _answer(project, thread, question, bench)
        busy = UsageError(f"the agent of {project.alias} is changing files already")
        lock = bench.home / FOLDER / project.alias / "writing"
        async with held(lock, wait_secs=writing, busy=busy):
            return await _answer(project, thread, question, bench)


async def _answer(
    project: Project, thread: Thread, question: Question, bench: Bench
) -> Line:
    asker = thread.asker
    base = Line(
        event=Event.ASKED,
        turn=question.turn,
        at=bench.now(),
        asker=asker.label,
        asker_id=asker.agent,
        project=project.alias,
        text=question.text,
        app=project.app,
        permission=question.permission.words,
        message=question.message,
    )
    budget = AskBudget(bench.home, project.name, now=bench.now)
    usd, refusal = budget.begin(question.turn, project)
    if refusal is not None:
        fields = {"event": Event.DECLINED, "note": refusal, "at": bench.now()}
        line = msgspec.structs.replace(refused(base), **fields)
        note_refusal(bench.home, project.name, line)
        return line
    before = thread.lines()
    thread.append(base)
    attempt = _Attempt(project, thread, question, bench, usd, before)
    resumed = thread.state().sessions.get(project.app)
    outcome = await attempt.run(resumed)
    if resumed and outcome.lost:
        resumed = None
        outcome = await attempt.run(None)
    budget.settle(question.turn, outcome.answer.usd)
    found = outcome.answer
    tier = Tier.LIVE if question.live else Tier.RESUMED if resumed else Tier.FRESH
    failed = found.error is not None
    line = _end(
        thread,
        base,
        bench,
        event=Event.FAILED if failed else Event.ANSWERED,
        text=found.text[:MAX_ANSWER_CHARS],
        tier=tier,
        session=found.session,
        elapsed_ms=outcome.elapsed_ms,
        usd=found.usd,
        tokens=found.tokens,
        note=_note(found.error) if found.error is not None else None,
    )
    kept = found.session or (resumed if failed else None)
    thread.keep_session(project.app, kept, None)
    return line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    answer: Answer
    elapsed_ms: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Running an agent for a question; more than once if it lost the conversation."""

    project: Project
    thread: Thread
    question: Question
    bench: Bench
    usd: float
    before: list[Line]

    async def run(self, session: str | None) -> _Outcome:
        agent = headless_of(self.project.app)
        assert agent is not None  # `Projects` reads no other
        environment = self._environment(agent)
        try:
            start = Start(
                permission=self.question.permission,
                session=session,
                fresh_id=self.bench.fresh_id(),
                usd=self.usd,
                folder=self.thread.folder,
                place=Path(self.project.folder),
                home=Path(environment.get("HOME") or "/"),
                servers=await self._servers(agent, environment),
            )
            launch = agent.launch(start)
            for path, text in launch.files.items():
                write_private(path, text.encode())
            ended = await self._program(launch, environment, session)
        except ConfigError as error:
            return _Outcome(answer=Answer(error=error.message), elapsed_ms=0)
        lost = session is not None and _has_lost(agent, ended)
        return _Outcome(
            answer=_read(agent, ended, self.project),
            elapsed_ms=ended.elapsed_ms,
            lost=lost,
        )

    async def _program(
        self, launch: Launch, environment: dict[str, str], session: str | None
    ) -> Ended:
        question, thread = self.question, self.thread
        recalled = () if session else prompt.recalled(self.before)
        data = prompt.prompt(
            self.project,
            question.text,
            asker=thread.asker.label,
            proof=question.proof,
            permission=question.permission,
            context=question.context,
            notes=thread.state().notes,
            recalled=recalled,
            mark=self.bench.token(8),
        )
        program = Program(
            command=launch.command,
            environment=environment | dict(launch.variables),
            folder=Path(self.project.folder),
            timeout_secs=self.project.timeout_secs,
            max_output_bytes=MAX_OUTPUT_BYTES,
            grace_secs=self.bench.grace_secs,
        )
        return await run(program, data, hear=lambda _: None)

    def _environment(self, agent: Headless) -> dict[str, str]:
        kept = runners.environment(self.bench.environment, agent.work)
        return kept | {VARIABLE: str(self.bench.depth + 1)}

    async def _servers(self, agent: Headless, environment: dict[str, str]) -> list[str]:
        """Servers that must be named to be left out; not to know them is a failure."""
        may = self.question.permission
        if not agent.lists_servers or may.full or may.servers:
            return []
        program = Program(
            command=agent.lists_servers,
            environment=environment,
            folder=Path(self.project.folder),
            timeout_secs=_LIST_SECS,
            max_output_bytes=MAX_OUTPUT_BYTES,
            grace_secs=self.bench.grace_secs,
        )
        ended = await run(program, b"", hear=lambda _: None)
        names = agent.server_names(ended.output) if ended.status == 0 else None
        if names is None:
            why = ended.errors.strip() or "its list cannot be read"
            raise ConfigError(
                f"{self.project.app} does not tell its MCP servers: {why}"
            )
        return names


def _read(agent: Headless, ended: Ended, project: Project) -> Answer:
    found = agent.read(ended.output)
    if ended.timed_out:
        why = f"stopped after {project.timeout_secs} s, its time limit"
        return replace(found, text="", error=why)
    if ended.status != 0:
        told = found.error if found.error and "{" in ended.output else None
        why = told or ended.errors.strip() or "it says nothing of why"
        return replace(found, text="", error=f"exit status {ended.status}: {why}")
    return found


def _has_lost(agent: Headless, ended: Ended) -> bool:
    if ended.status == 0 or ended.timed_out:
        return False
    return bool(agent.lost.search(ended.errors) or agent.lost.search(ended.output))


def _end(thread: Thread, base: Line, bench: Bench, **fields: object) -> Line:
    line = msgspec.structs.replace(base, **{"text": "", "at": bench.now()} | fields)
    thread.append(line)
    return line


def _note(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= MAX_NOTE_CHARS else shown[: MAX_NOTE_CHARS - 1] + "…"
