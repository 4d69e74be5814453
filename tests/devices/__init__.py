"""Cards that behave like CUDA's, on the CPU: torch finds them, and all of dpnb runs on them.

Tensors say that they are on `cuda:0`, parameters may be given their memory, and torch sends every
operation on them to `kernels.run`. What it computes is what the CPU would, to the bit, but later:

- Kernels and copies wait in streams. A seeded schedule does them as late as somebody has to wait
  for them, or sooner, in any order that streams and events allow.
- Memory that is freed is poisoned and handed out again at once, on the stream to which it belongs,
  as torch's allocator does it. The allocator counts, rounds to 512 bytes, and comes to an end.
- From pinned memory of the host a copy is made late, and to it as well; pageable memory is read and
  written at once, for which the host waits. Whenever it waits this is noted, and where.
- The present card and its present streams are a thread's own. So is the error of a failed call,
  which stays until the next kernel is launched. What a kernel fails with comes to light later, and
  for good.
- What may happen in a wrong order is reported as it is asked for, whatever the schedule does: reads
  of what may not have come, writes where something is still read or written, memory that is given
  back too early or let go by the host, tensors on two devices in one operation.

Not modelled: how long anything takes, and so whether copies and kernels overlap; the numbers and
layouts of CUDA's own kernels; workspaces, segments and fragmentation (`dpnb/planning` has those);
graphs; generators on the card; `record_stream`; peer access between cards; what host code does to
memory by itself (that shows in the numbers); compilers, which need Triton; and other programs.
"""
