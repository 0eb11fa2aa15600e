"""Clients' JSON Schemas, rewritten for llguidance.

limits        how large a schema may be
document      the parts of a schema, and what they refer to
values        JSON values
shapes        what a schema requires of values of one type
cases         what schemas that apply together require
keywords      what a schema's own keywords require
expansion     what a schema requires with everything that it is composed of
unions        unions of cases: tidied, loosened, closed
separation    what tells the branches of ``oneOf`` apart
fitting       whether a given value fits a case
forms         cases that llguidance can hold
numbers       bounds of numbers
strings       lengths, formats and patterns of strings
patterns      regular expressions in llguidance's dialect
lookarounds   patterns with lookaround, written without it
formats       the formats that answers are held to
names         a regular expression for all names but some
emission      the schema for llguidance, from all of these
"""

from models.chat.schemas.emission import Held, held
from models.chat.schemas.limits import Refused, excess

__all__ = ["Held", "Refused", "excess", "held"]
