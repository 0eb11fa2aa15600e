"""Sound as files, for every engine that makes or reads some.

formats     media types, sample rates and bit rates
encoding    samples as a file, whole or as they come
wav         the header of a file of samples
containers  the containers that are read
"""
