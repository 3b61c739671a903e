"""Builds the single-file program: the wheel and its locked dependencies in one zip.

Compiled modules carry the Python version in their names, so the files for several
versions lie side by side in one folder and each interpreter takes its own. shiv packs
what is in that folder; itself it would install for the Python it runs on alone. pex
knows several, but wants each of them on the machine that builds, or a description of
it, which is more than what stands here.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TOOLS = ("shiv==1.0.8", "uv>=0.9")
PIP = ("-I", "-m", "pip", "install", "--quiet", "--no-input")


def main(arguments: list[str]) -> int:
    """Build into the folder that is named, `dist` without one."""
    parser = argparse.ArgumentParser(prog="scripts/build-single", description=__doc__)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist" / "parler")
    output: Path = parser.parse_args(arguments).output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="parler-single-") as name:
        work = Path(name)
        site, tools = work / "site", work / "tools"
        venv.create(tools, with_pip=True)
        run(tools / "bin" / "python", *PIP, *TOOLS)
        for version in PYTHONS:
            say(f"dependencies for Python {version}")
            made = dependencies(work, tools, version)
            shutil.copytree(made, site, dirs_exist_ok=True)
        shutil.rmtree(site / "bin")
        say("Parler")
        run(sys.executable, *PIP, "--no-deps", "--target", site, CHECKOUT)
        for scripts in ("bin", "share"):
            shutil.rmtree(site / scripts, ignore_errors=True)
        say("one file")
        pack(tools, site, output)
    say(f"{output}, {output.stat().st_size / 2**20:.0f} MiB")
    return 0


def dependencies(work: Path, tools: Path, version: str) -> Path:
    """A folder with what the runtime lock names, for one version of Python.

    By uv: pip answers a lock's markers for the Python it runs on itself.
    """
    folder = work / version
    run(
        tools / "bin" / "uv",
        "pip",
        "install",
        "--quiet",
        "--no-config",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        f"--python-version={version}",
        "--target",
        folder,
        "-r",
        CHECKOUT / "locks" / "runtime.txt",
    )
    return folder


def pack(tools: Path, site: Path, output: Path) -> None:
    """Make the zip that unpacks itself at its first run."""
    run(
        tools / "bin" / "shiv",
        "--site-packages",
        site,
        "--entry-point=parler.__main__:main",
        "--python=/usr/bin/env python3",
        "--root=~/.cache/parler",  # where it unpacks itself
        "--reproducible",
        "--compressed",
        "--output-file",
        output,
    )


def run(*command: str | Path) -> None:
    """Run a step; its failure is ours."""
    subprocess.run([str(part) for part in command], check=True)


def say(text: str) -> None:
    """Tell how far we are."""
    print(f"build-single: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"build-single: a step failed: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
