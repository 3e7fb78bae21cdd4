"""The recipe grammar: what an intermediate training is, as text and as steps.

    recipe := "none" | step (">" step)*          then
    step   := task ("+" task)*                   jointly: binds tighter, order without meaning
    also     orders(a, b, c)                     every permutation, one recipe each
             subsets(a, b, c)                    every non-empty subset, trained jointly

A recipe is a tuple of steps, a step the sorted tuple of its tasks; `none` is the empty recipe.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations

from slurm.base import UsageError

Step = tuple[str, ...]
Recipe = tuple[Step, ...]
NONE: Recipe = ()
_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z0-9_.@-]+)|(?P<mark>[>+(),])|(?P<other>\S))")
_MAX_ORDERED = 7  # 5,040 permutations


@dataclass(frozen=True)
class _Token:
    text: str  # "" at the end of the recipe
    column: int  # from 1

    @property
    def shown(self) -> str:
        return f"'{self.text}'" if self.text else "the end"


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        token = _Token(match[0].strip(), match.end() - len(match[0].strip()) + 1)
        if match["other"]:
            raise _wrong(
                text,
                token,
                "a recipe has task names, '>' (then), '+' (jointly), orders(...) and subsets(...)",
            )
        tokens.append(token)
    return [*tokens, _Token("", len(text) + 1)]


def _wrong(text: str, token: _Token, hint: str) -> UsageError:
    return UsageError(f"recipe '{text}': column {token.column}: {token.shown} cannot stand here; {hint}")


class _Parser:
    """Recursive descent over the tokens of one recipe."""

    def __init__(self, text: str, check_task: Callable[[str], None]) -> None:
        self.text = text
        self.check_task = check_task
        self.tokens = _tokens(text)
        self.position = 0

    def parse(self) -> list[Recipe]:
        if self._next_text(0) in ("orders", "subsets") and self._next_text(1) == "(":
            recipes = self._expansion()
        elif self._next_text(0) == "none":
            self._take()
            recipes = [NONE]
        else:
            recipes = [self._sequence()]
        if self._next_text(0):
            raise self._unexpected("expected the end, '>' or '+'")
        return recipes

    def _sequence(self) -> Recipe:
        steps = [self._step()]
        while self._next_text(0) == ">":
            self._take()
            steps.append(self._step())
        return tuple(steps)

    def _step(self) -> Step:
        tasks = [self._task()]
        while self._next_text(0) == "+":
            self._take()
            token = self.tokens[self.position]
            tasks.append(self._task())
            if tasks[-1] in tasks[:-1]:
                raise _wrong(self.text, token, "a joint step names each task once")
        return tuple(sorted(tasks))

    def _task(self) -> str:
        token = self.tokens[self.position]
        if token.text == "(":
            raise self._unexpected(
                "no parentheses: '+' binds tighter than '>', and a sequence cannot be part of a joint step"
            )
        if not token.text or token.text in ">+),":
            raise self._unexpected("expected a task name")
        if token.text in ("none", "orders", "subsets"):
            raise self._unexpected(f"'{token.text}' stands alone, not inside another recipe")
        try:
            self.check_task(token.text)
        except UsageError as error:
            raise UsageError(f"recipe '{self.text}': column {token.column}: {error}") from None
        self._take()
        return token.text

    def _expansion(self) -> list[Recipe]:
        kind = self._take()
        self._take()  # the opening parenthesis, seen by the caller
        tasks = [self._task()]
        while self._next_text(0) == ",":
            self._take()
            tasks.append(self._task())
        if self._next_text(0) != ")":
            raise self._unexpected("expected ',' or ')'")
        closing = self.tokens[self.position]
        self._take()
        if len(set(tasks)) < len(tasks):
            raise _wrong(self.text, closing, f"{kind}(...) names each task once")
        if len(tasks) > _MAX_ORDERED:
            raise _wrong(self.text, closing, f"{kind}(...) takes at most {_MAX_ORDERED} tasks")
        return _orders(tasks) if kind == "orders" else _subsets(tasks)

    def _next_text(self, ahead: int) -> str:
        return self.tokens[min(self.position + ahead, len(self.tokens) - 1)].text

    def _take(self) -> str:
        self.position += 1
        return self.tokens[self.position - 1].text

    def _unexpected(self, hint: str) -> UsageError:
        return _wrong(self.text, self.tokens[self.position], hint)


def _orders(tasks: list[str]) -> list[Recipe]:
    return [tuple((task,) for task in order) for order in permutations(tasks)]


def _subsets(tasks: list[str]) -> list[Recipe]:
    sizes = range(1, len(tasks) + 1)
    return [(tuple(sorted(subset)),) for size in sizes for subset in combinations(tasks, size)]


def expand(text: str, check_task: Callable[[str], None] = lambda name: None) -> list[Recipe]:
    """The recipes that one entry of `recipes:` stands for.

    `check_task` raises UsageError for a name that is no task. Errors name the column (from 1) in `text`.
    """
    return _Parser(text, check_task).parse()


def show_step(step: Step) -> str:
    """A step as text: `mnli + squad`."""
    return " + ".join(step)


def show(recipe: Recipe) -> str:
    """A recipe in its one canonical spelling; `expand(show(r)) == [r]`."""
    return " > ".join(show_step(step) for step in recipe) or "none"
