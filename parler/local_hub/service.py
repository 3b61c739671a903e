"""Having the system run this machine's hub: user services of systemd, launchd, Windows.

Only the user's own services: nothing here needs an administrator. What is written is
one file with our mark in it; a file of that name without the mark is left alone.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from parler.errors import ConfigError
from parler.identity.homes import (
    DEFAULT_HOME,
    fnv1a,
    machine_home,
    process_environment,
    user_home_of,
)
from parler.machine import files
from parler.machine.program import own_command

MARK = "Made by parler hub install-service"
COMMAND_SECS = 15.0
"""How long the system's service manager may take for one command."""

STOP_SECS = 20


class Manager(StrEnum):
    """Who runs services on this system."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The hub as a service: its file, its text, and how its manager is told."""

    manager: Manager
    name: str
    file: Path
    text: str
    install: tuple[tuple[str, ...], ...]
    remove: tuple[tuple[str, ...], ...]
    start: tuple[str, ...]
    stop: tuple[str, ...]
    is_active: tuple[str, ...]
    hint: str

    @property
    def installed(self) -> bool:
        """Whether our file is there."""
        return self.file.is_file()

    @property
    def program(self) -> str | None:
        """Where its manager's program is, if it is there."""
        return shutil.which(self.start[0])


def this_system(
    base_home: Path,
    *,
    platform: str = sys.platform,
    variables: Mapping[str, str] | None = None,
) -> Service:
    """The service of a home's hub on this system, installed or not."""
    known = process_environment() if variables is None else variables
    home = machine_home(base_home).absolute()
    user = user_home_of(known) or home.parent
    name = "parler-hub"
    if home != user / DEFAULT_HOME:
        name += f"-{fnv1a(os.fsencode(home)):016x}"[:9]
    command = hub_command(home)
    if platform == "darwin":
        return _launchd(name, command, home, user)
    if platform == "win32":
        return _windows(name, command, home)
    config = Path(known.get("XDG_CONFIG_HOME") or user / ".config")
    return _systemd(name, command, home, config)


def hub_command(home: Path) -> list[str]:
    """What runs this machine's hub in the foreground, for us and for services."""
    return [*own_command(), "hub", "run", "--home", str(home)]


def install(service: Service) -> list[str]:
    """Write the service's file and have it run; returns what is left to be typed.

    Raises:
        ConfigError: There is another file of that name, or it cannot be written.
    """
    if service.file.exists():
        _require_ours(service)
    if service.manager is Manager.WINDOWS:
        data = service.text.encode("utf-16", "surrogatepass")
    else:
        data = service.text.encode("utf-8", "surrogateescape")
    files.write_private(service.file, data)
    return _told(service.install)


def uninstall(service: Service) -> list[str] | None:
    """End the service and remove its file; None if there was none.

    Raises:
        ConfigError: The file is not ours, or cannot be removed.
    """
    if not service.installed:
        return None
    _require_ours(service)
    left = _told(service.remove[:1])
    try:
        service.file.unlink()
    except OSError as error:
        raise files.Unwritable(
            f"cannot remove {service.file}: {error.strerror}"
        ) from None
    return left + _told(service.remove[1:])


def start(service: Service) -> bool:
    """Have an installed service started; False if its manager did not do it."""
    return service.installed and _run(service.start)


def stop(service: Service) -> bool:
    """Have an installed service stopped; False if its manager did not do it."""
    return service.installed and _run(service.stop)


def active(service: Service) -> bool:
    """Whether the service's manager runs it now."""
    return service.installed and _run(service.is_active)


def _systemd(name: str, command: Sequence[str], home: Path, config: Path) -> Service:
    unit = f"{name}.service"
    text = f"""# {MARK}
[Unit]
Description=Parler hub of this user

[Service]
Type=exec
ExecStart={" ".join(_systemd_word(word) for word in command)}
WorkingDirectory={_systemd_path(home)}
UMask=0077
Restart=on-failure
RestartSec=5
TimeoutStopSec={STOP_SECS}
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""
    tool = ("systemctl", "--user")
    return Service(
        manager=Manager.SYSTEMD,
        name=name,
        file=config / "systemd" / "user" / unit,
        text=text,
        install=((*tool, "daemon-reload"), (*tool, "enable", "--now", unit)),
        remove=((*tool, "disable", "--now", unit), (*tool, "daemon-reload")),
        start=(*tool, "start", unit),
        stop=(*tool, "stop", unit),
        is_active=(*tool, "is-active", "--quiet", unit),
        hint="it ends when you log out, unless you run once: loginctl enable-linger",
    )


def _launchd(name: str, command: Sequence[str], home: Path, user: Path) -> Service:
    import plistlib  # only on a Mac

    label = f"io.github.{name}"
    log = str(home / "hub" / "hub.log")
    content = {
        "Label": label,
        "ProgramArguments": list(command),
        "WorkingDirectory": str(home),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "ExitTimeOut": STOP_SECS,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    text = plistlib.dumps(content, sort_keys=False).decode()
    text = text.replace("<plist", f"<!-- {MARK} -->\n<plist", 1)
    file = user / "Library" / "LaunchAgents" / f"{label}.plist"
    return Service(
        manager=Manager.LAUNCHD,
        name=name,
        file=file,
        text=text,
        install=(("launchctl", "load", "-w", str(file)),),
        remove=(("launchctl", "unload", "-w", str(file)),),
        start=("launchctl", "start", label),
        stop=("launchctl", "stop", label),
        is_active=("launchctl", "list", label),
        hint="it runs while you are logged in",
    )


def _windows(name: str, command: Sequence[str], home: Path) -> Service:
    from xml.sax.saxutils import escape  # only on Windows

    program, *arguments = command
    text = f"""<?xml version="1.0" encoding="UTF-16"?>
<!-- {MARK} -->
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Parler hub</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Principals><Principal id="Author"><LogonType>InteractiveToken</LogonType>\
<RunLevel>LeastPrivilege</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>3</Count></RestartOnFailure>
    <Hidden>true</Hidden>
  </Settings>
  <Actions Context="Author"><Exec>
    <Command>{escape(program)}</Command>
    <Arguments>{escape(subprocess.list2cmdline(arguments))}</Arguments>
    <WorkingDirectory>{escape(str(home))}</WorkingDirectory>
  </Exec></Actions>
</Task>
"""
    file = home / "hub" / f"{name}.xml"
    return Service(
        manager=Manager.WINDOWS,
        name=name,
        file=file,
        text=text,
        install=(("schtasks", "/Create", "/TN", name, "/XML", str(file), "/F"),),
        remove=(("schtasks", "/Delete", "/TN", name, "/F"),),
        start=("schtasks", "/Run", "/TN", name),
        stop=("schtasks", "/End", "/TN", name),
        is_active=("schtasks", "/Query", "/TN", name),
        hint="it runs while you are logged in",
    )


def _systemd_word(word: str) -> str:
    """A word of ExecStart: quoted, and without what systemd would expand."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped.replace("%", "%%").replace("$", "$$")}"'


def _systemd_path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _require_ours(service: Service) -> None:
    encoding = "utf-16" if service.manager is Manager.WINDOWS else "utf-8"
    try:
        ours = MARK in service.file.read_text(encoding=encoding)
    except (OSError, UnicodeError):
        ours = False
    if not ours:
        raise ConfigError(
            f"{service.file} was not made by parler; it is left as it is",
            next_step=f"look at it: less {shlex.quote(str(service.file))}",
        )


def _told(commands: Sequence[Sequence[str]]) -> list[str]:
    """Run commands up to the first that fails; returns that and those after it."""
    for position, command in enumerate(commands):
        if not _run(command):
            return [shlex.join(left) for left in commands[position:]]
    return []


def _run(command: Sequence[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603 - our own words only
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
