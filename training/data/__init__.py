"""Where a task's data lies, its examples, their tokens, and in which order they come.

Imports `formats` and `tasks`; no torch. Begin with `locate` (files of a folder, or the Hub at a pinned commit) and
`load` (their examples, hold-out and trials); `tokens` keeps what was encoded, `sampling` draws what a step sees.
"""
