"""The job, which says at its end what it imported and what it read: MANIFEST INDEX.

Its last line is JSON: the exit code, the top-level packages that are not ours or Python's, the files of weights that
were read, in order, and how many tokenizers were loaded.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from launch.job import __main__ as job

_OURS = ("launch", "training", "eval", "slurm", "tests")


def main(manifest: str, index: str) -> None:
    from training import distributed, tensors
    from training.pretrained import tokenizer

    weights: list[str] = []
    tokenizers: list[str] = []
    read, load = tensors._read, tokenizer.load_tokenizer

    def read_file(path: Path, *how: Any) -> Any:
        weights.append(str(path))
        return read(path, *how)

    def load_tokenizer(folder: Path) -> Any:
        tokenizers.append(str(folder))
        return load(folder)

    def leave(code: int) -> None:
        names = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {*_OURS}
        packages = sorted(name for name in names if not name.startswith("_"))
        told = {"code": code, "packages": packages, "weights": weights, "tokenizers": len(tokenizers)}
        print(json.dumps(told), flush=True)
        os._exit(code)

    tensors._read, tokenizer.load_tokenizer = read_file, load_tokenizer
    distributed.leave = leave  # type: ignore[assignment]
    sys.argv = ["launch.job", manifest, "--index", index]
    job.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
