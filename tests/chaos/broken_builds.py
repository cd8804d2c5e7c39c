"""Proof that the reckoning can fail: each broken build under the fault that fits it, which the right one survives."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.catalogue import MEETINGS
from tests.chaos.faults import Fault
from tests.chaos.platform import ChaosPlatform
from tests.chaos.run import Work, open_run

READY_SECONDS = 60.0


@dataclass(frozen=True)
class BrokenBuild:
    """What is wrong with it, the fault that shows it, and the promise that the reckoning must find broken."""

    name: str
    service: str
    module: str
    fault: Fault
    found: str


def broken_builds() -> Sequence[BrokenBuild]:
    """The three of the project's promise."""
    kills_ingress, kills_writers, hides_brokers = MEETINGS
    return (
        BrokenBuild(
            "answers before the acknowledgement",
            "tcp-ingress",
            "tests.chaos.broken.answers_early",
            kills_ingress,
            "acknowledged and not stored",
        ),
        BrokenBuild(
            "commits before the write",
            "attendance-writer",
            "tests.chaos.broken.commits_early",
            kills_writers,
            "acknowledged and not stored",
        ),
        BrokenBuild(
            "loses a picture's link",
            "attendance-writer",
            "tests.chaos.broken.loses_links",
            hides_brokers,
            "with a lost link to their picture",
        ),
    )


async def find_out(platform: ChaosPlatform, work: Work) -> bool:
    """Whether the reckoning finds every broken build out."""
    found = [
        await _is_found_out(platform, work, number, build) for number, build in enumerate(broken_builds(), start=1)
    ]
    return all(found)


async def _is_found_out(platform: ChaosPlatform, work: Work, number: int, build: BrokenBuild) -> bool:
    platform.replace_service(build.service, build.module)
    await platform.wait_ready(READY_SECONDS * work.patience)
    async with open_run(platform, work, f"BROKEN{number}") as run:
        await run.suffer(build.fault)
        faults = (await run.reckon(only_sign_ins=True)).faults
    platform.replace_service(build.service)
    await platform.wait_ready(READY_SECONDS * work.patience)
    found = [fault for fault in faults if build.found in fault]
    verdict = f"found out: {found[0]}" if found else "NOT FOUND OUT"
    platform.say(f"the build that {build.name}, under '{build.fault.name}': {verdict}")
    return bool(found)
