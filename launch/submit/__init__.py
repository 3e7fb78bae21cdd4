"""All that changes the queue: send, find again, throttle, cancel, retry, follow. Under the store's lock.

Imports `launch.draft`, which has decided what. Begin with `submitter`, the desired state; `sender` sends one draft,
`orphans` settles what a killed command left open, `last_job` sees to the one that collects when all is over, `beside`
collects while a command waits.
"""

from launch.submit.submitter import submit

__all__ = ["submit"]
