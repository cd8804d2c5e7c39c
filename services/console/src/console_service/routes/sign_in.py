"""Signing in and out with a browser: a cookie that holds an operator's token."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from console_service.operators import COOKIE, Operators, check_own_page, unauthorized
from console_service.routes.tokens import RoleName, role_name

SIGNED_IN_SECONDS = 12 * 60 * 60
"""A working day; the token may end sooner."""


class SignIn(BaseModel):
    """An operator's token."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(min_length=1, max_length=1000, examples=["op_kq0Ty3oKpQ4Ck1mB3c8gW5vYJd2r9sXfH7uLzE6aNnI"])


class SignedIn(BaseModel):
    """Who is signed in."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    who: str = Field(description="As the audit has it.", examples=["token:t5f1c2a90b3d4e678"])
    role: RoleName
    site_ids: list[str] | None = Field(
        description="The sites that the token is bound to; null: it is not.", examples=[["s5f1c2a90b3d4e678"]]
    )


def sign_in_routes(operators: Operators, api_url: str) -> APIRouter:
    """The routes that need no token in force. `api_url` is what browsers reach the API under."""
    url = urlsplit(api_url)
    router = APIRouter(tags=["operators"], dependencies=[Depends(check_own_page)])

    @router.post("/sign-in", summary="Sign in")
    async def sign_in(wish: SignIn, response: Response) -> SignedIn:
        """Sets a cookie that no script can read and that browsers send to this API alone. It lasts 12 hours, and opens
        what the token opens for as long as the token is in force. The request needs the header X-Requested-With:
        console, as does every later one that changes something."""
        token = wish.token.get_secret_value()
        operator = await operators.find(token)
        if operator is None:
            raise unauthorized()
        # The token itself: a session beside it would have to be stored, revoked with its token, and looked up as well
        response.set_cookie(
            COOKIE,
            token,
            max_age=SIGNED_IN_SECONDS,
            path=url.path,
            secure=url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        site_ids = None if operator.site_ids is None else sorted(operator.site_ids)
        return SignedIn(who=operator.who, role=role_name(operator.role), site_ids=site_ids)

    @router.post("/sign-out", status_code=204, summary="Sign out")
    async def sign_out() -> Response:
        """Takes the cookie away, whatever its token is worth. The token itself stays in force."""
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path=url.path, secure=url.scheme == "https", httponly=True, samesite="strict")
        return response

    return router
