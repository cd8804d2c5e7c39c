"""Who works with the console: roles, tokens, and the sites that a token may be bound to. Pure."""

import hashlib
import re
from enum import IntEnum

import msgspec


class Role(IntEnum):
    """What an operator may do; each may do what those before it may."""

    VIEWER = 1
    """Look at everything but vendors, tokens and the audit."""
    OPERATOR = 2
    """Change persons, sites, devices, tasks, campaigns."""
    ADMIN = 3
    """Vendors, credentials, firmware packages, tokens; read the audit."""


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever a request comes from."""

    who: str
    """As the audit and the history of tasks name it."""
    role: Role
    site_ids: frozenset[str] | None = None
    """The sites it may see and change, with what stands there; None: everything."""

    def sees(self, site_id: str | None) -> bool:
        """Whether the site, and what stands there, is the operator's; what is at no site is seen by the unbound."""
        return self.site_ids is None or site_id in self.site_ids


class OperatorToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept: what opens the console is not in it."""

    token_id: str
    digest: str
    """token_digest of its text."""
    role: Role
    site_ids: frozenset[str] | None = None
    name: str | None = None
    """What it is for. The audit has token_id instead, which nobody can choose."""
    created_at_ms: int
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None

    @property
    def operator(self) -> Operator:
        """Whoever holds it."""
        return Operator(who=f"token:{self.token_id}", role=self.role, site_ids=self.site_ids)

    def is_in_force(self, now_ms: int) -> bool:
        """Whether it opens anything."""
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)


TOKEN_PREFIX = "op_"  # noqa: S105  by which scanners for secrets find a token that leaked
TOKEN_BYTES = 32

_TOKEN = re.compile(TOKEN_PREFIX + r"[A-Za-z0-9_-]{43}")


def is_token(text: str) -> bool:
    """Whether it has a token's form: nobody is asked about anything else."""
    return _TOKEN.fullmatch(text) is not None


def token_digest(token: str) -> str:
    """What is kept of a token. A plain hash, without salt or repetition: of 256 random bits there is nothing to guess,
    so a slow hash would cost every request and protect nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
