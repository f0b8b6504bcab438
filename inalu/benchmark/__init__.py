"""Published benchmarks of single modules, run again with the layers of `inalu.layers`."""
