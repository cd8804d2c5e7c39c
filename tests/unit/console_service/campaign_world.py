"""A campaign world over stores in memory."""

from collections.abc import Sequence

from console_service.presence import DevicePresence
from shared.domain.presence import Presence
from shared.stores.memory import MemoryControlStream, MemoryDeviceStore
from shared.stores.memory_campaigns import MemoryCampaignStore
from shared.stores.memory_firmware import MemoryFirmwareStore
from shared.stores.memory_tasks import MemoryPendingTasks, MemoryTaskStore
from tests.support.campaigns import CampaignWorld


class Presences:
    """PresenceRecordStore and PresenceStore, as far as campaigns ask."""

    def __init__(self) -> None:
        self.records: dict[str, Presence] = {}

    async def find(self, sns: Sequence[str]) -> dict[str, Presence]:
        return {sn: self.records[sn] for sn in sns if sn in self.records}

    async def last_seen(self, sns: Sequence[str]) -> dict[str, int]:
        return {}


def memory_world(control: MemoryControlStream | None = None) -> CampaignWorld:
    """Empty stores."""
    presences = Presences()
    return CampaignWorld(
        campaigns=MemoryCampaignStore(),
        firmware=MemoryFirmwareStore(),
        tasks=MemoryTaskStore(),
        pending=MemoryPendingTasks(control or MemoryControlStream()),
        devices=MemoryDeviceStore(),
        presence=DevicePresence(presences, presences),  # type: ignore[arg-type]  # the two methods that are called
    )
