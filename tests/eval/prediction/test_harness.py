"""Prompts answered as lm-evaluation-harness answers them: its own tasks, its own model class, the same small model.

Needs its package (extra `dev`), which nothing else here does.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.prediction.causal import log_probabilities
from eval.prediction.generation import generate
from tests.causal_models import causal_model, tokenizer_of_bytes, tokenizer_of_pieces
from training import formats
from training.formats.prompts import causal, scoring
from training.formats.prompts.cloze import Question
from training.formats.prompts.passages import PASSAGE_TEMPLATES
from training.formats.prompts.templates import TEMPLATES
from training.tasks import find

pytestmark = pytest.mark.slow
lm_eval = pytest.importorskip("lm_eval", reason="the package lm_eval is not installed")

TEXTS = (
    "Das Glas fiel vom Tisch .",
    "Стакан упал со стола, правильно?",
    'Niemand ( außer "ihr" ) sah es , sie did n\'t',
    "Nobody saw the glass; it broke.",
    "杯子从桌子上掉下来。",
    "Il bicchiere è caduto dal tavolo.",
    "She asked who saw it, and why?",
)
NUMBERS = range(9)
MOST = 2  # demonstrations: the first rows
ROWS: dict[str, list[dict[str, Any]]] = {
    "xnli": [{"premise": TEXTS[n % 7], "hypothesis": TEXTS[(n * 3 + 1) % 7], "label": n % 3} for n in NUMBERS],
    "pawsx": [
        {"id": n, "sentence1": TEXTS[n % 7], "sentence2": TEXTS[(n * 2 + 3) % 7], "label": n % 2} for n in NUMBERS
    ],
    "xcopa": [
        {
            "premise": TEXTS[n % 7],
            "choice1": TEXTS[(n + 1) % 7],
            "choice2": TEXTS[(n + 3) % 7],
            "question": ("cause", "effect")[n % 2],
            "label": n // 2 % 2,
            "idx": n,
        }
        for n in NUMBERS
    ],
}
PATHS = {
    "xnli": "xnli/xnli_{}.yaml",
    "pawsx": "paws-x/paws_{}.yaml",
    "xcopa": "xcopa/default_{}.yaml",
    "xquad": "xquad/xquad_{}.yaml",
    "mlqa": "mlqa/mlqa_{0}_{0}.yaml",
    "tydiqa": "tydiqa/tydiqa_goldp_{}.yaml",
}
WHOLE_AFTER = {"xnli": " ", "pawsx": ""}  # of theirs all is in the choices, behind a delimiter
TEMPLATE = {
    template.task: template
    for template in (*TEMPLATES, *PASSAGE_TEMPLATES)
    if template.source == "lm-evaluation-harness"
}
WINDOW = 800
MODELS = {"xglm": cache(tokenizer_of_pieces), "bloom": cache(tokenizer_of_bytes), "qwen2": cache(tokenizer_of_bytes)}


def rows_of(name: str, language: str) -> list[dict[str, Any]]:
    if find(name).format != "span":
        return ROWS[name]
    names = find(name).hub.names or {language: language}
    return [
        {
            "id": f"{names[language]}-{n}",
            "context": " ".join(TEXTS[n % 4 :]),
            "question": TEXTS[n % 7],
            "answers": {"text": ["glass"], "answer_start": [" ".join(TEXTS[n % 4 :]).index("glass")]},
        }
        for n in NUMBERS
    ]


def harness_task(name: str, language: str, demonstrations: int = 0, **settings: Any) -> Any:
    """Their task on our rows but the first, which are the demonstrations."""
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    path = Path(lm_eval.__file__).parent / "tasks" / PATHS[name].format(language)
    # Their scores of generated answers need what transformers 5 has no more, and are not compared.
    generates = find(name).format == "span"
    config = load_yaml(path, resolve_func=not generates)
    if generates:
        config |= {"process_docs": None, "process_results": None, "metric_list": [{"metric": "exact_match"}]}
        config["doc_to_target"] = '{{answers["text"][0]}}'
    rows = rows_of(name, language)
    first_rows, test_rows = Dataset.from_list(rows[:MOST]), Dataset.from_list(rows[MOST:])
    validation = first_rows if config.get("test_split") else test_rows
    splits = DatasetDict({"train": first_rows, "validation": validation, "test": test_rows})
    config["fewshot_config"] = {"sampler": "first_n", "samples": rows[:MOST]} if generates else {"sampler": "first_n"}
    config["custom_dataset"] = lambda **_: splits
    task = ConfigurableTask(config=config | settings)
    task.set_config("num_fewshot", demonstrations)
    task.build_all_requests()
    return task


def harness_model(name: str, window: int = WINDOW) -> Any:
    from lm_eval.models.huggingface import HFLM

    tokenizer = MODELS[name]()
    model = causal_model(name, len(tokenizer), WINDOW)
    model.generation_config.eos_token_id = tokenizer.eos_token_id  # else theirs reads on behind it
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=window, device="cpu")


def our_questions(name: str, language: str, demonstrations: int = 0) -> list[Question]:
    task, template = find(name), TEMPLATE[name]
    form = formats.get(task.format)
    examples: list[Any] = [
        form.from_row(row, task, language, number) for number, row in enumerate(rows_of(name, language))
    ]
    prompts = [template.prompt(example, language) for example in examples]
    labels = [0 if task.format == "span" else task.labels.index(example.label) for example in examples]
    texts = [prompt.answered(label) for prompt, label in zip(prompts, labels, strict=True)]
    return [
        Question(number, examples[number].id, prompts[number], tuple(texts[:demonstrations]))
        for number in NUMBERS[MOST:]
    ]


@pytest.mark.parametrize("name", PATHS)
def test_texts_in_every_language(name: str) -> None:
    template, whole_after = TEMPLATE[name], WHOLE_AFTER.get(name)
    for language in template.wordings:
        if name == "xcopa" and language == "en":  # theirs is another task
            continue
        requests = harness_task(name, language).instances
        questions = our_questions(name, language)
        if find(name).format == "span":
            ours = [question.prompt.before.rstrip() for question in questions]
            assert [request.args[0] for request in requests] == ours
            continue
        for number, question in enumerate(questions):
            prompt = question.prompt
            pairs = [request.args for request in requests if request.doc_id == number]
            if whole_after is None:
                assert pairs == [(prompt.before.rstrip(), continuation) for continuation in prompt.continuations]
            else:
                labels = range(len(prompt.answers))
                assert pairs == [("", whole_after + prompt.answered(label)) for label in labels]


@pytest.mark.parametrize("model_name", MODELS)
@pytest.mark.parametrize("demonstrations", [0, 2])
@pytest.mark.parametrize(("name", "language"), [("xnli", "de"), ("pawsx", "de"), ("xcopa", "it"), ("xcopa", "zh")])
def test_log_likelihoods_and_predictions(name: str, language: str, demonstrations: int, model_name: str) -> None:
    theirs, task = harness_model(model_name), harness_task(name, language, demonstrations)
    likelihoods = theirs.loglikelihood(task.instances, disable_tqdm=True)
    rows = causal.encode(
        our_questions(name, language, demonstrations), theirs.tokenizer, WINDOW, whole_after=WHOLE_AFTER.get(name)
    )
    assert set(rows.demonstrations) == {demonstrations}
    answers = log_probabilities(theirs.model, rows.prefixes, rows.continuations, token_budget=1500, window=WINDOW)
    scores = scoring.summed(answers)
    of_requests = [likelihood for likelihood, _ in likelihoods]
    np.testing.assert_allclose(scores.ravel(), of_requests, rtol=1e-5, atol=1e-3)
    for number, row in enumerate(rows_of(name, language)[MOST:]):
        of_row = likelihoods[number * scores.shape[1] : (number + 1) * scores.shape[1]]
        correct = task.process_results(row, of_row)["acc"]
        assert correct == float(scores[number].argmax() == row["label"])


def test_a_prompt_beyond_the_window_is_cut_as_theirs() -> None:
    tokenizer = MODELS["bloom"]()
    rows = causal.encode(our_questions("xcopa", "it"), tokenizer, WINDOW)
    window = max(len(tokens) for of_question in rows.continuations for tokens in of_question)
    assert any(len(prefix) > window for prefix in rows.prefixes)
    theirs, task = harness_model("bloom", window), harness_task("xcopa", "it")
    of_requests = [likelihood for likelihood, _ in theirs.loglikelihood(task.instances, disable_tqdm=True)]
    answers = log_probabilities(theirs.model, rows.prefixes, rows.continuations, token_budget=200, window=window)
    np.testing.assert_allclose(scoring.summed(answers).ravel(), of_requests, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("model_name", MODELS)
@pytest.mark.parametrize("demonstrations", [0, 1])
def test_generated_answers(demonstrations: int, model_name: str) -> None:
    settings = {"generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 10}}
    theirs, task = harness_model(model_name), harness_task("xquad", "de", demonstrations, **settings)
    texts = theirs.generate_until(task.instances, disable_tqdm=True)
    tokenizer = theirs.tokenizer
    rows = causal.contexts(our_questions("xquad", "de", demonstrations), tokenizer, WINDOW, max_tokens=10)
    answers = generate(
        theirs.model,
        rows.prefixes,
        max_tokens=10,
        end_tokens=(tokenizer.eos_token_id,),
        is_over=lambda tokens: causal.is_over(tokens, tokenizer),
        token_budget=1500,
        window=WINDOW,
    )
    assert len(set(texts)) > 2
    assert [causal.answer_text(tokens, tokenizer) for tokens in answers] == [text.strip() for text in texts]
