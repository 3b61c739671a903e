"""What holds of every agent app, those that come later included."""

import ast
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from parler.apps.config_files.edits import FileEdit, Format
from parler.apps.kit.app import App
from parler.apps.kit.config import Config, Wiring
from parler.apps.kit.headless import Headless
from parler.apps.kit.hooks import Hooks
from parler.apps.kit.platform import Machine, Platform
from parler.apps.registry import (
    NAMES,
    all_apps,
    app_named,
    app_of_client,
    app_of_program,
)
from tests._support.processes import CHECKOUT
from tests.contract.test_architecture import Module, for_every_module
from tests.contract.test_light_hook import HEAVY, imported_by

GOLDEN = CHECKOUT / "tests" / "parler" / "apps" / "golden"
HOME = Path("/home/ada")
MACHINE = Machine(platform=Platform.LINUX, env={}, home=HOME)
WIRING = Wiring(
    app="x", command=("/usr/local/bin/parler",), home=HOME, hub="ws://127.0.0.1:7070"
)


def asks_us(edit: FileEdit) -> bool:
    """Whether what an app is given runs `parler hook`."""
    return " hook " in repr(edit) or "'hook'" in repr(edit)


def test_every_folder_with_an_app_is_in_the_registry() -> None:
    folders = {path.parent.name for path in CHECKOUT.glob("parler/apps/*/__init__.py")}
    assert set(NAMES) == folders - {"config_files", "install", "kit"}


NAMED_BY: dict[str, Callable[[App], tuple[str, ...]]] = {
    "names": lambda app: (app.id, *app.aliases),
    "commands": lambda app: app.commands,
    "programs": lambda app: app.programs,
    "clients": lambda app: app.clients,
}


@pytest.mark.parametrize("kind", NAMED_BY)
def test_no_two_apps_have_a_name_in_common(kind: str) -> None:
    every = [name for app in all_apps() for name in NAMED_BY[kind](app)]
    assert len(every) == len(set(every))
    assert all(every)


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_an_app_is_found_by_each_name_and_its_facets_load(app: App) -> None:
    for name in (app.id, *app.aliases, f" {app.id.upper()} "):
        assert app_named(name) is app
    for name in app.programs:
        assert app_of_program(name) is app
    for name in app.clients:
        assert app_of_client(name) is app
    assert isinstance(app.config(), Config)
    assert app.hooks is None or isinstance(app.hooks(), Hooks)
    assert app.find_waker is None or callable(app.find_waker())
    if app.headless is not None:
        headless = app.headless()
        assert isinstance(headless, Headless)
        assert headless.work.name == app.id
    assert app.folders is None or callable(app.folders())


PROTOCOL = "parler.identity.homes"
"""Names apps by protocol 2.4: other implementations derive homes from them."""

WORDS = {"code", "cursor"}
"""That mean something else as well."""


@for_every_module
def test_no_app_is_named_or_listed_outside_of_its_folder(module: Module) -> None:
    """An example may name one: it is a command line and not a decision."""
    if module.is_in("parler.apps", PROTOCOL):
        return
    names = {name for app in all_apps() for name in (app.id, *app.aliases)} - WORDS
    one = "|".join(map(re.escape, names))
    listed = re.compile(rf"(?:{one})(?:[|]|, )(?:{one})\b")
    said = [
        node.value
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in said if text in names or listed.search(text)]


@pytest.mark.parametrize("folder", NAMES)
def test_the_face_of_an_app_is_light(folder: str) -> None:
    face = f"parler.apps.{folder}"
    ours = imported_by(f"import {face}") - imported_by("pass")
    assert not HEAVY & ours
    assert {name for name in ours if name.startswith("parler")} == {
        *("parler", "parler._version", "parler.apps", "parler.apps.kit"),
        *("parler.apps.kit.app", face),
    }


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_a_hook_reads_one_app_and_nothing_slow(app: App) -> None:
    asked = f"from parler.apps.registry import hooks_of; hooks_of({app.id!r})"
    ours = imported_by(asked) - imported_by("pass")
    assert not HEAVY & ours
    if app.hooks is not None:
        faces = {name for name in ours if name.count(".") == 2} - {
            *("parler.apps.kit", "parler.apps.registry")
        }
        assert len(faces) == 1


@pytest.mark.parametrize("folder", NAMES)
def test_each_file_of_the_user_that_an_app_has_stands_among_the_golden(
    folder: str,
) -> None:
    apps: tuple[App, ...] = import_module(f"parler.apps.{folder}").APPS
    foreign = [
        edit
        for app in apps
        for edit in app.config().files(MACHINE, WIRING)
        if edit.format is not Format.OWN
    ]
    cases = [case for app in apps for case in (GOLDEN / app.id).glob("*.before")]
    assert bool(cases) is bool(foreign), (
        f"{folder} has files of the user's: tests/parler/apps/golden/<app id>/ needs a "
        "<case>.before of each role"
        if foreign
        else f"{folder} has no file of the user's"
    )
    unwritten = [case.name for case in cases if not case.with_suffix(".after").exists()]
    assert not unwritten, "write them with PARLER_TEST_WRITE_GOLDEN=1"


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_an_app_that_is_given_hooks_says_how_they_are_answered(app: App) -> None:
    given = [edit for edit in app.config().files(MACHINE, WIRING) if asks_us(edit)]
    assert not given or app.hooks is not None, "its `App` has no `hooks`"
