"""One async function per op: authorise by `rules`, run a transaction, say the reply."""

from collections.abc import Awaitable, Callable
from typing import Any

from hub.blobs.folder import Download
from hub.delivery.outbox import Handed
from hub.errors import Refusal
from hub.handlers import (
    blobs,
    directory,
    invites,
    membership,
    memory,
    messages,
    presence,
    queue,
    rooms,
)
from hub.handlers.caller import Caller
from hub.services import Services
from parler.wire import requests
from parler.wire.codes import ErrorCode
from parler.wire.replies import Reply
from parler.wire.requests import AnyRequest, Request, op_of

Handler = Callable[[Services, Caller, Any], Awaitable[Reply | Download | Handed]]

HANDLERS: dict[type[Request], Handler] = {
    requests.Ping: presence.ping,
    requests.Subscribe: messages.subscribe,
    requests.Invite: invites.invite,
    requests.Redeem: invites.redeem,
    requests.JoinRequests: invites.join_requests,
    requests.ResolveJoin: invites.resolve_join,
    requests.Invites: invites.list_invites,
    requests.RevokeInvite: invites.revoke_invite,
    requests.Serve: queue.serve,
    requests.AdmitWorker: queue.admit_worker,
    requests.Queue: queue.list_queue,
    requests.Claim: queue.claim,
    requests.Complete: queue.complete,
    requests.Register: directory.register,
    requests.Discover: directory.discover,
    requests.Lookup: directory.lookup,
    requests.MintDirectoryToken: directory.mint_directory_token,
    requests.MintWatch: directory.mint_watch,
    requests.RevokeTokens: directory.revoke_tokens,
    requests.Send: messages.send,
    requests.Pull: messages.pull,
    requests.PutBlob: blobs.put_blob,
    requests.GetBlob: blobs.get_blob,
    requests.Remember: memory.remember,
    requests.Recall: memory.recall,
    requests.Forget: memory.forget,
    requests.Rooms: rooms.list_rooms,
    requests.Receipts: rooms.receipts,
    requests.DeleteRoom: rooms.delete_room,
    requests.Roster: rooms.roster,
    requests.Leave: membership.leave,
    requests.RemoveMember: membership.remove_member,
    requests.Presence: presence.set_presence,
    requests.SetAttention: presence.set_attention,
}


async def handle(
    services: Services, caller: Caller, request: AnyRequest
) -> Reply | Download | Handed:
    """Carry out a request of an authenticated agent.

    Raises:
        Refusal: It is not allowed, not possible, or not served by this hub.
    """
    handler = HANDLERS.get(type(request))
    if handler is None:
        raise Refusal(
            ErrorCode.BAD_FRAME, f"this hub does not serve {op_of(request)!r}"
        )
    return await handler(services, caller, request)
