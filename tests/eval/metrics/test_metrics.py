"""Metrics against hand-computed cases, against seqeval, and against slow references written another way."""

import string
import unicodedata
from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import metrics
from eval.metrics import mlqa, squad, tags
from training.tasks import find

# --- the face ---------------------------------------------------------------------------------------------------------

EXAMPLES = {
    "accuracy": (["yes", "no", "no"], ["yes", "no", "yes"]),
    "paraphrase": (["paraphrase", *["different"] * 3], ["paraphrase", "different", "paraphrase", "different"]),
    "squad": ([["Paris"], ["the Nile"], ["7"]], ["paris.", "the Nile", "8"]),
    "mlqa": ([["Paris"], ["the Nile"], ["7"]], ["paris.", "the Nile", "8"]),
    "ner": ([["B-PER", "O"], ["B-LOC"], ["B-ORG"]], [["B-PER", "O"], ["B-LOC"], ["O"]]),
    "pos": ([["NOUN", "VERB"], ["X"]], [["NOUN", "VERB"], ["ADJ"]]),
    "retrieval": (["0", "1", "2"], [["0", "1"], ["1", "1"], ["0", "0"]]),
    "words": ([["N", "V"], ["N/N"]], [["N", "N"], ["N/N"]]),
    "squad_v2": (
        [["Paris"], [], ["7"]],
        [
            {"text": "paris.", "span": "paris.", "null_odds": -2.0},
            {"text": "", "span": "Nile", "null_odds": 1.0},
            {"text": "", "span": "7", "null_odds": 0.5},
        ],
    ),
    "map20": ([["a"], ["a", "b"]], [["a", "b"], ["x", "b"]]),
    "mrr20": (["a", "b"], [["a", "b"], ["x", "b"]]),
    "alignment": (["0", "1", "2", "3"], [["0", "1", "0", "0"], ["1", "1", "1", "0"], ["0", "0", "2", "0"], [*"3021"]]),
    "prompts": (["a", "b", "a", "c"], [["a", "a"], ["a", "b"], ["a", "b"], ["b", "c"]]),
    "image_text": (["a", "b"], [([["a", "b"], ["b", "a"]], ["b", "a", "a"]), ([["b", "a"]], ["b", "a", "a"])]),
}
_QA = dict.fromkeys(("f1", "exact_match", "f1_corrected", "exact_match_corrected"), 200 / 3)
EXPECTED = {
    "accuracy": {"accuracy": 200 / 3},
    "paraphrase": {"acc_and_f1": (75 + 200 / 3) / 2, "accuracy": 75, "f1": 200 / 3},
    "squad": _QA,
    "mlqa": _QA,
    "ner": {"f1": 80.0, "precision": 100.0, "recall": 200 / 3},
    "pos": {"pos_f1_xtreme": 200 / 3, "pos_accuracy": 200 / 3},
    "retrieval": {"accuracy": 200 / 3, "accuracy_reverse": 100 / 3},
    "words": {"accuracy": 200 / 3},
    "squad_v2": {"f1": 200 / 3, "exact_match": 200 / 3, "best_f1": 100, "best_exact_match": 100},
    "map20": {"map@20": 62.5},
    "mrr20": {"mrr@20": 75},
    "alignment": {"accuracy": 75, "accuracy_reverse": 25, "margin_accuracy": 75, "margin_accuracy_reverse": 25},
    "prompts": {"accuracy": 62.5, "accuracy_1": 50, "accuracy_2": 75, "accuracy_best": 75, "accuracy_worst": 50,
                "majority": 50, "chance": 100 / 3},
    "image_text": {"mean_recall": (200 / 3 + 50 + 400) / 6, "ir@1": 200 / 3, "ir@5": 100, "ir@10": 100,
                   "tr@1": 50, "tr@5": 100, "tr@10": 100},
}  # fmt: skip


def published(family: str, gold: list[str], prediction: str | None, language: str) -> dict[str, float]:
    """The scores of profile `xtreme`, of one question."""
    scores = metrics.score(family, [gold], [prediction], language)
    return {name: value for name, value in scores.items() if not name.endswith("_corrected")}


@pytest.mark.parametrize("family", metrics.FAMILIES)
def test_every_family_in_percent_with_its_primary_metric_first(family: str) -> None:
    golds, predictions = EXAMPLES[family]
    scores = metrics.score(family, golds, predictions, "en")
    assert list(scores) == list(EXPECTED[family])
    assert metrics.primary(family) == next(iter(scores))
    assert scores == pytest.approx(EXPECTED[family])


@pytest.mark.parametrize("family", metrics.FAMILIES)
def test_nothing_and_unequal_numbers_are_no_score(family: str) -> None:
    golds, predictions = EXAMPLES[family]
    for some, others in (([], []), (golds, predictions[:-1]), (golds[:-1], predictions)):
        with pytest.raises(AssertionError):
            metrics.score(family, some, others, "en")


def test_an_unknown_family_is_no_score() -> None:
    with pytest.raises(AssertionError, match="blue is none of"):
        metrics.score("blue", ["a"], ["a"], "en")


# --- SQuAD ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "prediction", "f1", "exact"),
    [
        (["The Eiffel Tower"], "eiffel tower!", 100, 100),
        (["a b c"], "b c d", 80, 0),  # "a" is an article: {b, c} against {b, c, d}: P 2/3, R 1
        (["x x y"], "x y y", 200 / 3, 0),  # bags: x and y once each
        (["no", "yes it is"], "yes", 50, 0),  # the best over the right answers
        (["东京"], "东京是", 0, 0),  # one token each (MLQA: 80)
        (["der Hund"], "Hund", 200 / 3, 0),  # German articles stay
        (["北京"], "北京。", 0, 0),  # full-width punctuation stays
        (["«Rhin»"], "Rhin", 0, 0),  # so does all that is not ASCII
        (["U.S."], "US", 100, 100),
        (["an-other"], "another", 100, 100),  # punctuation goes before articles: "another"
        (["x"], "the x", 100, 100),
        (["the"], "a", 0, 100),  # both empty: equal, but nothing shared
        (["x"], "", 0, 0),
        (["x"], None, 0, 0),
    ],
)
def test_squad_by_hand(gold: list[str], prediction: str | None, f1: float, exact: float) -> None:
    assert published("squad", gold, prediction, "xx") == pytest.approx({"f1": f1, "exact_match": exact})


def test_squad_is_the_mean_over_questions() -> None:
    scores = metrics.score("squad", [["b c"], ["x"], ["y"], ["z"]], ["b c", "x q", None, "w"], "en")
    assert (scores["f1"], scores["exact_match"]) == pytest.approx(((100 + 200 / 3) / 4, 25))


def test_a_question_without_gold_answers_is_an_invariant_broken() -> None:
    with pytest.raises(AssertionError, match="without a gold answer"):
        metrics.score("squad", [[]], ["x"], "en")


def words_of(text: str, articles: set[str]) -> list[str]:
    """Words, where an article counts only if no word character touches it; without regular expressions."""
    runs = groupby(text, lambda character: character.isalnum() or character == "_")
    kept = "".join(" " if "".join(run := list(part)) in articles else "".join(run) for _, part in runs)
    return kept.split()


def slow_f1(found: list[str], right: list[str]) -> float:
    left, same = list(right), 0
    for word in found:
        if word in left:
            left.remove(word)
            same += 1
    return 200 * same / (len(found) + len(right)) if same else 0.0


def slow_squad(gold: str, prediction: str) -> tuple[float, float]:
    found, right = (
        words_of("".join(c for c in text.lower() if c not in string.punctuation), {"a", "an", "the"})
        for text in (prediction, gold)
    )
    return slow_f1(found, right), 100.0 * (found == right)


PARTS = """the The a an theatre Anna x-ray U.S. 42 42% über der die Hund un la là của 东 京 东京 是。
    ال الطالب كتاب ' _ ,"""
ANSWERS = st.lists(
    st.sampled_from([*PARTS.split(), "\u3000", "\n"]) | st.text(max_size=3),
    max_size=6,
).flatmap(lambda parts: st.sampled_from([" ", ""]).map(lambda glue: glue.join(parts)))


@given(ANSWERS, ANSWERS)
@settings(max_examples=200, deadline=None)
def test_squad_equals_a_slow_reference(gold: str, prediction: str) -> None:
    f1, exact = slow_squad(gold, prediction)
    assert published("squad", [gold], prediction, "en") == pytest.approx({"f1": f1, "exact_match": exact})


@given(st.lists(ANSWERS, min_size=1, max_size=3), ANSWERS)
@settings(deadline=None)
def test_squad_takes_the_best_of_the_right_answers(answers: list[str], prediction: str) -> None:
    each = [metrics.score("squad", [[answer]], [prediction], "en") for answer in answers]
    together = metrics.score("squad", [answers], [prediction], "en")
    assert together == {name: max(scores[name] for scores in each) for name in together}


# --- MLQA -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "answer", "tokens"),
    [
        ("en", "The Beatles' a-side", ["beatles", "aside"]),
        ("de", "Dem Hund des Mannes", ["hund", "mannes"]),
        ("es", "El Niño y la niña", ["niño", "y", "niña"]),
        ("vi", "những ngôi nhà của tôi", ["ngôi", "nhà", "tôi"]),
        ("hi", "दिल्ली, भारत।", ["दिल्ली", "भारत"]),  # the danda is punctuation
        ("zh", "东京是 Tokyo 2020。", ["东", "京", "是", "tokyo", "2020"]),
        ("zh", "「北京」iPhone手机", ["北", "京", "iphone", "手", "机"]),
        ("ar", "كتاب الطالب", ["كتاب", "ط", "ب"]),  # the published rule also cuts words in two
        ("de", "the Hund", ["the", "hund"]),  # only the language's own articles
        ("en", "¿50 $?", ["50"]),
    ],
)
def test_mlqa_words_by_hand(language: str, answer: str, tokens: list[str]) -> None:
    assert mlqa.tokens(answer, language) == tokens


def test_mlqa_toy_case_that_squad_scores_zero() -> None:
    assert published("mlqa", ["东京"], "东京是", "zh") == pytest.approx({"f1": 80, "exact_match": 0})
    assert metrics.score("mlqa", [["东京"]], ["东京是"], "en")["f1"] == 0


def test_mlqa_refuses_a_language_that_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="'fr'"):
        metrics.score("mlqa", [["x"]], ["x"], "fr")


MLQA_ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "hi": "",
    "zh": "",
}


def slow_mlqa_tokens(text: str, language: str) -> list[str]:
    kept = "".join(c for c in text.lower() if unicodedata.category(c)[0] != "P" and c not in string.punctuation)
    if language == "ar":
        return " ".join(kept.split("ال")).split()
    words = words_of(kept, set(MLQA_ARTICLES[language].split()))
    if language != "zh":
        return words
    return [piece for word in words for piece in characters(word)]


def characters(word: str) -> list[str]:
    """Each Han character for itself, what is between them whole."""
    pieces, han = [""], False
    for character in word:
        is_han = 0x4E00 <= ord(character) <= 0x9FA5
        pieces = [*pieces, character] if is_han or han else [*pieces[:-1], pieces[-1] + character]
        han = is_han
    return [piece for piece in pieces if piece]


@given(st.sampled_from(mlqa.LANGUAGES), ANSWERS, ANSWERS)
@settings(max_examples=300, deadline=None)
def test_mlqa_equals_a_slow_reference(language: str, gold: str, prediction: str) -> None:
    found, right = (slow_mlqa_tokens(text, language) for text in (prediction, gold))
    scores = published("mlqa", [gold], prediction, language)
    assert scores == pytest.approx({"f1": slow_f1(found, right), "exact_match": 100.0 * (found == right)})


def test_all_of_unicodes_punctuation_is_dropped_by_mlqa_and_only_asciis_by_squad() -> None:
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] == "P"]
    assert mlqa.tokens("".join(every) + string.punctuation, "en") == []
    assert squad.tokens("".join(every)) == ["".join(c for c in every if c not in string.punctuation)]


# --- tags -------------------------------------------------------------------------------------------------------------

NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
UPOS = list(find("udpos").labels)
Pairs = list[list[tuple[str, str]]]


def pairs(labels: list[str]) -> st.SearchStrategy[Pairs]:
    """Sentences of (gold, predicted) tags."""
    tag = st.sampled_from(labels)
    return st.lists(st.lists(st.tuples(tag, tag), max_size=8), min_size=1, max_size=5)


def sides(sentences: Pairs) -> tuple[list[list[str]], list[list[str]]]:
    return [[gold for gold, _ in s] for s in sentences], [[found for _, found in s] for s in sentences]


def as_read_at_publication(tag: str) -> str:
    """A tag that today's seqeval reads as 0.0.12 read this one (seqeval/metrics/sequence_labeling.py, get_entities: the
    first character, and what follows the last hyphen); where one hyphen follows one character, the tag itself."""
    return f"{tag[0]}-{tag.split('-')[-1]}"


BARE = st.text("BIESOPX", min_size=1, max_size=4)  # B, PER, SPORE
# B-PER, XB-S-E; not P-O: of O itself, which seqeval puts after each sentence, the versions see different types.
HYPHENS = st.lists(BARE, min_size=2, max_size=3).map("-".join).filter(lambda tag: not tag.endswith("-O"))
ANY_TAG = st.sampled_from([*NER, "S-PER", "E-PER", "E-ORG", "B", "I", "PER", "LOC", "ORG", "."]) | BARE | HYPHENS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* seems not to be NE tag")
@given(pairs(NER) | st.lists(st.lists(st.tuples(ANY_TAG, ANY_TAG), max_size=8), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_ner_equals_seqeval(sentences: Pairs) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score  # seconds, for one worker only

    golds, predictions = sides(sentences)
    measured = metrics.score("ner", golds, predictions, "en")
    functions = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    read = [[[as_read_at_publication(tag) for tag in tags] for tags in side] for side in (golds, predictions)]
    published = {name: 100 * function(*read, zero_division=0) for name, function in functions.items()}
    assert measured == pytest.approx(published)


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        (["B-PER", "I-PER"], ["I-PER", "I-PER"], 100),  # I- may open an entity
        (["B-PER", "B-PER"], ["B-PER", "I-PER"], 0),
        (["B-PER", "I-PER", "O"], ["B-PER", "O", "O"], 0),  # borders count
        (["B-PER", "I-LOC"], ["B-PER", "B-LOC"], 100),  # another type is another entity
        (["B-PER"], ["B-LOC"], 0),
        (["B-A-B"], ["B-B"], 100),  # the type is what follows the last hyphen
        (["PER", "O"], ["LER", "O"], 0),  # of a bare tag the whole is the type, its first character too
        (["B"], ["I"], 0),
        (["PER", "PER"], ["PER", "O"], 0),  # a run of equal bare tags is one entity
        (["BUS", "BUS"], ["BUS", "O"], 200 / 3),  # unless it begins with B, E or S
        (["ORG"], ["ORG"], 0),  # a word that begins with O is in no entity
        (["O"], ["O"], 0),  # nothing to find, nothing found: 0 as published
    ],
)
def test_ner_by_hand(gold: list[str], predicted: list[str], f1: float) -> None:
    assert metrics.score("ner", [gold], [predicted], "en")["f1"] == pytest.approx(f1)


def test_entities_end_with_their_sentence() -> None:
    golds, predictions = [["B-PER"], ["I-PER"]], [["B-PER"], ["B-PER"]]
    assert metrics.score("ner", golds, predictions, "en")["f1"] == 100
    assert metrics.score("pos", [["NOUN"], ["NOUN"]], [["NOUN"], ["VERB"]], "en")["pos_f1_xtreme"] == 50


def test_tags_are_one_per_word() -> None:
    for family in ("ner", "pos"):
        with pytest.raises(AssertionError, match="not one tag per word"):
            metrics.score(family, [["X", "X"], ["X"]], [["X"], ["X", "X"]], "en")


@pytest.mark.parametrize(
    ("gold", "predicted", "f1", "accuracy"),
    [
        # a run of equal tags is one entity: one wrong word loses it whole
        (["NOUN", "NOUN", "NOUN"], ["NOUN", "NOUN", "VERB"], 0, 200 / 3),
        # tags that begin with S stand for themselves
        (["SYM", "SYM", "SYM"], ["SYM", "SYM", "X"], 200 / 3, 200 / 3),
        # the whole tag is the type, so CCONJ and SCONJ differ (in later versions of seqeval they do not)
        (["CCONJ", "SCONJ"], ["CCONJ", "SCONJ"], 100, 100),
        (["CCONJ", "SCONJ"], ["SCONJ", "CCONJ"], 0, 0),
        (["CCONJ"], ["SCONJ"], 0, 0),
        (["DET", "NOUN", "VERB"], ["DET", "ADJ", "VERB"], 200 / 3, 200 / 3),
    ],
)
def test_pos_by_hand(gold: list[str], predicted: list[str], f1: float, accuracy: float) -> None:
    measured = metrics.score("pos", [gold], [predicted], "en")
    assert measured == pytest.approx({"pos_f1_xtreme": f1, "pos_accuracy": accuracy})


def runs(sentences: list[list[str]]) -> Counter[tuple[int, str, int, int]]:
    """Runs of equal tags, each SCONJ and SYM for itself, as (sentence, tag, first, last)."""
    found = []
    for number, sentence in enumerate(sentences):
        for tag, places in groupby(range(len(sentence)), lambda place: sentence[place]):  # noqa: B023
            run = list(places)
            found += [(number, tag, p, p) for p in run] if tag[0] == "S" else [(number, tag, run[0], run[-1])]
    return Counter(found)


@given(pairs(UPOS) | pairs(["SYM", "SCONJ", "CCONJ", "NOUN", "INTJ"]))
@settings(max_examples=200, deadline=None)
def test_pos_equals_runs_of_equal_tags(sentences: Pairs) -> None:
    golds, predictions = sides(sentences)
    if not any(golds):
        return
    gold, found = runs(golds), runs(predictions)
    f1 = 200 * (gold & found).total() / (gold.total() + found.total())
    words = [a == b for sentence in sentences for a, b in sentence]
    measured = metrics.score("pos", golds, predictions, "en")
    assert measured == pytest.approx({"pos_f1_xtreme": f1, "pos_accuracy": 100 * sum(words) / len(words)})


@given(pairs(UPOS))
@settings(deadline=None)
def test_scores_stay_within_bounds_and_are_full_for_the_gold_itself(sentences: Pairs) -> None:
    golds, predictions = sides([s for s in sentences if s] or [[("X", "X")]])
    assert all(0 <= value <= 100 for value in metrics.score("pos", golds, predictions, "en").values())
    assert set(metrics.score("pos", golds, golds, "en").values()) == {100.0}


def test_entities_are_type_first_and_last_word() -> None:
    found = tags.entities([["B-PER", "I-PER", "O"], ["I-LOC"]])
    assert found == {("PER", 0, 1), ("LOC", 4, 4)}
