from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import IO, cast

import neuroroute
from neuroroute.store import SavedConversation, SQLiteStore

ROUNDS, WRITERS = 10, 5

WRITER = """
import asyncio, itertools, sys, types

package = types.ModuleType("neuroroute")  # the store's own modules only, so that fifty starts are quick
package.__path__ = [sys.argv.pop(1)]
sys.modules["neuroroute"] = package

from neuroroute.errors import ConversationConflictError
from neuroroute.messages import AssistantMessage, SystemMessage, UserMessage
import neuroroute
from neuroroute.store import SQLiteStore

async def main(path, conversation, writer):
    print("ready", flush=True)
    sys.stdin.readline()
    store = SQLiteStore(path)
    for number in itertools.count():
        turn = [UserMessage(content=f"{writer}:{number}"), AssistantMessage(content=f"{writer}:{number}," * 500)]
        while True:
            saved = await store.load(conversation)
            before, version = (saved.messages[1:], saved.version) if saved else ((), 0)
            head = SystemMessage(content=str(version) if conversation == "rewritten" else "be brief")
            try:
                await store.save(conversation, [head, *before, *turn], version=version)
                break
            except ConversationConflictError:
                pass
        print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
"""Saves turn after turn until it is killed, and tells the number of each when its save has returned."""

CONVERSATIONS = ["shared", "shared", "own", "rewritten", "rewritten"]
"""What each writer of a round writes to; in one, each save changes the first message and so writes all anew."""


class Writer:
    def __init__(self, path: Path, index: int) -> None:
        self.name = str(index)
        self.conversation = CONVERSATIONS[index]
        source = str(Path(neuroroute.__file__).parent)
        command = [sys.executable, "-c", WRITER, source, str(path), self.conversation, self.name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = cast("IO[str]", self.process.stdout)
        self.acknowledged = -1
        """The number of the last turn whose save has returned."""

    def go(self) -> None:
        go = cast("IO[str]", self.process.stdin)
        go.write("\n")
        go.flush()

    def kill(self) -> None:
        assert self.process.poll() is None, "it has ended by itself"
        self.process.kill()
        lines = self.told.read().split("\n")[:-1]  # the kill may have cut the last line
        self.acknowledged = int(lines[-1]) if lines else -1
        self.process.wait()


@contextmanager
def writers(path: Path) -> Iterator[list[Writer]]:
    started = [Writer(path, index) for index in range(WRITERS)]
    try:
        for writer in started:
            assert writer.told.readline() == "ready\n"
        for writer in started:  # at once, so that they meet on opening the file
            writer.go()
        yield started
    finally:
        for writer in started:
            writer.process.kill()
            with writer.process:
                pass


def check(saved: SavedConversation | None, of: list[Writer]) -> int:
    """Whether every acknowledged turn is there, whole, once and in order; how many turns there are."""
    if saved is None:
        assert all(writer.acknowledged == -1 for writer in of)
        return 0
    head, *turns = [message.text for message in saved.messages]
    questions, answers = turns[::2], turns[1::2]
    assert answers == [f"{question}," * 500 for question in questions]
    assert saved.version == len(questions)
    assert head == (str(saved.version - 1) if saved.id == "rewritten" else "be brief")
    for writer in of:
        numbers = [int(question.partition(":")[2]) for question in questions if question.startswith(f"{writer.name}:")]
        assert numbers == [*range(len(numbers))]
        assert len(numbers) > writer.acknowledged
    return len(questions)


async def test_a_save_survives_any_kill(tmp_path: Path) -> None:
    """Fifty writers are killed at random moments; each time, another process finds all that was saved, and it whole."""
    random = Random()
    kills = turns = 0
    for number in range(ROUNDS):
        path = tmp_path / f"{number}.db"
        with writers(path) as living:
            # Those of the first half of the rounds are killed on opening a new file or soon after, the others at work.
            longest = 0.01 if number < ROUNDS / 2 else 0.1
            for writer in random.sample(living, WRITERS):
                time.sleep(random.uniform(0, longest))
                writer.kill()
                kills += 1
                with closing(sqlite3.connect(path, timeout=10)) as db:
                    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                async with SQLiteStore(path) as store:
                    for name in {*CONVERSATIONS}:
                        of = [each for each in living if each.conversation == name]
                        turns += check(await store.load(name), of)
    assert kills == 50
    assert turns > kills, "hardly anything was saved: the kills came too early to show anything"
