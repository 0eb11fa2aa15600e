"""The worker's settings, and what it therefore serves.

variables   the environment, read once
endpoint    the surfaces and models that follow from it
document    the variables as docs/configuration.md has them
"""
