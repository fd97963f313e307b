"""The streams of one call: nobody else's, and over with it."""

from __future__ import annotations

from innkeeper.bridge.inference import limits
from innkeeper.bridge.inference.streams import Stream
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.plugins.chain import calling


class CallStreams:
    """Finds streams by the numbers that the guest of one call knows. They are kept with the call alone, so a number
    means nothing in another one.

    Attributes:
        open: by number.
    """

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self._last = 0

    def check_room(self) -> None:
        """Raises ServiceError where no more may be opened."""
        if len(self.open) >= limits.STREAMS:
            raise ServiceError(
                Refusal.QUOTA,
                f"the call has {limits.STREAMS} streams open; close one",
                quota="streams",
                value=limits.STREAMS,
            )

    def add(self, stream: Stream) -> int:
        """Gives its number (int), which no other stream of the call gets."""
        self._last += 1
        self.open[self._last] = stream
        return self._last

    def find(self, number: int) -> Stream:
        """The stream with a number; raises ServiceError where there is none."""
        found = self.open.get(number)
        if found is None:
            raise ServiceError(Refusal.NOT_FOUND, "this call has no such stream open")
        return found

    def close(self, number: int) -> bool:
        """Closes a stream; False where there is none."""
        stream = self.open.pop(number, None)
        if stream is not None:
            stream.close()
        return stream is not None

    def close_all(self) -> None:
        """Closes all of them: the call is over."""
        for number in list(self.open):
            self.close(number)


def streams_of_this_call(key: object) -> CallStreams:
    """Those of the call that the present task works for.

    Args:
        key: whose they are: the service.

    Raises:
        ServiceError: the call is over.
    """
    frame = calling()
    if frame is None:
        raise ServiceError(Refusal.DENIED, "nobody calls: the call that this belongs to is over")
    found = frame.notes.get(key)
    if not isinstance(found, CallStreams):
        found = frame.notes[key] = CallStreams()
        frame.at_end(found.close_all)
    return found
