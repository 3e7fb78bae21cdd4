"""How long texts are, by arithmetic: from a file's characters to tokens. For estimates, before anything is read."""

from dataclasses import dataclass

# Of XLM-R's vocabulary on English prose some 4.3 characters are a token; markup and rare words need more.
CHARACTERS_OF_TOKEN = 3.8
SPECIALS = 4  # special tokens of a pair
QUERY_TOKENS = 16  # of a question
CONTEXT_SHARE = 0.45  # of a SQuAD-like JSON's characters: the contexts; the rest is names, ids, questions, answers
TOKENS_OF_WORD = 1.6  # of tagged text


@dataclass(frozen=True)
class FileCounts:
    """What is quickly counted in a file."""

    characters: int
    lines: int  # that are not empty
    paragraphs: int
    questions: int
    contexts: int


def questions_with_contexts(counts: FileCounts) -> tuple[float, float]:
    """Of a SQuAD-like JSON: its questions, and the tokens of one with its context."""
    context = CONTEXT_SHARE * counts.characters / max(1, counts.contexts) / CHARACTERS_OF_TOKEN
    return counts.questions or counts.lines, context + QUERY_TOKENS
