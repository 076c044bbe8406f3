"""Transformers: checkpoints at a pinned revision, and named sites whose states become moments."""

import importlib
import os
import warnings

from tqdm import TqdmWarning

# The one place where the network is decided, before huggingface_hub reads its variables (it reads them once). Nothing
# is fetched unless the user's own environment says HF_HUB_OFFLINE=0.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# transformers draws its bars with tqdm.auto, which warns in every notebook without widgets. We draw none there, so the
# warning is let go here, at its first import, instead of in every chapter.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    importlib.import_module("tqdm.auto")
