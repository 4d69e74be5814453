"""Pipelines that were not written here: the instrument on whatever object somebody has.

`attach(pipe)` makes an `AttachedPipeline` for it, which fulfils the protocol of what is explored.
The object itself stays its owner's: calls of it are heard, and `detach()` leaves it as it was.
"""
