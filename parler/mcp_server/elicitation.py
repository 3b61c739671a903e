"""Having a person decide, by what the host offers for it (elicitation).

In the handshake era the question goes to the host during the call. In the stateless
one the call ends with it and is made again with the answer; what comes back then is
the host's word, so it is sealed, bound to one subject, and counts once.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)

from parler.mcp_server.tool_call import Question, Verdict

ANSWER_SECS = 600.0
"""How long a person may take."""

MAX_USED = 1000
KEY = "decision"


class AskFirst(Exception):
    """The call has to end with a question, and be made again."""

    def __init__(self, result: InputRequiredResult) -> None:
        """Carry what the host is answered."""
        super().__init__("a person has to be asked")
        self.result = result


class Questions:
    """The questions of one server."""

    def __init__(self) -> None:
        """Seal with a key that ends with the process."""
        self._key = os.urandom(32)
        self._used: dict[str, float] = {}

    async def decide(
        self,
        question: Question,
        context: "ServerRequestContext[Any, Any]",
        *,
        handshake: bool,
        answers: Mapping[str, Any] | None,
        state: str | None,
    ) -> Verdict:
        """What a person says to it.

        Raises:
            AskFirst: He has to be asked by ending the call.
        """
        capabilities = context.session.client_capabilities
        asks = capabilities.elicitation if capabilities else None
        # Who names no way shows forms; who names only addresses shows none.
        if asks is None or (asks.url is not None and asks.form is None):
            return Verdict.CANNOT_ASK
        if handshake:
            return await self._now(question, context)
        given = (answers or {}).get(KEY)
        if isinstance(given, ElicitResult) and self._unseal(state, question):
            return _read(given)
        raise AskFirst(
            InputRequiredResult(
                input_requests={KEY: ElicitRequest(params=_form(question))},
                request_state=self._seal(question),
            )
        )

    async def _now(
        self, question: Question, context: "ServerRequestContext[Any, Any]"
    ) -> Verdict:
        form = _form(question)
        with suppress(TimeoutError, MCPError):
            async with asyncio.timeout(ANSWER_SECS):
                result = await context.session.elicit_form(
                    form.message,
                    form.requested_schema,
                    related_request_id=context.request_id,
                )
            return _read(result)
        return Verdict.UNANSWERED

    def _seal(self, question: Question) -> str:
        body = f"{os.urandom(12).hex()}.{int(time.time() + ANSWER_SECS)}"
        return f"{body}.{self._mac(body, question)}"

    def _unseal(self, state: str | None, question: Question) -> bool:
        nonce, _, rest = (state or "").partition(".")
        until, _, mac = rest.partition(".")
        good = hmac.compare_digest(
            mac.encode("utf-8", "replace"),
            self._mac(f"{nonce}.{until}", question).encode(),
        )
        if not good or int(until) < time.time() or nonce in self._used:
            return False
        self._used[nonce] = float(until)
        while len(self._used) > MAX_USED:
            del self._used[next(iter(self._used))]
        return True

    def _mac(self, body: str, question: Question) -> str:
        text = f"{body}\0{question.subject}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _form(question: Question) -> ElicitRequestFormParams:
    # Nothing to fill in: accepting it is the answer.
    return ElicitRequestFormParams(
        message=question.text,
        requested_schema={"type": "object", "properties": {}},
    )


def _read(result: ElicitResult) -> Verdict:
    # Declining is no answer: apps without a user decline by themselves.
    return Verdict.YES if result.action == "accept" else Verdict.UNANSWERED
