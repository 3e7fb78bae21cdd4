"""An experiment's results as the studies of `eval.studies` take them, and what each finds in them.

Imports `launch.merging` and what lies below it; writes nothing. Begin with `answer`, which the command and the report
call; `gather` makes the records that a study is drawn from, `dev` those of English dev while trainings ran.
"""

from launch.studies.answers import Answer, answer, answers, find

__all__ = ["Answer", "answer", "answers", "find"]
