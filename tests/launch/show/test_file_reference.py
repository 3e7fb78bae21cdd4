"""docs/experiment-file.md: current, and what it shows can be typed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.experiment import yaml_text
from launch.experiment.added_tasks import ColumnsSection, Definition, FilesSection
from launch.experiment.cluster import Cluster
from launch.experiment.failures import Rule
from launch.experiment.fields import Section
from launch.experiment.schema import Data, FileContent, Overrides, Presets
from launch.experiment.study import OrderStudy, StudySection, designs
from launch.show.file_reference import markdown
from tests.paths import ROOT

PAGE = markdown()
SECTIONS: dict[str, type[Section]] = {
    "The file": FileContent, "`study`": StudySection, "Each entry of `study`": OrderStudy,
    "`data`": Data, "`presets`": Presets,
    "`training`, and each entry of `tasks`: what changes numbers": Overrides,
    "`training`, and each entry of `tasks`: how it runs": Overrides,
    "Each entry of `catalogue`: a task of your own": Definition,
    "`files` of such an entry": FilesSection, "`columns` of such an entry": ColumnsSection,
    "`cluster`": Cluster, "Each rule of `failures`": Rule,
}  # fmt: skip


def _examples() -> list[tuple[str, str, str]]:
    """(section, key, example) of every row that has one."""
    rows = []
    for part in PAGE.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        for row in re.findall(r"^\| `([a-z_-]+)` \| .*?\| `([^|]*)` \| [^|]* \| [^|]* \|$", part, re.MULTILINE):
            if title in SECTIONS:
                rows.append((title, *row))
    return rows


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "experiment-file.md").read_text() == PAGE, "type `make docs`"


def test_every_key_is_on_the_page() -> None:
    of_studies = [("Each entry of `study`", design) for design in designs().values()]
    for title, section in [*SECTIONS.items(), *of_studies]:
        rows = "".join(part for part in PAGE.split("\n## ") if part.startswith(title.split(":")[0]))
        for name, field in section.model_fields.items():
            assert f"| `{field.alias or name}` |" in rows, (title, name)


@pytest.mark.parametrize(("title", "key", "example"), _examples(), ids=lambda value: str(value)[:20])
def test_every_example_can_be_typed(tmp_path: Path, title: str, key: str, example: str) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(f"{key}: {example.replace('<commit>', '0' * 40)}\n")
    content: dict[str, Any] = yaml_text.load(file).value
    if title == "The file":
        smallest = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
        assert smallest is not None
        content = yaml.load(smallest[1], Loader=yaml.BaseLoader) | content
    section = SECTIONS[title]
    if section is OrderStudy:
        section = next(design for design in designs().values() if key in design.model_fields)
        required = {name: text for of, name, text in _examples() if of == title and section.model_fields.get(name)
                    and section.model_fields[name].is_required()}  # fmt: skip
        content = {name: yaml.load(text, Loader=yaml.BaseLoader) for name, text in required.items()} | content
    section.model_validate(content)


def test_what_examples_are_for_is_tried() -> None:
    assert len(_examples()) > 90
