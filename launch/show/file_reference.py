"""docs/experiment-file.md: how an experiment file is written, and every key that it may have.

The tables are made from the declarations: `launch.experiment` for types, limits and words, `training.spec` for
settings and whose keys take them. `python -m launch.show.file_reference` prints the page (`make docs` writes it).
"""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from launch.experiment.added_tasks import ColumnsSection, Definition, FilesSection
from launch.experiment.cluster import Cluster
from launch.experiment.collect import Collect
from launch.experiment.environment import Environment
from launch.experiment.failures import Failures, Rule
from launch.experiment.fields import Section
from launch.experiment.notify import Notify
from launch.experiment.prompting import PromptSection
from launch.experiment.race import Race
from launch.experiment.schema import Data, FileContent, Overrides, Presets
from launch.experiment.study import StudySection, designs
from training import formats
from training.spec import RUNTIME, SETTINGS, InKey, Says, Setting

_HEAD = """\
# The experiment file

One YAML file says what to compare. Made from the declarations: `make docs` writes this page anew, a test tells when it
is not current.

```yaml
name: crossing
store: ./store                       # every result lies here; on the shared file system
model: FacebookAI/xlm-roberta-large
recipes: [none, squad, squad > hellaswag, squad + hellaswag]
targets: [xnli, panx, tydiqa]
seeds: [1, 2]
```

These six keys are required, but for `recipes` where a [study](studies.md) names tasks, and `model` where `models` names
several; everything else has a default. Each recipe is trained, then each target's own English training on top of it,
once per seed; then the target is evaluated in all of its languages, in which nothing was ever trained (zero-shot). What
two paths begin with is trained once. `stepstone plan FILE` shows all of it and sends nothing.

Every value is read as it stands: `no` is Norwegian, `1e-5` a number, `12:00:00` a time. Every mistake is one line with
file, line and what to type instead.

## Several start models

`models: {large: FacebookAI/xlm-roberta-large, small: ./model}` in place of `model:`. Every recipe is trained from each
of them, on every target and with every seed. The label, a name of your choice, stands before recipes and stages:
`large: squad > mnli`, `large/squad.mnli-s1`; each model's recipes are compared with its own `none`. Labels are no part
of keys: a stage that another file in this store trained from the same model, under another label or as `model:`, is not
trained again.

## Recipes: the intermediate training

| recipe | what it is |
| --- | --- |
| `none` | no intermediate training: what the others are compared with |
| `squad` | one task |
| `squad > hellaswag` | one task, then another, on the encoder that the first one made |
| `hellaswag + squad` | a mixture: both at once; binds tighter than `>`, order has no meaning |
| `orders(mnli, squad, ccg)` | every order, one recipe each |
| `subsets(mnli, squad, ccg)` | every non-empty subset, each as a mixture |

[The tasks](tasks.md) have names that stand alone, and some that say more:

- `squad@de` is squad's training data translated by machine into German, in the same format, in `translate-train/de/`
  of `data.root` or where its `splits.yaml` says.
- `anli_plus` is SNLI, MNLI and ANLI under one head.
- `mlm` goes on with masked language modelling on text files, one per language.

Each step of a mixture is of one task, which `sampling` draws.

## Languages

`languages: {xnli: [en, de], default: [de, sw]}`: a target that is named is evaluated in just these, and all of them
must have data; the others are evaluated in those of `default` that they have. `all`, or nothing, is all that a target
has. `mlqa: [de-en]` is a cross pair: German context, English question. Languages are no part of a key: one more
language is evaluated without training anything again.

## Data and cluster

What lies in `data.root` goes before the Hub, task by task; without it everything comes from the Hub. [The
tasks](tasks.md) name their files; [a task of your own](adding-a-task.md) needs no code. Files and folders in it may be
links (DVC, git-annex, the Hub's cache) to what you own.

`cluster:` takes sbatch's own flag names; a site's other flags go under `sbatch:`. `executor: local`, the default where
there is no sbatch, runs the same stages on this machine. What `throttle`, `bundle`, `pack`, `gpu-hours`, `share-group`
and `failures:` promise is in [launching](launching.md), and what jobs see of your shell: `environment` and the shell
lines of `setup` add to it, and SBATCH_ variables hold where the file says nothing. How training runs: [the
engine](engine.md).

## Settings: which one holds

The later one wins:

1. the default in the tables below,
2. the catalogue's preset for the task ([the tasks](tasks.md)): `presets` says which,
3. `training:`, for all stages,
4. `tasks: {squad: ...}`, for one train task,
5. `tasks: {"hellaswag + squad": ...}`, for one mixture, in any order,
6. `tasks: {xnli: ...}`, for a target: its evaluation, and the English training that belongs to it.

A mixture takes the settings of its tasks where they agree. Where they do not, an error says so; 5 settles it, and so
does 3 where it is the presets that differ.

## Keys of stages

A stage is one training or one evaluation, and its *key* says what it means. What is part of the key makes another
stage when it changes, which is trained or evaluated anew; everything else is only how it runs, and results stay. The
last column says whose key takes a value. Every key also holds that of the stage before, so that what makes another
training makes other ones of all that follow.
"""
_FOOT = """\
`like` and `training_path` name tasks that are built in or stand above. More, with examples:
[adding a task](adding-a-task.md)."""

_STUDY_FOOT = """\
What each needs, computes and shows: [studies](studies.md)."""

_PROMPT_FOOT = """\
Templates, answers and what is made of them: [prompts](prompts.md)."""

_ENVIRONMENT_FOOT = """\
Which variables always go, and why: [launching](launching.md#what-jobs-see-of-your-shell)."""


def markdown() -> str:
    """The page, ending with a line break."""
    sections = [
        ("The file", "", _rows(FileContent)),
        ("`seeds`, where it is a mapping: [racing](racing.md)", "", _rows(Race)),
        ("`study`", _STUDY_FOOT, _rows(StudySection)),
        ("Each entry of `study`", "", dict.fromkeys(row for design in designs().values() for row in _rows(design))),
        ("`data`", "", _rows(Data)),
        ("`presets`", "", _rows(Presets)),
        ("`training`, and each entry of `tasks`: what changes numbers", "", [_setting_row(s) for s in SETTINGS]),
        ("`training`, and each entry of `tasks`: how it runs", "", [_setting_row(s) for s in RUNTIME]),
        ("Each entry of `catalogue`: a task of your own", _FOOT, _rows(Definition)),
        ("`files` of such an entry", "", _rows(FilesSection)),
        ("`columns` of such an entry", "", _rows(ColumnsSection)),
        ("`prompt` of such an entry, in mode prompt", _PROMPT_FOOT, _rows(PromptSection)),
        ("`cluster`", "", _rows(Cluster)),
        ("`environment` of `cluster`", _ENVIRONMENT_FOOT, _rows(Environment)),
        ("`notify`", "", _rows(Notify)),
        ("`collect`", "", _rows(Collect)),
        ("`failures`: a rule for each cause", "", _rows(Failures)),
        ("Each rule of `failures`", "", _rows(Rule)),
    ]
    head = "| key | value | default | example | what it does | part of the key of |\n|" + " --- |" * 6
    tables = ["\n\n".join(filter(None, (f"## {title}", "\n".join([head, *rows]), foot)))
              for title, foot, rows in sections]  # fmt: skip
    return "\n\n".join([_HEAD.rstrip(), *tables]) + "\n"


def _rows(section: type[Section]) -> Iterator[str]:
    hints = get_type_hints(section, include_extras=True)
    # Made whole, where it can be: the rules of `failures` have defaults of their own.
    defaults = None if any(field.is_required() for field in section.model_fields.values()) else section()
    for name, field in section.model_fields.items():
        kind = hints[name]
        says = next((note for note in get_args(kind) if isinstance(note, Says)), None)
        assert says is not None, f"{section.__name__}.{name} says nothing"
        default = "required" if field.is_required() else _default(getattr(defaults, name, field.default))
        yield _row(field.alias or name, _form(kind), default, says, says.in_key or "no")


def _setting_row(setting: Setting) -> str:
    kind = get_type_hints(Overrides, include_extras=True)[setting.name]
    in_key = _in_key(setting.name, setting.in_key) if setting.in_key else "no"
    return _row(setting.name, _form(kind), _default(setting.default), setting.says, in_key)


def _row(key: str, form: str, default: str, says: Says, in_key: str) -> str:
    cells = (f"`{key}`", form, default, f"`{says.example}`" if says.example else "", says.text, in_key)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _in_key(name: str, in_key: InKey) -> str:
    """Whose keys take a setting, and when, in words."""
    words = ", ".join(in_key.kinds)
    if in_key.by_format:
        words += f"; format {', '.join(form for form in formats.NAMES if name in formats.get(form).key_settings)}"
    if in_key.mixture:
        words += " of a mixture"
    if in_key.where:
        words += f" with `{in_key.where[0]}: {in_key.where[1]}`"
    if in_key.changed:
        words += "; where it is not the default"
    if in_key.instead_of:
        words += f", instead of `{in_key.instead_of}`"
    return words


def _form(kind: Any) -> str:
    """What a value of this type looks like, with its limits."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        forms = [note.form for note in arguments[1:] if hasattr(note, "form")]
        return forms[0] if forms else _form(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(_form(option) for option in arguments if option is not type(None))
    if origin is Literal:
        return " ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of: {_form(arguments[0])}"
    if origin is dict:
        return f"mapping to: {_form(arguments[1])}"
    return "keys, below" if isinstance(kind, type) and issubclass(kind, Section) else "text"


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Rule):
        changes = value.model_dump(by_alias=True, exclude_defaults=True)
        return ", ".join(f"`{name}: {str(change).lower()}`" for name, change in changes.items())
    return "" if value in (None, [], {}, ()) or isinstance(value, Section) else f"`{value}`"


if __name__ == "__main__":
    print(markdown(), end="")
