"""What a page is made of: its elements, ids and headings, without its numbers, styles and scripts."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "link", "img", "input"}
_OUTLINED = {
    "header", "nav", "main", "footer", "section", "h1", "h2", "h3", "details", "summary", "table", "caption", "figure",
    "script",
}  # fmt: skip


@dataclass
class Outline(HTMLParser):
    """Fed with a page. `lines`: an indented line for each element that gives it its structure; `text`: all that is
    read; `scripts`: the content of each script; `unclosed`: elements that never ended."""

    lines: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if attributes.get("href", "").startswith("#"):
            self.addresses.append(attributes["href"][1:])
        if tag in _OUTLINED:
            depth = sum(open_tag in _OUTLINED for open_tag in self.unclosed)
            name = f" #{attributes['id']}" if "id" in attributes else ""
            self.lines.append(f"{'  ' * depth}{tag}{name}")
        if tag not in _VOID:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed and self.unclosed[-1] == tag, (tag, self.unclosed)
        self.unclosed.pop()

    def handle_data(self, data: str) -> None:
        if self.unclosed and self.unclosed[-1] == "script":
            self.scripts.append(data)
        elif self.unclosed and self.unclosed[-1] != "style":
            self.text.append(data)
            if self.unclosed[-1] in ("h1", "h2", "summary", "caption"):
                self.lines[-1] += f": {data}"


def of(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert not outline.unclosed, outline.unclosed
    return outline
