"""The environment's packages: what was there when a stage was sent, and what a job finds."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

_NAMES = ("torch", "transformers", "tokenizers", "deepspeed", "datasets", "safetensors", "numpy", "submitit")


def versions() -> dict[str, str]:
    """Python and the packages that results depend on, as installed here. Imports none of them."""
    found = {"python": platform.python_version()}
    for name in _NAMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differences(sent: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What changed, such as `torch 2.6.0 instead of 2.5.1`."""
    return [
        f"{name} {found.get(name, 'missing')} instead of {sent.get(name, 'none')}"
        for name in sorted({*sent, *found})
        if sent.get(name) != found.get(name)
    ]
