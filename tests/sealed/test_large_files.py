"""The largest files: exactly as they were, within little memory, or nothing at all."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")

LIMITED = """
import resource, secrets, signal, sys
from io import BytesIO
from pathlib import Path
from parler.sealed import blobs, crypto

folder, size, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
key, plain, sealed, opened = crypto.new_key(), *map(folder.joinpath, ("p", "s", "o"))
with plain.open("wb") as file:
    file.writelines(secrets.token_bytes(min(2**16, size - at))
                    for at in range(0, size, 2**16))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with plain.open("rb") as source, sealed.open("wb") as target:
        blobs.seal_blob(source, target, size=size, file_key=key)
    with sealed.open("rb") as source, opened.open("wb") as target:
        blobs.open_blob(source, target, size=size, file_key=key)
except OSError as error:
    sys.exit(error.strerror)
with plain.open("rb") as one, opened.open("rb") as other:
    assert all(one.read(2**16) == other.read(2**16) for _ in range(0, size + 1, 2**16))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown * (1 if sys.platform == "darwin" else 1024))
"""


def run(folder: Path, size: int, limit: int = 0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", LIMITED, folder, str(size), str(limit)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("size", [0, 1, 65_536, 2**20 + 1, 25_690_112])
def test_a_file_of_any_size_passes_through_little_memory(
    tmp_path: Path, size: int
) -> None:
    done = run(tmp_path, size)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 * 2**20


def test_a_full_disk_is_an_error_and_no_file(tmp_path: Path) -> None:
    done = run(tmp_path, 2**20, limit=2**19)
    assert done.returncode == 1
    assert "too large" in done.stderr
