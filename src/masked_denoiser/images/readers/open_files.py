"""Files that stay open as long as their source: closed when a reader fails, or else with the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Closable(Protocol):
    """An open file, or an array that reads from one."""

    def close(self) -> object:
        """Close it; it cannot be read afterwards."""
        ...


ClosableT = TypeVar("ClosableT", bound=Closable)


@contextmanager
def closed_on_error(file: ClosableT) -> Iterator[ClosableT]:
    """Yield a file, and close it if the block raises; otherwise it stays open."""
    try:
        yield file
    except BaseException:
        file.close()
        raise


def close_all(*parts: Closable) -> Callable[[], None]:
    """Return a function that closes arrays and then the files behind them, for `ImageMetadata.closer`."""

    def close() -> None:
        for part in parts:
            part.close()

    return close
