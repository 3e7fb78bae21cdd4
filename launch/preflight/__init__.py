"""What would fail in the night, found now: checks before sending, prepare, doctor, rehearse.

Imports everything below it; `prepare` alone writes to the store, and only to its cache. Begin with `checks`.
"""
