"""What stages will cost: tokens, operations, hours, disk. Arithmetic, calibrated by what has finished.

Imports `launch.store`; reads a few results, and writes `rates.json` alone. Begin with `cost`; `amounts` counts what is
read, `rates` knows how fast devices are, `shapes` how a training fits into memory.
"""
