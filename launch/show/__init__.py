"""What people read and programs parse: terminal text, and the JSON contracts of `--json`. No decisions.

Imports everything that decides; nothing but the command line imports it. One module per thing shown.
"""
