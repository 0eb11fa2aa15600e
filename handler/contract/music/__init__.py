"""Music.

request   the body of a request
foreign   other APIs' fields
music     how it is answered
"""

from handler.contract.music.music import SURFACE

__all__ = ["SURFACE"]
