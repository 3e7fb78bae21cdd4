"""What a model's log-probabilities of answers to a prompt say: scores of the labels, calibrated, and what they are held
against.

    scoring    answers' scores: sum, mean, PMI, contextual calibration
    baselines  the majority class and chance, which stand beside every result of prompts

Pure functions, no model, no torch; imports nothing of ours. Not covered: how a model makes the log-probabilities
(`eval.prediction.cloze`).
"""
