"""The worker's HTTP interface as an OpenAPI 3.1 document, from its routes and its contract.

document   puts it together
requests   the bodies, from the contract's types
answers/   what leaves, a model for each shape
routes     what each route is called, takes and answers
fields     what each field of a body does, in a sentence
"""

from handler.openapi.document import document

__all__ = ["document"]
