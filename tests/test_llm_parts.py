"""The parts of the service `llm` by themselves: events, secrets in pieces, what is kept, and the tokens of a day."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.inference import sse
from innkeeper.bridge.inference.answers import TokenUsage
from innkeeper.bridge.inference.cache import Cache, key_of
from innkeeper.bridge.inference.sse import EventParser, TooLongError
from innkeeper.bridge.inference.streams import IDLE, Stream
from innkeeper.bridge.inference.withholding import Withholding
from innkeeper.bridge.refusal import ServiceError
from innkeeper.bridge.secret_placing import PlacedSecret, Placing
from innkeeper.bridge.web.faults import WebError
from innkeeper.plugins.chain import Frame
from innkeeper.plugins.secret_use import SecretUse
from innkeeper.storage.database import open_database
from innkeeper.storage.llm_model import DayUsage, UsedUpError
from innkeeper.storage.llm_usage import KEPT, LlmUsageStore
from innkeeper.storage.location import Location

BREAKS = st.sampled_from([b"\n", b"\r", b"\r\n"])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(bounds)]


def parsed(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=20).filter(lambda line: not {10, 13} & set(line)), max_size=8),
    BREAKS,
    st.lists(st.integers(0, 300), max_size=20),
)
def test_what_was_written_as_events_is_read_again_however_it_is_cut(
    lines: list[bytes], end: bytes, places: list[int]
) -> None:
    data = b"\xef\xbb\xbf" + b"".join(
        b": a comment" + end + b"event: x" + end + b"data: " + line + end + b"data:" + end + end for line in lines
    )
    assert parsed(cut(data, places)) == [line + b"\n" for line in lines]


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
def test_any_bytes_give_the_same_events_however_they_are_cut(data: bytes, places: list[int]) -> None:
    assert parsed(cut(data, places)) == parsed([data])


@pytest.mark.parametrize("data", [b"x" * 300_000, b"data: x\n" * 200_000, b"data:\n" * 300_000])
def test_lines_and_events_are_bounded(data: bytes) -> None:
    parser = EventParser()

    def feed() -> None:
        for at in range(0, len(data), 1000):
            list(parser.feed(data[at : at + 1000]))

    with pytest.raises(TooLongError):
        feed()
    assert len(parser._line) + sum(map(len, parser._data)) <= 1 << 18


def test_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_LINES", 10)
    parser = EventParser()
    assert list(parser.feed(b"\n" * 10)) == []
    with pytest.raises(TooLongError):
        list(parser.feed(b"\n"))


def placing(value: str) -> Placing:
    use = SecretUse(hosts=("http://a.example",), header="Authorization", prefix="Bearer ")
    return Placing([PlacedSecret("KEY", use, value)], "http://a.example")


@settings(deadline=None)
@given(st.lists(st.text("abcs", max_size=12), max_size=20))
def test_text_without_a_secret_gets_on_unchanged_and_one_never_does(pieces: list[str]) -> None:
    secret = "abacabab"
    withholding, given_on = Withholding(placing(secret)), ""
    try:
        for piece in pieces:
            given_on += withholding.feed(piece)
        given_on += withholding.rest()
    except WebError:
        # Nothing of it, not its first letter, got on.
        assert len(given_on) <= "".join(pieces).index(secret)
    else:
        assert given_on == "".join(pieces)
    assert secret not in given_on


async def test_a_stream_that_nobody_reads_is_not_waited_for_longer_than_it_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream = Stream(600.0, 10)
    begun = trio.current_time()
    assert await stream.next(5.0) == ("", None)
    assert trio.current_time() - begun == 5.0
    assert stream._idle.deadline == trio.current_time() + IDLE


async def test_a_stream_whose_task_never_gets_its_turn_ends_when_it_is_closed() -> None:
    stream = Stream(600.0, 10)
    stream.close()

    class Never:
        async def __aenter__(self) -> None:
            await trio.sleep_forever()

        async def __aexit__(self, *_: object) -> None:
            pass

    with trio.fail_after(5):
        await stream.run(Never)  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="closed"):
        await stream.begun()


def test_what_was_left_open_for_a_call_is_closed_as_it_ends_also_where_it_fails() -> None:
    ended: list[int] = []
    frame = Frame(object(), 8)

    def fail() -> None:
        with frame:
            frame.at_end(lambda: ended.append(1))
            frame.at_end(lambda: ended.append(2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ended == [1, 2]
    with frame:
        pass
    assert ended == [1, 2]


def test_a_cache_is_bounded_in_bytes_and_forgets_what_was_not_used_first() -> None:
    now = [0.0]
    cache: Cache[str] = Cache(1000, 10.0, lambda: now[0])
    for name in ("a", "b", "c"):
        cache.put(key_of([name], b""), name, 20)
    assert cache.get(key_of(["a"], b"")) == "a"
    cache.put(key_of(["d"], b""), "d", 20)
    assert [cache.get(key_of([name], b"")) for name in "abcd"] == ["a", None, "c", "d"]
    cache.put(key_of(["e"], b""), "e", 5000)
    assert len(cache) == 3
    now[0] = 10.0
    assert [cache.get(key_of([name], b"")) for name in "acd"] == [None] * 3
    assert len(cache) == 0
    none: Cache[str] = Cache(0)
    none.put(b"x", "x", 0)
    assert none.get(b"x") is None


def test_names_and_content_that_read_alike_have_other_keys() -> None:
    pairs = [(["ab", "c"], b""), (["a", "bc"], b""), (["abc"], b""), (["ab"], b"c"), (["a", "b"], b"c"), ([], b"abc")]
    assert len({key_of(names, content) for names, content in pairs}) == len(pairs)


async def test_tokens_are_counted_by_day_owner_and_plugin(database_place: Location) -> None:
    now = [100 * 86_400.0]
    async with open_database(database_place) as db:
        store = LlmUsageStore(db, now=lambda: now[0])
        late = await store.reserve("me", "p", 600, 1000)
        with pytest.raises(UsedUpError) as caught:
            await store.reserve("me", "p", 401, 1000)
        assert caught.value.left == 400
        assert await store.used("me", "p") == DayUsage(600, 0, 1)
        await store.reserve("me", "q", 1000, 1000)
        await store.reserve("you", "p", 1000, 1000)
        now[0] += 86_400
        assert await store.used("me", "p") == DayUsage()
        one = await store.reserve("me", "p", 1000, 1000)
        # The endpoint reports more than was set aside: it counts.
        await store.settle(one, 1500, estimated=True)
        assert await store.used("me", "p") == DayUsage(1500, 1500, 1)
        with pytest.raises(UsedUpError) as caught:
            await store.reserve("me", "p", 0, 1000)
        assert caught.value.left == 0
        await store.settle(late, 0)
        assert await store.used("me", "p") == DayUsage(1500, 1500, 1), "it is settled on the day on which it began"
        now[0] += (KEPT + 1) * 86_400
        await store.reserve("me", "p", 1, 1000)
        now[0] -= (KEPT + 1) * 86_400
        assert await store.used("me", "p") == DayUsage(), "what is old is forgotten"
        assert (await store.used("me", "q")).tokens == 0
        with pytest.raises(ValueError, match="set aside"):
            await store.reserve("me", "p", -1, 1000)
        with pytest.raises(ValueError, match="used"):
            await store.settle(one, -1)


async def test_many_at_once_get_no_more_than_there_is(database_place: Location) -> None:
    got: list[bool] = []
    async with open_database(database_place) as db:
        store = LlmUsageStore(db)

        async def one() -> None:
            try:
                await store.reserve("me", "p", 30, 1000)
                got.append(True)
            except UsedUpError:
                got.append(False)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        assert sum(got) == 33
        assert (await store.used("me", "p")).tokens == 990


async def test_a_stream_that_is_broken_off_costs_what_was_reported_where_that_is_more_than_came() -> None:
    stream = Stream(600.0, 10)
    stream.events = 30
    assert stream.spent().completion == 30
    # A model that thinks without a word.
    stream._usage = TokenUsage(10, 900)
    assert (stream.spent().completion, stream.spent().estimated) == (900, True)
