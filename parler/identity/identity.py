"""The agent's own files in one home: its key, how it is called, where it is active.

A config.json is written here and nowhere else (protocol 2.4). Which home that is, and
which name or hub a command uses in the end, is decided in `homes` and
`settings`.
"""

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from parler.errors import ConfigError, IdentityError
from parler.identity.homes import CONFIG_FILE, fnv1a, is_person_home
from parler.identity.settings import clean_label, dialled, saved_settings
from parler.identity.signing import InvalidKey, Keypair
from parler.machine import files
from parler.machine.user_name import user_names
from parler.wire.base import AgentId, RoomName
from parler.wire.limits import MAX_ID_BYTES
from parler.wire.records import Attention

KNOCK_FILE = "knocked"
ACTIVE_SESSION_FILE = "active_session"

ADJECTIVES = (
    *("amber", "bold", "breezy", "bright", "calm", "cedar", "clever", "coral"),
    *("crisp", "dapper", "early", "fabled", "gentle", "golden", "hazel", "humble"),
    *("ivory", "jolly", "keen", "lively", "lunar", "mellow", "noble", "patient"),
    *("plucky", "quiet", "rustic", "silver", "steady", "sunny", "velvet", "witty"),
)
ANIMALS = (
    *("badger", "beaver", "bison", "condor", "crane", "dingo", "dolphin", "egret"),
    *("falcon", "ferret", "gecko", "gibbon", "heron", "ibex", "jackal", "koala"),
    *("lemur", "lynx", "magpie", "marten", "newt", "ocelot", "osprey", "otter"),
    *("panda", "puffin", "raven", "salmon", "stoat", "tapir", "walrus", "wombat"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPolicy:
    """When this agent may be woken (protocol 10.3)."""

    mode: Attention = Attention.OPEN
    quiet_rooms: tuple[RoomName, ...] = ()
    muted_rooms: tuple[RoomName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One config.json."""

    keypair: Keypair
    name: str
    role: str | None
    hub_url: str
    home: Path
    attention: AttentionPolicy = AttentionPolicy()

    @property
    def agent_id(self) -> AgentId:
        """The public half of the key."""
        return self.keypair.agent_id


MAX_FILE_BYTES = 64 * 1024
"""Far above what an identity's file holds."""


def load_identity(home: Path) -> Identity:
    """Read a home's identity.

    Raises:
        IdentityError: There is none, it is damaged, or other users may read it.
        ConfigError: It cannot be read.
    """
    found = find_identity(home)
    if found is None:
        raise IdentityError(
            f"there is no identity in {home}", next_step=init_command(home)
        )
    return found


def find_identity(home: Path) -> Identity | None:
    """Read a home's identity, None if there is none; raises as `load_identity`."""
    raw = _read_raw(home)
    return None if raw is None else _identity(raw, home)


def mint_identity(
    home: Path,
    *,
    hub_url: str,
    name: str | None = None,
    role: str | None = None,
    force: bool = False,
) -> Identity:
    """Make a new identity where there is none.

    With `force` an existing one, damaged or not, is kept as ``config.json.<n>.bak``.

    Raises:
        IdentityError: There is an identity already, and no `force`.
        ConfigError: The hub, name or role is not acceptable, or the home not writable.
    """
    path = home / CONFIG_FILE
    with files.locked(path):
        if path.exists() or path.is_symlink():
            if not force:
                raise IdentityError(
                    f"there is an identity in {home} already; another agent takes a "
                    "home of its own. Name and role are changed by PARLER_NAME and "
                    f"PARLER_ROLE, or for good in {path}; with --force it is kept "
                    "aside and a new one, a stranger to all rooms, is made",
                    next_step=init_command(home.with_name(f"{home.name}-2")),
                )
            files.keep_copy(path)
        return _write_new(home, hub_url=hub_url, name=name, role=role)


def check_there(home: Path) -> None:
    """Refuse a home without an identity, where one was to be.

    Raises:
        IdentityError: There is none.
    """
    path = home / CONFIG_FILE
    if not (path.exists() or path.is_symlink()):
        raise IdentityError(
            f"there is no identity in {home}", next_step=init_command(home)
        )


def ensure_identity(
    home: Path, *, hub_url: str, name: str | None = None, role: str | None = None
) -> tuple[Identity, bool]:
    """The home's identity, made on first use; and whether it was made just now.

    Processes that come here at the same moment end with one identity.

    Raises:
        IdentityError: The one that exists is damaged, or readable by others.
        ConfigError: The hub, name or role is not acceptable, or the home not writable.
    """
    if found := find_identity(home):
        return found, False
    with files.locked(home / CONFIG_FILE):
        if found := find_identity(home):
            return found, False
        return _write_new(home, hub_url=hub_url, name=name, role=role), True


AttentionChange = Callable[[AttentionPolicy], AttentionPolicy]


def update_identity(
    home: Path,
    *,
    hub_url: str | None = None,
    name: str | None = None,
    role: str | None = None,
    attention: AttentionPolicy | AttentionChange | None = None,
) -> Identity:
    """Change what is given, and nothing else: also fields we do not know are kept.

    Args:
        role: An empty one removes it.
        attention: The policy, or what makes it out of the one there is by then.

    Raises:
        IdentityError: There is no usable identity.
        ConfigError: A value is not acceptable, or the home not writable.
    """
    with files.locked(home / CONFIG_FILE):
        known = load_identity(home)  # a damaged file is not written over
        raw = _read_raw(home) or {}
        if hub_url is not None:
            dialled(hub_url)
            raw["hub_url"] = hub_url
        if name is not None:
            raw["name"] = clean_label(name, what="name")
        if role:
            raw["role"] = clean_label(role, what="role")
        elif role is not None:
            raw.pop("role", None)
        if attention is not None:
            policy = attention(known.attention) if callable(attention) else attention
            raw["attention"] = _attention_object(policy, raw.get("attention"))
        changed = _identity(raw, home)  # before writing: it must be readable again
        _write_raw(home, raw)
        return changed


def active_session(home: Path) -> RoomName | None:
    """The room that commands without a target speak to, if one was opened or joined.

    One that cannot be read counts as none, for those who only look.
    """
    try:
        return noted_session(home)
    except ConfigError:
        return None


def noted_session(home: Path) -> RoomName | None:
    """The active session, if there is one.

    Raises:
        ConfigError: It cannot be read.
    """
    path = home / ACTIVE_SESSION_FILE
    try:
        data = files.read_bounded(path, limit=MAX_ID_BYTES)
        room = data.decode("utf-8").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is damaged", next_step=f"{files.aside(path)}, then name the room"
        ) from None
    return RoomName(room) if room else None


class Knock(NamedTuple):
    """A room whose owner has not let us in yet."""

    room: RoomName
    key: str


def knocked_at(home: Path) -> Knock | None:
    """Where we knocked last, if nothing came of it yet."""
    try:
        data = files.read_private(home / KNOCK_FILE)
        room, key = data.decode("utf-8").split()
    except (FileNotFoundError, ConfigError, ValueError):
        return None  # it only words a hint
    return Knock(RoomName(room), key)


def note_knock(home: Path, knock: Knock | None) -> None:
    """Note where we knocked, or that it is over; for a hint, so it never fails."""
    path = home / KNOCK_FILE
    with suppress(OSError, ConfigError):
        if knock is not None:
            files.write_private(path, f"{knock.room} {knock.key}\n".encode())
        else:
            path.unlink(missing_ok=True)


def set_active_session(home: Path, room: RoomName | None) -> None:
    """Note the active session, or that there is none any more.

    Raises:
        ConfigError: The home is not writable.
    """
    path = home / ACTIVE_SESSION_FILE
    if room is not None:
        files.write_private(path, f"{room}\n".encode())
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"cannot remove {path}: {exc.strerror}") from exc


def default_name(agent_id: str) -> str:
    """A name to tell agents apart by; it proves nothing (protocol 2.4)."""
    value = fnv1a(agent_id.encode())
    adjective = ADJECTIVES[value % len(ADJECTIVES)]
    animal = ANIMALS[(value >> 5) % len(ANIMALS)]
    return f"{adjective}-{animal}-{(value >> 10) & 0xFFFF:04x}"


def _write_new(
    home: Path, *, hub_url: str, name: str | None, role: str | None
) -> Identity:
    dialled(hub_url)
    keypair = Keypair.generate()
    fresh = Identity(
        keypair=keypair,
        name=clean_label(name or _first_name(home, keypair.agent_id), what="name"),
        role=clean_label(role, what="role") if role else None,
        hub_url=hub_url,
        home=home,
    )
    raw: dict[str, object] = {
        "hub_url": fresh.hub_url,
        "id": fresh.agent_id,
        "seed": keypair.seed,
        "name": fresh.name,
    }
    if fresh.role:
        raw["role"] = fresh.role
    raw["attention"] = _attention_object(fresh.attention, None)
    _write_raw(home, raw)
    return fresh


def _first_name(home: Path, agent_id: AgentId) -> str:
    """A new identity's: the person is called as the user is."""
    if is_person_home(home):
        for name in user_names():
            with suppress(ConfigError):  # no hub takes it
                return clean_label(name, what="name")
    return default_name(agent_id)


def _read_raw(home: Path) -> dict[str, object] | None:
    path = home / CONFIG_FILE
    try:
        return files.json_object(files.read_private(path))
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise _damaged(home, str(exc)) from None


def _write_raw(home: Path, raw: dict[str, object]) -> None:
    files.write_private(home / CONFIG_FILE, files.json_bytes(raw))


def is_identity(data: bytes) -> bool:
    """Whether bytes are an identity's file, with the seed that speaks for it."""
    if len(data) > MAX_FILE_BYTES:
        return False
    try:
        raw = files.json_object(data)
        return raw.get("id") == Keypair.from_seed(str(raw.get("seed"))).agent_id
    except (ValueError, InvalidKey):
        return False


def _identity(raw: dict[str, object], home: Path) -> Identity:
    try:
        saved = saved_settings(raw)
        attention = _attention(raw.get("attention"))
        seed = raw.get("seed")
        if not isinstance(seed, str):
            raise ValueError("'seed' is missing or not a text")
        keypair = Keypair.from_seed(seed)
    except InvalidKey as exc:
        raise _damaged(home, f"the seed is no key: {exc}") from None
    except ValueError as exc:
        raise _damaged(home, str(exc)) from None
    if raw.get("id") != keypair.agent_id:
        raise _damaged(home, "the id does not belong to the seed")
    return Identity(
        keypair=keypair,
        name=saved.name,
        role=saved.role,
        hub_url=saved.hub_url,
        home=home,
        attention=attention,
    )


def _attention(value: object) -> AttentionPolicy:
    if value is None:
        return AttentionPolicy()
    if not isinstance(value, dict):
        raise ValueError("'attention' is not an object")
    return AttentionPolicy(
        mode=Attention(value.get("mode", Attention.OPEN)),
        quiet_rooms=_rooms(value.get("quiet_rooms")),
        muted_rooms=_rooms(value.get("muted_rooms")),
    )


def _rooms(value: object) -> tuple[RoomName, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(room, str) for room in value):
        raise ValueError("the rooms in 'attention' are not a list of texts")
    return tuple(RoomName(room) for room in value)


def _attention_object(policy: AttentionPolicy, old: object) -> dict[str, object]:
    kept = dict(old) if isinstance(old, dict) else {}
    kept["mode"] = policy.mode.value
    for key, rooms in (
        ("quiet_rooms", policy.quiet_rooms),
        ("muted_rooms", policy.muted_rooms),
    ):
        kept.pop(key, None)
        if rooms:
            kept[key] = list(rooms)
    return kept


def _damaged(home: Path, why: str) -> IdentityError:
    return IdentityError(
        f"the key file {home / CONFIG_FILE} is damaged: {why}; put a backup in its "
        "place, or start anew as somebody else (the damaged file is kept aside)",
        next_step=init_command(home, force=True),
    )


def init_command(home: Path, *, force: bool = False) -> str:
    """The command that makes an identity in a home."""
    # --home takes the directory as it is, so this hits scoped homes as well.
    words = ["parler", "init", *(["--force"] if force else [])]
    return shlex.join([*words, "--home", str(home)])
