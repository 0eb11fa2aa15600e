"""RunPod's Hub looks for this file; the image itself starts with ``python -m handler``."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # As a script this folder comes first, and this file would be the module that it looks for.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("handler", run_name="__main__", alter_sys=True)
