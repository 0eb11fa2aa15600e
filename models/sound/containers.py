"""The containers of sound that are read."""

from __future__ import annotations

from collections.abc import Mapping

# Only formats that contain their own data. Playlists (HLS, concat, …) would open other files, URLs.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav"
)
OPEN_OPTIONS: Mapping[str, str] = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
