"""Steps before a worker runs: fetching weights and pinning requirements, at build or by hand."""
