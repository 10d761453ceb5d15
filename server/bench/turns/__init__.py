"""Turn-taking as a caller meets it: what is said, what the node did meanwhile, and what that is worth."""
