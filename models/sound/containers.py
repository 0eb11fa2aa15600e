"""The containers and the rates of sound that are read."""

from __future__ import annotations

from collections.abc import Mapping

# Only formats that contain their own data. Playlists (HLS, concat, …) would open other files, URLs.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav"
)
OPEN_OPTIONS: Mapping[str, str] = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

# Samples a second. Telephony has 8,000, DSD512 has 2,822,400. At 1 Hz, a file of 40 kB lasts for
# eleven hours; at 269 MHz, one of a hundred bytes takes 13 s, nearly all of it for the filter.
RATES_HZ = range(2000, 3_000_001)
NO_SUCH_RATE = "it has fewer than 2,000 samples a second, or more than 3,000,000"
