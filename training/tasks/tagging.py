"""A label for every word."""

from training.task import Columns, Hub, Task
from training.tasks.languages import PANX, PANX_EXTRA, UD_NAMES, UDPOS, UDPOS_EXTRA, codes
from training.tasks.presets import TAGGING_TARGET, XTREME, files_of, same

_NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_UPOS = codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")
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
    ),
    Task(
        name="udpos",
        format="tagging",
        metric_family="pos",
        metric="pos_f1_xtreme",
        licence="per treebank, mostly CC BY-SA; some not for commercial use",
        labels=_UPOS,
        label_map=same(_UPOS),
        columns=Columns(label=("pos_tags",)),
        languages=UDPOS,
        extra_languages=UDPOS_EXTRA,
        training_path="udpos",
        files=files_of("udpos/train-en.tsv", "udpos/dev-en.tsv", "udpos/test-{lang}.tsv"),
        hub=Hub(
            XTREME,
            None,
            "udpos.{name}",
            train=("train",),
            dev=("validation",),
            test=("test",),
            names=UD_NAMES,
        ),
        target=TAGGING_TARGET,
    ),
)
