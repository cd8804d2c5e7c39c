"""What the tests of the whole platform have in common: an operator, a vendor, and a terminal's number."""

import secrets
from collections.abc import AsyncIterator

import pytest

from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import Operators, open_operators


@pytest.fixture
async def operators(platform_stack: RunningStack) -> AsyncIterator[Operators]:
    """An operator of the running platform."""
    async with open_operators(platform_stack.console, platform_stack.admin_token) as operators:
        yield operators


@pytest.fixture
async def vendor(operators: Operators) -> Vendor:
    """A vendor of the test's own."""
    _, vendor = await operators.create_vendor()
    return vendor


@pytest.fixture
def sn() -> str:
    """A terminal that no other test knows."""
    return f"E2E{secrets.token_hex(6)}"
