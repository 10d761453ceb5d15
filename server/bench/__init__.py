"""What measures a node and its voice: loads, reports, profiles."""
