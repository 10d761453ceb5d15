"""Every setting, what it accepts, and how a wrong one is explained."""
