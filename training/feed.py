"""Makes the next step ready in a thread while this one is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from training.batches import Prepared


class Feed:
    """Steps in their order. `prepare(number, budget)` is a function of its arguments, whenever it is called."""

    def __init__(self, prepare: Callable[[int, int], Prepared], total: int, budget: int) -> None:
        self._prepare, self._total = prepare, total
        self.budget = budget  # tokens per forward pass
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._next: tuple[int, int, Future[Prepared]] | None = None

    def take(self, number: int) -> Prepared:
        """The step of this number; the one behind it is begun."""
        wanted = number, self.budget
        if self._next is not None and self._next[:2] == wanted:
            prepared = self._next[2].result()
        else:
            prepared = self._prepare(*wanted)
        following = number + 1, self.budget
        if following[0] < self._total:
            self._next = *following, self._pool.submit(self._prepare, *following)
        return prepared

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
