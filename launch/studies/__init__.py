"""An experiment's results as the studies of `eval.studies` take them, and what each finds in them.

Imports `launch.merging` and what lies below it; writes nothing. Begin with `of_study`, which the command and the report
call; `gather` makes the records that a study is drawn from, `dev` those of English dev while trainings ran.
"""

from launch.studies.answers import Answer, answers, find, of_study

__all__ = ["Answer", "answers", "find", "of_study"]
