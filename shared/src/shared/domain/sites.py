"""A construction site, where terminals stand and workers are admitted."""

import msgspec


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site that the operators have entered."""

    site_id: str
    name: str
    created_at_ms: int
