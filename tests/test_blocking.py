from __future__ import annotations

import inspect
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from neuroroute import (
    Conversation,
    LMStudioAdapter,
    MemoryStore,
    ModelInvalidRequestError,
    NetworkError,
    StreamInterruptedError,
    SyncConversation,
    SyncLMStudioAdapter,
)
from neuroroute.simulator import Answer, Simulator, StreamFault


@pytest.fixture
def sync(lmstudio: Simulator) -> Any:
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        yield adapter


def test_it_has_the_same_verbs_with_the_same_signatures() -> None:
    """Every public name of the asynchronous adapter is here, and takes the same."""
    for name, verb in inspect.getmembers(LMStudioAdapter, inspect.isfunction):
        if name.startswith("_"):
            continue
        assert hasattr(SyncLMStudioAdapter, name), name
        assert inspect.signature(getattr(SyncLMStudioAdapter, name)).parameters == inspect.signature(verb).parameters
    assert inspect.signature(SyncLMStudioAdapter) == inspect.signature(LMStudioAdapter)


def test_it_answers(sync: SyncLMStudioAdapter) -> None:
    """A call blocks until the answer is whole."""
    assert sync.generate_completion("hi").text == "You said: hi"
    assert sync.with_model("qwen3-8b").generate_completion("hi").model == "qwen3-8b"
    assert sync.is_available()
    assert len(sync.list_models()) == 3


def test_it_streams(sync: SyncLMStudioAdapter) -> None:
    """A stream is iterated, and folded at its end."""
    with sync.stream("hi") as stream:
        assert "".join(chunk.chunk for chunk in stream) == "You said: hi"
    assert stream.response.finish_reason == "stop"
    assert [chunk.done for chunk in sync.generate_completion_stream("a b")][-1]


def test_errors_come_through(sync: SyncLMStudioAdapter, lmstudio: Simulator) -> None:
    """Typed errors are raised in the caller's thread, with what came so far."""
    lmstudio.answer(Answer("a b c", stream_fault=StreamFault("end", after=2)), times=2)
    with pytest.raises(StreamInterruptedError) as caught:
        list(sync.stream("hi"))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a b"
    assert list(sync.generate_completion_stream("hi"))[-1].error
    with pytest.raises(ModelInvalidRequestError):
        sync.stream("hi", temperature=-1)


@pytest.mark.parametrize("how", ["with", "break"])
def test_leaving_closes_the_socket(sync: SyncLMStudioAdapter, lmstudio: Simulator, how: str) -> None:
    """A stream that is left, by its with block or by break alone, is closed within 100 ms."""
    lmstudio.answer(Answer(chunks=["x"] * 500, delay_between=0.01))
    if how == "with":
        with sync.stream("hi") as stream:
            next(stream)
    else:
        for _ in sync.generate_completion_stream("hi"):
            break
    left = time.monotonic()
    assert lmstudio.requests[0].ended.wait(1)
    assert time.monotonic() - left < 0.1


def test_it_is_safe_in_threads(sync: SyncLMStudioAdapter) -> None:
    """Many threads share one adapter, and each gets its own answer."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: sync.generate_completion(f"n{i}").text, range(40)))
    assert answers == [f"You said: n{i}" for i in range(40)]


async def test_it_works_where_a_loop_runs(sync: SyncLMStudioAdapter) -> None:
    """Called from within an event loop it blocks that loop, but does not deadlock."""
    assert sync.generate_completion("hi").text == "You said: hi"


def test_closing_ends_its_thread_and_the_next_call_starts_anew(lmstudio: Simulator) -> None:
    """close() leaves no thread behind, may be called twice, and does not end the adapter's life."""
    before = threading.active_count()
    adapter = SyncLMStudioAdapter("llama3", base_url=lmstudio.url)
    for _ in range(2):
        assert adapter.generate_completion("hi").text
        adapter.close()
        adapter.close()
    assert threading.active_count() == before


def test_closing_ends_the_calls_of_other_threads(lmstudio: Simulator) -> None:
    """A call that waits in another thread fails when the adapter is closed, and never hangs."""
    lmstudio.answer(Answer("late", delay=30))
    adapter = SyncLMStudioAdapter("llama3", base_url=lmstudio.url)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(adapter.generate_completion, "hi")
        while not lmstudio.requests:
            time.sleep(0.005)
        adapter.close()
        with pytest.raises(NetworkError, match="the adapter was closed meanwhile"):
            waiting.result(5)


def in_a_fork(work: Callable[[], str]) -> str:
    """What the work gives in a child process; empty if it takes more than 10 s there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        told = b""
        while select.select([reading], [], [], 10)[0] and (block := os.read(reading, 1000)):
            told += block
        return told.decode()
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork there")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_has_a_loop_of_its_own(sync: SyncLMStudioAdapter, lmstudio: Simulator) -> None:
    """An adapter that was used before a fork, in this very moment even, works on in both processes, each for itself."""
    assert sync.generate_completion("parent").text == "You said: parent"

    def work() -> str:
        told = sync.generate_completion("child").text
        told += "".join(chunk.chunk for chunk in sync.stream("again"))
        sync.close()
        return told

    life = sync.loop_thread._life()
    with life.lock:  # as if another thread were calling
        assert in_a_fork(work) == "You said: childYou said: again"
    assert sync.generate_completion("parent").text == "You said: parent"
    first, *childs, last = [received.connection for received in lmstudio.requests]
    assert first == last
    assert first not in childs


def test_the_asynchronous_one_is_at_hand(sync: SyncLMStudioAdapter) -> None:
    """The same adapter for asyncio has the same model, defaults and pipe."""
    assert sync.asynchronous.model_id == sync.model_id


def test_a_conversation_blocks_too(sync: SyncLMStudioAdapter, lmstudio: Simulator) -> None:
    """A conversation has the same verbs, blocking, and remembers; its store is the asynchronous one's."""
    store = MemoryStore()
    with sync.conversation(system_message=None, store=store, id="mine") as chat:
        assert chat.ask("one").text == "You said: one"
        with chat.stream("two") as stream:
            assert "".join(chunk.chunk for chunk in stream) == "You said: two"
        assert stream.response.text == "You said: two"
    assert [message.text for message in chat.messages] == ["one", "You said: one", "two", "You said: two"]
    assert (len(chat.branch().messages), chat.id, chat.budget.limit) == (4, "mine", 4096)
    assert sync.conversation(store=store, id="mine").load().messages == chat.messages
    assert repr(chat).startswith("<SyncConversation mine")


def test_a_conversation_has_the_same_verbs() -> None:
    """Every public name of the asynchronous conversation is here, and takes the same."""
    for name, verb in vars(Conversation).items():
        if not name.startswith("_") and callable(verb):
            assert inspect.signature(getattr(SyncConversation, name)).parameters == inspect.signature(verb).parameters
