"""The worker's HTTP interface as an OpenAPI 3.1 document, from its routes and its contract.

document   puts the document together
routes     what each route is called, takes and answers
requests   the bodies, from the contract's types
answers    the schemas of answers
fields     what each field of a body does, in a sentence
"""

from handler.openapi.document import document

__all__ = ["document"]
