"""The next image is read, and prepared where the segmenter can, while the device works on the current one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from umdlib.cohort.manifest import Case
from umdlib.images.volume import Volume


class Ahead:
    """Images read by a thread in the order of a run; at most one waits beside the one in use.

    Parameters
    ----------
    cases
        In the order in which they are read; none: nothing is read ahead.
    wanted
        Whether a case will be read at all.
    """

    def __init__(self, cases: Sequence[Case], wanted: Callable[[Case], bool]) -> None:
        self._cases, self._wanted = list(cases), wanted
        self._waiting: tuple[Case, Future[Volume]] | None = None
        self._pool = ThreadPoolExecutor(1, "ahead")

    def begin(self, case: Case, prepare: Callable[[Volume], None] | None) -> None:
        """Before a case is predicted: read the one that follows, and give it to `prepare`."""
        following = self._following(case)
        if following is None:
            return
        if self._waiting is None or self._waiting[0] is not following:
            self._waiting = following, self._pool.submit(following.read_image)
        if prepare is not None:
            self._pool.submit(_prepared, prepare, self._waiting[1])

    def take(self, case: Case) -> Volume | None:
        """The image of a case, waited for; None where it was not read ahead or could not be read."""
        if self._waiting is None or self._waiting[0] is not case:
            return None
        future, self._waiting = self._waiting[1], None
        with suppress(Exception):  # the caller reads it again and says what is wrong
            return future.result()
        return None

    def close(self) -> None:
        """End the thread; what waits is not read any more."""
        self._waiting = None
        self._pool.shutdown(cancel_futures=True)

    def _following(self, case: Case) -> Case | None:
        """The next case that will be read."""
        while self._cases and self._cases[0] is not case:
            self._cases.pop(0)
        return next((c for c in self._cases[1:] if self._wanted(c)), None)


def _prepared(prepare: Callable[[Volume], None], image: Future[Volume]) -> None:
    """Prepare an image; where that fails, the call of the segmenter says so."""
    with suppress(Exception):
        prepare(image.result())
