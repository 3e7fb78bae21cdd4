"""Does English intermediate training align languages, in which domains, and does alignment go with transfer?

Begin with `study`, which puts together: `domains`, what each recipe's encoder has on parallel text before and after;
`changes`, their tests; `tables`. Not covered: the measures themselves, which are in `eval.alignment`.
"""
