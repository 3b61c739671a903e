"""Settings and their precedence, and which home an agent works in."""

import os
import pwd
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.errors import ConfigError, IdentityError
from parler.identity.chosen_hub import SHARED_HUB
from parler.identity.homes import (
    find_home,
    fnv1a,
    machine_home,
    project_directory,
    truthy,
    user_home_of,
    workspace_name,
)
from parler.identity.settings import (
    Disk,
    Flags,
    HubSource,
    Saved,
    Settings,
    clean_label,
    dialled,
    hub_key,
    process_settings,
    read_saved,
    resolve_settings,
)
from parler.wire.urls import same_hub

USER = Path("/home/u")
BASE = USER / ".parler"
REPO = Path("/src/app")
CLAUDE = {"CLAUDE_CODE_SESSION_ID": "s1"}
CODEX = {"CODEX_THREAD_ID": "t1"}
LOCAL = "ws://127.0.0.1:7070"


def disk(
    *paths: str | Path,
    saved: Mapping[Path, Saved] | None = None,
    links: Mapping[str, str] | None = None,
    chosen: str | None = None,
) -> Disk:
    """A disk of paths; homes with settings have their config.json, and `BASE` has made
    a choice."""
    configs = dict(saved or {})
    present = {Path(p) for p in paths} | {home / "config.json" for home in configs}
    return Disk(
        exists=present.__contains__,
        canonical=lambda path: Path((links or {}).get(str(path), path)),
        saved=configs.get,
        chosen={BASE: chosen}.get,
        local=lambda home: LOCAL,
        app_homes=lambda home: [one for one in configs if one.parent.name == "agents"],
    )


def config(hub: str = "wss://saved.example", name: str = "saved") -> Saved:
    return Saved(hub_url=hub, name=name, role="saved-role")


def settings(
    env: Mapping[str, str] | None = None,
    *,
    on: Disk | None = None,
    cwd: Path | None = REPO,
    user_home: Path | None = USER,
    flags: Flags | None = None,
) -> Settings:
    return resolve_settings(
        env or {}, cwd, user_home, flags or Flags(), disk=on or disk()
    )


def workspace(path: str | Path, *, base: Path = BASE, session: str = "") -> Path:
    return base / "ws" / workspace_name(Path(path), session or None)


# precedence


@pytest.mark.parametrize(
    ("flag", "env", "chosen", "saved", "expected", "source"),
    [
        ("f", "e", "c", "s", "f", HubSource.FLAG),
        ("f", None, None, None, "f", HubSource.FLAG),
        (None, "e", "c", "s", "e", HubSource.ENV),
        (None, "e", None, None, "e", HubSource.ENV),
        (None, "", "c", "s", "c", HubSource.CHOICE),
        ("", "", "c", None, "c", HubSource.CHOICE),
        (None, None, None, "s", "s", HubSource.CONFIG),
        (None, None, None, None, "127.0.0.1:7070", HubSource.DEFAULT),
    ],
)
def test_hub_comes_from_flag_then_env_then_choice_then_file_then_this_machine(
    flag: str | None,
    env: str | None,
    chosen: str | None,
    saved: str | None,
    expected: str,
    source: HubSource,
) -> None:
    got = settings(
        {} if env is None else {"PARLER_HUB": env},
        on=disk(saved={BASE: config(saved)} if saved else {}, chosen=chosen),
        flags=Flags(hub=flag),
    )
    assert (got.hub, got.hub_source) == (f"ws://{expected}", source)


@pytest.mark.parametrize(
    ("flag", "env", "saved", "expected"),
    [
        ("f", "e", True, "f"),
        (None, "e", True, "e"),
        (None, "", True, "saved"),
        (None, None, True, "saved"),
        (None, None, False, None),
    ],
)
def test_name_and_role_come_from_flag_then_env_then_file(
    flag: str | None, env: str | None, saved: bool, expected: str | None
) -> None:
    got = settings(
        {} if env is None else {"PARLER_NAME": env, "PARLER_ROLE": env},
        on=disk(saved={BASE: config()} if saved else {}),
        flags=Flags(name=flag, role=flag),
    )
    assert got.name == expected
    assert got.role == ("saved-role" if expected == "saved" else expected)


@pytest.mark.parametrize("home", [BASE, BASE / "agents" / "codex", workspace(REPO)])
def test_every_home_below_the_machines_follows_its_choice(home: Path) -> None:
    on = disk(saved={home: config("wss://earlier")}, chosen="wss://chosen")
    assert settings(on=on, flags=Flags(home=str(home))).hub == "wss://chosen"
    apart = Path("/elsewhere")
    on = disk(saved={apart: config("wss://earlier")}, chosen="wss://chosen")
    assert settings(on=on, flags=Flags(home=str(apart))).hub == "wss://earlier"


def test_shell_without_a_choice_dials_the_hub_that_all_apps_were_wired_to() -> None:
    one, other = (BASE / "agents" / app for app in ("codex", "cursor"))
    mine = {BASE: config(SHARED_HUB), one: config("parler://127.0.0.1:7070/")}
    assert settings(on=disk(saved=mine)).hub == LOCAL
    named = mine | {BASE: config("wss://mine")}
    assert settings(on=disk(saved=named)).hub == "wss://mine"
    same = mine | {other: config("http://127.0.0.1:7070")}
    assert settings(on=disk(saved=same)).hub == LOCAL
    # Where they differ, nobody can say which is meant.
    several = mine | {other: config("wss://team")}
    assert settings(on=disk(saved=several)).hub == SHARED_HUB
    assert settings(CODEX, on=disk(one, saved=several)).hub == LOCAL


@pytest.mark.parametrize(
    "typed",
    ["parler://127.0.0.1:7070", "HTTP://127.0.0.1:7070/", "127.0.0.1:7070/ws"],
)
def test_hub_is_shown_in_one_spelling(typed: str) -> None:
    assert settings({"PARLER_HUB": typed}).hub == LOCAL
    assert settings(on=disk(saved={BASE: config(typed)})).hub == LOCAL


def test_environment_switches() -> None:
    plain = settings()
    assert (plain.join_secret, plain.session_key) == (None, None)
    assert (plain.allow_plain, plain.no_color) == (False, False)
    env = {
        "PARLER_JOIN_SECRET": "hush",
        "PARLER_SESSION_KEY": "KEYKEYKE",
        "PARLER_INSECURE": "yes",
        "NO_COLOR": "1",
    }
    got = settings(env)
    assert (got.join_secret, got.session_key) == ("hush", "KEYKEYKE")
    assert got.allow_plain
    assert got.no_color
    assert settings({"PARLER_JOIN_SECRET": "", "NO_COLOR": ""}).join_secret is None
    assert settings(flags=Flags(insecure=True, no_color=True)).allow_plain


def test_repr_of_settings_hides_secrets() -> None:
    got = settings({"PARLER_JOIN_SECRET": "hush", "PARLER_SESSION_KEY": "KEYKEYKE"})
    assert "hush" not in repr(got)
    assert "KEYKEYKE" not in repr(got)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, False), ("", False), ("0", False), ("false", False), ("No", False)),
        *(("FALSE", False), ("1", True), ("true", True), ("on", True), ("x", True)),
    ],
)
def test_truthy_values(value: str | None, expected: bool) -> None:
    assert truthy(value) is expected


@pytest.mark.parametrize(
    "text", ["a\nb", "a\x1bb", "a\u2028b", "\udc80", " ", "é" * 129]
)
def test_label_no_hub_takes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        clean_label(text, what="name")


@pytest.mark.parametrize("text", ["alice", "Zoë", "👩‍💻 dev", "x" * 256])
def test_label_people_use_is_kept(text: str) -> None:
    assert clean_label(f" {text} ", what="name") == text


def test_saved_name_is_taken_as_it_is() -> None:
    assert settings(on=disk(saved={BASE: config(name="a\tb")})).name == "a\tb"


# home


@pytest.mark.parametrize(
    ("flag", "env", "expected"),
    [
        (None, None, "/home/u/.parler"),
        (None, "", "/home/u/.parler"),
        (None, "/x", "/x"),
        (None, "~", "/home/u"),
        (None, "~/x", "/home/u/x"),
        ("rel", "/x", "/src/app/rel"),
        ("a/~/x", None, "/src/app/a/~/x"),
        ("/f", "/x", "/f"),
        ("~/f", None, "/home/u/f"),
        ("", "/x", "/x"),
    ],
)
def test_home_comes_from_flag_then_env_then_user_home(
    flag: str | None, env: str | None, expected: str
) -> None:
    got = settings({} if env is None else {"PARLER_HOME": env}, flags=Flags(home=flag))
    assert got.home == got.base_home == Path(expected)
    assert not got.scoped


@pytest.mark.parametrize(
    ("flag", "env", "user_home", "named"),
    [
        (None, "$HOME/x", USER, "PARLER_HOME is '$HOME/x'"),
        (None, "%USERPROFILE%\\x", USER, "PARLER_HOME"),
        (None, "~other/x", USER, "PARLER_HOME"),
        (None, "rel", USER, "PARLER_HOME"),
        ("$HOME/x", None, USER, "--home is '$HOME/x'"),
        ("~other/x", None, USER, "--home"),
        (None, None, None, "HOME is not an absolute path"),
        (None, "~/x", None, "HOME is not an absolute path"),
    ],
)
def test_home_that_would_be_another_in_each_folder_is_refused(
    flag: str | None, env: str | None, user_home: Path | None, named: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)) as caught:
        settings(
            {"PARLER_HOME": env} if env else {},
            user_home=user_home,
            flags=Flags(home=flag),
        )
    assert caught.value.next_step


@pytest.mark.parametrize("home", [None, "", "rel", "$HOME"])
def test_without_a_usable_variable_the_user_database_knows_the_home(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {} if home is None else {"HOME": home}
    known = pwd.getpwuid(os.geteuid())
    assert user_home_of(env) == Path(known.pw_dir)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert user_home_of(env) is None


def test_legacy_home_is_used_only_where_nothing_newer_is() -> None:
    legacy = USER / ".parler-codex"
    old = disk(saved={legacy: config()})
    both = disk(saved={legacy: config(), BASE: config("wss://newer.example")})
    assert settings(on=old).home == legacy
    assert settings(on=both).home == BASE
    assert settings({"PARLER_HOME": "/x"}, on=old).home == Path("/x")
    assert settings(on=old, flags=Flags(home="/x")).home == Path("/x")


# scoping


@pytest.mark.parametrize("command", ["work", "supervise"])
def test_a_worker_started_in_a_shell_is_the_agent_of_that_shell(command: str) -> None:
    assert settings(flags=Flags(command=command)).home == settings().home
    inside = settings(CLAUDE, flags=Flags(command=command))
    assert inside.home == settings(CLAUDE).home


@pytest.mark.parametrize("command", ["mcp", "hook"])
def test_commands_for_agents_are_always_scoped(command: str) -> None:
    got = settings(flags=Flags(command=command))
    assert got.scoped
    assert got.home == workspace(REPO)
    assert got.base_home == BASE


@pytest.mark.parametrize(
    "variable",
    [
        "CODEX_THREAD_ID",
        "CODEX_WORKING_DIR",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_PROJECT_DIR",
        "CONDUCTOR_WORKSPACE_PATH",
    ],
)
def test_every_command_is_scoped_in_an_agent_shell(variable: str) -> None:
    for command in ("send", "recv", "whoami", "init", "doctor", "session"):
        got = settings({variable: str(REPO)}, flags=Flags(command=command))
        assert got.scoped
        assert got.home == workspace(REPO)


@pytest.mark.parametrize("command", ["hub", "connect", "conversation"])
def test_commands_about_the_machine_are_not_scoped(command: str) -> None:
    assert not settings(CLAUDE, flags=Flags(command=command)).scoped


@pytest.mark.parametrize(
    ("env", "flags", "cwd"),
    [
        ({}, Flags(command="send"), REPO),
        ({"CODEX_THREAD_ID": ""}, Flags(command="send"), REPO),
        (CLAUDE | {"PARLER_SHARED_IDENTITY": "1"}, Flags(command="mcp"), REPO),
        (CLAUDE, Flags(command="mcp"), None),
        (CLAUDE, Flags(command="mcp", home="/x"), REPO),
    ],
)
def test_nothing_is_scoped(env: dict[str, str], flags: Flags, cwd: Path | None) -> None:
    assert not settings(env, flags=flags, cwd=cwd).scoped


def test_falsy_shared_identity_does_not_stop_scoping() -> None:
    assert settings(CLAUDE | {"PARLER_SHARED_IDENTITY": "no"}).scoped


@pytest.mark.parametrize(
    ("env", "cwd", "paths", "expected"),
    [
        ({}, "/src/app", (), "/src/app"),
        ({}, "/src/app/lib/x", ("/src/app/.git",), "/src/app"),
        ({}, "/src/app/sub", ("/src/app/.git", "/src/app/sub/.git"), "/src/app/sub"),
        ({}, "/src/app/lib", ("/src/other/.git",), "/src/app/lib"),
        ({"CLAUDE_PROJECT_DIR": "/p"}, "/elsewhere", (), "/p"),
        ({"CLAUDE_PROJECT_DIR": "/p/sub"}, "/elsewhere", ("/p/.git",), "/p"),
        ({"CONDUCTOR_WORKSPACE_PATH": "/c/w"}, "/p", ("/c/.git", "/p/.git"), "/c/w"),
        (
            {"CONDUCTOR_WORKSPACE_PATH": "/c", "CLAUDE_PROJECT_DIR": "/p"},
            "/x",
            (),
            "/c",
        ),
        ({}, "/home/u/notes", ("/home/u/.git",), "/home/u/notes"),
        ({}, "/home/u/a/b", ("/home/u/a/.git", "/home/u/.git"), "/home/u/a"),
        ({}, "/home/u", ("/home/u/.git",), "/home/u"),
        ({"CLAUDE_PROJECT_DIR": ""}, "/src/app", (), "/src/app"),
    ],
)
def test_project_directory(
    env: dict[str, str], cwd: str, paths: tuple[str, ...], expected: str
) -> None:
    got = project_directory(env, Path(cwd), USER, disk=disk(*paths))
    assert got == Path(expected)


def test_project_directory_is_canonical() -> None:
    on = disk("/real/.git", links={"/link/sub": "/real/sub", "/c": "/d"})
    assert project_directory({}, Path("/link/sub"), USER, disk=on) == Path("/real")
    conductor = {"CONDUCTOR_WORKSPACE_PATH": "/c"}
    assert project_directory(conductor, None, USER, disk=on) == Path("/d")
    assert project_directory({}, None, USER, disk=on) is None


def test_server_hooks_and_shell_of_an_app_are_one_identity() -> None:
    """Each sees other variables and another directory, none sees the same session."""
    on = disk(REPO / ".git", BASE / "agents" / "claude-code")
    app_home = {"PARLER_HOME": str(BASE / "agents" / "claude-code")}
    sub = REPO / "web"
    project = {"CLAUDE_PROJECT_DIR": str(sub)}
    homes = {
        settings(
            app_home | project | {"CLAUDE_CODE_SESSION_ID": "fresh"},
            on=on,
            cwd=sub,
            flags=Flags(command="mcp"),
        ).home,
        settings(
            app_home | project | {"CLAUDE_CODE_SESSION_ID": "resumed"},
            on=on,
            cwd=sub / "deeper",
            flags=Flags(command="hook"),
        ).home,
        settings(
            {"CLAUDE_CODE_SESSION_ID": "resumed"},
            on=on,
            cwd=REPO,
            flags=Flags(command="send"),
        ).home,
    }
    assert homes == {workspace(REPO, base=BASE / "agents" / "claude-code")}


def test_codex_server_without_any_variable_agrees_with_its_shell() -> None:
    on = disk(REPO / ".git", BASE / "agents" / "codex")
    app_home = {"PARLER_HOME": str(BASE / "agents" / "codex")}
    server = settings(app_home, on=on, flags=Flags(command="mcp"))
    shell = settings(CODEX, on=on, cwd=REPO / "lib", flags=Flags(command="join"))
    assert server.home == shell.home == workspace(REPO, base=BASE / "agents" / "codex")


def test_app_that_is_not_wired_uses_the_users_home() -> None:
    assert settings(CODEX, on=disk(BASE / "agents" / "claude-code")).base_home == BASE


def test_a_shell_without_variables_is_that_of_the_wired_app_above_it() -> None:
    wired = disk(BASE / "agents" / "gemini", REPO / ".git")
    got = resolve_settings({}, REPO, USER, Flags(), app="gemini", disk=wired)
    assert got.home == workspace(REPO, base=BASE / "agents" / "gemini")
    apart = resolve_settings({}, REPO, USER, Flags(), app="gemini", disk=disk())
    assert apart.home == BASE
    inner = disk(BASE / "agents" / "codex", BASE / "agents" / "claude-code")
    within = resolve_settings(CODEX, REPO, USER, Flags(), app="claude-code", disk=inner)
    assert within.base_home == BASE / "agents" / "claude-code"


def test_a_home_given_to_the_whole_machine_holds_its_apps_too() -> None:
    machine = Path("/data/parler")
    wired = machine / "agents" / "claude-code"
    env = CLAUDE | {"PARLER_HOME": str(machine)}
    assert settings(env, on=disk(wired)).home == workspace(REPO, base=wired)
    before = workspace(REPO, base=machine)
    kept = disk(wired, saved={before: config()})
    assert settings(env, on=kept).home == before


# windows


AGENTS = BASE / "agents"


def seated(
    seat: int,
    *,
    app: str = "claude-code",
    project: str | Path = REPO,
    saved: Mapping[Path, Saved] | None = None,
    **env: str,
) -> Settings:
    """Those of a window's server."""
    return resolve_settings(
        {"PARLER_HOME": str(AGENTS / app), **env},
        Path(project),
        USER,
        Flags(command="mcp"),
        seat=lambda home: home._replace(seat=seat),
        disk=disk(saved=saved),
    )


def test_each_seat_has_a_home_below_the_projects() -> None:
    first = workspace(REPO, base=AGENTS / "claude-code")
    assert seated(1).home == first
    assert seated(3).home == first / "seats" / "3"
    assert machine_home(seated(3).home) == BASE
    assert seated(3).base_home == AGENTS / "claude-code"


@pytest.mark.parametrize(
    ("app", "project", "seat", "expected"),
    [
        ("claude-code", "/src/app", 1, "app-claude"),
        ("claude-code", "/src/app", 2, "app-claude-2"),
        ("codex", "/src/My Shop (new)", 1, "my-shop-new-codex"),
        ("codex", "/src/--x_1.y--", 1, "x_1.y-codex"),
        ("gemini", "/", 12, "gemini-12"),
        ("codex", "/src/\x1b[31m\u202ered", 1, "31m-red-codex"),
        ("codex", "/src/" + "é" * 99, 1, "é" * 30 + "-codex"),
    ],
)
def test_a_new_agent_is_called_after_its_project_and_its_app(
    app: str, project: str, seat: int, expected: str
) -> None:
    got = seated(seat, app=app, project=project)
    assert (got.name, got.new_name) == (None, expected)
    assert clean_label(expected, what="name") == expected


def test_a_name_that_somebody_gave_beats_one_made_up() -> None:
    first, second = seated(1).home, seated(2).home
    assert seated(1, PARLER_NAME="ann").name == "ann"
    assert seated(2, PARLER_NAME="ann").name == "ann"
    ann, bob = config(name="ann"), config(name="bob")
    assert seated(2, PARLER_NAME="ann", saved={first: ann}).name == "ann-2"
    assert seated(2, PARLER_NAME="cat", saved={first: ann, second: bob}).name == "cat"
    assert seated(2, saved={first: ann, second: bob}).name == "bob"


def test_a_further_window_works_on_the_hub_of_the_first() -> None:
    first = seated(1).home
    assert seated(2, saved={first: config(hub="ws://first")}).hub == "ws://first"


def test_codex_started_from_claude_code_is_codex() -> None:
    agents = BASE / "agents"
    on = disk(agents / "codex", agents / "claude-code")
    assert settings(CODEX | CLAUDE, on=on).base_home == agents / "codex"


@given(st.text(min_size=1), st.text(min_size=1))
def test_session_id_of_an_app_never_changes_the_home(one: str, other: str) -> None:
    for name in ("CLAUDE_CODE_SESSION_ID", "CODEX_THREAD_ID"):
        assert settings({name: one}).home == settings({name: other}).home


def test_only_the_users_own_variable_splits_a_project() -> None:
    env = CLAUDE | {"PARLER_AGENT_SESSION": "reviewer"}
    assert settings(env).home == workspace(REPO, session="reviewer")
    assert settings(CLAUDE | {"PARLER_AGENT_SESSION": ""}).home == workspace(REPO)


def test_identity_an_existing_client_made_for_a_directory_stays() -> None:
    sub = REPO / "lib"
    existing = workspace(sub)
    repo = REPO / ".git"
    assert settings(CODEX, on=disk(repo), cwd=sub).home == workspace(REPO)
    with_old = disk(repo, saved={existing: config()})
    assert settings(CODEX, on=with_old, cwd=sub).home == existing
    assert settings(CODEX, on=with_old, cwd=REPO / "x").home == workspace(REPO)


def test_new_scoped_identity_inherits_the_hub_and_nothing_else() -> None:
    got = settings(CODEX, on=disk(saved={BASE: config("wss://team.example")}))
    assert (got.hub, got.hub_source) == ("wss://team.example", HubSource.CONFIG)
    assert (got.name, got.role) == (None, None)


def test_scoped_identity_keeps_its_own_hub() -> None:
    on = disk(saved={BASE: config("wss://base"), workspace(REPO): config("wss://own")})
    assert settings(CODEX, on=on).hub == "wss://own"
    assert settings(CODEX | {"PARLER_HUB": "wss://e"}, on=on).hub == "wss://e"


def test_shell_of_a_wired_app_inherits_from_the_users_home_too() -> None:
    app = BASE / "agents" / "codex"
    on = disk(app, saved={BASE: config("wss://base")})
    assert settings(CODEX, on=on).hub == "wss://base"
    both = disk(app, saved={BASE: config("wss://base"), app: config("wss://app")})
    assert settings(CODEX, on=both).hub == "wss://app"


def damaged_at(broken: Path) -> Callable[[Path], Saved | None]:
    def saved(home: Path) -> Saved | None:
        if home == broken:
            raise IdentityError("damaged")
        return None

    return saved


def test_damaged_base_config_never_sends_an_agent_to_another_hub() -> None:
    on = Disk(
        exists=lambda _: False, canonical=lambda path: path, saved=damaged_at(BASE)
    )
    with pytest.raises(IdentityError):
        settings(CODEX, on=on)
    assert settings(CODEX | {"PARLER_HUB": "wss://e"}, on=on).hub == "wss://e"


def test_own_damaged_config_is_left_to_whoever_loads_the_identity() -> None:
    on = Disk(
        exists=lambda _: False, canonical=lambda path: path, saved=damaged_at(BASE)
    )
    assert settings(on=on).home == BASE


# hashes and urls


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xCBF29CE484222325),
        (b"a", 0xAF63DC4C8601EC8C),
        (b"foobar", 0x85944171F73967E8),
    ],
)
def test_fnv1a_gives_its_published_values(data: bytes, expected: int) -> None:
    assert fnv1a(data) == expected


def test_workspace_name_is_sixteen_hex_digits_of_the_key() -> None:
    assert workspace_name(Path("/p")) == f"{fnv1a(b'/p'):016x}"
    assert workspace_name(Path("/p"), "s") == f"{fnv1a(b'/p' + bytes(1) + b's'):016x}"


@pytest.mark.parametrize(
    "spelling",
    [
        "wss://hub.example",
        "https://hub.example",
        "https://hub.example/",
        "WSS://Hub.Example/ws",
        "wss://hub.example/ws/",
        "wss://hub.example:443",
        "ws://hub.example",
        "http://hub.example:80/ws",
        "parler://hub.example",
        " hub.example ",
    ],
)
def test_spellings_of_one_hub_have_one_key(spelling: str) -> None:
    assert hub_key(spelling) == "hub.example"


@pytest.mark.parametrize(
    "other",
    ["wss://hub.example:8443", "wss://hub.example/x", "wss://hub2.example"],
)
def test_other_hubs_have_other_keys(other: str) -> None:
    assert hub_key(other) != hub_key("wss://hub.example")


SPELLINGS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "ws://", "WSS://", "https://", "parler://"]),
        st.sampled_from(["h", "H", "h.example", "[::1]", "127.0.0.1"]),
        st.sampled_from(["", ":80", ":443", ":7070"]),
        st.sampled_from(["", "/", "/x", "/X/", "/ws", "/ws/", "/WS", "/x/ws"]),
    ),
)


@given(SPELLINGS, SPELLINGS)
def test_hub_key_agrees_with_the_wire_on_what_is_one_hub(one: str, other: str) -> None:
    if same_hub(one, other):
        assert hub_key(one) == hub_key(other)


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "wss://", "ws://h:99999", "a b", "h\udc80"]
)
def test_text_that_names_no_hub_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="not a hub"):
        dialled(text)


# the real disk


def test_read_saved(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert read_saved(tmp_path) is None
    path.write_text('{"hub_url":"h","name":"n","role":"","x":1}', encoding="utf-8")
    path.chmod(0o600)
    assert read_saved(tmp_path) == Saved(hub_url="h", name="n", role=None)
    for damage in ("", "[]", '{"name":"n"}', '{"hub_url":"h","name":"n","role":1}'):
        path.write_text(damage, encoding="utf-8")
        with pytest.raises(IdentityError, match="damaged"):
            read_saved(tmp_path)


def test_settings_of_a_real_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "repo" / "sub")
    monkeypatch.chdir(tmp_path / "link")
    for name in ("PARLER_HOME", "PARLER_HUB", "PARLER_SHARED_IDENTITY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PARLER_AGENT_SESSION", "CLAUDE_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("CONDUCTOR_WORKSPACE_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "u"))
    got = process_settings(Flags(command="mcp"))
    repo = (tmp_path / "repo").resolve()
    assert got.home == workspace(repo, base=tmp_path / "u" / ".parler")
    assert not (tmp_path / "u").exists()


def test_app_started_from_claude_codes_shell_has_a_project_of_its_own() -> None:
    on = disk(REPO / ".git", "/outer/.git")
    outer = {"CLAUDE_PROJECT_DIR": "/outer"}
    assert project_directory(outer, REPO, USER, disk=on) == Path("/outer")
    assert project_directory(outer | CODEX, REPO, USER, disk=on) == REPO
    assert project_directory(outer, REPO, USER, app="gemini", disk=on) == REPO
    # Its MCP server and its hooks know the app by the home that connect gave them.
    wired = {"PARLER_HOME": str(BASE / "agents" / "gemini")}
    found = find_home(outer | wired, REPO, USER, command="mcp", disk=on)
    assert found == find_home(wired, REPO, USER, command="hook", disk=on)
