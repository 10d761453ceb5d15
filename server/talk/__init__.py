"""A page by which a person talks to the node with their browser's microphone. The page's own files lie here too."""
