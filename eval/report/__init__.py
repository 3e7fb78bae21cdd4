"""What came out, as one HTML page that stands alone, drawn from typed records that know nothing of stores.

Imports `eval.tables` and altair; no torch. Begin with `content`: the records, which figures are drawn from too.
"""
