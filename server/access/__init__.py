"""Who is let in, and how many: credentials, admission, rates."""
