"""`stepstone watch`: how experiments stand, live, in a terminal: a Textual app. Nothing else imports Textual.

Imports `launch.standing` for what is drawn, `launch.show` for its words, `launch.submit` for what its keys do. Begin
with `app`. `looking` looks at experiments in a thread of its own, so that the screen never waits for a file system or a
scheduler; `grid` is the table whose rows are drawn as they come into view; `cell` is the screen behind a cell, with
`tails` reading what it shows of files; `acting` does what keys ask for, and `asking` asks before. No port is opened.
"""
