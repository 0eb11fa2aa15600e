"""Media of warm-up requests, and of the examples in the described interface."""

from __future__ import annotations

SQUARE = (  # a picture of 64 by 64 pixels of one colour
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAUUlEQVR42u3P"
    "MQ0AMAgAMJhMlKAEvVPBQdI6aFZPXPbiOAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"
    "EBAYF9HxvkAehmvHD2AAAAAElFTkSuQmCC"
)
