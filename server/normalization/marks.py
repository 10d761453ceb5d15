"""Marks that are written in more than one way, for regular expressions."""

DASH = r"[-\u2013]"
"""Between the ends of a range: a hyphen or an en dash; an em dash parts two thoughts."""
MINUS = r"[-\u2212]"
APOSTROPHE = r"['\u2018\u2019]"
OPENING = r"[\"'(\u201c\u2018]"
"""A quotation mark or bracket before what is quoted."""
