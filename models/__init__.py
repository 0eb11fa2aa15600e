"""The warm models: catalog, weights, pool, and one engine family per surface."""
