"""Transformers: checkpoints at a pinned revision, and named sites whose states become moments."""

import warnings

from tqdm import TqdmWarning

# transformers draws its bars with tqdm.auto, which warns in every notebook without widgets. We draw none there, so the
# warning is let go here, at its first import, instead of in every chapter.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    import tqdm.auto  # noqa: F401
