"""Guessing and stealing at C_AUTH, over a real session service, Redis and MongoDB: what an attacker gains, and that it
locks nobody out (design rule 7, E4)."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from shared.domain.authentication import AuthCall, AuthReply
from shared.protocol.messages import AuthRequest
from shared.runtime.settings import MongoSettings, RedisSettings
from tests.integration.test_session_service import SessionHttp, auth, codes, running
from tests.support.builders import time_stamp
from tests.support.session_values import auth_sign

MAX_FAILURES = 30
GROUPS, EACH = 25, 40
ATTACKER, NEIGHBOUR = "203.0.113.9", "203.0.113.10"


@pytest.fixture
async def service(redis_settings: RedisSettings, mongo_settings: MongoSettings) -> AsyncIterator[SessionHttp]:
    window = 600  # so that the test ends within it, however slow the machine
    async with running(
        redis_settings, mongo_settings, auth_failures_max=MAX_FAILURES, auth_failures_window_seconds=window
    ) as service:
        yield service


def guesses(made: dict[str, str], sn: str, count: int, address: str = ATTACKER) -> list[AuthCall]:
    """C_AUTHs of somebody who knows accessId and accessKey, which terminals show, and guesses the secret."""
    return [auth(made | {"accessSecret": secrets.token_hex(16)}, sn, address=address) for _ in range(count)]


async def test_of_a_thousand_guesses_at_once_thirty_are_judged_and_the_right_terminal_passes_all_the_while(
    service: SessionHttp,
) -> None:
    made = await service.admit()
    guessing = [service.answer(*guesses(made, "victim", EACH)) for _ in range(GROUPS)]
    # The terminal stands behind the same address, as all of a site behind one router do.
    working = [
        service.answer(auth(made, "victim", offset_seconds=second, address=ATTACKER)) for second in range(GROUPS)
    ]
    answers = await asyncio.gather(*guessing, *working)
    guessed = [code for replies in answers[:GROUPS] for code in codes(replies)]
    assert (guessed.count("400_04"), guessed.count("500_01")) == (MAX_FAILURES, GROUPS * EACH - MAX_FAILURES)
    assert [codes(replies) for replies in answers[GROUPS:]] == [[None]] * GROUPS


async def test_a_throttle_is_of_one_address_and_one_sn(service: SessionHttp) -> None:
    made = await service.admit()
    await service.answer(*guesses(made, "victim", MAX_FAILURES))
    replies = await service.answer(
        *guesses(made, "victim", 1),
        *guesses(made, "another", 1),
        *guesses(made, "victim", 1, address=NEIGHBOUR),
    )
    assert codes(replies) == ["500_01", "400_04", "400_04"]


async def test_a_throttled_answer_tells_nothing_of_what_was_wrong(service: SessionHttp) -> None:
    made = await service.admit()
    await service.answer(*guesses(made, "victim", MAX_FAILURES))
    replies = await service.answer(
        auth(made, "victim", access_id="0" * 32, address=ATTACKER),
        auth(made, "victim", access_key="0" * 32, address=ATTACKER),
        auth(made, "victim", nine_fields=True, sent_secret="0" * 32, address=ATTACKER),
        *guesses(made, "victim", 1),
    )
    assert codes(replies) == ["500_01"] * 4
    assert len({reply.detail.rpartition(" wait ")[0] for reply in replies}) == 1


async def test_e4_characters_that_move_between_fields_are_the_same_sign_and_so_a_replay(service: SessionHttp) -> None:
    """The standard's sign joins fields with nothing between: what was heard is also right for a shorter sn."""
    made = await service.admit()
    stamp = time_stamp()
    heard = auth(made, "1388186", time_stamp=stamp)
    moved = moved_call(made, stamp, version="v1.0.013", sn="88186", sign=heard.request.sign)
    assert auth_sign("v1.0.0", "1388186") == auth_sign("v1.0.013", "88186")
    assert codes(await service.answer(heard, moved)) == [None, "400_05"]
    assert codes(await service.answer(moved)) == ["400_05"]


def moved_call(made: dict[str, str], stamp: str, *, version: str, sn: str, sign: str) -> AuthCall:
    request = AuthRequest(
        version=version,
        sn=sn,
        apicode="C_AUTH",
        access_id=made["accessId"],
        access_key=made["accessKey"],
        access_secret=None,
        time_stamp=stamp,
        param='{"deviceVersion":"v14"}',
        sign=sign,
    )
    return AuthCall(request, ATTACKER)


async def test_e4_a_replay_is_refused_in_every_spelling_of_its_sign_and_from_every_address(
    service: SessionHttp,
) -> None:
    made = await service.admit()
    stamp = time_stamp()
    heard = auth(made, time_stamp=stamp)
    assert codes(await service.answer(heard)) == [None]
    sign = heard.request.sign
    again = [
        auth(made, time_stamp=stamp, sign=sign.upper(), address=NEIGHBOUR),
        auth(made, time_stamp=stamp, nine_fields=True),
        auth(made, time_stamp=stamp, sign=sign.title()),
    ]
    assert codes(await service.answer(*again)) == ["400_05"] * 3
    # Any other text in place of the time is a wrong sign.
    assert codes(await service.answer(auth(made, time_stamp=time_stamp(1), sign=sign))) == ["400_04"]


async def test_another_vendors_sn_is_refused_with_a_right_sign_and_its_own_terminal_goes_on(
    service: SessionHttp,
) -> None:
    owner, other = await service.admit(), await service.admit()
    assert codes(await service.answer(auth(owner, "gate"))) == [None]
    taken = await service.answer(*(auth(other, "gate", offset_seconds=second, address=ATTACKER) for second in range(5)))
    assert codes(taken) == ["400_04"] * 5
    assert codes(await service.answer(auth(owner, "gate", offset_seconds=1))) == [None]


async def test_e1_a_credential_revoked_while_its_c_auths_are_under_way_opens_nothing_afterwards(
    service: SessionHttp,
) -> None:
    made = await service.admit()
    await service.answer(auth(made, "gate"))

    async def authenticate() -> list[list[AuthReply]]:
        return [await service.answer(auth(made, "gate", offset_seconds=second)) for second in range(1, 40)]

    under_way = asyncio.ensure_future(authenticate())
    await asyncio.sleep(0.05)
    assert await service.revoke(made) == 204
    afterwards = await service.answer(auth(made, "gate", offset_seconds=60))
    seen = [code for replies in await under_way for code in codes(replies)]
    assert codes(afterwards) == ["401_02"]
    assert set(seen) <= {None, "401_02"}
    assert sorted(seen, key=lambda code: code is not None) == seen  # refused once, refused for good
