"""A label for every word."""

from training.tasks import examples
from training.tasks.languages import PANX, PANX_EXTRA, UD_NAMES, UDPOS, UDPOS_EXTRA, codes
from training.tasks.presets import INTERMEDIATE, TAGGING_TARGET, TAGGING_XTREME, XTREME, XTREME_COMMIT, files_of, same
from training.tasks.sizes import PANX_SIZES, UDPOS_SIZES
from training.tasks.task import Columns, Hub, Task

_NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_UPOS = codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")
_CCGBANK = "ccgbank_1_1/data/AUTO"
ENTRIES = (
    Task(
        name="panx",
        format="tagging",
        metric_family="ner",
        metric="f1",
        licence="WikiANN: not stated (text of Wikipedia, CC BY-SA)",
        labels=_NER,
        label_map=same(_NER) | {str(number): name for number, name in enumerate(_NER)},
        columns=Columns(label=("ner_tags",)),
        languages=PANX,
        extra_languages=PANX_EXTRA,
        training_path="panx",
        files=files_of("panx/train-en.tsv", "panx/dev-en.tsv", "panx/test-{lang}.tsv"),
        sizes=PANX_SIZES,
        hub=Hub(
            "unimelb-nlp/wikiann",
            "f0a3be6dc5564c0cc4150bb660144800a1f539d4",
            "{lang}",
            train=("train",),
            dev=("validation",),
            test=("test",),
            languages=(*PANX, *PANX_EXTRA),
        ),
        target=TAGGING_TARGET,
        xtreme=TAGGING_XTREME,
        example=examples.NER,
    ),
    Task(
        name="udpos",
        format="tagging",
        metric_family="pos",
        metric="pos_f1_xtreme",
        corrected="pos_accuracy",
        licence="per treebank, mostly CC BY-SA; some not for commercial use",
        labels=_UPOS,
        label_map=same(_UPOS),
        columns=Columns(label=("pos_tags",)),
        languages=UDPOS,
        extra_languages=UDPOS_EXTRA,
        training_path="udpos",
        files=files_of("udpos/train-en.tsv", "udpos/dev-en.tsv", "udpos/test-{lang}.tsv"),
        sizes=UDPOS_SIZES,
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            "udpos.{name}",
            train=("train",),
            dev=("validation",),
            test=("test",),
            names=UD_NAMES,
        ),
        target=TAGGING_TARGET,
        xtreme=TAGGING_XTREME,
        example=examples.POS,
    ),
    Task(
        name="ccg",
        format="tagging",
        metric_family="words",
        metric="accuracy",
        licence="CCGbank: LDC2005T13, licensed by the Linguistic Data Consortium",
        open_labels=True,  # 1363 categories in sections 02 to 21
        columns=Columns(label=("tags",), separator="|"),
        files=files_of(
            f"{_CCGBANK}/0[2-9]/*.auto {_CCGBANK}/1[0-9]/*.auto {_CCGBANK}/2[01]/*.auto",
            f"{_CCGBANK}/00/*.auto",
        ),
        hub=Hub("", None),  # there is none: the data may not be passed on
        intermediate=INTERMEDIATE,
        target=TAGGING_TARGET,
        example=examples.CCG,
    ),
)
