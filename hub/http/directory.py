"""The directory as JSON (protocol 10.1, 11).

Public cards are for everybody; private ones need a directory token, on a public hub
too.
"""

from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from hub.http.answers import Refused, access_of, bearer, integer, json, query
from hub.services import Services
from hub.store import directory
from hub.store.directory import Wanted
from parler.wire.base import AgentId
from parler.wire.limits import DEFAULT_DISCOVER_LIMIT, MAX_ID_BYTES
from parler.wire.records import DirectoryEntry, Scope, Visibility

MAX_ENTRIES = 1000
_NEEDED = "a directory token is required"


class DirectoryPages:
    """What is read from the directory over HTTP, as JSON or as A2A cards."""

    def __init__(self, services: Services) -> None:
        """Take the hub's parts."""
        self._services = services

    async def search(self, request: Request) -> Response:
        """``/api/directory``"""
        return json(await self.entries(request))

    async def agent(self, request: Request) -> Response:
        """``/api/agents/<id>``"""
        return json(await self.entry(request))

    async def entries(self, request: Request) -> list[DirectoryEntry]:
        """The entries a request asks for.

        Raises:
            Refused: It may not see them, or its limit is none.
        """
        limit = integer(
            request,
            "limit",
            default=DEFAULT_DISCOVER_LIMIT,
            lowest=0,
            highest=2**63 - 1,
        )
        everything = request.query_params.get("scope") == Scope.HUB
        if everything:
            await self._must_see_all(request)
        search = partial(
            directory.search,
            wanted=Wanted(
                public_only=not everything,
                query=_filter(request, "q"),
                tag=_filter(request, "tag"),
                skill=_filter(request, "skill"),
                status=_filter(request, "status"),
                limit=min(limit, MAX_ENTRIES),
            ),
            reader=self._services.directory(),
        )
        found = await query(self._services, "directory", search)
        if everything:
            await self._must_see_all(request)  # it may have been revoked meanwhile
        return found.entries

    async def entry(self, request: Request) -> DirectoryEntry:
        """The entry a request names.

        Raises:
            Refused: There is none it may see.
        """
        agent = AgentId(request.path_params["agent"][:MAX_ID_BYTES])
        reader = self._services.directory()
        look = partial(directory.by_id, agent=agent, reader=reader)
        found = await query(self._services, "agent", look)
        public = found is not None and found.visibility is Visibility.PUBLIC
        if found is None or not (public or await self._may_see_all(request)):
            raise Refused(HTTPStatus.NOT_FOUND, "no such public agent")
        return found

    async def _must_see_all(self, request: Request) -> None:
        if not await self._may_see_all(request):
            raise Refused(HTTPStatus.UNAUTHORIZED, _NEEDED)

    async def _may_see_all(self, request: Request) -> bool:
        access = await access_of(self._services, bearer(request))
        return access is not None and access.room is None


def _filter(request: Request, name: str) -> str | None:
    return request.query_params.get(name) or None
