"""Clients' JSON Schemas, as llguidance can hold them.

limits       how large one may be
document     its parts, and what they refer to
values       JSON values
patterns     regular expressions, in llguidance's dialect; lookarounds, formats and names beside it
shapes       what is asked of values of one type
cases        what schemas that apply together ask for
keywords     what a schema asks for by itself
expansion    what it asks for with those that it is composed of
separation   what tells the branches of ``oneOf`` apart; fitting is for values
forms        cases that llguidance can hold; numbers those of numbers
emission     all of it, written down
"""

from models.chat.schemas.emission import Held, held
from models.chat.schemas.limits import Refused, excess

__all__ = ["Held", "Refused", "excess", "held"]
