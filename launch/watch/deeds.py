"""What a key began: an action in a thread of its own, which is not left halfway when the screen is."""

import threading
from collections.abc import Callable, Sequence

from launch.watch.acting import Action, Proposal, Talk
from slurm.base import UserError
from slurm.base.errors import one_line

INTERRUPTED = 130  # exit code of who was stopped with ctrl-C, as shells have it
_POLL = 0.1  # seconds


class Deed:
    """An action under way. `ask` shows its question and passes the answer on; `notice` is called, from its thread, when
    there are lines to tell, and when it is over."""

    def __init__(
        self, verb: str, action: Action, ask: Callable[[Proposal, Callable[[bool], None]], None],
        notice: Callable[["Deed"], None],
    ) -> None:  # fmt: skip
        self.verb = verb
        self.is_over = False
        self._action, self._ask_on_screen, self._notice = action, ask, notice
        self._answered, self._is_agreed = threading.Event(), False
        self._lines: list[tuple[str, bool]] = []  # not told yet; and whether it is an error
        self._thread = threading.Thread(target=self._run, name="acting", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether it changes something just now: the person has said yes, and it has not come to its end."""
        return self._is_agreed and not self.is_over

    def take_lines(self) -> list[tuple[str, bool]]:
        """What it has said since this was called last; with each line whether it is an error."""
        lines = []
        while self._lines:
            lines.append(self._lines.pop(0))
        return lines

    def wait(self, seconds: float) -> None:
        """For its end, so long at most."""
        self._thread.join(seconds)

    def _answer(self, is_agreed: bool) -> None:
        self._is_agreed = is_agreed
        self._answered.set()

    def _ask(self, proposal: Proposal) -> bool:
        self._answered.clear()
        self._ask_on_screen(proposal, self._answer)
        self._answered.wait()
        return self._is_agreed

    def _say(self, line: str, is_error: bool = False) -> None:
        self._lines.append((line, is_error))
        self._notice(self)

    def _run(self) -> None:
        try:
            self._action(Talk(self._ask, self._say))
        except UserError as error:
            self._say(str(error), True)
        except OSError as error:
            self._say(one_line(error) or str(error), True)
        except Exception as error:  # a defect is told too: the thread's own words would be lost behind the screen
            self._say(f"{self.verb} failed: {type(error).__name__}: {error}", True)
        finally:
            self.is_over = True
            self._notice(self)


def finish(deeds: Sequence[Deed], say: Callable[[str], None]) -> int:
    """Once the screen is gone: wait for what is under way, say its lines. The exit code; ctrl-C leaves it halfway."""
    under_way = [deed for deed in deeds if deed.is_under_way]
    try:
        if under_way:
            verbs = ", ".join(deed.verb for deed in under_way)
            say(f"{verbs}: still under way, this waits for its end; ctrl-C leaves it halfway")
        while any(deed.is_under_way for deed in under_way):
            _tell(deeds, say)
            for deed in under_way:
                deed.wait(_POLL)
        _tell(deeds, say)
    except KeyboardInterrupt:
        verbs = ", ".join(deed.verb for deed in under_way if deed.is_under_way)
        say(f"{verbs or 'watch'}: left halfway; `stepstone status FILE` shows what was done")
        return INTERRUPTED
    return 0


def _tell(deeds: Sequence[Deed], say: Callable[[str], None]) -> None:
    """Say what no screen has shown."""
    for deed in deeds:
        for line, is_error in deed.take_lines():
            say(f"error: {line}" if is_error else line)
