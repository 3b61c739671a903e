"""The head of a bundle: what is read of it, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.errors import BadBundle
from parler.handoff.bundle import MAX_TIPS, Head, Needed, Tip, read_head

A, B = "a" * 40, "b" * 40
LONG = "c" * 64


def test_a_head_of_the_second_version() -> None:
    data = f"# v2 git bundle\n-{A} first\n{B} refs/heads/main\n\nPACK".encode()
    assert read_head(data) == Head(
        object_format="sha1",
        needed=[Needed(A, "first")],
        tips=[Tip(B, "refs/heads/main")],
        pack_at=len(data) - 4,
    )


def test_a_head_of_the_third_version() -> None:
    data = f"# v3 git bundle\n@object-format=sha256\n{LONG} HEAD\n\n".encode()
    head = read_head(data)
    assert (head.object_format, head.tips) == ("sha256", [Tip(LONG, "HEAD")])


def test_a_needed_commit_may_have_no_comment() -> None:
    data = f"# v2 git bundle\n-{A}\n{B} HEAD\n\n".encode()
    assert read_head(data).needed == [Needed(A, "")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\n\n",
        b"# v1 git bundle\n\n",
        b"# v22 git bundle\n\n",
        b"# v2 git bundlex\n\n",
        b"# v2 git bundle\n\n",
        b"# v2 git bundle\nrefs/heads/main\n\n",
        f"# v2 git bundle\n{A[:-1]} HEAD\n\n".encode(),
        f"# v2 git bundle\n{A.upper()} HEAD\n\n".encode(),
        f"# v2 git bundle\n{LONG} HEAD\n\n".encode(),
        f"# v2 git bundle\n{A} HEAD\n".encode(),
        f"# v2 git bundle\n@object-format=sha1\n{A} HEAD\n\n".encode(),
        f"# v3 git bundle\n@object-format=md5\n{A} HEAD\n\n".encode(),
        f"# v3 git bundle\n@filter=blob:none\n{A} HEAD\n\n".encode(),
        f"# v3 git bundle\n@run=touch pwned\n{A} HEAD\n\n".encode(),
        f"# v3 git bundle\n@object-format=sha256\n{A} HEAD\n\n".encode(),
        f"# v2 git bundle\n-{A} only needs\n\n".encode(),
        b"# v2 git bundle\n" + b"x" * 2**21 + b"\n\n",
    ],
)
def test_what_is_no_whole_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(BadBundle):
        read_head(data)


def test_more_tips_than_anybody_has_are_refused() -> None:
    tips = "".join(f"{n:040x} refs/heads/{n}\n" for n in range(MAX_TIPS + 1))
    with pytest.raises(BadBundle, match="101 tips"):
        read_head(f"# v2 git bundle\n{tips}\n".encode())


@given(st.binary() | st.binary().map(lambda tail: b"# v3 git bundle\n" + tail))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    try:
        head = read_head(data)
    except BadBundle:
        return
    assert head.tips
    assert head.pack_at <= len(data)
