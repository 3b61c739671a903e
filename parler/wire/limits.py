"""Every bound of the wire that is not a setting of the hub, by name.

The hub's adjustable limits (protocol 12.1) are settings and live in the hub.
"""

MAX_ID_BYTES = 4096
"""Room, agent, service, role, message id, code, key, tag, status … (protocol 3.2)."""

MAX_QUERY_BYTES = 65_536
MAX_DIGEST_BYTES = 128
MAX_MEDIA_TYPE_BYTES = 256
MAX_MENTIONS = 256
MAX_HELLO_NAME_BYTES = 256
"""The id, name and role of a hello (protocol 2.3)."""

MAX_HELLO_SIG_BYTES = 512
MAX_HELLO_SECRET_BYTES = 4096
MAX_HELLOS = 4
"""Hello frames on one connection; the fifth is refused (protocol 2.3)."""

MAX_RID_BYTES = 64
MAX_IN_FLIGHT = 32
"""Requests of one connection being worked on before reading pauses (protocol 14.2)."""

MAX_DEPTH = 64
"""Nesting of arrays and objects in a frame: half of what existing clients can parse,
since a message is nested deeper in a reply than it was in its send."""

MAX_DIGITS = 300
"""Digits in a row in one number: beyond, existing clients find no finite double."""

MAX_CLIENT_MESSAGE_BYTES = 64 * 2**20
"""What existing clients accept as one WebSocket message (protocol 1.5)."""

MAX_PULLED_BYTES = 4 * 2**20
"""Messages in one ``pulled`` reply; always at least one (protocol 13, 18)."""

MAX_CARD_BYTES = 64 * 1024
"""The JSON of one card; many go into one reply (protocol 10.1)."""

MAX_PULL_LIMIT = 1000
DEFAULT_PULL_LIMIT = 200
MAX_WAIT_SECS = 60
"""Longest a pull may be parked (protocol 5.3)."""

MAX_TTL_SECS = 365 * 86_400
DEFAULT_INVITE_TTL_SECS = 86_400
DEFAULT_INVITE_USES = 50
DEFAULT_TOKEN_TTL_SECS = 3600

DEFAULT_RECALL_LIMIT = 8
DEFAULT_DISCOVER_LIMIT = 200
DEFAULT_QUEUE_LIMIT = 50
DEFAULT_LEASE_SECS = 300
EMBEDDING_DIMENSIONS = 768
"""Floats in an embedding (protocol 9)."""

DEFAULT_MAX_MESSAGE_BYTES = 2**20
DEFAULT_MAX_TEXT_FRAME_BYTES = 2 * 2**20
DEFAULT_MAX_BLOB_BYTES = 25 * 2**20
