"""Interfaces of a dock, as its presenter uses them; without Qt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.shared.wording import describe_error


class TaskView(Protocol):
    """View of a background task: messages and a progress bar."""

    def show_message(self, text: str) -> None:
        """Append a message."""

    def show_error(self, text: str) -> None:
        """Append an error."""

    def show_progress(self, share: float | None, text: str) -> None:
        """Show progress from 0 to 1, with a text below; None shows an indeterminate bar."""

    def start_polling(self) -> None:
        """Start to poll the background task until it ends."""


class AskingView(TaskView, Protocol):
    """View that can also ask the user a question, and say how a task ended."""

    def show_end(self, text: str, notified: bool) -> None:
        """Append how a task ended, and show it as a notification if the user may have turned away."""

    def ask(self, question: str, *choices: str) -> str:
        """Ask a question; return the chosen answer, or the last one if the question is closed."""


@contextmanager
def errors_shown(view: TaskView) -> Iterator[None]:
    """Show an error that a user can resolve, and end the block."""
    try:
        yield
    except MaskedDenoiserError as error:
        view.show_error(describe_error(error))
