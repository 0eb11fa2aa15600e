"""Speech.

request   the body of a request
foreign   other APIs' fields
speech    how it is answered
"""

from handler.contract.speech.speech import SURFACE

__all__ = ["SURFACE"]
