"""The engine under offloading: weights stream to the device while it computes.

- `engine` hears of runs, calls and blocks; `run_progress`, `device_memory`, `prefetcher` and
  `preloader` are its parts;
- `blocks` divides a network into what is loaded together, `packing` packs the weights of a block in
  host memory, `streamed_network` does both and places hooks;
- `source_paths` reads from source what code reaches for inside of an object, `reached_parts` finds
  what that is in a network, and `block_hooks` tell of blocks and of what is called past them;
- `budget` divides device memory, `memory_layout`, `ring` and `device_copy` say what lies where;
- `link` copies to a device: `cuda_link` to CUDA, `simulated_link` takes the time of a copy, and
  `backends` chooses;
- `dispatch` places components as a device map says, `hosted_weights` keeps rarely needed weights on
  the host, `calls` intercepts the methods of a network.
"""
