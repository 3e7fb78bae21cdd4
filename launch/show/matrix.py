"""The matrix recipe x target at any width: columns folded into blocks, long names wrapped, no number ever cut."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from eval.tables.baseline import split
from launch.show.cells import Part, parts
from launch.standing.records import Overview, SharedTraining
from launch.text import some

_GAP = 2  # columns of the terminal between two of the table
_NAME, _TARGET = 28, 14  # widths at which names are wrapped, where the terminal is not narrower still
_LISTED = 20  # shared trainings
_Cell = list[Text]  # its lines


def matrix(overview: Overview, width: int) -> list[Text]:
    """The lines, none wider than `width` unless a word is."""
    name_width = min(_NAME, max(12, width // 3))
    names = {recipe: _wrapped(recipe, name_width, "") for recipe in overview.recipes}
    columns = {
        target: {recipe: _lines(parts(overview.cells[recipe, target]), _TARGET) for recipe in overview.recipes}
        for target in overview.targets
    }
    heads = {target: _wrapped(target, _TARGET, "bold") for target in overview.targets}
    first = _width([[Text("recipe")], *names.values()])
    widths = {target: _width([heads[target], *columns[target].values()]) for target in overview.targets}
    lines: list[Text] = []
    for block in _blocks(widths, width - first - _GAP):
        block_widths = [first, *(widths[target] for target in block)]
        lines += [Text("")] if lines else []
        lines += _row([[Text("recipe", "bold")], *(heads[target] for target in block)], block_widths)
        for before, recipe in zip(["", *overview.recipes], overview.recipes, strict=False):
            lines += [Text("")] if before and split(before)[0] != split(recipe)[0] else []
            lines += _row([names[recipe], *(columns[target][recipe] for target in block)], block_widths)
    return lines


def shared_trainings(overview: Overview, width: int) -> list[Text]:
    """Those that are not finished, with who needs them; of the others how many there are."""
    open_trainings = [training for training in overview.shared if training.state != "finished"]
    finished_count = len(overview.shared) - len(open_trainings)
    lines: list[Text] = []
    if open_trainings:
        first_trainings = open_trainings[:_LISTED]
        name_width = min(_NAME, max(12, width // 3))
        names = [_wrapped(training.name, name_width, "") for training in first_trainings]
        states = [_lines(parts(training), _TARGET) for training in first_trainings]
        widths = [_width([[Text("shared training")], *names]), _width([[Text("seeds")], *states])]
        widths.append(max(12, width - sum(widths) - 2 * _GAP))
        users = [_wrapped(_users(training, overview), widths[2], "") for training in first_trainings]
        lines += _row([[Text(head, "bold")] for head in ("shared training", "seeds", "needed by")], widths)
        for cells in zip(names, states, users, strict=True):
            lines += _row(list(cells), widths)
    if len(open_trainings) > _LISTED:
        lines.append(Text(f"… {len(open_trainings) - _LISTED} more shared trainings (--stages lists all)"))
    if finished_count:
        joint = "and " if open_trainings else ""
        lines.append(Text(f"{joint}{finished_count} shared training{'s' * (finished_count > 1)} finished"))
    return lines


def _users(training: SharedTraining, overview: Overview) -> str:
    """The recipes, or where it is on the way to some targets only, the cells."""
    recipes = list(dict.fromkeys(recipe for recipe, _ in training.users))
    targets = list(dict.fromkeys(target for _, target in training.users))
    many = f"{len(training.users)} cells: "
    if len(targets) == len(overview.targets):
        return many + some(recipes, 3)
    return many + f"{some(targets, 3)} after {some(recipes, 3)}"


def _blocks(widths: dict[str, int], room: int) -> list[list[str]]:
    """The columns that fit beside each other, at least one at a time."""
    blocks: list[list[str]] = []
    room_left = 0
    for target, width in widths.items():
        if not blocks or width > room_left:
            blocks.append([])
            room_left = room
        blocks[-1].append(target)
        room_left -= width + _GAP
    return blocks


def _row(cells: Sequence[_Cell], widths: Sequence[int]) -> list[Text]:
    """One row of the table, as many lines as its highest cell has."""
    lines = []
    for texts in zip_longest(*cells, fillvalue=Text("")):
        line = Text()
        for text, width in zip(texts, widths, strict=True):
            line.append_text(text)
            line.append(" " * (width - cell_len(text.plain) + _GAP))
        line.rstrip()
        lines.append(line)
    return lines


def _width(cells: Sequence[_Cell]) -> int:
    return max(cell_len(line.plain) for cell in cells for line in cell)


def _lines(cell: Sequence[Part], width: int) -> _Cell:
    return [line for part in cell for line in _wrapped(part.text, width, part.style)]


def _wrapped(text: str, width: int, style: str) -> _Cell:
    return [Text(line, style) for line in textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)]
