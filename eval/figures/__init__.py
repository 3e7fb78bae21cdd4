"""Figures for a paper, drawn from a report's records: each as PDF, SVG or PNG, in a column's width, with its fonts.

Imports `eval.report.content` and `eval.tables`; the only room that imports matplotlib. Begin with `drawing`: which
figures there are, and how one becomes a file. `style` has widths, fonts and colours; a file each has the kinds of
figures. The page of `eval.report` is drawn from the same records, so that the two cannot disagree.
"""
