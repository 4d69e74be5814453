"""Reversible changes to a pipeline, each a value that trades memory, latency or quality.

A `Strategy` (strategy.py; one file for each kind beside it) says what is switched on, and edits the
`Networks` of a pipeline through an `Undo` log. Who knows what is on:

- `pipe.strategies` is a `StrategyStack`: a pipeline asks and changes there, and is told of changes;
- `SharedStrategies` is the state behind it, one for all pipelines that share networks;
- `Networks` are those networks, and what strategies have to know of each other there;
- `Attachment` is what a network carries, so that a pipeline that gets it finds that state.

`offload/` is the engine that streams weights to a device.
"""
