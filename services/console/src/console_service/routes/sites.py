"""Construction sites: what terminals are assigned to."""

import secrets

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import ADMIN
from shared.domain import sites
from shared.runtime.clock import Clock
from shared.stores.interfaces import SiteStore

LISTED = "sites"


class NewSite(BaseModel):
    """A site to be entered."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["West Lake Tower"])


class Site(BaseModel):
    """A site that the operators have entered."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    site_id: str = Field(examples=["s5f1c2a90b3d4e678"])
    name: str


class SitePage(BaseModel):
    """Sites in order of siteId."""

    items: list[Site]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def site_routes(store: SiteStore, auditor: Auditor, clock: Clock) -> APIRouter:
    """The routes under /sites."""
    router = APIRouter(prefix="/sites", tags=["sites"])

    @router.post("", status_code=201, summary="Enter a site")
    async def create_site(wish: NewSite) -> Site:
        """Two sites may have one name. Where the answer is 503 it is not known whether the site was made: look for it
        among the sites before trying again."""
        site = sites.Site(site_id=f"s{secrets.token_hex(8)}", name=wish.name, created_at_ms=clock.now_ms())
        async with auditor.change(ADMIN, "site.create", site.site_id, {"name": wish.name}):
            await store.add(site)
        return _answer(site)

    @router.get("", summary="List sites")
    async def list_sites(cursor: Cursor = None, limit: Limit = 50) -> SitePage:
        """In order of siteId."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found = await store.page(after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].site_id,)) if len(found) > limit else None
        return SitePage(items=[_answer(site) for site in found[:limit]], next=following)

    return router


def _answer(site: sites.Site) -> Site:
    return Site(site_id=site.site_id, name=site.name)
