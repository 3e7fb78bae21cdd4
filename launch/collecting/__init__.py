"""Collecting without anybody typing it: a process of its own that makes an experiment's table, and says how it went.

The last job of an experiment runs it, local workers do when all is over, and `submit --wait` and `watch` start it
beside themselves (`launch.submit`, by its name). Imports what a login node may: no torch. Begin with `collecting`.
"""
