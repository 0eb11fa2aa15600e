"""The models that this worker can serve: a row each, in a file per surface.

A row contains everything that is particular to a model. To add a model, add a row (see
docs/adding-a-model.md). A row names its engine by import path, so that reading the catalog imports
no engine.

chat, transcribe, embeddings   the rows of a surface, and of the models that help it
images, restore                the rows of images: those that make pictures, and the others
parts                          what rows of several surfaces are made of
"""

from models.catalog import chat, embeddings, images, restore, transcribe
from models.catalog.parts import CPU, GB, GPU
from models.row import Catalog

__all__ = ["CATALOG", "CPU", "GB", "GPU", "ROWS"]

ROWS = (*chat.ROWS, *images.ROWS, *restore.ROWS, *transcribe.ROWS, *embeddings.ROWS)
CATALOG = Catalog(ROWS)
