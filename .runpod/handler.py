"""RunPod's Hub looks for this file; the image itself starts with ``python -m handler``."""

import runpy

if __name__ == "__main__":
    runpy.run_module("handler", run_name="__main__")
