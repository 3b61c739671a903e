"""What `import parler` offers: one list, kept in three places that must agree."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import parler
from tests._support.polling import WAIT


def imported_for_type_checkers() -> dict[str, str]:
    """Name → module, as the TYPE_CHECKING block of `parler/__init__.py` has it."""
    tree = ast.parse(Path(parler.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_lazy_table_and_the_type_checking_block_agree() -> None:
    assert imported_for_type_checkers() == parler._MODULES


def test_the_public_list_is_the_lazy_table_and_the_version() -> None:
    assert parler.__all__ == [*parler._MODULES, "__version__"]


def test_the_public_surface_stays_about_twenty_names() -> None:
    assert len(parler.__all__) <= 24


@pytest.mark.parametrize("name", parler.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(parler, name) is not None
    assert name in dir(parler)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        parler.nonsense  # noqa: B018


def test_importing_parler_alone_imports_nothing_heavy() -> None:
    program = (
        "import sys, parler\n"
        "heavy = {'msgspec', 'nacl', 'websockets', 'asyncio', 'typer', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
    )
    assert done.stdout.strip() == "[]"
