"""Clients' JSON Schemas, rewritten for llguidance.

limits        the largest schema that is accepted
document      a document's subschemas, and references between them
values        JSON values
shapes        the constraints on values of one type
cases         the constraints of schemas that apply together, by type
keywords      the cases of a schema's own keywords
expansion     the cases of a schema with all applicators
unions        unions of cases: simplified, loosened, closed
separation    the differences of cases, for ``oneOf``, ``not`` and ``if``
fitting       whether a given value matches a case
forms         cases in a form that llguidance can enforce
children      what stands below a form
numbers       bounds of numbers
strings       lengths, formats and patterns of strings
patterns      regular expressions in llguidance's dialect
lookarounds   rewrites patterns without lookaround
formats       the formats that are enforced
names         a regular expression for all names except some
emission      the schema for llguidance, made from all of these
"""

from models.chat.schemas.emission import Held, held
from models.chat.schemas.limits import Refused, excess

__all__ = ["Held", "Refused", "excess", "held"]
