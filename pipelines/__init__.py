"""Order and clock: the command line, stages, and the simulated shop."""
