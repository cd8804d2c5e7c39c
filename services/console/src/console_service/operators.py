"""Who may use the console: bearer tokens and the cookie that holds one, what each role may do, and the sites that a
token is bound to.

Wrong tokens are neither counted nor slowed down: a token is 256 random bits, which nobody finds by trying, and a bound
on tries would be a way to lock operators out.
"""

import hmac
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from shared.domain.operators import Operator, OperatorToken, Role, is_token, token_digest
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.operator_interfaces import OperatorTokenStore

ADMIN = "admin"
"""Who changes things with the token from the setting, as the audit names it."""

COOKIE = "operator_token"

BEARER = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="An operator's token; the first is CONSOLE_ADMIN_TOKEN."
)
SIGNED_IN = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    scheme_name="cookie",
    description="As POST /sign-in sets it. Whatever changes something then needs the header X-Requested-With: console.",
)

MAX_REMEMBERED = 10_000


class Operators:
    """Finds the operator of a token. What is read of a token is remembered for a short while, so that MongoDB is not
    asked for every request; for as long a revoked token opens the console still."""

    def __init__(self, admin_token: SecretStr, store: OperatorTokenStore, clock: Clock, remembered_ms: int) -> None:
        self._admin_token = admin_token.get_secret_value().encode()
        self._store = store
        self._clock = clock
        self._remembered_ms = remembered_ms
        self._remembered: dict[str, tuple[int, OperatorToken]] = {}

    async def find(self, token: str) -> Operator | None:
        """None where the token is not in force. Raises Unavailable where nobody can say so; never for the token from
        the setting, which needs no store."""
        if hmac.compare_digest(token.encode(errors="surrogatepass"), self._admin_token):
            return Operator(who=ADMIN, role=Role.ADMIN)
        if not is_token(token):
            return None
        found = await self._read(token_digest(token))
        return found.operator if found is not None and found.is_in_force(self._clock.now_ms()) else None

    async def is_in_force(self, token: str) -> bool:
        """Whether it still opens the console. Raises Unavailable."""
        return await self.find(token) is not None

    async def _read(self, digest: str) -> OperatorToken | None:
        now_ms = self._clock.now_ms()  # before it is read: a token that is revoked meanwhile is read again in time
        read_ms, found = self._remembered.get(digest, (None, None))
        if read_ms is not None and 0 <= now_ms - read_ms < self._remembered_ms:
            return found
        found = await self._store.find_by_digest(digest)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        if found is not None:
            self._remembered[digest] = now_ms, found
        return found


def operator_check(operators: Operators) -> Callable[..., Awaitable[None]]:
    """A dependency for every route of operators: 401 without a token in force. What it finds is the routes' by Viewing,
    Operating or Administering."""

    async def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
        cookie: Annotated[str | None, Depends(SIGNED_IN)],
    ) -> None:
        token = credentials.credentials if credentials is not None else cookie or ""
        operator = await operators.find(token)
        if operator is None:
            raise unauthorized()
        if credentials is None and request.method not in ("GET", "HEAD"):
            check_own_page(request)
        request.state.operator = operator
        request.state.is_in_force = partial(operators.is_in_force, token)

    return check


def unauthorized() -> Problem:
    """What is answered without a token in force."""
    return Problem(401, "an operator's token is needed, and it must be in force", {"WWW-Authenticate": "Bearer"})


def check_own_page(request: Request) -> None:
    """Raises Problem (403) where the request may come from a foreign page: a browser lets a page send this header to
    its own origin alone, unless another origin allows it beforehand, as the console never does."""
    if request.headers.get("X-Requested-With") != "console":
        raise Problem(403, "with the cookie this needs the header X-Requested-With: console")


def _at_least(role: Role) -> Callable[[Request], Awaitable[Operator]]:
    async def check(request: Request) -> Operator:
        operator: Operator = request.state.operator
        if operator.role < role:
            raise Problem(403, f"this needs a token of role {role.name.lower()}")
        return operator

    return check


async def _is_in_force(request: Request) -> Callable[[], Awaitable[bool]]:
    asked: Callable[[], Awaitable[bool]] = request.state.is_in_force
    return asked


Viewing = Annotated[Operator, Depends(_at_least(Role.VIEWER))]
"""A route's operator, who may look."""
Operating = Annotated[Operator, Depends(_at_least(Role.OPERATOR))]
"""A route's operator, who may change what stands at sites."""
Administering = Annotated[Operator, Depends(_at_least(Role.ADMIN))]
"""A route's operator, who may do everything."""
IsInForce = Annotated[Callable[[], Awaitable[bool]], Depends(_is_in_force)]
"""For an answer that lasts: asks whether its token is in force still. Raises Unavailable."""


def check_site(operator: Operator, site_id: str | None) -> None:
    """Raises Problem (404) where the site is not the operator's: it does not learn that there is one."""
    if not operator.sees(site_id):
        raise Problem(404, "no such site")


SITE_CHECKED: dict[int | str, dict[str, Any]] = {404: {"description": "The site is not one of the operator's"}}
"""For the description of a route that calls `check_site`."""


def check_unbound(operator: Operator) -> None:
    """Raises Problem (403) where the operator's token is bound to sites."""
    if operator.site_ids is not None:
        raise Problem(403, "this needs a token that is not bound to sites")
