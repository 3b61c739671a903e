"""Which version this is."""

from parler._version import __version__
from parler.ops.context import Result
from parler.wire.codes import PROTOCOL_VERSION


class VersionResult(Result):
    """The program's version, and that of the protocol it speaks."""

    version: str
    protocol: str


def versions() -> VersionResult:
    """The versions of program and protocol."""
    return VersionResult(version=__version__, protocol=PROTOCOL_VERSION)
