"""The models that this worker can serve: a row each, in a file per surface.

A row contains everything that is particular to a model. To add a model, add a row (see
docs/adding-a-model.md). A row names its engine by import path, so that reading the catalog imports
no engine.

chat, transcribe, speech, music, embeddings   the rows of a surface, and of the models that help it
seeing                                 the rows of chat models that see or read pictures
images, video, restore                 those of images: painters, makers of videos, the others
parts                                  what rows of several surfaces are made of
"""

from models.catalog import (
    chat,
    embeddings,
    images,
    music,
    restore,
    seeing,
    speech,
    transcribe,
    video,
)
from models.catalog.parts import CPU, GB, GPU
from models.row import Catalog

__all__ = ["CATALOG", "CPU", "GB", "GPU", "ROWS"]

ROWS = (
    *chat.ROWS, *seeing.ROWS, *images.ROWS, *video.ROWS, *restore.ROWS, *transcribe.ROWS,
    *speech.ROWS, *music.ROWS, *embeddings.ROWS,
)  # fmt: skip
CATALOG = Catalog(ROWS)
