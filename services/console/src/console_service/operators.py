"""Who may use the console: bearer tokens. For now there is one, the admin's, from a setting."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from shared.runtime.problems import Problem

ADMIN = "admin"
"""Who changes things with the token from the setting, as the audit names it."""

BEARER = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="An operator's token; the first is CONSOLE_ADMIN_TOKEN."
)


def operator_check(admin_token: SecretStr) -> Callable[..., Awaitable[None]]:
    """A dependency for every route of operators: 401 without the right token, compared in constant time."""
    expected = admin_token.get_secret_value().encode()

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        given = credentials.credentials.encode() if credentials else b""
        if not hmac.compare_digest(given, expected):
            raise Problem(401, "a bearer token is needed, and it must be right", {"WWW-Authenticate": "Bearer"})

    return check
