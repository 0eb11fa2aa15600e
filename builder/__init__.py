"""What happens before a worker runs: weights and requirements, at docker build or by hand."""
