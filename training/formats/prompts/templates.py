"""The templates of XNLI, PAWS-X and XCOPA, several each, for the spread over templates is to be seen; and one each of
English tasks that models are trained on.

Words by language are as their sources have them, mistakes included, so that numbers compare: what no source has is
English. Sources of words, both read on 2026-11-27:

- Zhao & Schütze 2021 (arXiv 2109.03630): their code, mprompting/xlmrprompt at 1455a37, pet/pet/pvps/xnli_pvp.py. Its
  English verbaliser is right / maybe / wrong; `question-yes` has yes / maybe / no, in English alone. The Latin N in the
  Greek word is theirs.
- lm-evaluation-harness (EleutherAI): lm_eval/tasks/xnli/utils.py, paws-x/*.yaml (whose French no is not that of
  _generate_config.py), xcopa/utils.py, super_glue/copa/utils.py (the English connectors); XNLI's words are Google's
  translations, as it says.

Patterns after Schick & Schütze are not theirs to the letter (`quoted` takes the second text, too, without its
punctuation; `choices` has a comma before `because`), so that numbers do not compare with theirs.

Nobody here checked a translation as a speaker.
"""

from collections.abc import Mapping

from training.formats.prompts import texts
from training.formats.prompts.passages import PASSAGE_TEMPLATES
from training.formats.prompts.template import Template, Wording

_ZHAO = "Zhao & Schütze 2021 (2109.03630)"
_HARNESS = "lm-evaluation-harness"
_OURS = "ours: English tasks that models are trained on, and nowhere asked so"
_PET = "after Schick & Schütze 2021 (2001.07676)"
_PET_SUPERGLUE = "after Schick & Schütze 2021 (2009.07118)"

# Question, answer, and the words of entailment, neutral, contradiction.
_QUESTION_WORDS = {
    "en": ("Question:", "Answer:", "right", "maybe", "wrong"),
    "zh": ("问题：", "答案：", "是", "也许", "否"),
    "de": ("Frage:", "Antworten:", "Ja", "vielleicht", "Nein"),
    "fr": ("Question:", "Répondre:", "oui", "possible", "non"),
    "ar": ("سؤال:", "إجابه:", "نعم", "يمكن", "لا"),
    "bg": ("Въпрос:", "Отговор:", "да", "можеби", "не"),
    "el": ("Ερώτηση:", "Απάντηση:", "Nαί", "μπορεί", "όχι"),
    "es": ("Pregunta:", "Respuesta:", "sí", "talvez", "no"),
    "hi": ("सवाल:", "उत्तर:", "सच", "शायद", "झूठ"),
    "ru": ("Вопрос:", "Отвечать:", "да", "возможно", "нет"),
    "sw": ("Swali:", "Jibu:", "ndio", "labda", "hasi"),
    "th": ("คำถาม:", "ตอบ:", "ใช่", "อาจจะ", "ไม่"),
    "tr": ("Soru:", "Cevap:", "Evet", "belki", "hiçbir"),
    "ur": ("سوال:", "جواب:", "ہاں", "شاید", "نہیں"),
    "vi": ("Câu hỏi:", "Câu trả lời:", "dạ", "lẽ", "Không"),
}
# What asks whether it is right, and the words of entailment, neutral, contradiction.
_XNLI_RIGHT = {
    "ar": ("صحيح", "نعم", "لذا", "رقم"),
    "bg": ("правилно", "да", "така", "не"),
    "de": ("richtig", "Ja", "Auch", "Nein"),
    "el": ("σωστός", "Ναί", "Έτσι", "όχι"),
    "en": ("right", "Yes", "Also", "No"),
    "es": ("correcto", "Sí", "Asi que", "No"),
    "fr": ("correct", "Oui", "Aussi", "Non"),
    "hi": ("सही", "हाँ", "इसलिए", "नहीं"),
    "ru": ("правильно", "Да", "Так", "Нет"),
    "sw": ("sahihi", "Ndiyo", "Hivyo", "Hapana"),
    "th": ("ถูกต้อง", "ใช่", "ดังนั้น", "ไม่"),
    "tr": ("doğru", "Evet", "Böylece", "Hayır"),
    "ur": ("صحیح", "جی ہاں", "اس لئے", "نہیں"),
    "vi": ("đúng", "Vâng", "Vì vậy", "Không"),
    "zh": ("正确", "是的", "所以", "不是的"),
}
# The same of PAWS-X: different, paraphrase.
_PAWSX_RIGHT = {
    "de": ("richtig", "Nein", "Ja"),
    "en": ("right", "No", "Yes"),
    "es": ("verdad", "No", "Sí"),
    "fr": ("n'est-ce pas", "Non", "Oui"),
    "ja": ("ですね", "いいえ", "はい"),
    "ko": ("맞죠", "아니요", "예"),
    "zh": ("对吧", "不是", "是"),
}
# Between premise and choice: of a cause, of an effect.
_CONNECTORS = {
    "en": ("because", "therefore"),
    "et": ("sest", "seetõttu"),
    "ht": ("poukisa", "donk sa"),
    "id": ("karena", "maka"),
    "it": ("perché", "quindi"),
    "qu": ("imataq", "chaymi"),
    "sw": ("kwa sababu", "kwa hiyo"),
    "ta": ("காரணமாக", "எனவே"),
    "th": ("เพราะ", "ดังนั้น"),
    "tr": ("çünkü", "bu yüzden"),
    "vi": ("bởi vì", "vì vậy"),
    "zh": ("因为", "所以"),
}


def _asked(words: Mapping[str, tuple[str, ...]]) -> dict[str, Wording]:
    return {
        language: Wording(f"{{first}}, {right}? {{answer}}, {{second}}", tuple(answers))
        for language, (right, *answers) in words.items()
    }


def _quoted(words: Mapping[str, tuple[str, ...]]) -> dict[str, Wording]:
    """A pattern of punctuation alone: the words of `words` are those of the labels."""
    return {language: Wording('"{first}"? {answer}, "{second}"', answers) for language, answers in words.items()}


TEMPLATES = (
    Template(
        "question",
        "xnli",
        _ZHAO,
        texts.unpunctuated_pair,
        {
            language: Wording(f"{{first}} . {question} {{second}} ? {answer} {{answer}} .", tuple(words))
            for language, (question, answer, *words) in _QUESTION_WORDS.items()
        },
    ),
    Template(
        "question-yes",
        "xnli",
        _ZHAO,
        texts.unpunctuated_pair,
        {"en": Wording("{first} . Question: {second} ? Answer: {answer} .", ("yes", "maybe", "no"))},
    ),
    Template(
        "quoted",
        "xnli",
        f"pattern: {_PET}; words but English: {_ZHAO}",
        texts.unpunctuated_pair,
        _quoted({language: words[2:] for language, words in _QUESTION_WORDS.items()} | {"en": ("Yes", "Maybe", "No")}),
    ),
    Template("right", "xnli", _HARNESS, texts.pair, _asked(_XNLI_RIGHT)),
    Template("right", "pawsx", _HARNESS, texts.paraphrase_pair, _asked(_PAWSX_RIGHT)),
    Template(
        "quoted",
        "pawsx",
        f"pattern: {_PET}; words: {_HARNESS}",
        texts.paraphrase_pair,
        _quoted({language: words[1:] for language, words in _PAWSX_RIGHT.items()}),
    ),
    Template(
        "connector",
        "xcopa",
        _HARNESS,
        texts.copa,
        {
            language: Wording("{first} {connector} {answer}", (), connectors)
            for language, connectors in _CONNECTORS.items()
        },
    ),
    Template(
        "choices",
        "xcopa",
        _PET_SUPERGLUE,
        texts.unpunctuated_copa,
        {"en": Wording('"{choice1}" or "{choice2}"? {first}, {connector} {answer}.', (), ("because", "so"))},
    ),
    Template("continuation", "hellaswag", _HARNESS, texts.choices, {"en": Wording("{first} {answer}")}),
    *(
        Template("answer", task, _OURS, texts.choices, {"en": Wording("Question: {first}\nAnswer: {answer}")})
        for task in ("cosmos_qa", "commonsense_qa", "siqa")
    ),
    Template("same", "qqp", _OURS, texts.pair, {"en": Wording("{first} {second} The same? {answer}.", ("No", "Yes"))}),
)


# Whose examples the templates of a target fit, besides its own: the same texts and labels.
_LIKE = {"mnli": "xnli", "snli": "xnli", "anli": "xnli", "copa": "xcopa"}


def template_task(task: str) -> str | None:
    """The target whose templates fit a built-in task; None: there are none."""
    target = _LIKE.get(task, task)
    return target if of_task(target) else None


def of_task(task: str) -> tuple[Template, ...]:
    """The templates of a target, in the order above; empty: it has none."""
    return tuple(template for template in (*TEMPLATES, *PASSAGE_TEMPLATES) if template.task == task)


def named(task: str, name: str) -> Template:
    """A target's template of this name, which it has."""
    return next(template for template in of_task(task) if template.name == name)
