"""The templates of questions whose answer stands in a passage, for models that generate it: XQuAD, MLQA, TyDiQA.

Words by language are lm-evaluation-harness 0.4.13's (lm_eval/tasks/xquad, mlqa, tydiqa), mistakes included (the Arabic
`سيا` of XQuAD), so that prompts compare; its MLQA is worded in English alone. Nobody here checked a translation.
"""

from training.formats import span
from training.formats.prompts.template import Template, Wording
from training.formats.prompts.texts import Example, Texts

_HARNESS = "lm-evaluation-harness"
# What stands before the passage, the question, the answer.
_XQUAD = {
    "ar": ("سيا", "سؤال", "إجابة"),
    "de": ("Kontext", "Frage", "Antwort"),
    "el": ("Συμφραζόμενα", "Ερώτηση", "Απάντηση"),
    "en": ("Context", "Question", "Answer"),
    "es": ("Contexto", "Pregunta", "Respuesta"),
    "hi": ("प्रसंग", "सवाल", "उत्तर"),
    "ru": ("Контекст", "Вопрос", "Ответ"),
    "th": ("บริบท", "คำถาม", "คำตอบ"),
    "tr": ("Bağlam", "Soru", "Cevap"),
    "vi": ("Bối cảnh", "Câu hỏi", "Trả lời"),
    "zh": ("语境", "问题", "回答"),
}
_TYDIQA = {
    "ar": ("السياق", "السؤال", "الإجابة"),
    "bn": ("প্রসঙ্গ", "প্রশ্ন", "উত্তর"),
    "en": ("Context", "Question", "Answer"),
    "fi": ("Konteksti", "Kysymys", "Vastaus"),
    "id": ("Konteks", "Pertanyaan", "Jawaban"),
    "ko": ("맥락", "질문", "답변"),
    "ru": ("Контекст", "Вопрос", "Ответ"),
    "sw": ("Muktadha", "Swali", "Jibu"),
    "te": ("సందర్భం", "ప్రశ్న", "సమాధానం"),
}
_WORDS = {"xquad": _XQUAD, "mlqa": {"en": _XQUAD["en"]}, "tydiqa": _TYDIQA}


def passage(example: Example) -> Texts:
    """The passage and the question; the first answer as the only choice, where there is one."""
    assert isinstance(example, span.Example), example
    return Texts(example.context, example.question, tuple(answer.text for answer in example.answers[:1]))


PASSAGE_TEMPLATES = tuple(
    Template(
        "context",
        task,
        _HARNESS,
        passage,
        {
            language: Wording(f"{context}: {{first}}\n\n{question}: {{second}}\n\n{answer}: {{answer}}")
            for language, (context, question, answer) in words.items()
        },
    )
    for task, words in _WORDS.items()
)
