"""MongoDB's protocol: a real mongod where there is one, else SecantusDB as its own process (GPL: never imported)."""

import shutil
import sys
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from stack.guard import Guard
from stack.ports import free_port
from stack.process import Process
from stack.server import Server


class MongoPart(Server):
    """Its data stays in `data_dir`, so a second run finds it."""

    def __init__(self, data_dir: Path, log_dir: Path, guard: Guard) -> None:
        port = free_port()
        self.url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        mongod = shutil.which("mongod")
        # The two do not read each other's files.
        kept = data_dir / ("mongod" if mongod else "secantusdb")
        kept.mkdir(parents=True, exist_ok=True)
        if mongod:
            command = [mongod, "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(kept)]
        else:
            command = [str(Path(sys.executable).parent / "secantusd-py"), "--host", "127.0.0.1", "--port", str(port)]
            command += ["--storage-path", str(kept), "--log-level", "WARNING", "--cache-size", "256M"]
        super().__init__(Process("mongo", command, log_file=log_dir / "mongo.log", guard=guard))

    def answers(self) -> bool:
        try:
            ask_mongo(self.url, 0.5)
        except PyMongoError:
            return False
        return True


def ask_mongo(url: str, seconds: float) -> None:
    """One attempt to have an answer. Raises PyMongoError, ValueError where it is no URL."""
    milliseconds = int(seconds * 1000)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        url,
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=2 * milliseconds,
    )
    with client:
        client.admin.command("ping")
