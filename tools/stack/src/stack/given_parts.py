"""The parts that the environment names instead of having them started: asked first, so that a wrong address is told
as what it is, and not by a service that cannot work."""

import time
from collections.abc import Callable, Mapping

from pymongo.errors import ConfigurationError, PyMongoError

from stack.kafka_part import ask_kafka
from stack.mongo_part import ask_mongo
from stack.process import StackError

WAIT_SECONDS = 15.0
ATTEMPT_SECONDS = 2.0
PAUSE_SECONDS = 0.2


class NoAnswer(Exception):
    """The part did not answer as it should; the text says why."""


class NoAddress(Exception):
    """What was named is no address; the text does not repeat it, a password may be in it."""


def wait_for_given_parts(
    environment: Mapping[str, str], check: Callable[[], None] = lambda: None, seconds: float = WAIT_SECONDS
) -> None:
    """Returns when every part that the environment names has answered; calls `check` meanwhile, which may raise to
    give up. Raises StackError with each variable whose part did not answer in time, or that holds no address."""
    deadline = time.monotonic() + seconds
    waiting = [name for name in _ASK if environment.get(name)]
    while waiting:
        faults = {}
        for name in waiting:
            check()
            try:
                _ASK[name](environment)
            except NoAnswer as error:
                faults[name] = str(error)
            except NoAddress as error:
                raise StackError(f"{name} holds no address that can be used ({error})") from error
        if faults and time.monotonic() > deadline:
            told = "".join(f"\n  {name}: {fault}" for name, fault in faults.items())
            raise StackError(f"what the environment names did not answer within {seconds:.0f} s:{told}")
        waiting = list(faults)
        if waiting:
            time.sleep(PAUSE_SECONDS)


def _ask_kafka(environment: Mapping[str, str]) -> None:
    plain = environment.get("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT") == "PLAINTEXT"
    faults = []
    for server in environment["KAFKA_BOOTSTRAP"].split(","):
        host, colon, port = server.strip().rpartition(":")
        if not colon or not port.isdecimal():
            raise NoAddress("it must be host:port, separated by commas")
        try:
            return ask_kafka(host.strip("[]"), int(port), ATTEMPT_SECONDS, speaks_plain=plain)
        except (OSError, OverflowError) as error:
            faults.append(f"{server.strip()}: {error}")
    raise NoAnswer("; ".join(faults))


def _ask_redis(environment: Mapping[str, str]) -> None:
    import redis  # here, since it takes 0.1 s that a start without a named Redis need not wait for

    try:
        client = redis.Redis.from_url(
            environment["REDIS_URL"], socket_timeout=ATTEMPT_SECONDS, socket_connect_timeout=ATTEMPT_SECONDS
        )
        with client:
            client.ping()
    except redis.RedisError as error:
        raise NoAnswer(str(error)) from error
    except (ValueError, TypeError) as error:
        raise NoAddress(type(error).__name__) from error


def _ask_mongo(environment: Mapping[str, str]) -> None:
    try:
        ask_mongo(environment["MONGO_URL"], ATTEMPT_SECONDS)
    except (ValueError, ConfigurationError) as error:
        raise NoAddress(type(error).__name__) from error
    except PyMongoError as error:
        # What follows describes the driver's view of the topology, in many words.
        raise NoAnswer(str(error).partition(" (configured timeouts")[0]) from error


_ASK: Mapping[str, Callable[[Mapping[str, str]], None]] = {
    "KAFKA_BOOTSTRAP": _ask_kafka,
    "REDIS_URL": _ask_redis,
    "MONGO_URL": _ask_mongo,
}
"""By the variable that names the part."""
