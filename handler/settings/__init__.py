"""The worker's settings, and what it therefore serves.

variables         the environment, read once
spelling          variables that are not ours and resemble one that is
endpoint          the surfaces and models that follow from the settings
engines           the operator's options, as each engine takes them
document          the variables as docs/configuration.md has them
own               the models that the catalog does not have
names             names of models in the environment
foreign           other workers' variables
model_variables   those that name models
engine_variables  those of engines
variable          what each of them is made of
"""
