"""Sentences and their translations, questions and the sentences that answer them, mentions and entities."""

from typing import Any

from training.tasks import examples
from training.tasks.languages import (
    BUCC,
    EURLEX,
    ISO3,
    MEWSLIX,
    TATOEBA,
    TATOEBA_EXTRA,
    TATOEBA_OTHERS,
    TICO19,
    XQUAD,
)
from training.tasks.presets import (
    LAREQA_TARGET,
    LAREQA_XTREME,
    MEWSLIX_TARGET,
    MEWSLIX_XTREME,
    RETRIEVAL_TARGET,
    RETRIEVAL_XTREME,
    XTREME,
    XTREME_COMMIT,
    files_of,
)
from training.tasks.sizes import TATOEBA_SIZES
from training.tasks.task import Columns, File, Files, Hub, Task


def _bucc(split: str) -> tuple[File, ...]:
    path = f"bucc2018/{{lang}}-en.{split}."
    return (File(path + "{lang}", "source"), File(path + "en", "target"), File(path + "gold", "gold"))


def _parallel(domain: str, licence: str, languages: tuple[str, ...], test: str, **changes: Any) -> Task:
    """Target `alignment_DOMAIN`. `test`: the other language's file and the English one."""
    return Task(
        name=f"alignment_{domain}",
        format="parallel",
        metric_family="alignment",
        metric="accuracy",
        licence=licence,
        languages=languages,
        training_path="none",
        files=files_of(test=test, roles=("other", "english")),
        hub=Hub("", None, test=("test",)),
        target=RETRIEVAL_TARGET,
        example=examples.PARALLEL,
        **changes,
    )


ENTRIES = (
    Task(
        name="tatoeba",
        format="retrieval",
        metric_family="retrieval",
        metric="accuracy",
        licence="CC BY 2.0 FR",
        columns=Columns(("{target_sentence}",), ("{source_sentence}",)),
        languages=TATOEBA,
        extra_languages=TATOEBA_EXTRA,
        other_languages=TATOEBA_OTHERS,
        iso3=ISO3,
        training_path="none",
        files=files_of(
            test="tatoeba/tatoeba.{iso3}-eng.{iso3} tatoeba/tatoeba.{iso3}-eng.eng", roles=("other", "english")
        ),
        sizes=TATOEBA_SIZES,
        hub=Hub(XTREME, XTREME_COMMIT, "tatoeba.{iso3}", test=("validation",)),
        target=RETRIEVAL_TARGET,
        xtreme=RETRIEVAL_XTREME,
        example=examples.TRANSLATION,
    ),
    Task(
        name="bucc",
        format="mining",
        metric_family="mining",  # eval.prediction.mining
        metric="f1",
        licence="BUCC 2018 shared task: research; redistribution unclear",
        columns=Columns(("{source_sentence}",)),
        languages=BUCC,
        training_path="none",
        files=Files(dev=_bucc("dev"), test=_bucc("test")),
        # The Hub's copy (google/xtreme bucc18.xx) has the gold pairs alone: nothing can be mined from it.
        hub=Hub("", None, test=("test",)),
        target=RETRIEVAL_TARGET,
        xtreme=RETRIEVAL_XTREME,
        example=examples.TRANSLATION,
    ),
    Task(
        name="squad_retrieval",
        format="dual_encoder",
        metric_family="mrr20",
        metric="mrr@20",
        licence="CC BY-SA 4.0",
        files=files_of("squad/train-v1.1.json", "squad/dev-v1.1.json"),
        sizes={"train": 87599, "validation": 10570},
        hub=Hub(
            "rajpurkar/squad",
            "7b6d24c440a36b6815f21b70d25016731768db1f",
            "plain_text",
            train=("train",),
            dev=("validation",),
        ),
        intermediate=LAREQA_TARGET,
        target=LAREQA_TARGET,
        xtreme=LAREQA_XTREME,
        example=examples.SQUAD,
    ),
    Task(
        name="lareqa",
        format="dual_encoder",
        metric_family="map20",
        metric="map@20",
        licence="CC BY-SA 4.0",
        languages=XQUAD,
        parallel=True,
        training_path="squad_retrieval",
        files=files_of(test="lareqa/xquad-r/{lang}.json"),
        sizes={"test": 1190},
        hub=Hub("", None, test=("test",)),
        target=LAREQA_TARGET,
        xtreme=LAREQA_XTREME,
        example=examples.SQUAD,
    ),
    Task(
        name="mewslix",  # untested on the published data; see the format
        format="dual_encoder",
        metric_family="mrr20",
        metric="mrr@20",
        licence="text of Wikipedia (CC BY-SA) and WikiNews (CC BY)",
        languages=MEWSLIX,
        training_path="mewslix",
        files=files_of(
            "mewslix/wikipedia_pairs-train.jsonl",
            "mewslix/wikipedia_pairs-dev.jsonl",
            "mewslix/wikinews_mentions-test.jsonl mewslix/candidate_set_entities.jsonl",
            roles=("mentions", "entities"),
        ),
        hub=Hub("", None, train=("train",), dev=("dev",), test=("test",)),
        target=MEWSLIX_TARGET,
        xtreme=MEWSLIX_XTREME,
        example=examples.MENTION,
    ),
    _parallel(  # TICO-19's translation memories: its own files are .tmx, one a language
        "medical",
        "CC0 1.0",
        TICO19,
        "domain_medical_tico19/tico19.en-{lang}.tsv domain_medical_tico19/tico19.en.tsv",
    ),
    _parallel(  # EUR-Lex, as in mt-markup-tags' dev set, without its inline tags
        "legal", "CC BY 4.0", EURLEX, "domain_legal_eurlex/dev.{lang} domain_legal_eurlex/dev.en"
    ),
    _parallel(  # tatoeba's files
        "conversation",
        "CC BY 2.0 FR",
        TATOEBA,
        "tatoeba/tatoeba.{iso3}-eng.{iso3} tatoeba/tatoeba.{iso3}-eng.eng",
        extra_languages=TATOEBA_EXTRA,
        other_languages=TATOEBA_OTHERS,
        iso3=ISO3,
    ),
    _parallel(  # lareqa's files: XQuAD-R
        "encyclopaedia",
        "CC BY-SA 4.0",
        tuple(code for code in XQUAD if code != "en"),
        "lareqa/xquad-r/{lang}.json lareqa/xquad-r/en.json",
    ),
)
