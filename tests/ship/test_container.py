"""The image: its steps are carried out, and what comes out is run as it will be."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.processes import CHECKOUT
from tests.ship._dockerfile import Build, Stage, words_of
from tests.ship._root import Root, root_of, wheels

pytestmark = [pytest.mark.ship, pytest.mark.timeout(1800)]

# Not root, without rights to gain, the root file system read-only, one volume.
RUN = """
set -eu
"$@" &
hub=$!
tries=0
until [ -e /data/join-secret ] && {healthy}; do
  tries=$((tries + 1))
  [ "$tries" -lt 1000 ] || exit 1
  sleep 0.1
done
touch /nowhere 2>/dev/null && echo WRITABLE
id -un
stat -c 'secret %a %U' /data/join-secret
{meanwhile}
(sleep {grace}; kill -KILL "$hub") &
kill -TERM "$hub"
wait "$hub"
echo "status $?"
ls -A /data
"""
AGENT = """
export PARLER_HOME=/data/agent PARLER_NAME=ada PARLER_HUB=ws://127.0.0.1:7070
PARLER_JOIN_SECRET=$(cat /data/join-secret)
export PARLER_JOIN_SECRET
/opt/parler/bin/parler rooms --json | grep -q '"kind"' ||
  /opt/parler/bin/parler session open --context "life $(date +%s%N)" >/dev/null
/opt/parler/bin/parler history -n 1
grep VmHWM "/proc/$hub/status"
"""
READ_ONLY = (
    'mount --bind "$root" "$root"',
    'mkdir -p "$root/data"',
    'mount {volume} "$root/data"',
    'chown 10001 "$root/data"',
    'chmod 0700 "$root/data"',
    'mount -o remount,ro,bind "$root"',
    'mount --rbind /dev "$root/dev"',
    'mount -t proc proc "$root/proc"',
)
RESIDENT = re.compile(r"VmHWM:\s*(\d+) kB")
FLY = tomllib.loads((CHECKOUT / "fly.toml").read_text(encoding="utf-8"))


def serve(
    image: Stage,
    volume: str,
    *,
    meanwhile: str = "",
    grace: str = "60",
    limits: tuple[str, ...] = (),
    **env: str,
) -> list[str]:
    """Start it, have it healthy, end it; what was said."""
    healthy = " ".join(
        f"'{word.replace(chr(39), chr(34))}'" for word in words_of(image, "HEALTHCHECK")
    )
    script = RUN
    for name, value in (
        ("healthy", healthy),
        ("meanwhile", meanwhile),
        ("grace", grace),
    ):
        script = script.replace(f"{{{name}}}", value)
    said = Root.run(
        image.root,
        *(*limits, "sh", "-c", script, "sh"),
        *words_of(image, "ENTRYPOINT", "CMD"),
        user="parler",
        env=image.env | env,
        before=[line.replace("{volume}", volume) for line in READ_ONLY],
    )
    return said.splitlines()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Stage]:
    """The image as a root file system."""
    folders = [tmp_path / name for name in ("build", "last")]
    for folder in folders:
        folder.mkdir()
    with (
        root_of("bookworm", folders[0]) as first,
        root_of("bookworm", folders[1]) as last,
    ):
        first.put(wheels("3.11"), "/wheels")
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        yield Build(CHECKOUT, [first, last], offline).run()


def test_the_image_serves_as_nobody_on_a_read_only_root(image: Stage) -> None:
    assert image.user == "parler"
    assert image.settings["VOLUME"] == "/data"
    lines = serve(image, "-t tmpfs tmpfs")
    assert "WRITABLE" not in lines
    assert "parler" in lines
    assert "secret 600 parler" in lines
    assert "status 0" in lines
    assert "hub.sqlite" in lines
    assert not any("secret" in line and "parler-hub up" in line for line in lines)


def test_what_fly_is_told_is_enough_and_its_volume_keeps_everything(
    image: Stage, tmp_path: Path
) -> None:
    [vm] = FLY["vm"]
    memory = int(vm["memory"].removesuffix("mb")) * 2**20
    assert image.settings["STOPSIGNAL"] == FLY["kill_signal"]
    volume = tmp_path / "volume"
    volume.mkdir()
    lives = [
        serve(
            image,
            f"--bind {volume}",
            meanwhile=AGENT,
            grace=FLY["kill_timeout"].removesuffix("s"),
            limits=("prlimit", f"--data={memory}", "--"),
            **FLY["env"],
        )
        for _ in range(2)
    ]
    for life in lives:
        assert "status 0" in life
        [resident] = [int(one[1]) for one in map(RESIDENT.match, life) if one]
        assert resident * 1024 < memory / 2
    first, second = [[line for line in life if "life " in line] for life in lives]
    assert len(first) == 1
    assert first == second


def test_the_image_holds_no_build_tools_and_no_sources(image: Stage) -> None:
    folder = image.root.folder
    assert not (folder / "src").exists()
    site = next((folder / "opt/parler/lib").glob("python3*/site-packages"))
    names = {path.name.partition("-")[0].lower() for path in site.iterdir()}
    assert {"parler", "hub"} <= names
    assert not names & {"pip", "hatchling", "editables", "pytest", "tests"}
