"""A row of our own for every task, in its native columns: what `stepstone tasks NAME` shows as the model sees it."""

from typing import Any

_PREMISE = "Two children are flying a kite on the beach."
_HYPOTHESIS = "Nobody is outdoors."
NLI: dict[str, Any] = {"premise": _PREMISE, "hypothesis": _HYPOTHESIS, "label": "contradiction"}
ANLI: dict[str, Any] = {"uid": "example", "context": _PREMISE, "hypothesis": _HYPOTHESIS, "label": "c"}
_QUESTIONS = ("How do I repair a flat tyre?", "What is the way to mend a puncture?")
QQP: dict[str, Any] = {"id": "example", "question1": _QUESTIONS[0], "question2": _QUESTIONS[1], "is_duplicate": "1"}
PAWSX: dict[str, Any] = {
    "sentence1": "The train from Basel to Bern was late.",
    "sentence2": "The train from Bern to Basel was late.",
    "label": "0",
}

_CONTEXT = "The harbour of Nes is small. Its lighthouse was built in 1874 by Anna Berg."
SQUAD: dict[str, Any] = {
    "id": "english-example",  # TyDiQA's ids begin with the language
    "question": "Who built the lighthouse?",
    "context": _CONTEXT,
    "answers": {"text": ["Anna Berg"], "answer_start": [_CONTEXT.index("Anna")]},
}
SQUAD_V2: dict[str, Any] = SQUAD | {
    "question": "Who painted the lighthouse?",
    "answers": {"text": [], "answer_start": []},
    "is_impossible": True,
}

_WORDS = ("Anna", "Berg", "lives", "in", "Tromsø", ".")
NER: dict[str, Any] = {"tokens": _WORDS, "ner_tags": ("B-PER", "I-PER", "O", "O", "B-LOC", "O")}
POS: dict[str, Any] = {"tokens": _WORDS, "pos_tags": ("PROPN", "PROPN", "VERB", "ADP", "PROPN", "PUNCT")}
CCG: dict[str, Any] = {
    "tokens": _WORDS,
    "tags": ("N/N", "N", "(S[dcl]\\NP)/PP", "PP/NP", "N", "."),
}

HELLASWAG: dict[str, Any] = {
    "ind": 0,
    "ctx_a": "A woman puts a kettle on the stove.",
    "ctx_b": "She",
    "endings": ("waits until it whistles.", "rides it home.", "folds it in half.", "paints the kettle's shadow."),
    "label": "0",
}
COSMOS_QA: dict[str, Any] = {
    "id": "example",
    "context": "I had left my umbrella at home, and by noon my shoes were soaked.",
    "question": "What was the weather like?",
    "answer0": "It rained.",
    "answer1": "It was dry.",
    "answer2": "It was too hot for shoes.",
    "answer3": "None of the above choices.",
    "label": "0",
}
COMMONSENSE_QA: dict[str, Any] = {
    "id": "example",
    "question": "Where would you keep milk cold?",
    "choices": {"label": list("ABCDE"), "text": ["oven", "fridge", "drawer", "window", "garden"]},
    "answerKey": "B",
}
SIQA: dict[str, Any] = {
    "context": "Robin carried the neighbour's shopping up the stairs.",
    "question": "How would you describe Robin?",
    "answerA": "helpful",
    "answerB": "impatient",
    "answerC": "asleep",
    "label": "1",
}
COPA: dict[str, Any] = {
    "idx": 0,
    "premise": "The glass fell off the table.",
    "question": "effect",
    "choice1": "It broke.",
    "choice2": "It rang the bell.",
    "label": 0,
}
TRANSLATION: dict[str, Any] = {"target_sentence": "The kite is red.", "source_sentence": "Der Drachen ist rot."}
PARALLEL: dict[str, Any] = {"english": TRANSLATION["target_sentence"], "other": TRANSLATION["source_sentence"]}
CAPTIONS: dict[str, Any] = {
    "img_path": "kite.jpg",
    "sentences": ["Two children fly a kite.", "A red kite over a beach."],
}
MLM: dict[str, Any] = {"text": "Der Leuchtturm steht seit hundert Jahren am Ende der Straße."}

_NEWS = "The strike began on Sunday. It has reached Tromsø by now."
_CITY = "Tromsø is a city in northern Norway."
MENTION: dict[str, Any] = {
    "contextual_mention": {
        "context": {
            "document_id": "example",
            "language": "en",
            "text": _NEWS,
            "sentence_spans": [{"start": 0, "end": 27}, {"start": 28, "end": len(_NEWS)}],
        },
        "mention": {
            "example_id": "example",
            "entity_id": "Q26087",
            "mention_span": {"start": _NEWS.index("Tromsø"), "end": _NEWS.index(" by"), "text": "Tromsø"},
        },
    },
    "entity": {
        "entity_id": "Q26087",
        "title": "Tromsø",
        "description": _CITY,
        "description_language": "en",
        "sentence_spans": [{"start": 0, "end": len(_CITY)}],
    },
}
