"""RLBench's tasks behind the interface of the other environments; the simulator runs in a worker process of its own."""
