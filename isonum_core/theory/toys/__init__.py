"""Toys of the theory: small exact worlds that a chapter runs live."""
