"""Multiple choice."""

from training.tasks import examples
from training.tasks.languages import XCOPA, codes
from training.tasks.presets import INTERMEDIATE, PAIR_TARGET, XCOPA_TARGET, XCOPA_XTREME, files_of, same
from training.tasks.task import Columns, Hub, Task

_LETTERS = codes("A B C D E")


ENTRIES = (
    Task(
        name="hellaswag",
        format="choice",
        metric_family="accuracy",
        metric="accuracy",
        licence="MIT",
        labels=codes("0 1 2 3"),
        label_map=same(codes("0 1 2 3")),
        unlabelled=("",),
        columns=Columns(("{ctx_a}", "{ctx}"), ("{ctx_b} {choice}", "{choice}"), id=("ind",), choices=(("endings",),)),
        files=files_of("hellaswag/hellaswag_train.jsonl", "hellaswag/hellaswag_val.jsonl"),
        sizes={"train": 39905, "validation": 10042},
        hub=Hub("Rowan/hellaswag", "218ec52e09a7e7462a5400043bb9a69a41d06b76", train=("train",), dev=("validation",)),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
        example=examples.HELLASWAG,
    ),
    Task(
        name="cosmos_qa",
        format="choice",
        metric_family="accuracy",
        metric="accuracy",
        licence="CC BY 4.0",
        labels=codes("0 1 2 3"),
        label_map=same(codes("0 1 2 3")),
        unlabelled=("-1",),
        columns=Columns(
            ("{context} {question}",),
            ("{choice}",),
            id=("id",),
            choices=(("answer0", "answer1", "answer2", "answer3"),),
        ),
        files=files_of("cosmosqa/train.csv", "cosmosqa/valid.csv"),
        sizes={"train": 25262, "validation": 2985},
        hub=Hub("Samsoup/cosmos_qa", None, train=("train",), dev=("validation",)),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
        example=examples.COSMOS_QA,
    ),
    Task(
        name="commonsense_qa",
        format="choice",
        metric_family="accuracy",
        metric="accuracy",
        licence="MIT",
        labels=_LETTERS,
        label_map=same(_LETTERS),
        unlabelled=("",),
        columns=Columns(
            ("{question.stem}", "{question}"),
            ("{choice}",),
            label=("answerKey",),
            id=("id",),
            choices=(("question.choices",), ("choices",)),
        ),
        files=files_of("commonsenseqa/train_rand_split.jsonl", "commonsenseqa/dev_rand_split.jsonl"),
        sizes={"train": 9741, "validation": 1221},
        hub=Hub(
            "tau/commonsense_qa",
            "94630fe30dad47192a8546eb75f094926d47e155",
            train=("train",),
            dev=("validation",),
        ),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
        example=examples.COMMONSENSE_QA,
    ),
    Task(
        name="siqa",
        format="choice",
        metric_family="accuracy",
        metric="accuracy",
        licence="CC BY 4.0",
        labels=_LETTERS[:3],
        label_map=same(_LETTERS[:3]) | {"1": "A", "2": "B", "3": "C"},
        columns=Columns(
            ("{context} {question}",),
            ("{choice}",),
            label=("correct", "label"),
            choices=(("answerA", "answerB", "answerC"),),
        ),
        files=files_of("siqa/socialIQa_v1.4_trn.jsonl", "siqa/socialIQa_v1.4_dev.jsonl"),
        sizes={"train": 33410, "validation": 1954},
        hub=Hub("lighteval/siqa", "54c6a1f8cb6daf4f5abf24a601852612fb35eb25", train=("train",), dev=("validation",)),
        intermediate=INTERMEDIATE,
        target=XCOPA_TARGET,
        xtreme=XCOPA_XTREME,
        example=examples.SIQA,
    ),
    *(
        Task(
            name=name,
            format="choice",
            metric_family="accuracy",
            metric="accuracy",
            licence=licence,
            labels=("choice1", "choice2"),
            label_map=same(("choice1", "choice2")) | {"0": "choice1", "1": "choice2"},
            unlabelled=("-1",),
            columns=Columns(
                ("{premise} What was the {question}?",),  # question: cause or effect
                ("{choice}",),
                id=("idx",),
                choices=(("choice1", "choice2"),),
            ),
            values={"question": ("cause", "effect")},
            languages=languages,
            parallel=bool(languages),
            extra_languages=("en",) if languages else (),
            training_path="siqa > copa" if languages else None,
            files=files,
            sizes={"train": 400, "validation": 100, "test": 500},
            hub=hub,
            intermediate={} if languages else INTERMEDIATE,
            target=XCOPA_TARGET,
            xtreme=XCOPA_XTREME,
            example=examples.COPA,
        )
        for name, licence, languages, files, hub in (
            (
                "copa",
                "BSD 2-clause",
                (),
                files_of("COPA/train.jsonl", "COPA/val.jsonl"),
                Hub(
                    "aps/super_glue",
                    "3de24cf8022e94f4ee4b9d55a6f539891524d646",
                    "copa",
                    train=("train",),
                    dev=("validation",),
                ),
            ),
            (
                "xcopa",
                "CC BY 4.0",
                XCOPA,
                files_of(test="xcopa/{lang}/test.{lang}.jsonl"),
                Hub(
                    "cambridgeltl/xcopa",
                    "042f78955ba48e6404616762fa6e05e839c3907a",
                    "{lang}",
                    test=("test",),
                ),
            ),
        )
    ),
)
