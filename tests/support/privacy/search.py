"""Looks for values in bytes, in every form in which software writes a value down."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import pymongo
import redis
from bson.raw_bson import RawBSONDocument

SHORTEST = 10
"""Bytes. What is shorter is found by chance."""
PIECE = 24
"""Of what is large, so much is looked for: its middle."""


def piece(data: bytes) -> bytes:
    """What a picture is recognised by."""
    middle = len(data) // 2
    return data[middle : middle + PIECE]


def forms(value: bytes) -> Mapping[str, bytes]:
    """The value as it is, and as it may be written."""
    found = {
        "as it is": value,
        "hex": value.hex().encode(),
        "HEX": value.hex().upper().encode(),
        "URL-encoded": quote(value, safe="").encode(),
        "as Python shows bytes": repr(value)[2:-1].encode(),
        "as Python shows bytes, in JSON": repr(value)[2:-1].replace("\\", "\\\\").encode(),
    }
    for shift, text in enumerate(_base64(value)):
        found[f"base64, {shift}"] = text
        found[f"urlsafe base64, {shift}"] = text.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        found["as a JSON text"] = json.dumps(value.decode())[1:-1].encode()
    except UnicodeDecodeError:
        pass  # no text
    return found


def _base64(value: bytes) -> Iterator[bytes]:
    """Inside anything longer the value begins at one of three places of a group; what its neighbours decide is cut."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value).rstrip(b"=")
        yield encoded[(0, 2, 3)[shift] : None if (shift + len(value)) % 3 == 0 else -1]


def findings(places: Mapping[str, bytes], values: Mapping[str, bytes]) -> list[str]:
    """What was found, where and in which form, without repeating it."""
    short = [name for name, value in values.items() if len(value) < SHORTEST]
    assert not short, f"too short to be looked for: {short}"
    looked_for = {name: forms(value) for name, value in values.items()}
    return [
        f"{place}: {name}, {form}"
        for place, content in places.items()
        for name, written in looked_for.items()
        for form, text in written.items()
        if text in content
    ]


def mongo_contents(url: str, database: str) -> Mapping[str, bytes]:
    """All documents of all collections, GridFS's chunks too, as BSON, in which texts and bytes stand as they are."""
    with pymongo.MongoClient[RawBSONDocument](url, document_class=RawBSONDocument) as client:
        found = client[database]
        return {
            f"mongo {name}": b"".join(document.raw for document in found[name].find())
            for name in found.list_collection_names()
        }


def redis_contents(url: str) -> Mapping[str, bytes]:
    """All keys with what they hold; DUMP would compress it."""
    with redis.Redis.from_url(url) as client:
        return {"redis keys and values": b"\n".join(part for key in client.scan_iter() for part in _parts(client, key))}


def _parts(client: redis.Redis, key: bytes) -> Iterator[bytes]:
    yield key
    kind: object = client.type(key)
    if kind == b"none":  # gone since it was listed
        return
    name = key.decode()
    read: Mapping[object, Callable[[], object]] = {
        b"string": lambda: client.get(name),
        b"hash": lambda: client.hgetall(name),
        b"set": lambda: client.smembers(name),
        b"zset": lambda: client.zrange(name, 0, -1),
        b"list": lambda: client.lrange(name, 0, -1),
        b"stream": lambda: client.xrange(name),
    }
    yield from _bytes_of(read[kind]())


def _bytes_of(answer: object) -> Iterator[bytes]:
    """Every text of an answer of Redis, whatever it is made of."""
    if isinstance(answer, bytes):
        yield answer
    elif isinstance(answer, Mapping):
        yield from (part for pair in answer.items() for one in pair for part in _bytes_of(one))
    elif isinstance(answer, list | tuple | set):
        yield from (part for one in answer for part in _bytes_of(one))
