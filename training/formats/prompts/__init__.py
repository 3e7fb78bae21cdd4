"""Examples as prompts: an example's texts in a template, demonstrations before them, an answer for every label.

    template         what a template is, and an example in it: `Template`, `Prompt`
    templates        those of XNLI, PAWS-X and XCOPA, with their words by language and where these come from
    passages         those of XQuAD, MLQA and TyDiQA, whose answers are generated
    texts            what a template says of an example: its texts, prepared
    demonstrations   which training examples are shown: balanced over the labels, or the nearest
    cloze            prompts as rows with masks for a masked language model's head
    causal           prompts as prefixes and continuations for a causal language model
    form             the formats of tasks in mode prompt
    scoring          scores of the labels from the log-probabilities of answers: sum, mean, PMI, contextual calibration

Imports the formats whose examples it words, and what lies below them; no torch. Begin with `template`. A template
serves both kinds of model: of a masked one the answer's place is masked, of a causal one it is what comes next
(`Prompt.continuations`). Not covered: how a model makes the log-probabilities (`training.model.heads`,
`eval.prediction.causal`).
"""
