"""What operations on this machine are given: they need no hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from parler.ask.hops import hops
from parler.ask.projects import Project, Projects
from parler.machine.processes import Process, ancestors
from parler.machine.workspace import Workspace, workspace_of
from parler.ops.person_only import by_an_agent
from parler.peers.presence import LiveRecord, read_live
from parler.wire.base import AgentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This machine, as seen by one process of one agent."""

    home: Path
    """What all agents of this user share (`homes.machine_home`)."""

    folder: Path
    environment: Mapping[str, str]
    agent: AgentId | None
    """Who we are, if there is an identity yet."""

    name: str
    pid: int
    now: Callable[[], int]
    token: Callable[[int], str]
    user_home: Path | None = None

    @property
    def workspace(self) -> Workspace:
        """Where we work."""
        return workspace_of(self.folder)

    @property
    def projects(self) -> Projects:
        """What can be asked here."""
        return Projects(self.home)

    @property
    def depth(self) -> int:
        """How many questions led to this process."""
        return hops(self.environment, pid=self.pid)

    def above(self) -> set[Process]:
        """This process and those it was started by."""
        return {seen.process for seen in ancestors(self.pid)}

    def by_an_agent(self) -> bool:
        """Whether an agent started us (`person_only.by_an_agent`)."""
        return by_an_agent(self.environment, self.pid)

    def own_record(self) -> LiveRecord | None:
        """The live session that we belong to."""
        above = self.above()
        found = [one for one in read_live(self.home) if _process(one) in above]
        same = [one for one in found if one.agent == self.agent]
        return next(iter(same or found), None)

    def own_project(self) -> Project | None:
        """The project whose folder we are in, if it is one."""
        return self.projects.at(self.folder)


def _process(record: LiveRecord) -> Process:
    return Process(record.host.pid, record.host.started)
