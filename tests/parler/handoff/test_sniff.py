"""What a received file looks like beside what it is called."""

import pytest

from parler.handoff.sniff import guessed_type, look

ELF = b"\x7fELF\x02\x01\x01"
PDF = b"%PDF-1.7\n"


@pytest.mark.parametrize(
    ("data", "name", "declared"),
    [
        (PDF, "report.pdf", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", "a.png", None),
        (b"PK\x03\x04", "a.docx", None),
        (b"PK\x03\x04", "a.zip", "application/zip"),
        (b"def f(): ...\n", "a.py", None),
        (b'{"a": 1}\n', "a.json", "application/json"),
        (("x" + "ä" * 4000).encode(), "a.txt", None),
        (b"", "empty.txt", "text/plain"),
        (b"\x00\x01\x02", "a.bin", None),
        (b"\x00\x01\x02", "a.parquet", "application/x-parquet"),
        (b"# v2 git bundle\n", "x.bundle", "application/x-git-bundle"),
        (b"<?xml version='1.0'?>", "a.svg", "image/svg+xml"),
    ],
)
def test_a_file_that_is_what_it_is_called_raises_no_brow(
    data: bytes, name: str, declared: str | None
) -> None:
    assert look(data, name=name, declared=declared).warning is None


@pytest.mark.parametrize(
    ("data", "name", "declared", "kind"),
    [
        (ELF, "report.pdf", "application/pdf", "application/x-executable"),
        (b"MZ\x90\x00", "a.txt", None, "application/vnd.microsoft.portable-executable"),
        (b"#!/bin/sh\nrm -rf ~\n", "a.txt", "text/plain", "text/x-script"),
        (b"#!/bin/sh\n", "install", None, "text/x-script"),
        (PDF, "a.png", None, "application/pdf"),
        (PDF, "a", "image/png", "application/pdf"),
        (b"\x00\x01\x02", "a.txt", None, "application/octet-stream"),
        (b"\xff\xfe\x00\x80", "a.pdf", None, "application/octet-stream"),
        (b"just text", "a.pdf", None, "text/plain"),
        (b"PK\x03\x04", "a.pdf", None, "application/zip"),
        (b"<!DOCTYPE html>", "a.html", "text/html", "text/html"),
        (b"  <svg onload=x>", "a.svg", None, "image/svg+xml"),
    ],
)
def test_a_file_that_is_something_else_is_pointed_out(
    data: bytes, name: str, declared: str | None, kind: str
) -> None:
    seen = look(data, name=name, declared=declared)
    assert seen.kind == kind
    assert seen.warning


def test_a_name_suggests_a_type_the_same_on_every_machine() -> None:
    assert guessed_type("a.pdf") == "application/pdf"
    assert guessed_type("a.md") in ("text/markdown", None)
    assert guessed_type("a") is None
