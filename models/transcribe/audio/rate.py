"""The rate of all samples that Whisper reads."""

RATE_HZ = 16_000
