"""docs/openapi.json says what the hub's HTTP side answers, neither more nor less.

What it says of the answers themselves is tried in tests/rest.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.records import DirectoryEntry
from tests.hub.conftest import RunningHub
from tests.hub.http.test_fuzz import BODIES

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
FILTERS = {"q", "tag", "skill", "status", "scope", "limit"}


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(DOCUMENT.read_text(encoding="utf-8"))


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def followed(document: Any, value: Any) -> Any:
    """The value, or what it refers to; a reference to nothing is a KeyError."""
    while isinstance(value, dict) and "$ref" in value:
        found = document
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found
    return value


def references(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_has_the_routes_of_the_hub_and_their_methods(
    document: Any, hub: RunningHub
) -> None:
    described: dict[str, set[str]] = {}
    for path, method, _ in operations(document):
        described.setdefault(path, set()).add(method.upper())
    assert described == hub.hub.site.methods


def test_it_is_of_this_protocol(document: Any) -> None:
    assert document["info"]["version"] == PROTOCOL_VERSION


def test_its_records_are_those_of_the_wire(document: Any) -> None:
    template = "#/components/schemas/{name}"
    _, records = msgspec.json.schema_components([DirectoryEntry], ref_template=template)
    schemas = document["components"]["schemas"]
    assert {name: schemas[name] for name in records} == records


def test_no_answer_has_fields_that_are_not_described(document: Any) -> None:
    """The shapes are those that the other tests of HTTP decode strictly."""
    for path, shape in BODIES.items():
        known = [name for name in document["paths"] if _same(name, path)]
        answer = document["paths"][known[0]]["get"]["responses"]["200"]
        schema = followed(document, answer["content"]["application/json"]["schema"])
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            fields = msgspec.structs.fields(shape)
            names = {field.encode_name for field in fields}
            assert set(schema["properties"]) == names


def _same(described: str, path: str) -> bool:
    return re.sub(r"\{\w+\}", "{}", described) == path


def test_every_reference_leads_somewhere_and_nothing_is_left_over(
    document: Any,
) -> None:
    used = set()
    for reference in references(document):
        assert followed(document, reference)
        used.add(reference["$ref"])
    for kind in ("responses", "parameters", "schemas"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used


def test_every_path_names_the_values_it_takes(document: Any) -> None:
    for path, item in document["paths"].items():
        named = [followed(document, each) for each in item.get("parameters", [])]
        assert {each["in"] for each in named} <= {"path"}
        assert {each["name"] for each in named} == set(re.findall(r"\{(\w+)\}", path))
        asked = item["get"].get("parameters", [])
        assert item["head"].get("parameters", []) == asked
        if path.endswith("/directory"):
            assert {followed(document, each)["name"] for each in asked} == FILTERS
