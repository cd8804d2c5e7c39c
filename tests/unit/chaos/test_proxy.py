"""A link carries everything, and can be cut, silenced and made slow under running connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest

from stack.ports import free_port
from tests.chaos.proxy import SLOW_DELAY_SECONDS, Link, Mode, Target

SHORT, LONG = 0.3, 10.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
    except ConnectionError:
        pass  # what several of the tests do
    finally:
        writer.close()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that repeats what it hears, and says `end` when the other side has ended."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("test", free_port(), [Target(server.sockets[0].getsockname()[1])], Random(1))
    await link.open()
    yield link
    await link.close()
    server.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Link], Awaitable[Connection]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections, and closes them at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(link: Link) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()


async def ask(connection: Connection, text: bytes) -> bytes:
    reader, writer = connection
    writer.write(text)
    async with asyncio.timeout(LONG):
        return await reader.readexactly(len(text))


async def test_an_open_link_carries_everything_both_ways_and_the_end_too(link: Link, connect: Connect) -> None:
    reader, writer = connection = await connect(link)
    text = bytes(range(256)) * 4000  # a megabyte
    assert await ask(connection, text) == text
    writer.write_eof()
    async with asyncio.timeout(LONG):
        assert await reader.read() == b"end"


async def test_a_cut_link_resets_what_runs_and_what_comes(link: Link, connect: Connect) -> None:
    connection = await connect(link)
    await ask(connection, b"hello")
    link.mode = Mode.CUT
    with pytest.raises(ConnectionResetError):
        await ask(connection, b"again")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await ask(await connect(link), b"new")
    link.mode = Mode.OPEN
    assert await ask(await connect(link), b"back") == b"back"


async def test_a_silent_link_keeps_everything_until_it_is_open_again(link: Link, connect: Connect) -> None:
    old = await connect(link)
    await ask(old, b"hello")
    link.mode = Mode.SILENT
    new = await connect(link)
    waiting = [asyncio.ensure_future(ask(old, b"old")), asyncio.ensure_future(ask(new, b"new"))]
    done, _ = await asyncio.wait(waiting, timeout=SHORT)
    assert not done
    link.mode = Mode.OPEN
    assert await asyncio.gather(*waiting) == [b"old", b"new"]


async def test_a_slow_link_takes_its_time_both_ways_and_loses_nothing(link: Link, connect: Connect) -> None:
    connection = await connect(link)
    link.mode = Mode.SLOW
    began = time.monotonic()
    assert await ask(connection, b"hello") == b"hello"
    assert time.monotonic() - began >= 2 * SLOW_DELAY_SECONDS


async def test_reset_ends_what_runs_and_lets_new_ones_in(link: Link, connect: Connect) -> None:
    connection = await connect(link)
    await ask(connection, b"hello")
    link.reset()
    with pytest.raises(ConnectionResetError):
        await ask(connection, b"again")
    assert await ask(await connect(link), b"new") == b"new"


async def test_targets_take_turns_and_one_that_is_not_ready_is_passed_over(connect: Connect) -> None:
    ready = {"first": True, "second": True}

    async def serve(name: str) -> tuple[asyncio.Server, Target]:
        async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name.encode())
            writer.close()

        server = await asyncio.start_server(say, "127.0.0.1", 0)
        return server, Target(server.sockets[0].getsockname()[1], lambda: ready[name])

    servers = [await serve(name) for name in ready]
    link = Link("balanced", free_port(), [target for _, target in servers], Random(1))
    await link.open()

    async def who() -> bytes:
        reader, _ = await connect(link)
        async with asyncio.timeout(LONG):
            return await reader.read()

    try:
        assert {await who(), await who()} == {b"first", b"second"}
        ready["first"] = False
        assert [await who() for _ in range(4)] == [b"second"] * 4
        ready["second"] = False
        with pytest.raises(ConnectionResetError):
            await who()
    finally:
        await link.close()
        for server, _ in servers:
            server.close()
