"""Coroutine tests on plain asyncio, each bounded as a whole."""

import asyncio
import inspect

import pytest

from tests._support.polling import TEST_WAIT


def run(item: pytest.Function) -> object | None:
    """Run a coroutine test in a loop of its own; None leaves any other to pytest."""
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        return None
    wanted = inspect.signature(test).parameters
    arguments = {name: item.funcargs[name] for name in wanted}
    asyncio.run(asyncio.wait_for(test(**arguments), TEST_WAIT))
    return True
