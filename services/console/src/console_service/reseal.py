"""`python -m console_service.reseal`: seals everything under the first of SEALING_KEYS, beside working services.

May be ended and run again: what is sealed under the first key already is passed over.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping

import msgspec

from shared.domain.identity import IdentityHashes, IdentityKind
from shared.domain.sealing import Sealer, UnsealError
from shared.runtime.settings import MongoSettings, SealingSettings, read_settings
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.sealed_values import MongoSealedValues, SealedIdentity

Say = Callable[[str], object]


class Tally:
    """What became of one collection."""

    def __init__(self, name: str) -> None:
        self.looked_at = 0
        self.resealed = 0
        self.unopened = 0
        """Keys for these are missing: they stay as they are."""
        self.overtaken = 0
        self._name = name

    def __str__(self) -> str:
        return (
            f"{self._name}: {self.looked_at} looked at, {self.resealed} sealed anew, "
            f"{self.overtaken} changed meanwhile, {self.unopened} do not open\n"
        )


class Resealing:
    """One way through everything."""

    def __init__(self, values: MongoSealedValues, keys: Mapping[str, bytes], say: Say) -> None:
        self._values = values
        self._sealer = Sealer(keys)
        self._hashes = IdentityHashes(keys)
        self._current = next(iter(keys))
        self._say = say

    async def secrets(self) -> Tally:
        """Vendors' secrets. Raises Unavailable."""
        tally, after = Tally("credentials"), ""
        while page := await self._values.secrets(after):
            for secret in page:
                if self._sealer.is_current(secret.sealed):
                    continue
                try:
                    text = self._sealer.open(secret.sealed, secret.access_id)
                except UnsealError:
                    tally.unopened += 1
                    continue
                sealed = self._sealer.seal(text, secret.access_id)
                self._count(tally, done=await self._values.replace_secret(secret, sealed))
            tally.looked_at += len(page)
            after = page[-1].access_id
            self._say(str(tally))
        return tally

    async def identities(self) -> Tally:
        """Workers' identity numbers and phones, and the hashes that they are found by. Raises Unavailable."""
        tally, after = Tally("persons"), ""
        while page := await self._values.identities(after):
            for identity in page:
                if self._is_current(identity):
                    continue
                try:
                    anew = self._resealed(identity)
                except UnsealError:
                    tally.unopened += 1
                    continue
                self._count(tally, done=await self._values.replace_identity(identity, anew))
            tally.looked_at += len(page)
            after = page[-1].person_id
            self._say(str(tally))
        return tally

    def _is_current(self, identity: SealedIdentity) -> bool:
        sealed = [each for each in (identity.idcard_no, identity.phone) if each is not None]
        return all(map(self._sealer.is_current, sealed)) and all(
            each.startswith(f"{self._current}:") for each in identity.hashes
        )

    def _resealed(self, identity: SealedIdentity) -> SealedIdentity:
        owner, hashes = identity.person_id, []
        sealed: list[bytes | None] = []
        for kind, before in ((IdentityKind.IDCARD, identity.idcard_no), (IdentityKind.PHONE, identity.phone)):
            if before is None:
                sealed.append(None)
                continue
            text = self._sealer.open(before, owner)
            sealed.append(self._sealer.seal(text, owner))
            hashes.append(self._hashes.stored(kind, text))
        return msgspec.structs.replace(identity, idcard_no=sealed[0], phone=sealed[1], hashes=hashes)

    def _count(self, tally: Tally, *, done: bool) -> None:
        tally.resealed += done
        tally.overtaken += not done


async def reseal(mongo: MongoSettings, keys: Mapping[str, bytes], say: Say) -> bool:
    """Whether everything is sealed under the first key now. Raises Unavailable."""
    async with open_mongo(mongo, "reseal") as database:
        resealing = Resealing(MongoSealedValues(database), keys, say)
        tallies = [await resealing.secrets(), await resealing.identities()]
    return not any(tally.unopened or tally.overtaken for tally in tallies)


def main() -> int:
    """Tells a line for each page; exit code 1 where something is sealed under another key still: run it again."""
    try:
        done = asyncio.run(
            reseal(read_settings(MongoSettings), read_settings(SealingSettings).parsed(), sys.stdout.write)
        )
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("everything is sealed under the first key\n" if done else "not everything could be sealed anew\n")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
