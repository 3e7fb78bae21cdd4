"""The data of study-prompts.yaml: python study_prompts.py DATA OUT.

OUT links to everything in DATA, and has text for `mlm` besides: paragraphs of question answering, a file a language.
"""

import gzip
import json
import sys
from pathlib import Path

_LANGUAGES = {"arabic": "ar", "bengali": "bn", "english": "en", "indonesian": "id", "korean": "ko", "russian": "ru",
              "swahili": "sw"}  # fmt: skip
_PARAGRAPHS = 70  # of a language


def main(data: Path, out: Path) -> None:
    """Write it anew."""
    (out / "mlm").mkdir(parents=True, exist_ok=True)
    for path in data.iterdir():
        if not (out / path.name).exists():
            (out / path.name).symlink_to(path.resolve())
    for language, texts in _paragraphs(data).items():
        (out / f"mlm/{language}.txt").write_text("".join(f"{text}\n" for text in texts[:_PARAGRAPHS]), "utf-8")


def _paragraphs(data: Path) -> dict[str, list[str]]:
    """Those of TyDiQA by language, each once."""
    paragraphs: dict[str, dict[str, None]] = {}
    for path in sorted(data.glob("tydiqa/*/*")):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            articles = json.load(file)["data"]
        for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
            language = _LANGUAGES.get(paragraph["qas"][0]["id"].partition("-")[0])
            if language:
                paragraphs.setdefault(language, {})[" ".join(paragraph["context"].split())] = None
    return {language: list(texts) for language, texts in paragraphs.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
