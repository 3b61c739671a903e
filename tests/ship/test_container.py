"""The image: its steps are carried out, and what comes out is run as it will be."""

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
  [ "$tries" -lt 200 ] || exit 1
  sleep 0.1
done
touch /nowhere 2>/dev/null && echo WRITABLE
id -un
stat -c 'secret %a %U' /data/join-secret
kill -TERM "$hub"
wait "$hub"
echo "status $?"
ls -A /data
"""
READ_ONLY = (
    'mount --bind "$root" "$root"',
    'mkdir -p "$root/data"',
    'mount -t tmpfs tmpfs "$root/data"',
    'chown 10001 "$root/data"',
    'chmod 0700 "$root/data"',
    'mount -o remount,ro,bind "$root"',
    'mount --rbind /dev "$root/dev"',
    'mount -t proc proc "$root/proc"',
)


@pytest.fixture
def image(tmp_path: Path) -> "Stage":
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
    healthy = " ".join(
        f"'{word.replace(chr(39), chr(34))}'" for word in words_of(image, "HEALTHCHECK")
    )
    said = Root.run(
        image.root,
        *("sh", "-c", RUN.replace("{healthy}", healthy), "sh"),
        *words_of(image, "ENTRYPOINT", "CMD"),
        user="parler",
        env=image.env,
        before=READ_ONLY,
    )
    lines = said.splitlines()
    assert "WRITABLE" not in lines
    assert "parler" in lines
    assert "secret 600 parler" in lines
    assert "status 0" in lines
    assert "hub.sqlite" in lines
    assert not any("secret" in line and "parler-hub up" in line for line in lines)


def test_the_image_holds_no_build_tools_and_no_sources(image: Stage) -> None:
    folder = image.root.folder
    assert not (folder / "src").exists()
    site = next((folder / "opt/parler/lib").glob("python3*/site-packages"))
    names = {path.name.partition("-")[0].lower() for path in site.iterdir()}
    assert {"parler", "hub"} <= names
    assert not names & {"pip", "hatchling", "editables", "pytest", "tests"}
